"""Containers: an image, a writable snapshot on it, and a sandbox."""
