"""The kernel's interface: system calls that Python lacks, files by descriptor, signals."""
