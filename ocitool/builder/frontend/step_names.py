"""What progress and errors say of a step: its name, and where in the Dockerfile it comes from."""

from __future__ import annotations

from ocitool.builder.definition import LocalContext, Location
from ocitool.builder.dockerfile import instructions as do
from ocitool.builder.dockerfile.lines.excerpt import without_credentials
from ocitool.builder.dockerfile.lines.span import Span
from ocitool.builder.frontend.evaluate import is_configuration
from ocitool.builder.frontend.sources.named_contexts import SCRATCH
from ocitool.builder.frontend.stages import Stage


def starts_from_image(stage: Stage) -> bool:
    """Say whether a stage is based on an image that has layers."""
    return isinstance(stage.base, str) and stage.base != SCRATCH


def has_base(stage: Stage) -> bool:
    """Say whether the base of a stage is shown as a step: an image, or the files of a context."""
    return starts_from_image(stage) or isinstance(stage.base, LocalContext)


def count_steps(stage: Stage) -> int:
    """Count the steps as BuildKit does, with two kinds that are never shown.

    These are ``WORKDIR /``, and triggers that change the configuration.
    """
    count = sum(not is_configuration(each) for each in stage.parsed.instructions)
    return count + len(stage.triggers) + has_base(stage)


def prefix(stage: Stage, number: int, total: int) -> str:
    """Return what the name of a step begins with; the numbers of a stage have one width."""
    return f"[{stage.name} {number:{len(str(total))}}/{total}]"


def shown(instruction: do.Instruction) -> str:
    """Return *instruction* on one line, and of a RUN that is a heredoc how the script begins.

    Source: BuildKit, which shows ``RUN <<EOF (apt-get update...)``.
    """
    text = " ".join(instruction.span.text.split())
    if isinstance(instruction, do.Run) and instruction.heredocs:
        begin, newline, _ = instruction.heredocs[0].content.strip().partition("\n")
        text += f" ({begin.rstrip()}{'...' if newline else ''})"
    return without_credentials(text)


def location_of(span: Span) -> Location:
    """Return the location of the lines *span*."""
    return Location(file=span.name, line=span.first, excerpt=span.lines)
