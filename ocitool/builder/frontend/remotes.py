"""The sources of ADD that are fetched, files and git repositories, and what is shown of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ocitool.builder.definition import GitTree, HttpFile
from ocitool.builder.dockerfile import instructions as do
from ocitool.builder.dockerfile.values import source_kind
from ocitool.builder.frontend.http_files import http_file, shown_url
from ocitool.builder.git.reference import parse_git, shown_git
from ocitool.errors import FormatError


def fetched(
    add: do.Add, sources: Sequence[str], checksum: str, warn: Callable[[str], None]
) -> dict[str, HttpFile | GitTree]:
    """Return what is fetched of *sources*, all of them and *checksum* expanded.

    Raises:
        FormatError: a URL, a reference or *checksum* is invalid, or a flag is for something else.
    """
    kinds = {source: source_kind(source) for source in sources}
    if checksum:
        _require_one(kinds, len(sources))
    found: dict[str, HttpFile | GitTree] = {}
    for source, kind in kinds.items():
        if kind == "url":
            found[source] = http_file(source, checksum)
        elif kind == "git":
            reference = parse_git(source)
            tree = reference.with_flags(keep_git_dir=add.keep_git_dir, checksum=checksum)
            if tree.keep_git_dir and tree.subdir:
                warn(f"the .git directory is not kept of a subdirectory: {tree.subdir}")
            found[source] = tree
    if add.keep_git_dir and "git" not in kinds.values():
        warn("--keep-git-dir has no effect: no source is a git repository")
    return found


def _require_one(kinds: Mapping[str, str], count: int) -> None:
    if count != 1:
        raise FormatError(
            "checksum can't be specified for multiple sources", hint="write an ADD for each"
        )
    if set(kinds.values()) == {"path"}:
        raise FormatError(
            "checksum requires HTTP(S) or Git sources",
            hint="leave --checksum out: files of the build context are known",
        )


def shown_source(source: str) -> str:
    """Return a source that is fetched as the history shows it: without user and password."""
    return shown_git(source) if source_kind(source) == "git" else shown_url(source)
