"""Ignore files: found, read, and matched against the paths of a context."""
