"""Words that options of a build share: names with commas, and pairs."""

from __future__ import annotations

from collections.abc import Collection, Sequence

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


def split_fields(word: str, option: str, keys: Collection[str]) -> dict[str, str]:
    """Split KEY=VALUE,...; quotation marks as in CSV keep a comma in a value.

    What is not of this form is not repeated in the `UsageError`: it may be a secret.
    """
    import csv  # slow to load, rarely wanted

    try:
        (row,) = csv.reader([word], strict=True)
    except (ValueError, csv.Error) as error:
        raise click.UsageError(f"invalid {option}: {error}") from None
    found: dict[str, str] = {}
    for field in row:
        key, equals, value = field.partition("=")
        key = key.strip().lower()
        if not equals:
            raise click.UsageError(
                f"invalid {option}: field {len(found) + 1} is not KEY=VALUE, with a key of"
                f" {', '.join(keys)}"
            )
        if key not in keys:
            raise click.UsageError(
                f"invalid {option}: unexpected key {key!r}, expected one of {', '.join(keys)}"
            )
        if key in found:
            raise click.UsageError(f"invalid {option}: {key} is given twice")
        found[key] = value
    return found
