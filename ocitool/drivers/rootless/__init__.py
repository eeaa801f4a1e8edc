"""Drivers for ordinary users: through a worker in a user namespace, or with a single ID."""
