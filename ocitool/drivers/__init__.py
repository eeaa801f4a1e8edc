"""Storage drivers: unpacked layers on disk, and the mounts that stack them."""
