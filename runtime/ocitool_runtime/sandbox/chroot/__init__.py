"""Isolation by chroot(2) alone, for root of a container that may neither mount nor unshare."""
