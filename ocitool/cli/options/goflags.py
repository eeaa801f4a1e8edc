"""Options as docker's client reads them: ``--rm=true``, ``-H=false``, ``-it``, ``--pull``.

A flag of docker takes a value after an equals sign; click's takes none.  And some options may
stand without a value, which then is never the next word; click would take that.

Source: Go's pflag, "Setting no option default values for flags", and strconv.ParseBool.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from ocitool.go_values import boolean_of

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class TypedWord(NamedTuple):
    """The last word of a line that a shell completes, as it was typed: the context's object."""

    text: str


class OptionalValue(click.Option):
    """An option with a value that may be left out: then it is *bare*."""

    def __init__(self, *args: Any, bare: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.bare = bare

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Complete the value, or after the bare option what may follow it."""
        if isinstance(ctx.obj, TypedWord) and ctx.obj.text.startswith(f"{_long(self)}="):
            return super().shell_complete(ctx, incomplete)
        arguments = [each for each in ctx.command.params if isinstance(each, click.Argument)]
        follows = arguments[0] if arguments and not incomplete.startswith("-") else ctx.command
        return follows.shell_complete(ctx, incomplete)


def normalized(command: click.Command, args: Sequence[str]) -> list[str]:
    """Return *args* of *command* as click reads them: flags without values, the others with one.

    Options that *command* does not have stay as they are, for click to refuse them.

    Raises:
        UsageError: the value of a flag is not a boolean.
    """
    options = {
        name: option
        for option in command.params
        if isinstance(option, click.Option)
        for name in option.opts
    }
    mixed = command.context_settings.get("allow_interspersed_args", command.allow_interspersed_args)
    words: list[tuple[click.Option | None, str]] = []
    rest = list(args)
    while rest:
        word = rest.pop(0)
        if word == "--" or not _is_option(word):
            words.append((None, word))
            if word == "--" or not mixed:
                break
            continue
        for option, name, value in _split(word, options):
            if option is None:
                words.append((None, name))
            elif isinstance(option, OptionalValue):
                words.append((option, f"{_long(option)}={option.bare if value is None else value}"))
            elif not _is_flag(option):
                if value is None and rest:
                    value = rest.pop(0)
                words.append((option, name if value is None else f"{_long(option)}={value}"))
            elif value is None or boolean(name, value):
                words.append((option, name))
            else:
                words = [each for each in words if each[0] is not option]
    return [text for _, text in words] + rest


def _is_option(word: str) -> bool:
    return len(word) > 1 and word.startswith("-")


def _is_flag(option: click.Option) -> bool:
    return option.is_flag or option.count


def _long(option: click.Option) -> str:
    return max(option.opts, key=len)


def _split(
    word: str, options: dict[str, click.Option]
) -> Iterator[tuple[click.Option | None, str, str | None]]:
    """Yield the options in one word, each with its name and, where it stands there, its value."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        known = options.get(name)
        yield (known, name if known else word, value if equals else None)
        return
    letters = word[1:]
    while letters:
        name, letters = f"-{letters[0]}", letters[1:]
        option = options.get(name)
        if option is None:
            yield (None, name + letters, None)
            return
        if letters.startswith("=") or (letters and not _takes_none(option)):
            yield (option, name, letters.removeprefix("="))
            return
        yield (option, name, None)


def _takes_none(option: click.Option) -> bool:
    return _is_flag(option) or isinstance(option, OptionalValue)


class _Boolean(click.types.BoolParamType):
    """click's boolean with a shorter error: that of click lists all words of both values."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bool:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is not a valid boolean: use true or false", param, ctx)


BOOL: Final = _Boolean()


def boolean(name: str, text: str) -> bool:
    """Parse a boolean as Go does; `UsageError` says that *name* has another value."""
    found = boolean_of(text)
    if found is None:
        raise click.UsageError(f"invalid argument {text!r} for {name}: expected 'true' or 'false'")
    return found
