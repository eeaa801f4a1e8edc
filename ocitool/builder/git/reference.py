"""References to git repositories: ``URL[?query][#ref[:subdir]]``, as values.

Source: docker's documentation, "Build context", "URL fragments" and "URL queries"; where it is
silent, BuildKit.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit, urlunsplit

from ocitool.builder.definition import GitTree
from ocitool.builder.dockerfile.values import source_kind
from ocitool.errors import FormatError
from ocitool.go_values import boolean_of
from ocitool.suggestions import nearest

#: The build argument that keeps ``.git`` of a git repository that is the build context.
KEEP_GIT_DIR: Final = "BUILDKIT_CONTEXT_KEEP_GIT_DIR"
_HIDDEN: Final = "xxxxx:xxxxx"  # in place of user and password, as BuildKit
#: Before a host; of ssh the user is a part of the URL, a password is not.
_USER: Final = re.compile(r"^(https?://)[^/?#]*@|^([a-z0-9+]+://)[^/?#@:]*:[^/?#]*@", re.I)
_GITHUB: Final = "github.com/"  # may be without a scheme, where it is the build context
_SSH: Final = re.compile(r"[\w.-]+@[\w.-]+:", re.A)
_HOST: Final = re.compile(r"[^\s/\\-][^\s/\\]*")
_REF: Final = re.compile(r"(?!-)[^\x00-\x20\x7f~^:?*\[\\]+")  # git-check-ref-format(1)
_COMMIT: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")  # SHA-1, SHA-256
_HEX: Final = re.compile(r"[0-9a-f]+", re.I)
_FLAGS: Final = ("keep-git-dir", "submodules", "fetch-by-commit")
_KEYS: Final = ("ref", "tag", "branch", "subdir", "checksum", "commit", "mtime", *_FLAGS)


@dataclass(frozen=True, slots=True, kw_only=True)
class GitReference:
    """A reference; what ADD has a flag for is None if only the flag says it."""

    tree: GitTree
    keep_git_dir: bool | None = None

    def with_flags(self, *, keep_git_dir: bool | None, checksum: str) -> GitTree:
        """Return the tree that ADD means with these flags.

        Raises:
            FormatError: they contradict the reference.
        """
        tree, keep = self.tree, self.keep_git_dir
        if None not in (keep, keep_git_dir) and keep != keep_git_dir:
            raise FormatError(
                "inconsistent keep-git-dir configuration",
                hint="--keep-git-dir and keep-git-dir in the URL differ: leave one of them out",
            )
        if checksum and tree.checksum and checksum != tree.checksum:
            raise FormatError(
                f'checksum mismatch "{checksum}" != "{tree.checksum}"',
                hint="--checksum and the checksum in the URL differ: leave one of them out",
            )
        keep = keep_git_dir if keep is None else keep
        return replace(tree, keep_git_dir=bool(keep), checksum=_checksum(checksum or tree.checksum))


def is_commit(text: str) -> bool:
    """Say whether *text* is the whole ID of a commit."""
    return _COMMIT.fullmatch(text) is not None


def is_context(text: str) -> bool:
    """Say whether *text* is a git repository where a build context is expected."""
    return text.startswith(_GITHUB) or source_kind(text) == "git"


def parse_git(text: str) -> GitReference:
    """Read a reference; ``github.com/...`` without a scheme is taken as well.

    Raises:
        FormatError: a part is malformed, or parts contradict each other.
    """
    if text.startswith(_GITHUB):
        text = f"https://{text}"
    front, _, fragment = text.partition("#")
    remote, _, query = front.partition("?")
    _check_remote(remote)
    ref, _, subdir = unquote(fragment).partition(":")
    return _with_query(GitTree(remote=remote, ref=ref, subdir=subdir), query)


def _check_remote(remote: str) -> None:
    ssh = _SSH.match(remote) is not None
    try:
        parts = urlsplit(f"ssh://{remote.partition(':')[0]}" if ssh else remote)
        valid = bool(_HOST.fullmatch(parts.hostname or "")) and parts.port != 0
    except ValueError:  # the port is not a number, or the IPv6 address is not closed
        valid = False
    if not valid or not remote.isprintable() or " " in remote or remote.startswith("-"):
        raise FormatError(
            "invalid URL of a git repository",
            hint="use https://host/name.git, ssh://git@host/name.git or git@host:name.git",
        )
    if parts.password is not None and parts.scheme.lower() in ("ssh", "git"):
        raise FormatError(
            f"a password in the URL has no effect with {parts.scheme.lower()}://",
            hint="leave it out, and pass the key of an SSH agent with --ssh default",
        )


def _with_query(tree: GitTree, query: str) -> GitReference:
    values = _values(query)
    ref = _agreed("ref", tree.ref, values.get("ref", ""))
    for key, prefix in (("tag", "refs/tags/"), ("branch", "refs/heads/")):
        if key in values:
            name = prefix + values[key].removeprefix(prefix)
            if key == "branch" and "tag" in values:
                raise FormatError("branch conflicts with tag", hint="leave one of them out")
            ref = _agreed("ref", ref, name)
    checksum = _agreed("checksum", values.get("commit", ""), values.get("checksum", ""))
    checksum = _checksum(checksum)
    ref = ref or checksum
    if ref and not _REF.fullmatch(ref):
        raise FormatError(
            f'invalid ref "{ref}" of a git repository',
            hint="the name of a branch or of a tag, or all digits of a commit",
        )
    mtime = values.get("mtime", "checkout")
    if mtime not in ("checkout", "commit"):
        raise FormatError(f'invalid mtime value: "{mtime}"', hint="checkout or commit")
    flags = {name: parse_flag(name, values[name]) for name in _FLAGS if name in values}
    by_commit = flags.get("fetch-by-commit", False)
    if by_commit and not is_commit(checksum):
        raise FormatError(
            "fetch-by-commit requires a full commit checksum",
            hint="add checksum= with all digits of the commit",
        )
    keep = flags.get("keep-git-dir")
    tree = replace(
        tree,
        ref=ref,
        subdir=_subdir(_agreed("subdir", tree.subdir, values.get("subdir", ""))),
        checksum=checksum,
        keep_git_dir=bool(keep),
        submodules=flags.get("submodules", True),
        commit_time=mtime == "commit",
        by_commit=by_commit,
    )
    return GitReference(tree=tree, keep_git_dir=keep)


def _values(query: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in _KEYS:
            near = nearest(key, _KEYS)
            raise FormatError(
                f'unexpected query "{key}"',
                hint=f"did you mean {near}?" if near else f"one of {', '.join(_KEYS)}",
            )
        if key in values:
            raise FormatError(f'query "{key}" has multiple values')
        if not value and key not in _FLAGS:
            raise FormatError(f'query "{key}" has no value')
        values[key] = value
    return values


def _agreed(what: str, first: str, second: str) -> str:
    if first and second and first != second:
        raise FormatError(
            f'{what} conflicts: "{first}" vs "{second}"', hint="leave one of them out"
        )
    return first or second


def parse_flag(name: str, value: str) -> bool:
    """Return the value of a flag, true if it is empty; `FormatError` if it is neither."""
    found = boolean_of(value or "true")
    if found is None:
        raise FormatError(f'invalid {name} value: "{value}"', hint="true or false")
    return found


def _checksum(text: str) -> str:
    if text and not _HEX.fullmatch(text):
        raise FormatError(
            f"invalid checksum {text} for Git URL, expected hex commit hash",
            hint="the ID of the commit, or its first digits",
        )
    return text.lower()


def _subdir(text: str) -> str:
    path = posixpath.normpath(text.lstrip("/"))
    if path.split("/")[0] == "..":
        raise FormatError(
            f'subdir "{text}" leads out of the repository', hint="name a directory inside it"
        )
    return "" if path == "." else path


def split_credentials(remote: str) -> tuple[str, str]:
    """Return the URL without user and password, and these as ``user:password``, decoded.

    Of ssh the user is a part of the URL.
    """
    parts = _http(remote)
    user, at, host = ("", "", "") if parts is None else parts.netloc.rpartition("@")
    if parts is None or not at:
        return remote, ""
    name, _, password = user.partition(":")
    plain = urlunsplit((parts.scheme.lower(), host, parts.path, "", ""))
    return plain, f"{unquote(name)}:{unquote(password)}"


def shown_git(reference: str) -> str:
    """Return a reference, or the URL of a repository, as messages and the history show it."""
    return _USER.sub(lambda found: f"{found[1] or found[2]}{_HIDDEN}@", reference)


def _http(url: str) -> SplitResult | None:
    parts = urlsplit(url)
    return parts if parts.scheme.lower() in ("http", "https") else None
