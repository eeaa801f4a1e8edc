"""ocitool: build, store, move and run OCI images without a daemon."""

__version__ = "0.1.0"
