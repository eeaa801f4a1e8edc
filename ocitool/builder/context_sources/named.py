"""``--build-context NAME=VALUE``: what a value names, checked before the build."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from ocitool.builder.context_sources.kinds import STDIN, context_kind
from ocitool.builder.definition import LocalContext
from ocitool.builder.frontend.sources.named_contexts import SCRATCH, familiar_name
from ocitool.builder.frontend.sources.remotes import http_file
from ocitool.builder.git.reference import parse_git, shown_git
from ocitool.errors import BadReference, BuildError, FormatError, OcitoolError
from ocitool.oci.layout_reference import SCHEME as LAYOUT
from ocitool.oci.layout_reference import LayoutReference
from ocitool.oci.reference import Reference

#: Of images; the second and the third are buildah's.
_IMAGES: Final = ("docker-image://", "container-image://", "docker://")
_BAKE: Final = ("target:", "input:")
_VALUES: Final = (
    "a directory, docker-image://IMAGE, oci-layout://DIRECTORY[:TAG], a git repository, or a URL"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedContext:
    """Files that replace an image or a stage; ``value`` is a path or a URL."""

    name: str
    kind: Literal["path", "url", "git"]
    value: str

    @property
    def vertex(self) -> LocalContext:
        """What a definition calls it."""
        return LocalContext(name=f"context:{self.name}")


def named_contexts(given: Mapping[str, str]) -> dict[str, str | NamedContext]:
    """Return contexts by their familiar names: names of images, as a resolver takes them, or files.

    Raises:
        FormatError: a name is invalid, or a value has none of the known forms.
        BuildError: a directory is missing.
    """
    found: dict[str, str | NamedContext] = {}
    for text, value in given.items():
        try:
            name = familiar_name(text)
        except OcitoolError as error:
            raise FormatError(
                f"invalid build context name {text!r}: {error.message}",
                hint=error.hint or "a name is that of an image or of a stage, in lower case",
            ) from error
        try:
            found[name] = _value(name, value)
        except OcitoolError as error:
            error.where = f"build context {text}" + (f": {error.where}" if error.where else "")
            raise
    return found


def _value(name: str, value: str) -> str | NamedContext:
    scheme = next((each for each in _IMAGES if value.lower().startswith(each)), "")
    if scheme:
        return _image(value[len(scheme) :])
    if value.startswith(LAYOUT):
        return str(LayoutReference.parse(value))
    if value.startswith(_BAKE):
        raise FormatError(
            f"{value!r} is not supported: targets and inputs belong to docker buildx bake",
            hint=f"give {_VALUES}",
        )
    if value in ("", STDIN):
        given = "standard input" if value else "nothing"
        raise FormatError(f"{given} cannot be a named context", hint=f"give {_VALUES}")
    kind = context_kind(value)
    if kind == "url":
        http_file(value, "")  # what is malformed in it is said now
        return NamedContext(name=name, kind="url", value=value)
    if kind == "git":
        parse_git(value)  # what is malformed in it is said now
        return NamedContext(name=name, kind="git", value=value)
    return NamedContext(name=name, kind="path", value=_directory(value))


def _image(reference: str) -> str:
    if reference != SCRATCH:
        try:
            Reference.parse(reference)
        except BadReference as error:
            error.where = ""
            error.message = f"invalid image name {reference!r}: {error.message}"
            raise
    return reference


def _directory(path: str) -> str:
    if os.path.isdir(path):
        return os.path.abspath(path)
    if os.path.lexists(path):
        raise BuildError(
            f'path "{path}" is not a directory',
            hint="name the directory that has the file, and copy the file from it",
        )
    raise BuildError(f'path "{shown_git(path)}" not found', hint=f"give {_VALUES}")
