"""System calls that the shim answers instead of the kernel (seccomp_unotify(2))."""
