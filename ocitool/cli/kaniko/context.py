"""kaniko's build contexts, as ``ocitool build`` takes them.

Source: kaniko's README, "kaniko Build Contexts"; pkg/buildcontext.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Final

import click

from ocitool.cli.options.goflags import boolean

_HEADER: Final = "GIT_AUTH_HEADER"
#: Schemes of contexts in the storage of a cloud.
_CLOUDS: Final = ("gs", "s3")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildContext:
    """A context: what `build` is given, and the directory it is, if it is one."""

    word: str
    directory: str = ""
    options: tuple[str, ...] = ()  # further options of `build`


def build_context(
    text: str, sub_path: str, git: Mapping[str, str], environ: MutableMapping[str, str]
) -> BuildContext:
    """Return the context *text*; `UsageError` if it is not supported."""
    scheme, separator, rest = text.partition("://")
    if not text:
        raise click.UsageError("please specify a path to the build context with --context")
    if not separator:
        scheme, rest = "dir", text
    if scheme in _CLOUDS:
        raise click.UsageError(
            f"--context {text} is not supported: download it, and use tar://FILE or tar://stdin"
        )
    if scheme == "dir":
        directory = os.path.join(rest, sub_path) if sub_path else rest
        return BuildContext(word=directory, directory=directory)
    if scheme == "git":
        return _repository(rest, sub_path, git, environ)
    if sub_path:
        raise click.UsageError(
            "--context-sub-path is only supported for directories and git repositories: unpack "
            "the archive, and use dir://DIR"
        )
    if scheme == "tar":
        return BuildContext(word="-" if rest == "stdin" else rest)
    if scheme == "https":
        return BuildContext(word=text)
    raise click.UsageError(
        f"unknown build context {text!r}: use dir://, tar://, git:// or https://"
    )


def git_fields(text: str) -> dict[str, str]:
    """Read the value of ``--git``; `UsageError` for what is not supported."""
    found: dict[str, str] = {}
    for field in filter(None, text.split(",")):
        key, _, value = field.partition("=")
        if key == "insecure-skip-tls" and value in ("", "false"):
            continue
        if key in ("single-branch", "recurse-submodules") and value:
            boolean(f"--git {key}", value)
        elif key not in ("branch", "single-branch", "recurse-submodules"):
            raise click.UsageError(
                f"--git {field} is not supported: use branch, single-branch, recurse-submodules"
            )
        found[key] = value
    return found


def _repository(
    rest: str, sub_path: str, git: Mapping[str, str], environ: MutableMapping[str, str]
) -> BuildContext:
    """Return a git repository: ``host/path[#REF[#COMMIT]]``; a commit overrides a branch.

    Submodules are fetched only if ``--git`` asks for them.  The variables that kaniko has for
    credentials become a secret, for which one may be set.
    """
    path, *fragments = rest.split("#")
    path = path if path.endswith(".git") else f"{path.rstrip('/')}.git"
    named, commit, *_ = (*fragments, "", "")
    ref = commit or git.get("branch", "") or named
    method = "http" if environ.get("GIT_PULL_METHOD") == "http" else "https"
    submodules = boolean("--git", git.get("recurse-submodules", "false") or "true")
    query = "" if submodules else "?submodules=false"
    fragment = f"#{ref}:{sub_path}" if sub_path else f"#{ref}" if ref else ""
    user, password = environ.get("GIT_USERNAME", ""), environ.get("GIT_PASSWORD", "")
    if token := environ.get("GIT_TOKEN"):
        user, password = token, ""
    options: tuple[str, ...] = ()
    if user or password:
        # A secret is named by a variable, so that no list of processes shows it.
        pair = base64.b64encode(f"{user}:{password}".encode())
        environ[_HEADER] = f"Basic {pair.decode()}"
        options = ("--secret", f"id={_HEADER},env={_HEADER}")
    return BuildContext(word=f"{method}://{path}{query}{fragment}", options=options)
