"""The fake passes the suite that every backend passes."""

from __future__ import annotations

from ocitool_registry import MemoryBackend
from ocitool_registry.server.conformance import BackendConformance


class TestMemoryBackend(BackendConformance):
    def make(self) -> MemoryBackend:
        return MemoryBackend()
