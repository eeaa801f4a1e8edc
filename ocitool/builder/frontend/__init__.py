"""The frontend for Dockerfiles: instructions to a definition."""
