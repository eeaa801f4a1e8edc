"""What the host process, the shim and the container init send each other."""
