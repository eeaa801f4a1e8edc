"""Drivers for ordinary users: through a worker in a user namespace, or with one id alone."""
