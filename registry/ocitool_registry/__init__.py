"""The OCI distribution protocol, both ends."""
