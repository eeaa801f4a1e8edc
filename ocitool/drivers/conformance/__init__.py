"""The suite that every `Driver` passes; a third party runs it over its own driver."""

from ocitool.drivers.conformance.suite import DriverConformance

__all__ = ["DriverConformance"]
