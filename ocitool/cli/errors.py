"""Errors on stderr and exit codes: both are decided here and nowhere else.

    Error: Dockerfile:3: RUN make: exit code: 2
       3 | >>> RUN make
    make: *** [all] Error 1
    hint: ...

Exit codes: 1 a failure, 2 wrong usage (of ``run`` 125), 125 the sandbox or a container, 130
interrupted (143 by SIGTERM, 129 by SIGHUP), 141 a closed pipe on stdout; of a failed build step the
exit code of its command.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

import click
from click.core import ParameterSource

from ocitool.cli.output.output import OutputGone, colour_wanted, write_raw
from ocitool.cli.output.text import escaped, one_line, shortened, visible_line
from ocitool.errors import OcitoolError, StepFailed

PREFIX = "Error: "
_HINT = "hint: "
INTERRUPTED = 130
BROKEN_PIPE = 141  # 128 + SIGPIPE, as if the signal had ended the process

_FULL = {errno.ENOSPC: "no space left on device", errno.EDQUOT: "disk quota exceeded"}
_LIKENESS = 0.6  # of a misspelt option, as in difflib
_EXCERPT = 20  # lines shown of an instruction
_FULL_HINT = "free some space, or move the store to a larger disk"


def run_guarded(
    function: Callable[[], object],
    *,
    debug: bool = False,
    stream: TextIO | None = None,
) -> int:
    """Call *function*, write whatever it raises as text to *stream*, and return the exit code.

    An ``int`` that it returns is the exit code, anything else counts as 0.  *debug* adds
    tracebacks.  *stream* is stderr by default.
    """
    try:
        result = function()
        sys.stdout.flush()
    except BaseException as error:
        return _report(error, debug, sys.stderr if stream is None else stream)
    return result if isinstance(result, int) and not isinstance(result, bool) else 0


def raise_all(errors: Sequence[OcitoolError]) -> None:
    """Raise *errors* as one exception; do nothing if there are none."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ExceptionGroup("several errors", errors)


def _report(error: BaseException, debug: bool, stream: TextIO) -> int:
    try:
        if text := describe(error, debug=debug):
            write_raw(_coloured(text) if colour_wanted(stream) else text, stream)
    except (OSError, ValueError):  # stderr is closed, too
        pass
    code = exit_code(error)
    if code == BROKEN_PIPE or not _flushed():
        _discard_output()
    return code


def _flushed() -> bool:
    try:
        sys.stdout.flush()
    except (OSError, ValueError):  # a full disk: what is buffered stays so, and fails again
        return False
    return True


def _discard_output() -> None:
    """Point stdout to /dev/null: Python flushes it at exit, and would print an error."""
    try:
        void = os.open(os.devnull, os.O_WRONLY)
        os.dup2(void, sys.stdout.fileno())
        os.close(void)
    except (OSError, ValueError):  # stdout is not a file: nothing is flushed
        return


def _coloured(text: str) -> str:
    return re.sub(rf"^{PREFIX}", f"\x1b[1;31m{PREFIX}\x1b[0m", text, flags=re.MULTILINE)


# -- exit codes ----------------------------------------------------------------------------


def exit_code(error: BaseException) -> int:
    """Return the exit code for *error*; for a group, that of its first error."""
    first = next(_leaves(error))
    if isinstance(first, StepFailed):
        return first.status if 0 < first.status < 256 else first.exit_code
    if isinstance(first, (OcitoolError, click.ClickException, click.exceptions.Exit)):
        return first.exit_code
    if isinstance(first, SystemExit):
        return _system_exit(first.code)
    if _interrupted(first):
        return INTERRUPTED
    return BROKEN_PIPE if isinstance(first, (BrokenPipeError, OutputGone)) else 1


def _system_exit(code: object) -> int:
    if code is None:
        return 0
    return code if isinstance(code, int) else 1


def _interrupted(error: BaseException) -> bool:
    """Return whether the user interrupted the command; click raises Abort for that."""
    return isinstance(error, (KeyboardInterrupt, click.Abort))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors of nested groups; interrupts come last."""
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    leaves = [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    yield from sorted(leaves, key=_interrupted)


# -- text ----------------------------------------------------------------------------------


def describe(error: BaseException, *, debug: bool = False) -> str:
    """Return what to print about *error*, each line ended; empty if there is nothing to say.

    Control characters are escaped and long lines are shortened.
    """
    blocks = dict.fromkeys(_lines(leaf) for leaf in _leaves(error))
    text = "".join(one_line(shortened(line)) + "\n" for lines in blocks for line in lines)
    return escaped(_traceback(error)) + text if debug and text else text


def documents(error: BaseException, *, debug: bool = False) -> Iterator[dict[str, str]]:
    """Yield a document for each error of *error*: ``message``, ``detail``, ``hint``.

    The details are the further lines that `describe` prints.  *debug* adds ``traceback``.
    """
    for leaf in _leaves(error):
        lines = [shortened(line) for line in _lines(leaf)]
        hints = [line.removeprefix(_HINT) for line in lines[1:] if line.startswith(_HINT)]
        details = [line for line in lines[1:] if not line.startswith(_HINT)]
        if lines:
            yield {
                "message": lines[0].removeprefix(PREFIX),
                "detail": "\n".join(details),
                "hint": "\n".join(hints),
                **({"traceback": _traceback(leaf)} if debug else {}),
            }


def _traceback(error: BaseException) -> str:
    import traceback  # slow to load, rarely wanted

    return "".join(traceback.format_exception(error))


def _lines(error: BaseException) -> tuple[str, ...]:
    if isinstance(error, OcitoolError):
        return _own(error)
    if isinstance(error, click.ClickException):
        return _usage(error)
    if isinstance(error, SystemExit):
        return (str(error.code),) if isinstance(error.code, str) else ()
    if isinstance(error, (BrokenPipeError, OutputGone, click.exceptions.Exit)):
        return ()
    return _foreign(error)


def _own(error: OcitoolError) -> tuple[str, ...]:
    lines = [f"{PREFIX}{error}", *_excerpt(error)]
    if isinstance(error, StepFailed) and error.log:
        lines += ["------", *(visible_line(line.rstrip("\r\n")) for line in error.log), "------"]
    hints = [error.hint] if error.hint else []
    if full := _full_disk(error):
        lines[0] += "" if full in lines[0].lower() else f": {full}"
        hints = [_FULL_HINT]
    return (*lines, *(f"{_HINT}{hint}" for hint in hints))


def _excerpt(error: OcitoolError) -> Iterator[str]:
    """Yield the lines at fault as BuildKit shows them, with their numbers."""
    for offset, line in enumerate(error.excerpt[:_EXCERPT]):
        if re.match(r"\s*\d+ \| ", line):  # numbered already
            yield line
        else:
            yield f"{error.line + offset if error.line else '':>4} | >>> {line.rstrip()}"
    if len(error.excerpt) > _EXCERPT:
        yield f"     | ... ({len(error.excerpt) - _EXCERPT} more lines)"


def _usage(error: click.ClickException) -> tuple[str, ...]:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return tuple(error.format_message().split("\n"))
    lines = [f"{PREFIX}{_sentence(error)}{_variable(error)}"]
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is not None:
        lines += context.get_usage().split("\n")
        lines.append(f"hint: try '{context.command_path} --help'")
    return tuple(lines)


def _sentence(error: click.ClickException) -> str:
    """Return click's message as docker and podman have it: without a capital and a full stop."""
    if isinstance(error, click.NoSuchOption):
        name = error.option_name
        long = name.startswith("--")
        text = (
            f"unknown flag: {name}" if long else f"unknown shorthand flag: {name[1:]!r} in {name}"
        )
        near = [each for each in sorted(error.possibilities or ()) if _alike(name, each)]
        return text + (f"; did you mean {' or '.join(near)}?" if near else "")
    text = error.format_message().removesuffix(".")
    if isinstance(error, click.BadOptionUsage) and text.endswith("requires an argument"):
        return f"flag needs an argument: {error.option_name}"
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _alike(name: str, other: str) -> bool:
    """Say whether an option is probably a misspelt *other*; two dashes make no likeness."""
    from difflib import SequenceMatcher

    return SequenceMatcher(None, name.strip("-"), other.strip("-")).ratio() >= _LIKENESS


def _variable(error: click.ClickException) -> str:
    """Name the variable of the environment that an invalid value is of."""
    if not isinstance(error, click.BadParameter) or error.ctx is None or error.param is None:
        return ""
    source = error.ctx.get_parameter_source(error.param.name or "")
    if source is not ParameterSource.ENVIRONMENT:
        return ""
    return f" (the value of {error.param.envvar} in the environment)"


def _foreign(error: BaseException) -> tuple[str, ...]:
    if _interrupted(error):
        return (f"{PREFIX}interrupted",)
    if isinstance(error, MemoryError):
        return (f"{PREFIX}out of memory",)
    if full := _full_disk(error):
        return (f"{PREFIX}{full}{_named(error)}", f"hint: {_FULL_HINT}")
    if isinstance(error, OSError) and error.strerror:
        return (f"{PREFIX}{error.strerror}{_named(error)}",)
    return (
        f"{PREFIX}internal error: {type(error).__name__}: {error}".rstrip(": "),
        "hint: this is a bug in ocitool; please report it with the output of --debug",
    )


def _named(error: BaseException) -> str:
    name = getattr(error, "filename", None)
    return "" if name is None else f": {os.fsdecode(name) if isinstance(name, bytes) else name}"


def _full_disk(error: BaseException | None) -> str:
    """Return a message if a full disk or a quota is the cause of *error*, else ``""``."""
    seen = 0
    while error is not None and seen < 20:
        if isinstance(error, OSError) and error.errno in _FULL:
            return _FULL[error.errno]
        before = None if error.__suppress_context__ else error.__context__
        error, seen = error.__cause__ or before, seen + 1
    return ""
