"""What the checks of one build found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ocitool.builder.checks.options import CheckOptions
from ocitool.builder.checks.rules import RULES
from ocitool.builder.dockerfile.lines.span import Span
from ocitool.errors import BuildError
from ocitool.progress import CheckWarning

MOST_WARNINGS: Final = 1000
#: Names that were probably meant are looked for in the first warnings; it takes time.
_SUGGESTED: Final = 100


class Linter:
    """Collects the warnings of the rules that *options* want, and hands each to *warn*.

    It has no text of its own: rules say by name what they found, and `RULES` has the words.  What
    comes after `MOST_WARNINGS` is not collected: nobody reads it, and it may be without end.
    """

    def __init__(
        self,
        options: CheckOptions,
        warn: Callable[[CheckWarning], object] = lambda _: None,
    ) -> None:
        self.warnings: list[CheckWarning] = []
        self.options = options
        self._warn = warn

    def warn(self, rule: str, span: Span, *values: str, of: Span | None = None) -> None:
        """Take note that the lines *span* do not follow *rule*; *values* fill in its detail.

        Comments above *of*, which is *span* by default, may have the rule skipped.
        """
        known = RULES[rule]
        options = self.options
        if not known.whole_file:
            options = options.with_comments((of or span).comments)
        if not options.wants(known) or len(self.warnings) >= MOST_WARNINGS:
            return
        warning = CheckWarning(
            rule=rule,
            url=known.url,
            detail=known.detail.format(*values),
            file=span.name,
            line=span.first,
            excerpt=span.lines,
        )
        self.warnings.append(warning)
        self._warn(warning)

    @property
    def suggests(self) -> bool:
        """Say whether another warning shall name what was probably meant."""
        return len(self.warnings) < _SUGGESTED

    def raise_errors(self) -> None:
        """Raise `BuildError` if there are warnings, and warnings are errors."""
        if not self.options.error or not self.warnings:
            return
        found = sorted(self.warnings, key=lambda warning: warning.line)
        first = found[0]
        names = ", ".join(dict.fromkeys(warning.rule for warning in found))
        error = BuildError(
            f"lint violation found for rules: {names}",
            where=f"{first.file}:{first.line}",
            hint="change these lines, or write # check=skip=RULE at the top of the file",
        )
        error.excerpt, error.line = first.excerpt, first.line
        raise error
