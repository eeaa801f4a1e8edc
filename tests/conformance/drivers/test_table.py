"""The table of what each driver passes."""

from __future__ import annotations

from types import SimpleNamespace

from tests.conformance.drivers.table import CASES, Results, table


def report(driver, case, outcome, when="call", reason=""):
    return SimpleNamespace(
        nodeid=f"tests/x.py::Test{driver}::{case}",
        when=when,
        outcome=outcome,
        longrepr=("x.py", 1, reason),
    )


def test_every_case_has_a_line_and_every_driver_a_column():
    results = Results()
    for case in CASES:
        results.pytest_runtest_logreport(report("One", case, "passed", "setup"))
        results.pytest_runtest_logreport(report("One", case, "passed"))
        results.pytest_runtest_logreport(report("One", case, "passed", "teardown"))
        results.pytest_runtest_logreport(report("Two", case, "skipped", "setup", "needs two"))
    results.pytest_runtest_logreport(report("One", CASES[0], "failed"))
    results.pytest_runtest_logreport(report("One", CASES[1], "failed", "teardown"))
    results.pytest_runtest_logreport(report("One", "test_its_own", "passed"))
    lines = table(results).splitlines()
    assert lines[0].split() == ["case", "One", "Two"]
    assert lines[2].split()[-2:] == ["FAILED", "-"]
    assert lines[3].split()[-2:] == ["FAILED", "-"]
    assert lines[4].split()[-2:] == ["ok", "-"]
    sums = dict(zip(("passed", "failed", "skipped"), lines[len(CASES) + 3 :], strict=False))
    assert sums["passed"].split() == ["passed", str(len(CASES) - 2), "0"]
    assert sums["failed"].split() == ["failed", "2", "0"]
    assert sums["skipped"].split() == ["skipped", "0", str(len(CASES))]
    assert "Two: needs two" in lines
    assert lines[-1] == "further tests of drivers: 1 passed"
