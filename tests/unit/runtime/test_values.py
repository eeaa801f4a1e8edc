"""Capabilities, users, programs and remedies: nothing that touches the machine."""

from __future__ import annotations

import pytest

from ocitool.errors import SandboxError
from ocitool_runtime import errors
from ocitool_runtime.host import capabilities
from ocitool_runtime.sandbox.exec import NotRunnable, candidates, execute
from ocitool_runtime.sandbox.users import UnknownUser, resolve


def test_capabilities_by_any_spelling():
    assert capabilities.mask(["chown", "CAP_KILL", "Cap_Kill"]) == 1 | 1 << 5
    assert capabilities.mask(["ALL"]) == (1 << 41) - 1
    with pytest.raises(SandboxError):
        capabilities.mask(["CAP_"])


@pytest.fixture
def files(tmp_path):
    (tmp_path / "passwd").write_text(
        "# a comment:x:1:1\nbroken\nneg:x:-1:0:::\nroot:x:0:0::/r:\n5:x:0:0::/bad:\n"
        "2000:x:0:0:::\nann:x:7:8::/a:\nzed:x:014:015::/z:\n"
    )
    (tmp_path / "group").write_text(
        "g:x:9:ann,root\nh:x:10:\nbad:x:y:ann\n2000:x:0:5\ni:x:11:ann\n"
    )

    def find(spec):
        found = resolve(spec, str(tmp_path / "passwd"), str(tmp_path / "group"))
        return found.uid, found.gid, found.groups, found.home

    return find


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("", (0, 0, [9], "/r")),
        ("ann", (7, 8, [9, 11], "/a")),
        ("7:h", (7, 10, [], "/a")),
        (":h", (0, 10, [], "/r")),
        ("12:13", (12, 13, [], "/")),
        # Digits are an ID, whatever is called so (CVE-2016-3697).
        ("5", (5, 0, [], "/")),
        ("0", (0, 0, [9], "/r")),
        ("00", (0, 0, [9], "/r")),
        ("07", (7, 8, [9, 11], "/a")),
        ("ann:2000", (7, 2000, [], "/a")),
        ("5:2000", (5, 2000, [], "/")),
        (":2000", (0, 2000, [], "/r")),
        ("14", (14, 15, [], "/z")),  # also where the file writes the ID with a zero before it
    ],
)
def test_users(files, spec, expected):
    assert files(spec) == expected


@pytest.mark.parametrize(
    "spec", ["+7", " 7", "7 ", "0x7", "-1", "\u0667", "neg", "ann:+1", "2147483648", "bad name"]
)
def test_users_that_are_none(files, spec):
    """CVE-2026-30892: a lax parse runs as another user."""
    with pytest.raises(UnknownUser):
        files(spec)


def test_users_without_files():
    assert resolve("", "/no/passwd", "/no/group").uid == 0
    assert resolve("5:6", "/no/passwd", "/no/group").gid == 6
    root = resolve("root:root", "/no/passwd", "/no/group")
    assert (root.uid, root.gid, root.groups) == (0, 0, [])
    assert resolve("5:root", "/no/passwd", "/no/group").gid == 0
    with pytest.raises(UnknownUser, match="unable to find user root"):
        resolve("root", "/dev/null", "/no/group")  # it is there, and names no root


def test_where_a_program_may_be():
    assert candidates(b"a/b", b"/bin") == [b"a/b"]
    assert candidates(b"sh", b"/bin::/usr/bin") == [b"/bin/sh", b"/usr/bin/sh"]
    assert candidates(b"", b"/bin") == []


def test_why_a_program_cannot_run(tmp_path):
    plain, garbage = tmp_path / "plain", tmp_path / "garbage"
    plain.touch(0o644)
    garbage.write_bytes(b"\x7fELFnot really")
    garbage.chmod(0o755)
    for path, code in ((plain, 126), (garbage, 126), (tmp_path / "none", 127), (tmp_path, 126)):
        with pytest.raises(NotRunnable) as caught:
            execute([b"x/y"], {}, [bytes(path)])
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("step", "syscall", "number", "path", "word"),
    [
        ("make a user namespace", "unshare", 1, "", "unprivileged_userns_clone"),
        ("make a user namespace", "unshare", 28, "", "max_user_namespaces"),
        ("mount the root", "fsconfig", 22, "overlay: upper fs", "--driver vfs"),
        ("mount the root", "mount", 7, "overlay of 600 layers", "fewer layers"),
        ("mount volumes", "open_tree", 22, "", "rbind"),
        ("mount /proc", "fsmount", 1, "proc", "systempaths=unconfined"),
        ("drop privileges", "setresuid", 22, "9:9", "/etc/subuid"),
        ("anything", "openat2", 38, "", "Linux 5.12"),
    ],
)
def test_refusals_carry_the_remedy(step, syscall, number, path, word):
    error = errors.StepRefused(step, syscall=syscall, number=number, path=path, text="refused")
    assert word in error.hint
    assert (error.syscall, error.errno, error.path) == (syscall, number, path)
