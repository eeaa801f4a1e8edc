"""The instructions that make layers: each becomes a vertex."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ocitool.builder.checks import instructions as checks
from ocitool.builder.chown_chmod import parse_chmod
from ocitool.builder.definition import (
    SCRIPTS,
    Copy,
    Device,
    GitTree,
    HttpFile,
    Run,
    Surroundings,
    Workdir,
)
from ocitool.builder.dockerfile import instructions as do
from ocitool.builder.dockerfile.values import check_source
from ocitool.builder.frontend import history
from ocitool.builder.frontend.evaluate import StageState
from ocitool.builder.frontend.mounts import SourceOf, agent_socket, run_mounts
from ocitool.builder.frontend.sources.remotes import fetched


def run(state: StageState, instruction: do.Run, source_of: SourceOf) -> tuple[Run, str]:
    """RUN: return the vertex and the text of its history entry.

    *source_of* returns the vertex that a mount takes files from.
    """
    script = ""
    args = state.command(instruction.command)
    if instruction.heredocs and instruction.command.args[0].startswith("#!"):
        script = instruction.command.args[0]
        args = (*state.shell, f"{SCRIPTS}/{instruction.heredocs[0].name}")
    mounts = run_mounts(state, instruction, source_of)
    state.used.note(mounts, instruction.span)
    vertex = Run(
        base=state.vertex,
        platform=str(state.platform),
        args=args,
        env={**agent_socket(mounts), **state.scope.run_env()},
        cwd=state.cwd,
        user=state.run.user,
        around=_around(state, instruction),
        script=script,
        insecure=instruction.insecure,
        devices=tuple(
            Device(
                name=device.name,
                required=device.required,
                allowed=state.entitlements.allow_device(device.name),
            )
            for device in instruction.devices
        ),
        mounts=mounts,
        secret_env=state.scope.proxies(),
    )
    return vertex, history.run(args, state.scope.arguments())


def _around(state: StageState, instruction: do.Run) -> Surroundings:
    if instruction.network is None:
        return state.around
    return replace(state.around, network=instruction.network)


def workdir(state: StageState, instruction: do.Workdir) -> tuple[Workdir | None, str]:
    """WORKDIR: set the working directory; return the vertex and the text of its history entry.

    An empty path does not change the directory.  Each one except ``/`` has a layer, maybe an
    empty one.
    """
    written = state.expand(instruction.path)
    if not state.has_workdir:
        checks.workdir_relative_path(state.linter, instruction.span, written)
    state.has_workdir = True
    path = state.absolute(written)
    state.run = replace(state.run, working_dir=path)
    text = f"WORKDIR {path}"
    if path == "/":
        return None, text
    platform = str(state.platform)
    return Workdir(base=state.vertex, platform=platform, path=path, user=state.run.user), text


def copy(
    state: StageState,
    instruction: do.Copy | do.Add,
    source: int,
    source_name: str,
    fetch: Callable[[HttpFile | GitTree], int],
    warn: Callable[[str], None],
) -> tuple[Copy, str]:
    """COPY and ADD: return the vertex and the text of its history entry.

    *source* is the vertex that the files come from; *fetch* returns that of what is fetched.
    """
    add = instruction if isinstance(instruction, do.Add) else None
    word = "ADD" if add else "COPY"
    paths = tuple(state.expand(path) for path in instruction.sources)
    for path in paths:
        check_source(word, path)
    dest = state.expand(instruction.dest)
    chmod = state.expand(instruction.chmod or "")
    if chmod:
        parse_chmod(chmod)  # an invalid one is refused here, whether or not the step is cached
    for pattern in instruction.exclude:
        if pattern.lstrip("! ").startswith("/") or pattern.startswith("!./"):
            warn(
                f"--exclude={pattern} matches nothing: patterns are relative to the source; they "
                "begin neither with a slash nor with !./"
            )
    remotes = fetched(add, paths, state.expand(add.checksum or ""), warn) if add else {}
    if not source_name:
        local = [path for path in paths if path not in remotes]
        checks.copy_ignored_file(state.linter, instruction, local, state.ignored)
    vertex = Copy(
        base=state.vertex,
        platform=str(state.platform),
        source=source,
        paths=paths,
        dest=_destination(state, dest),
        texts=tuple(_texts(state, instruction).items()),
        chown=state.expand(instruction.chown or ""),
        chmod=chmod,
        remotes=tuple((url, fetch(file)) for url, file in remotes.items()),
        unpack=add is not None and add.unpack is not False,
        unpack_remotes=add is not None and add.unpack is True,
        link=instruction.link and not chmod,  # as BuildKit, which then looks at the base
        parents=isinstance(instruction, do.Copy) and instruction.parents,
        exclude=instruction.exclude,
        source_name=source_name,
    )
    heredocs = (heredoc.name for heredoc in instruction.heredocs)
    return vertex, history.copy(word, vertex, heredocs, dest)


def _texts(state: StageState, instruction: do.Copy | do.Add) -> dict[str, bytes]:
    texts = {}
    for heredoc in instruction.heredocs:
        text = state.expand_document(heredoc.text) if heredoc.expand else heredoc.text
        texts[heredoc.name] = text.encode("utf-8", "surrogateescape")
    return texts


def _destination(state: StageState, text: str) -> str:
    """Return the absolute destination; a trailing slash stays, and ``.`` is a directory.

    An empty one is the working directory.
    """
    path = state.absolute(text)
    if path != "/" and (text.endswith(("/", "/.", "/..")) or text in ("", ".", "..")):
        path += "/"
    return path
