"""Single-ID mode: what the shim answers where the kernel has one ID and no other."""
