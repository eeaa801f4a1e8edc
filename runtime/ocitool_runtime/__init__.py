"""The namespace sandbox."""
