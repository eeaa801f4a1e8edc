"""Differences from peers that are known, each with its reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from tests.fuzz.cases import Case
from tests.fuzz.contexts import NOT_TEXT
from tests.fuzz.dockerfiles import without_heredocs
from tests.fuzz.named import IMAGE

#: Peer, pattern of the line that says a difference, and why ours stays.
_POINTS: Final = r"(.*/)?(points|kept|run)(/.*)?"
_MEMBERS: Final = r"(.*/)?(m|top|m/.*)"
_OWNED: Final = r"\d( \d+)? (9:9|3:4|5:0|0:0)"
_KNOWN: Final = (
    (
        "buildah",
        r"tree: (etc/hostname|etc/hosts|etc/resolv\.conf|run|dev|proc|sys): ours None",
        "leaves the mount points of a RUN in the layer",
    ),
    ("docker|buildah", rf"tree: {_POINTS}: ours None, theirs '\d \d+ 0:0", "mount points"),
    ("buildah", r"tree: (var/tmp|points/t): .*, theirs None", "removes what a tmpfs covers"),
    ("docker|buildah", rf"tree: {_MEMBERS}: .*, theirs '{_OWNED}", "owners of archives"),
    ("buildah", r"config: Env\.PATH: .* theirs None", "adds no PATH to an image without one"),
    ("buildah", r"config: WorkingDir: ours '/', theirs None", "leaves the default out"),
    ("docker|buildah", r"config: WorkingDir: ours '(.*)', theirs '\1/'", "keeps a last slash"),
    ("buildah", r"tree: .*: ours '5 755 \d+:\d+', theirs (None|'5 \d+ \d+:\d+')", "late WORKDIR"),
    ("buildah", r"tree: (v|x y): ours None, theirs '5 755 0:0'", "makes the directory of a VOLUME"),
    ("buildah", r"tree: (v|x y)/.*, theirs None", "forgets what RUN writes into a VOLUME"),
    ("buildah", r"config: ExposedPorts: .*(8000-8002/tcp|TCP)", "leaves ports as written"),
    ("docker", r"error: ours ''.*too many symlinks", "takes a link of the context before"),
    ("docker", r"tree: .*: ours '6 \d+ \d+:\d+', theirs None", "copies no FIFOs"),
    ("docker", r"error: ours .*non-directory.*has a fifo.*theirs ''", "copies no FIFOs"),
    ("buildah", r"error: ours '.*: not found.*RUN --mount.*theirs ''", "makes no mount of nothing"),
    ("docker", r"error: ours ''.*points.*not a directory", "a mount point of an earlier RUN"),
    (
        "docker|buildah",
        r"error: ours ''.*\"/[^\"]*\\\\[^\"]*\"(: no such file| not found)",
        "finds no name with a backslash",
    ),
    ("buildah", r"error: ours ''.*must be an absolute path", "takes no relative targets"),
    ("buildah", r"tree: (.*/)?kept/link: ours '2 .*theirs None", "removes a link mounted on"),
    ("buildah", r"tree: .*: ours '5 755 \d+:\d+', theirs '5 711 9:9'", "an archive's own root"),
    ("buildah", r"tree: .*theirs '.* user\.note=kept'", "keeps attributes of the context"),
    ("docker|buildah", r"error: ours .*--secret-scan=off.*theirs ''", "copies a secret"),
    ("docker", r"error: ours ''.*stream terminated by RST_STREAM", "names with a newline"),
    ("docker", r"error: ours ''.*empty export", "exports no image without files"),
    (
        "docker",
        r"error: ours ''.*(lstat .*no such file|readdirent .*not a directory)",
        "a wildcard in no directory",
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
_OWNERS: Final = re.compile(
    r"tree: .*: ours '(\d(?: \d+)?) 0:0(.*)', theirs '\1 1000:1000\2'$", re.DOTALL
)
_MODES: Final = re.compile(
    r"tree: .*: ours '(\d) (\d+) (.*)', theirs '(\d) (\d+) (.*)'$", re.DOTALL
)


#: Peer, what a Dockerfile has, and what the peer does not know.
_NEW: Final = (
    ("docker|buildah", r"^(ONBUILD )?(COPY|ADD).* --link", "--link"),
    ("docker|buildah", r"^(ONBUILD )?(COPY|ADD).* --parents", "--parents"),
    ("docker|buildah", r"^(ONBUILD )?(COPY|ADD).* --exclude", "--exclude"),
    ("docker|buildah", r"^COPY <<", "heredocs"),
    ("docker|buildah", r"--network=", "RUN --network"),
    ("docker|buildah", r"--security=|--device=", "RUN --security and --device"),
    ("docker|buildah", r"@GIT@", "repositories"),
    ("docker|buildah", r"\$\{\w+([-+?#%/]|:\?)", "substitutions"),
    ("docker|buildah", r"^RUN [^\n]*<<", "heredocs"),
    ("docker|buildah", r"--mount=\S*(,size=|,env=)", "mounts with size or env"),
    ("docker", r"--mount=\S*\$", "variables in mounts"),
    ("buildah", r"\\\\$", "doubled escapes at the end of a line: it continues there"),
    ("buildah", r"type=secret\S*,required", "secrets that are required: it crashes"),
    ("buildah", r"sharing=(private|locked)", "caches private or locked"),
    ("buildah", r"--mount=\S*,rw", "changes that are forgotten: it writes to the context"),
)


_NEW_CASES: Final[tuple[tuple[str, Callable[[Case], bool], str], ...]] = (
    ("docker", lambda case: bool(case.named), "named contexts"),
    (
        "buildah",
        lambda case: any("://" in each and each != IMAGE for each in case.named.values()),
        "named contexts of layouts, URLs and repositories",
    ),
    ("buildah", lambda case: case.escape != "\\", "# escape in words"),
    ("docker", lambda case: "containerignore" in case.context.ignore_name, ".containerignore"),
    (
        "docker|buildah",
        lambda case: case.tar and bool(case.context.ignores),
        "ignore files in archives",
    ),
    (
        "docker|buildah",
        lambda case: case.tar and without_heredocs(case.lines) != [*case.lines],
        "heredocs in a Dockerfile that is copied",
    ),
)


def not_asked(peer: str, case: Case) -> str:
    """Return what in the case *peer* does not know; empty if it knows all."""
    text = "\n".join((*case.base, *without_heredocs(case.lines)))
    for names, pattern, reason in _NEW:
        if peer in names.split("|") and re.search(pattern, text, re.MULTILINE):
            return reason
    for names, has, reason in _NEW_CASES:
        if peer in names.split("|") and has(case):
            return reason
    if any(NOT_TEXT in entry.path for entry in case.context.entries):
        return "names that are no text"
    return ""


def known(peer: str, line: str, case: Case) -> str:
    """Return the reason for the difference in *line*; empty if it is not known."""
    ignore = case.context.ignore
    for name, pattern, reason in _KNOWN:
        if peer in name.split("|") and re.match(pattern, line, re.DOTALL):
            return reason
    if peer == "docker" and "!" in ignore and re.match(r"tree: .*: ours None, theirs '5 ", line):
        return "sends a directory with an exception in it that finds nothing"
    if peer == "buildah" and ignore and re.match(r"tree: .*: ours None", line):
        return "leaves less out by an ignore file"
    exceptions = "!**/" if peer == "docker" else "!"
    if exceptions in ignore and re.match(r"tree: .* theirs None|error: ours ''.*not found", line):
        return "an exception for a directory includes less of it"
    if peer == "docker" and case.tar and _OWNERS.match(line):
        return "keeps the owners of an archive that is the context"
    found = _MODES.match(line)
    if found is None or (found[1], found[3]) != (found[4], found[6]):
        return ""
    if any(" --chmod=" in each for each in case.lines):
        return "--chmod keeps setuid bits, or leaves directories out"
    if peer == "buildah":
        mode, theirs = found[2], found[5]
        if int(mode, 8) & 0o1777 == int(theirs, 8):
            return "cuts setuid and setgid bits off"
    return ""
