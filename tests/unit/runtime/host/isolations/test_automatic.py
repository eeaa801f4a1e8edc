"""Which isolation is taken where none is named, before a program is started."""

from __future__ import annotations

import pytest

from ocitool_runtime.host.isolations import automatic
from ocitool_runtime.isolation import Support


class Fake:
    def __init__(self, works, moves):
        self.moves = moves
        self._works = works

    def probe(self):
        return Support(ok=self._works)

    def start(self, sandbox, stdio):
        return self


@pytest.mark.parametrize(
    ("first", "second", "moves"), [(True, True, False), (False, True, True), (False, False, False)]
)
def test_whether_it_mounts_is_that_of_the_first_that_works(monkeypatch, first, second, moves):
    found = [("namespaces", Fake(first, False)), ("chroot", Fake(second, True))]
    monkeypatch.setattr(automatic, "_candidates", lambda: iter(found))
    isolation = automatic.Automatic()
    assert isolation.moves is moves
    started = isolation.start(None, None)
    assert started is found[1 if moves else 0][1]  # the same is taken
