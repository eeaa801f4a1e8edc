"""Shell completion: scripts, and what arguments are completed with."""
