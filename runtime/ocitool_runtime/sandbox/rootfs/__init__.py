"""The container's file tree: its mounts, mount points and devices."""
