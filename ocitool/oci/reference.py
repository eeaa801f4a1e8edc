"""Image references: ``[domain[:port]/]path[:tag][@digest]``.

Source: the grammar of distribution/reference, as every engine uses it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final, Self

from ocitool.errors import BadReference
from ocitool.oci.digest import Digest

DEFAULT_DOMAIN: Final = "docker.io"
DEFAULT_TAG: Final = "latest"

_DOMAIN_PART: Final = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN: Final = re.compile(
    rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
)
_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH: Final = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_LONGEST_PATH: Final = 255  # characters
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_ID: Final = re.compile(r"(?:sha256:)?([a-f0-9]{1,64})")
#: Docker refuses it as a new name: with digits as its tag it would read like an image ID.
_LIKE_AN_ID: Final = "library/sha256"


@dataclass(frozen=True, slots=True)
class Reference:
    """A complete image name: ``domain`` and ``path`` are always set.

    ``tag`` is ``""`` when only a digest was given.  With both, the digest is used, and the tag is
    only shown.
    """

    domain: str
    path: str
    tag: str = ""
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a reference; a missing domain is docker.io and a missing tag is ``latest``.

        An image ID (64 digits, or ``sha256:`` and digits) is no reference.
        """
        if scheme := _SCHEME.match(text):
            rest = text[scheme.end() :]
            hint = f"leave out {scheme[0]}: {rest}" if rest else ""
            raise BadReference("invalid reference format", where=text, hint=hint)
        name, at, digest_text = text.partition("@")
        digest = Digest.parse(digest_text, where=text) if at else None
        name, tag = _split_tag(name)
        if tag is not None and not _TAG.fullmatch(tag):
            raise BadReference(f"invalid tag {tag!r}", where=text)
        if is_image_id(text):
            raise BadReference("invalid reference: it is an image ID", where=text)
        domain, path = _split_domain(name)
        if not _DOMAIN.fullmatch(domain):
            raise BadReference(f"invalid registry name {domain!r}", where=text)
        if not _PATH.fullmatch(path):
            form = "the form is [REGISTRY/]NAME[:TAG]"
            hint = "repository names are lower-case" if path != path.lower() else form
            shown = path.removeprefix("library/")
            raise BadReference(f"invalid repository name {shown!r}", where=text, hint=hint)
        if len(path) > _LONGEST_PATH:
            raise BadReference(
                f"repository name must not be longer than {_LONGEST_PATH} characters", where=text
            )
        return cls(domain, path, tag or ("" if digest else DEFAULT_TAG), digest)

    @classmethod
    def parse_new(cls, text: str) -> Self:
        """Read the name that an image is to get, which cannot have a digest.

        Source: docker's `tag`, `push`, `build` and `import`.
        """
        reference = cls.parse(text)
        if reference.digest is not None:
            raise BadReference(
                "a new name cannot have a digest", where=text, hint="use NAME or NAME:TAG"
            )
        if (reference.domain, reference.path) == (DEFAULT_DOMAIN, _LIKE_AN_ID):
            raise BadReference("the name of a digest algorithm is ambiguous", where=text)
        return reference

    @property
    def repository(self) -> str:
        """Domain and path, without tag and digest."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar(self) -> str:
        """The short form for users: without docker.io and ``library/``."""
        return self.familiar_repository + self._suffix()

    @property
    def familiar_repository(self) -> str:
        """The short form of the repository."""
        if self.domain != DEFAULT_DOMAIN:
            return self.repository
        if self.path == _LIKE_AN_ID:
            return self.repository
        first, slash, rest = self.path.partition("/")
        if slash and (_is_domain(first) or (first == "library" and "/" not in rest)):
            # Shortened only if it can be parsed to the same name.
            return rest if first == "library" else self.repository
        return self.path

    @property
    def target(self) -> str:
        """What to ask a registry for: the digest if there is one, otherwise the tag."""
        return str(self.digest) if self.digest is not None else self.tag

    def at(self, digest: Digest) -> Self:
        """Return this name pinned to *digest*."""
        return replace(self, digest=digest)

    def tagged(self, tag: str) -> Self:
        """Return this repository with *tag* and no digest."""
        return replace(self, tag=tag, digest=None)

    def __str__(self) -> str:
        return self.repository + self._suffix()

    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{tag}@{self.digest}" if self.digest is not None else tag


def is_repository(text: str) -> bool:
    """Return whether the reference *text* has neither a tag nor a digest."""
    return "@" not in text and ":" not in text.rpartition("/")[2]


def id_digits(text: str) -> str:
    """Return the digits of *text* if it may be an image ID or the beginning of one, else ``""``."""
    match = _ID.fullmatch(text)
    return match[1] if match else ""


def is_image_id(text: str) -> bool:
    """Say whether *text* can only be an image ID: 64 digits, or ``sha256:`` and some."""
    digits = id_digits(text)
    return len(digits) == 64 or (bool(digits) and digits != text)


def _split_tag(name: str) -> tuple[str, str | None]:
    # A colon before the last slash belongs to a port.
    head, colon, tail = name.rpartition(":")
    if colon and "/" not in tail:
        return head, tail
    return name, None


def _split_domain(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if not (slash and _is_domain(first)):
        path = name if "/" in name else f"library/{name}"
        return DEFAULT_DOMAIN, path
    if first == "index.docker.io":
        first = DEFAULT_DOMAIN
    if first == DEFAULT_DOMAIN and "/" not in rest:
        rest = f"library/{rest}"
    return first, rest


def _is_domain(first: str) -> bool:
    """Say whether the first part of a name is the domain of a registry."""
    return first == "localhost" or "." in first or ":" in first or first != first.lower()
