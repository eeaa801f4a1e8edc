"""The container's root file system: its mounts, mount points and devices."""
