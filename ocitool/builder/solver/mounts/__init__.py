"""The mounts of a RUN: where each takes its files from, and what the sandbox gets of it."""
