"""What became of each case of the suite with each driver, as a table."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ocitool.drivers.conformance.suite import DriverConformance

CASES = tuple(name for name in dir(DriverConformance) if name.startswith("test_"))
MARKS = {"passed": "ok", "failed": "FAILED", "skipped": "-", "": ""}


@dataclass
class Results:
    """A plugin of pytest that remembers outcomes, of test classes and their cases alone."""

    outcomes: dict[tuple[str, str], str] = field(default_factory=dict)
    reasons: dict[str, set[str]] = field(default_factory=dict)  # of what was skipped, by driver
    others: Counter[str] = field(default_factory=Counter)  # tests that are no case of the suite

    def pytest_runtest_logreport(self, report) -> None:
        """Remember a case when it was called, or when it did not come to that."""
        if report.when == "call" or report.outcome != "passed":
            driver, _, case = report.nodeid.rpartition("::")
            driver = driver.rpartition("::")[2].removeprefix("Test")
            if case not in CASES:
                self.others[report.outcome] += 1
                return
            self.outcomes[driver, case] = report.outcome
            if report.outcome == "skipped":
                self.reasons.setdefault(driver, set()).add(str(report.longrepr[2]))


def table(results: Results) -> str:
    """Return the table: a line for each case, a column for each driver, sums and reasons."""
    drivers = list(dict.fromkeys(driver for driver, _ in results.outcomes))
    rows = [["case", *drivers]]
    for case in CASES:
        outcomes = [results.outcomes.get((driver, case), "") for driver in drivers]
        rows.append([case.removeprefix("test_").replace("_", " "), *map(MARKS.get, outcomes)])
    for outcome in ("passed", "failed", "skipped"):
        counts = [
            sum(kind == outcome for (name, _), kind in results.outcomes.items() if name == driver)
            for driver in drivers
        ]
        rows.append([outcome, *map(str, counts)])
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    lines.insert(1, "")
    lines.insert(-3, "")
    for driver, reasons in results.reasons.items():
        lines += [f"{driver}: {reason}" for reason in sorted(reasons)]
    others = ", ".join(f"{count} {outcome}" for outcome, count in sorted(results.others.items()))
    return "\n".join([*lines, f"\nfurther tests of drivers: {others or 'none'}", ""])
