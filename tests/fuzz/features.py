"""What cases have in them, counted: a feature that no seed makes is not tried."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from tests.fuzz.cases import Case
from tests.fuzz.contexts import NOT_TEXT, RandomContext
from tests.fuzz.named import DIRECTORY, IMAGE, LAYOUT
from tests.fuzz.remotes import FILES, GIT

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
    "FROM a base image of the case": r"FROM (--\S+ )?MADE",
    "FROM a named context": r"FROM (nc|other)\b",
    "FROM --platform": r"FROM --platform",
    "ARG of all stages": r"\AARG",
    "ARG of the platform": r"ARG (TARGET|BUILD)",
    "COPY --from a named context": r"--from=(nc|other)\b",
    "COPY --from: links": r"--from=s\d[^\n]*/o/",
    "COPY: class of characters": r"(COPY|ADD)[^\n]*\[[!^]?-?\w\]",
    "COPY: heredoc that is not expanded": r"COPY [^\n]*<<-?['\"]",
    "COPY: heredoc with tabs": r"COPY [^\n]*<<-",
    "ADD of a URL": r"ADD[^\n]*@FILES@",
    "ADD of a repository": r"ADD[^\n]*@GIT@",
    "mount: ssh": r"type=ssh",
    "mount: named context": r"--mount=\S*from=(nc|other)\b",
    "RUN: heredoc of a program": r"RUN[^\n]*<<[^\n]*\n#!",
    "RUN: several heredocs": r"RUN[^\n]*<<[^\n]*<<",
    "RUN --security, --device": r"RUN[^\n]* --(security|device)",
    "HEALTHCHECK": r"HEALTHCHECK",
    "STOPSIGNAL": r"STOPSIGNAL",
    "EXPOSE": r"EXPOSE",
    "LABEL": r"LABEL",
    "variable: default, alternative": r"\$\{\w+:[-+]",
    "variable: trimmed": r"\$\{\w+[#%]",
    "variable: replaced": r"\$\{\w+/",
    "variable: required": r"\$\{\w+:?\?",
    "variable: nested": r"\$\{\w+[^}]*\$\{",
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
    "ignore file": lambda context: context.ignore_name == ".dockerignore",
    "ignore file: .containerignore": lambda context: context.ignore_name == ".containerignore",
    "ignore file of the Dockerfile": lambda context: context.ignore_name.startswith("Dockerfile"),
    "several ignore files": lambda context: len(context.ignores) > 1,
    "exception": lambda context: "!" in context.ignore,
}
_OF_CASES: Final[dict[str, Callable[[Case], bool]]] = {
    "--target": lambda case: bool(case.target),
    "--build-arg": lambda case: bool(case.arguments),
    "--build-arg of all stages": lambda case: "G=given" in case.arguments,
    "--build-context: directory": lambda case: DIRECTORY in case.named.values(),
    "--build-context: image": lambda case: IMAGE in case.named.values(),
    "--build-context: layout": lambda case: LAYOUT in case.named.values(),
    "--build-context: URL": lambda case: FILES in str(case.named.values()),
    "--build-context: git": lambda case: GIT in str(case.named.values()),
    "--build-context: stage": lambda case: "s0" in case.named,
    "# escape": lambda case: case.escape != "\\",
    "context: tar": lambda case: case.tar,
    "ONBUILD of a base image": lambda case: "ONBUILD" in str(case.base),
}
#: All that are looked for.
FEATURES: Final = (*_OF_DOCKERFILES, *(f"context: {name}" for name in _OF_CONTEXTS), *_OF_CASES)


def features(case: Case) -> Iterator[str]:
    """Yield the name of each feature that the case has."""
    text = "\n".join(line for line in case.lines if not line.startswith("#"))
    for name, pattern in _OF_DOCKERFILES.items():
        if re.search(pattern, text, re.MULTILINE):
            yield name
    for name, has in _OF_CONTEXTS.items():
        if has(case.context):
            yield f"context: {name}"
    yield from (name for name, has in _OF_CASES.items() if has(case))


def _names(context: RandomContext) -> str:
    return "/".join(entry.path for entry in context.entries)
