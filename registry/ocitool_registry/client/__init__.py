"""The client of a registry: its endpoints, uploads, downloads, and repositories as content."""
