"""What cases have in them, counted: a feature that no seed makes is not tried."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from tests.fuzz.cases import Case
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
_OF_CONTEXTS: Final[dict[str, Callable[[RandomContext], bool]]] = {
    "link": lambda context: bool(context.paths("link")),
    "hard link": lambda context: bool(context.paths("hardlink")),
    "archive": lambda context: bool(context.paths("archive")),
    "FIFO": lambda context: bool(context.paths("pipe")),
    "sparse file": lambda context: bool(context.paths("sparse")),
    "setuid, setgid": lambda context: any(
        entry.kind == "file" and entry.mode & 0o6000 for entry in context.entries
    ),
    "empty file": lambda context: any(
        entry.kind == "file" and not entry.data for entry in context.entries
    ),
    "xattr": lambda context: any(entry.xattr for entry in context.entries),
    "name with a newline": lambda context: "\n" in _names(context),
    "name that is no text": lambda context: NOT_TEXT in _names(context),
    "long name": lambda context: max(map(len, _names(context).split("/"))) > 100,
    "ten levels": lambda context: any(entry.path.count("/") > 10 for entry in context.entries),
    "ignore file": lambda context: bool(context.ignore) and not context.beside,
    "ignore file of the Dockerfile": lambda context: bool(context.ignore) and context.beside,
    "exception": lambda context: "!" in context.ignore,
}
_OPTIONS: Final = ("--target", "--build-arg")
#: All that are looked for.
FEATURES: Final = (*_OF_DOCKERFILES, *(f"context: {name}" for name in _OF_CONTEXTS), *_OPTIONS)


def features(case: Case) -> Iterator[str]:
    """Yield the name of each feature that the case has."""
    text = "\n".join(line for line in case.lines if not line.startswith("#"))
    for name, pattern in _OF_DOCKERFILES.items():
        if re.search(pattern, text, re.MULTILINE):
            yield name
    for name, has in _OF_CONTEXTS.items():
        if has(case.context):
            yield f"context: {name}"
    yield from (option for option in _OPTIONS if option in " ".join(case.words))


def _names(context: RandomContext) -> str:
    return "/".join(entry.path for entry in context.entries)
