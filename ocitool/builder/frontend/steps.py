"""The instructions that make layers: each becomes an `Op` for the solver."""

from __future__ import annotations

from dataclasses import replace

from ocitool.builder.commit import Step
from ocitool.builder.dockerfile import instructions as do
from ocitool.builder.dockerfile.expand import expand_raw
from ocitool.builder.dockerfile.values import check_source, parse_chmod
from ocitool.builder.frontend.evaluate import StageState
from ocitool.builder.solver.ops import SCRIPTS, CopyOp, RunOp, WorkdirOp
from ocitool.builder.solver.selection import Selection
from ocitool.builder.solver.step_context import Workshop
from ocitool.errors import BuildError, StepFailed
from ocitool.store.layer_content import Layer


def run_step(shop: Workshop, state: StageState, instruction: do.Run, label: str) -> None:
    """RUN."""
    script = ""
    args = state.command(instruction.command)
    if instruction.heredocs and instruction.command.args[0].startswith("#!"):
        script = instruction.command.args[0]
        args = (*state.shell, f"{SCRIPTS}/{instruction.heredocs[0].name}")
    op = RunOp(
        below=state.layers,
        platform=str(state.platform),
        epoch=shop.epoch,
        args=args,
        env=state.scope.run_env(),
        cwd=state.cwd,
        user=state.run.user,
        network="none" if instruction.network == "none" else "host",
        script=script,
        secret_env=state.scope.proxies(),
    )

    def perform(step: int) -> Layer:
        from ocitool.builder.solver.execute import run_command

        try:
            return run_command(shop, op, step)
        except StepFailed as error:
            span = instruction.span
            error.where = f"{state.file.name}:{span.first}"
            error.excerpt = state.file.physical[span.first - 1 : span.last]
            raise

    record = shop.solver.solve(label, op, perform)
    created_by = " ".join(["RUN", *state.scope.history_args(), *args])
    _take(state, record.layer, record.created, created_by)


def workdir_step(shop: Workshop, state: StageState, instruction: do.Workdir, label: str) -> None:
    """WORKDIR: the directory, where it is missing."""
    text = state.expand(instruction.path)
    if not text:
        raise state.file.error(instruction.span, "WORKDIR must have an argument")
    op = WorkdirOp(
        below=state.layers,
        platform=str(state.platform),
        epoch=shop.epoch,
        path=state.absolute(text),
        user=state.run.user,
    )

    def perform(_: int) -> Layer | None:
        from ocitool.builder.solver.execute import make_workdir

        return make_workdir(shop, op)

    record = shop.solver.solve(label, op, perform)
    state.run = replace(state.run, working_dir=op.path)
    _take(state, record.layer, record.created, f"WORKDIR {op.path}")


def copy_step(
    shop: Workshop,
    state: StageState,
    instruction: do.Copy | do.Add,
    label: str,
    image: tuple[str, tuple[Layer, ...]] | None,
) -> None:
    """COPY and ADD; *image* is what ``--from`` names: what to call it, and its layers."""
    word = "ADD" if isinstance(instruction, do.Add) else "COPY"
    sources = tuple(state.expand(source) for source in instruction.sources)
    for source in sources:
        check_source(word, source)
    dest = _destination(state, instruction)
    chmod = state.expand(instruction.chmod or "")
    if chmod:
        parse_chmod(chmod)  # a wrong one is told whether or not the step is cached
    selection = Selection(word=word, sources=sources, texts=_texts(state, instruction), image=image)
    contents = selection.contents(shop)
    if len(contents) > 1 and not dest.endswith("/"):
        raise BuildError(
            f"When using {word} with more than one source file, the destination must be a "
            "directory and end with a /"
        )
    op = CopyOp(
        below=state.layers,
        platform=str(state.platform),
        epoch=shop.epoch,
        dest=dest,
        contents=contents,
        chown=state.expand(instruction.chown or ""),
        chmod=chmod,
    )

    def perform(_: int) -> Layer:
        from ocitool.builder.solver.execute import copy_files

        return copy_files(shop, op, selection)

    record = shop.solver.solve(label, op, perform)
    _take(state, record.layer, record.created, label.partition("] ")[2])


def _texts(state: StageState, instruction: do.Copy | do.Add) -> dict[str, bytes]:
    texts = {}
    for heredoc in instruction.heredocs:
        text = heredoc.content
        if heredoc.expand:
            text = expand_raw(
                text,
                state.scope.values,
                unset=state.unset,
                allowance=state.scope.allowance,
            )
        texts[heredoc.name] = text.encode("utf-8", "surrogateescape")
    return texts


def _destination(state: StageState, instruction: do.Copy | do.Add) -> str:
    """Return the absolute destination; a trailing slash stays, and ``.`` is a directory."""
    text = state.expand(instruction.dest)
    if not text:
        raise state.file.error(instruction.span, "the destination is empty")
    path = state.absolute(text)
    if path != "/" and (text.endswith(("/", "/.", "/..")) or text in (".", "..")):
        path += "/"
    return path


def _take(state: StageState, layer: Layer | None, created: str, created_by: str) -> None:
    if layer is not None:
        state.layers = (*state.layers, layer)
    state.add(Step(created_by=created_by, layer=layer, created=created))
