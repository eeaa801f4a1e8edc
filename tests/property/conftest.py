"""Examples of property tests have no deadline."""

import tests.fixtures.examples  # noqa: F401
