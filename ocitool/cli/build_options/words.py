"""Words that options of a build share: names with commas, and pairs."""

from __future__ import annotations

from collections.abc import Sequence

import click


def split_names(
    context: click.Context, parameter: click.Parameter, words: Sequence[str]
) -> tuple[str, ...]:
    """Return the names in *words*, each of which may have several, with commas."""
    return tuple(filter(None, ",".join(words).split(",")))


def split_pair(word: str, what: str) -> tuple[str, str]:
    """Split KEY[=VALUE]; `UsageError` for an empty key, which calls it *what*."""
    key, _, value = word.partition("=")
    if not key:
        raise click.UsageError(f"invalid {what} {word!r}: expected KEY[=VALUE]")
    return key, value
