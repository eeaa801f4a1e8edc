"""The directory of a store: its paths, owner, locks, leases, files; disks that are full."""
