"""Dockerfile instructions applied to a configuration: ``import --change``."""

from __future__ import annotations

from collections.abc import Sequence

from ocitool.builder.dockerfile.parser import parse
from ocitool.builder.evaluate import StageState, configure, is_configuration
from ocitool.builder.scope import Scope
from ocitool.oci.config import RunConfig
from ocitool.oci.platform import this_platform


def changed(changes: Sequence[str], run: RunConfig | None = None) -> RunConfig:
    """Return *run* with the instructions *changes* applied.

    Raises:
        DockerfileError: an instruction is wrong, or one that does more than configure.
    """
    run = run or RunConfig()
    if not changes:
        return run
    text = "\n".join(["FROM scratch", *changes])
    file = parse(text.encode(), name="--change")
    state = StageState(
        file=file,
        scope=Scope(given={}, globals={}, consumed=set()),
        platform=this_platform(),
        run=run,
        layers=(),
    )
    state.scope.inherit(run.environment(), {})
    if len(file.stages) > 1:
        raise file.error(file.stages[1].from_.span, "FROM is no change: it begins another image")
    for instruction in file.stages[0].instructions:
        if not is_configuration(instruction):
            raise file.error(instruction.span, "makes a layer, which --change cannot do")
        configure(state, instruction)
    return state.config
