"""Which paths of a chroot are answered from the machine's /proc, /sys and /dev."""

from __future__ import annotations

import pytest

from ocitool_runtime.sandbox.chroot.lookup import located

NULL = frozenset({b"/dev/null"})


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (b"/proc/cpuinfo", b"/proc/cpuinfo"),
        (b"/proc", b"/proc"),
        (b"//proc//self/./status", b"/proc/self/status"),
        (b"/usr/../proc/stat", None),  # beginnings are looked at, not resolved: the copy is found
        (b"/proc/../etc/passwd", None),
        (b"/proc/self/fd/", b"/proc/self/fd/"),
        (b"/sys/devices/system/cpu/online", b"/sys/devices/system/cpu/online"),
        (b"/dev/fd/63", b"/proc/self/fd/63"),
        (b"/dev/fd", b"/proc/self/fd"),
        (b"/dev/stdin", b"/proc/self/fd/0"),
        (b"/dev/stdout", b"/proc/self/fd/1"),
        (b"/dev/stderr", b"/proc/self/fd/2"),
        (b"/dev/null", None),  # a node of the tree
        (b"/process", None),
        (b"/procfs/x", None),
        (b"/etc/passwd", None),
        (b"proc/stat", None),
        (b"", None),
        (b"/", None),
        (b"/..", None),
        (b"/../proc/stat", b"/proc/stat"),
    ],
)
def test_paths(path, found):
    assert located(path) == found


def test_nodes_that_cannot_be_made_are_the_machines():
    assert located(b"/dev/null", NULL) == b"/dev/null"
    assert located(b"/dev/./null", NULL) == b"/dev/null"
    assert located(b"/dev/zero", NULL) is None
