"""Fixtures for every room: the command line, stores that go away again, users, privileges.

A fixture that needs something of the machine skips with the reason where that is missing.
Fixtures that talk to other tools stand in ``tests/integration/conftest.py``.
"""

import os
import signal

os.environ["OCITOOL_BACKGROUND"] = "no"  # nothing goes on when a test has ended
# Who is started in the background ignores SIGINT, and programs inherit that; tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = (
    "tests.fixtures.programs",  # these two first: others import them
    "tests.fixtures.workers",
    "tests.fixtures.commands",
    "tests.fixtures.disks",
    "tests.fixtures.screens",
    "tests.fixtures.tools",
    "tests.fixtures.trees",
    "tests.fixtures.users",
    "tests.fixtures.ci_image",
    "tests.fixtures.networks",
    "tests.fixtures.git_server",
    "tests.fixtures.proot",
    "tests.fixtures.isolated_builds",
)
