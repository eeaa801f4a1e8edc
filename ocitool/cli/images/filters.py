"""The filters of ``images``: docker's dangling, label, before, since, until and reference.

Source: docker's command-line reference, "docker image ls", Filtering; Go, package path, Match.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import click

from ocitool.builder.context.name_patterns import name_regex
from ocitool.cli.options.goflags import boolean
from ocitool.cli.options.shared import parse_filters
from ocitool.errors import FormatError, OcitoolError
from ocitool.image.store_content import local_image
from ocitool.oci.reference import Reference
from ocitool.oci.timestamps import parse_time
from ocitool.store.maintenance.filters import Filters
from ocitool.store.store import Store

_KNOWN: Final = ("dangling", "label", "label!", "before", "since", "until", "reference")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFilters:
    """Conditions that must all be met, but only one of the patterns; times in nanoseconds."""

    dangling: bool | None = None
    patterns: tuple[str, ...] = ()  # of references
    before: tuple[str, ...] = ()  # images
    since: tuple[str, ...] = ()  # images
    others: Filters = field(default_factory=Filters)

    @classmethod
    def parse(cls, texts: Sequence[str]) -> ImageFilters:
        """Parse filters as ``--filter`` has them; `UsageError` for unknown ones."""
        found: dict[str, list[str]] = {}
        others = []
        for text in filter(None, texts):  # as docker: an empty one does not count
            key, equals, value = text.partition("=")
            if key not in _KNOWN and equals:
                known = ", ".join(_KNOWN)
                raise click.UsageError(f"unknown filter {key!r}: supported filters are {known}")
            if key in ("label", "label!", "until") or not equals:
                others.append(text)
            else:
                found.setdefault(key, []).append(value)
        dangling = [boolean("filter 'dangling'", value) for value in found.get("dangling", ())]
        return cls(
            dangling=dangling[-1] if dangling else None,
            patterns=tuple(found.get("reference", ())),
            before=tuple(found.get("before", ())),
            since=tuple(found.get("since", ())),
            others=parse_filters(others),
        )

    def take(self, store: Store, name: str, digest: str, created: int | None) -> bool:
        """Say whether to list the image *digest* under *name* (``""`` for none).

        Raises:
            ImageNotFound: an image to compare with does not exist.
        """
        if self.dangling is not None and self.dangling is bool(name):
            return False
        if self.patterns and not any(matches(pattern, name) for pattern in self.patterns):
            return False
        when = created or 0
        if any(when >= _created(store, image) for image in self.before):
            return False
        if any(when <= _created(store, image) for image in self.since):
            return False
        if not self.others:
            return True
        labels = local_image(store, digest).config.run.labels if self.others.by_label else {}
        return self.others.take(created, labels)


def matches(pattern: str, name: str) -> bool:
    """Say whether *pattern* matches the short form of *name*, with its tag or without it."""
    try:
        reference = Reference.parse(name)
    except FormatError:
        return False
    forms = (reference.familiar, reference.familiar_repository)
    return any(_match(pattern.split("/"), form.split("/")) for form in forms)


def _match(patterns: Sequence[str], parts: Sequence[str]) -> bool:
    return len(patterns) == len(parts) and all(
        re.fullmatch(name_regex(pattern), part, re.DOTALL)
        for pattern, part in zip(patterns, parts, strict=True)
    )


def _created(store: Store, name: str) -> int:
    try:
        return parse_time(local_image(store, name).config.created)
    except FormatError as error:
        raise OcitoolError(f"cannot compare with {name!r}: its creation time is unknown") from error
