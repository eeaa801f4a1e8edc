"""Which checks are executed, and whether a warning is an error.

``skip=A,B;error=true;experimental=C`` in the line ``# check=`` of a Dockerfile, or in the build
argument `CHECK_ARG`, which replaces that line.  Of a part that is repeated the last one counts.
``all`` stands for all rules; experimental ones are executed only if they are asked for, and
``skip`` is not for them.  A comment ``# check=`` above an instruction adds to this for it alone.

Source: Docker documentation, "Checking your build configuration".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self

from ocitool.builder.checks.rules import RULES, Rule
from ocitool.builder.dockerfile.lines.directives import parse_directive
from ocitool.builder.dockerfile.lines.split import Source
from ocitool.errors import FormatError
from ocitool.go_values import boolean_of
from ocitool.suggestions import suggest

#: The build argument that replaces ``# check=``.
CHECK_ARG: Final = "BUILDKIT_DOCKERFILE_CHECK"
_ALL: Final = "all"
_FORM: Final = "the form is skip=RULE,RULE;error=true;experimental=RULE"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """Names of rules that are not executed, and of experimental ones that are."""

    skip: frozenset[str] = frozenset()
    skip_all: bool = False
    experimental: frozenset[str] = frozenset()
    experimental_all: bool = False
    error: bool = False
    where: str = field(default="", compare=False)  # they stand: file and line, or the argument

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``skip=...;error=...;experimental=...``; `FormatError` with the part at fault."""
        options = cls()
        for part in text.split(";") if text.strip() else ():
            key, equals, value = part.partition("=")
            key, value = key.strip(), value.strip()
            if not equals or key not in ("skip", "error", "experimental"):
                wrong = key if equals else part.strip()
                raise FormatError(f'invalid check option "{wrong}"', hint=_FORM)
            if key == "error":
                options = replace(options, error=_boolean(part.strip(), value))
            elif key == "skip" and value == _ALL:
                options = replace(options, skip_all=True)
            elif key == "skip":
                options = replace(options, skip=_names(value))
            elif value == _ALL:
                options = replace(options, experimental_all=True)
            else:
                options = replace(options, experimental=_names(value))
        return options

    @classmethod
    def of(cls, source: Source, build_args: Mapping[str, str]) -> Self:
        """Return those of a build; `FormatError` with the line, or the build argument."""
        if (given := build_args.get(CHECK_ARG)) is not None:
            try:
                return replace(cls.parse(given), where=CHECK_ARG)
            except FormatError as error:
                message = f"failed to parse {CHECK_ARG}: {error.message}"
                raise FormatError(message, hint=error.hint) from error
        if "check" not in source.directives:
            return cls()
        line = source.directive_lines["check"]
        try:
            return replace(cls.parse(source.directives["check"]), where=f"{source.name}:{line}")
        except FormatError as error:
            message = f"failed to parse check options: {error.message}"
            raise source.error(line, line, message, hint=error.hint) from error

    def wants(self, rule: Rule) -> bool:
        """Say whether *rule* is executed."""
        if rule.experimental:
            return self.experimental_all or rule.name in self.experimental
        return not self.skip_all and rule.name not in self.skip

    @classmethod
    def of_comments(cls, comments: Iterable[str]) -> Self:
        """Return what the first comment of the form ``check=...`` says; raises as `parse`."""
        directives = filter(None, (parse_directive(f"#{comment}") for comment in comments))
        return cls.parse(next((value for name, value in directives if name == "check"), ""))

    def with_comments(self, comments: Iterable[str]) -> Self:
        """Return these with what *comments* above an instruction add for it, if they are valid."""
        try:
            more = self.of_comments(comments)
        except FormatError:
            return self
        return replace(
            self,
            skip=self.skip | more.skip,
            skip_all=self.skip_all or more.skip_all,
            experimental=self.experimental | more.experimental,
            experimental_all=self.experimental_all or more.experimental_all,
        )

    def unknown(self) -> Iterator[str]:
        """Yield a message for each name that no rule has."""
        where = self.where and f"{self.where}: "
        for name in sorted((self.skip | self.experimental) - RULES.keys()):
            yield f"{where}no build check is named {name}{suggest(name, RULES)}"


NO_CHECKS: Final = CheckOptions(skip_all=True)


def _names(text: str) -> frozenset[str]:
    return frozenset(filter(None, map(str.strip, text.split(","))))


def _boolean(part: str, text: str) -> bool:
    found = boolean_of(text)
    if found is None:
        raise FormatError(
            f'failed to parse check option "{part}": invalid boolean "{text}"',
            hint="write error=true or error=false",
        )
    return found
