"""Containers: an image, a writable tree on it, and a sandbox."""
