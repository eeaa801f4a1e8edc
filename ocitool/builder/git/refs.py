"""The refs of a remote repository, and which of them a name means.

Source: git-ls-remote(1); which of several a name means, BuildKit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ocitool.builder.git.reference import is_commit
from ocitool.errors import BuildError
from ocitool.suggestions import nearest

_PEELED: Final = "^{}"  # behind the name of an annotated tag: what it is a tag of
_KINDS: Final = ("refs/heads/", "refs/tags/")
_SHOWN: Final = 10  # names in a hint
_SHORT: Final = 4  # digits of a commit, at least


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What a name means."""

    ref: str  # its whole name; "" of a commit that is named itself
    object: str  # the ID of the commit, or of an annotated tag
    commit: str  # the ID of the commit, or of a tag that is named by its ID


@dataclass(frozen=True, slots=True, kw_only=True)
class Refs:
    """The refs of a repository: IDs by whole names, and the default branch."""

    ids: Mapping[str, str]
    head: str = ""  # whole name

    @classmethod
    def parse(cls, text: str) -> Refs:
        """Read what ``git ls-remote --symref`` writes."""
        ids, head = {}, ""
        for line in text.splitlines():
            value, _, name = line.partition("\t")
            if not value.startswith("ref: "):
                ids[name] = value
            elif name == "HEAD":
                head = value.removeprefix("ref: ")
        if not head and "HEAD" in ids:  # servers of plain files do not say
            same = (name for name in ids if name.startswith("refs/heads/"))
            head = next((name for name in same if ids[name] == ids["HEAD"]), "HEAD")
        return cls(ids=ids, head=head)

    def find(self, ref: str, *, digits: bool = False) -> Resolved:
        """Return what *ref* means; ``""`` and HEAD are the default branch.

        A branch comes before a tag of its name, and ``pull/1/head`` is below ``refs/`` as well.
        With *digits* it may also be what the ID of a branch's or a tag's commit begins with.

        Raises:
            BuildError: there is no such ref, or there are several such commits.
        """
        if digits and not self._whole(ref):
            return self._commit(ref)
        name = self._default() if ref in ("", "HEAD") else self._whole(ref)
        if not name:
            raise self._missing(ref)
        found = self.ids[name]
        commit = self.ids.get(name + _PEELED, found)
        if not is_commit(found) or not is_commit(commit):
            raise BuildError(f'invalid commit sha "{found}" of {name}')
        return Resolved(ref=name, object=found, commit=commit)

    def _commit(self, digits: str) -> Resolved:
        """Return the commit of a branch or a tag whose ID begins with *digits*."""
        commits = {self.ids.get(name + _PEELED, found) for name, found in self.ids.items()}
        found = sorted(each for each in commits if is_commit(each) and each.startswith(digits))
        if not found:
            raise self._missing(digits)
        if len(found) > 1:
            raise BuildError(
                f"several commits begin with {digits}: {', '.join(found[:_SHOWN])}",
                hint="give all digits of the commit",
            )
        return Resolved(ref="", object=found[0], commit=found[0])

    def _default(self) -> str:
        if self.head in self.ids:
            return self.head
        raise BuildError(
            "the repository has no default branch",
            hint=self._named("add a branch or a tag after #")
            if self.ids
            else "the repository is empty",
        )

    def _whole(self, ref: str) -> str:
        for whole in (
            "refs/" + ref.removeprefix("refs/"),
            "refs/heads/" + ref.removeprefix("refs/heads/"),
            "refs/tags/" + ref.removeprefix("refs/tags/"),
        ):
            if whole in self.ids:
                return whole
        return ""

    def _missing(self, ref: str) -> BuildError:
        return BuildError(f"repository does not contain ref {ref}", hint=self._near(ref))

    def _near(self, ref: str) -> str:
        short = ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
        if len(short) >= _SHORT and not short.strip("0123456789abcdef"):
            return self._named("name a commit by all of its 40 digits")
        near = nearest(short, self._names())
        return f"did you mean {near}?" if near else self._named("name a branch or a tag")

    def _named(self, advice: str) -> str:
        names = self._names()
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return (
            f"{advice}; it has {', '.join(names[:_SHOWN])}{more}"
            if names
            else "the repository is empty"
        )

    def _names(self) -> list[str]:
        """Return the names of branches and tags, the branches first."""
        return [
            name.removeprefix(kind)
            for kind in _KINDS
            for name in self.ids
            if name.startswith(kind) and not name.endswith(_PEELED)
        ]
