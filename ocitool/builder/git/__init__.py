"""Git repositories as sources of a build: which commit a reference means, and its files."""
