"""What cases have in them, counted: a feature that no seed makes is not tried."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tests.fuzz.contexts import NOT_TEXT, RandomContext

#: Name, and what is looked for in the Dockerfile.
_OF_DOCKERFILES: Final = {
    "RUN --mount": r"--mount=",
    "mount: bind of the context": r"--mount=(?!\S*(from=|type=(?!bind)))",
    "mount: bind of a stage": r"--mount=type=bind,from=s\d",
    "mount: bind of an image": r"--mount=type=bind,from=@",
    "mount: bind, source": r"--mount=(?!type=cache)\S*,(source|src)=",
    "mount: bind, rw": r"--mount=\S*,rw",
    "mount: cache": r"type=cache",
    "mount: cache, mode uid gid": r"type=cache,\S*(mode|uid|gid)=",
    "mount: cache, from": r"type=cache,\S*from=",
    "mount: cache, sharing": r"sharing=",
    "mount: tmpfs": r"type=tmpfs",
    "mount: tmpfs, size": r",size=",
    "mount: secret": r"type=secret",
    "mount: secret, mode uid gid": r"type=secret,\S*(mode|uid|gid)=",
    "mount: secret, env": r"type=secret,\S*env=",
    "mount: several": r"--mount=\S+ --mount=",
    "mount: relative target": r"target=\.?/?points",
    "mount: target through a link": r"target=/kept/link",
    "mount: variable": r"--mount=\S*\$",
    "RUN: JSON": r"RUN.*\[\"",
    "RUN: heredoc": r"RUN.*<<",
    "RUN --network": r"--network",
    "COPY": r"COPY",
    "COPY --from a stage": r"COPY --from=s",
    "COPY --from an image": r"COPY --from=@",
    "COPY --chown": r"--chown",
    "COPY --chmod": r"--chmod",
    "COPY --link": r"--link",
    "COPY --parents": r"--parents",
    "COPY --exclude": r"--exclude",
    "COPY: heredocs": r"COPY <<",
    "COPY: wildcard": r"(COPY|ADD)[^\n]*[^\\]\*",
    "ADD": r"ADD",
    "ONBUILD": r"ONBUILD",
    "USER": r"USER",
    "WORKDIR": r"WORKDIR",
    "SHELL": r"SHELL",
    "ENV": r"ENV",
    "ARG in a stage": r"\n[\s\S]*ARG",
    "VOLUME": r"VOLUME",
    "variable outside of ENV": r"(COPY|ADD|WORKDIR|USER|VOLUME|EXPOSE|STOPSIGNAL|LABEL)[^\n]*\$",
    "several stages": r"AS s1",
    "FROM a stage": r"FROM s\d",
    "FROM scratch": r"FROM scratch",
}
_KINDS: Final = ("link", "hardlink", "archive", "pipe", "sparse")


def features(context: RandomContext, lines: list[str], target: str) -> Iterator[str]:
    """Yield the name of each feature that the case has."""
    text = "\n".join(line for line in lines if not line.startswith("#"))
    for name, pattern in _OF_DOCKERFILES.items():
        if re.search(pattern, text, re.MULTILINE):
            yield name
    if target:
        yield "--target"
    for kind in _KINDS:
        if context.paths(kind):
            yield f"context: {kind}"
    entries = context.entries
    checks = {
        "setuid, setgid": any(e.kind == "file" and e.mode & 0o6000 for e in entries),
        "empty file": any(e.kind == "file" and not e.data for e in entries),
        "xattr": any(e.xattr for e in entries),
        "name with a newline": any("\n" in e.path for e in entries),
        "name that is no text": any(NOT_TEXT in e.path for e in entries),
        "long name": any(len(part) > 100 for e in entries for part in e.path.split("/")),
        "ten levels": any(e.path.count("/") > 10 for e in entries),
        "ignore file": bool(context.ignore) and not context.beside,
        "ignore file of the Dockerfile": bool(context.ignore) and context.beside,
        "exception": "!" in context.ignore,
    }
    yield from (f"context: {name}" for name, found in checks.items() if found)
