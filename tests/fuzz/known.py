"""Differences from peers that are known, each with its reason."""

from __future__ import annotations

import re
from typing import Final

#: Peer, pattern of the line that says a difference, and why ours stays.
_KNOWN: Final = (
    (
        "buildah",
        r"tree: (etc/hostname|etc/hosts|etc/resolv\.conf|run|dev|proc|sys): ours None",
        "leaves the mount points of a RUN in the layer",
    ),
    ("buildah", r"config: Env\.PATH: .* theirs None", "adds no PATH to an image without one"),
    ("buildah", r"config: WorkingDir: ours '/', theirs None", "leaves the default out"),
    ("buildah", r"tree: .*: ours '5 755 0:0', theirs (None|'5 755 \d:\d')", "makes WORKDIR late"),
    ("buildah", r"tree: (v|x y): ours None, theirs '5 755 0:0'", "makes the directory of a VOLUME"),
    ("buildah", r"tree: (v|x y)/.*, theirs None", "forgets what RUN writes into a VOLUME"),
    ("buildah", r"config: ExposedPorts: .*8000-8002/tcp", "leaves ranges of ports as written"),
    ("docker", r"error: ours ''.*too many symlinks", "takes a link of the context before"),
    ("docker", r"error: ours ''.*lstat .*no such file", "a wildcard in no directory"),
    ("docker", r"tree: (.*/)?(m|top|m/\w+): .*, theirs '\d( \d+)? (3:4|0:0)", "owners of archives"),
    (
        "buildah",
        r"tree: (.*/)?(m|top|m/\w+): .*, theirs '\d( \d+)? (3:4|0:0)",
        "owners of archives",
    ),
    (
        "buildah",
        r"error: ours ''.*(no items matching|matched nothing|can\\?'t make  relative)",
        "a wildcard without a match is an error",
    ),
    ("buildah", r"error: ours ''.*EXPOSE requires at least one", "no port is an error"),
    ("buildah", r"error: ours ''.*copier subprocess", "does not replace pipes"),
    ("buildah", r"error: ours .*cannot (copy to non-|replace to )directory", "replaces it"),
)  # fmt: skip
_MODES: Final = re.compile(r"tree: .*: ours '(\d) (\d+) (.*)', theirs '(\d) (\d+) (.*)'$")


def known(peer: str, line: str, ignore: str = "") -> str:
    """Return the reason for the difference in *line*; empty if it is not known.

    *ignore* is the text of the context's ignore file.
    """
    for name, pattern, reason in _KNOWN:
        if name == peer and re.match(pattern, line):
            return reason
    if peer == "docker" and "!" in ignore and re.match(r"tree: .*: ours None, theirs '5 ", line):
        return "sends a directory with an exception in it that finds nothing"
    if peer == "buildah" and ignore and re.match(r"tree: .*: ours None", line):
        return "leaves less out by an ignore file"
    exceptions = "!**/" if peer == "docker" else "!"
    if exceptions in ignore and re.match(r"tree: .* theirs None|error: ours ''.*not found", line):
        return "an exception for a directory includes less of it"
    if peer == "buildah" and (found := _MODES.match(line)):
        kind, mode, rest, *theirs = found.groups()
        if [kind, rest] == [theirs[0], theirs[2]] and int(mode, 8) & 0o1777 == int(theirs[1], 8):
            return "cuts setuid and setgid bits off"
    return ""
