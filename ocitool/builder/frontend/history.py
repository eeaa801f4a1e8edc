"""The texts of an image's history, in BuildKit's form.

Who reads histories (scanners, `docker history`, builders that look for a cached step) compares
these texts, so they are the same for the same Dockerfile.  Values are what variables came to.

Source: BuildKit, Dockerfile frontend; its mark `` # buildkit`` stays its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from ocitool.builder.definition import Copy
from ocitool.builder.frontend.sources.remotes import shown_source
from ocitool.go_values import format_duration, quoted

_DURATIONS: Final = ("Interval", "Timeout", "StartPeriod", "StartInterval")


def arg(values: Iterable[tuple[str, str | None]]) -> str:
    """ARG: each name with the value that it has now, alone where it has none."""
    shown = (name if value is None else f"{name}={value}" for name, value in values)
    return f"ARG {' '.join(shown)}"


def pairs(word: str, values: Iterable[tuple[str, str]]) -> str:
    """ENV and LABEL: each pair as it is written, a repeated name again."""
    return f"{word} {' '.join(f'{name}={value}' for name, value in values)}"


def run(args: Sequence[str], declared: Mapping[str, str]) -> str:
    """RUN: the command behind the arguments that were declared, in the order of their ARGs."""
    shown = [f"{name}={value}" for name, value in declared.items()]
    return " ".join(["RUN", *([f"|{len(shown)}", *shown] if shown else []), *args])


def copy(word: str, vertex: Copy, heredocs: Iterable[str], dest: str) -> str:
    """COPY and ADD, *dest* as it was written: paths alone, without where they are taken from."""
    remotes = dict(vertex.remotes)
    words = [word]
    words += ["--parents"] if vertex.parents else []
    words += [f"--chown={vertex.chown}"] if vertex.chown else []
    words += [f"--chmod={vertex.chmod}"] if vertex.chmod else []
    words += [shown_source(path) if path in remotes else path for path in vertex.paths]
    words += [*(f"<<{name}" for name in heredocs), dest]
    return " ".join(words)


def command(word: str, args: Sequence[str]) -> str:
    """CMD and ENTRYPOINT: the arguments in double quotes."""
    return f"{word} [{' '.join(map(quoted, args))}]"


def words(word: str, values: Sequence[str]) -> str:
    """EXPOSE, SHELL and VOLUME: a list without quotes."""
    return f"{word} [{' '.join(values)}]"


def healthcheck(check: Mapping[str, Any]) -> str:
    """HEALTHCHECK, *check* as in the image's config."""
    fields = [f"Test:[{' '.join(check['Test'])}]"]
    fields += [f"{name}:{format_duration(check.get(name, 0))}" for name in _DURATIONS]
    return f"HEALTHCHECK {{{' '.join(fields)} Retries:{check.get('Retries', 0)}}}"
