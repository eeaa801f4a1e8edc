"""Maintenance of a store: garbage collection, disk usage, checks."""
