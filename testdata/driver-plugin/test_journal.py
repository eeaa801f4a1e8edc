"""The driver passes the suite that comes with ocitool: ``python -m pytest test_journal.py``."""

from __future__ import annotations

from ocitool.drivers import select
from ocitool.drivers.conformance import DriverConformance
from ocitool.drivers.driver import Driver


class TestJournal(DriverConformance):
    def make(self, home: str) -> Driver:
        return select.make("journal", home)
