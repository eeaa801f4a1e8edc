"""RUN: a command in a sandbox on a writable snapshot, whose changes become a layer."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import tempfile
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from ocitool.builder.definition import SCRIPTS, Rights, Run
from ocitool.builder.secrets.masking import Masking
from ocitool.builder.solver.inputs import Inputs
from ocitool.builder.solver.mounts.cdi import made_devices
from ocitool.builder.solver.mounts.making import moves
from ocitool.builder.solver.mounts.mounts import made
from ocitool.builder.solver.mounts.volumes import mounted as volumes
from ocitool.builder.solver.step_context import StepContext
from ocitool.errors import BuildError, StepFailed
from ocitool.progress import Notice, ProgressSink, StepOutput, wants_streams
from ocitool.store.layer_content import Layer
from ocitool_runtime.host.streams import open_pipe
from ocitool_runtime.host.terminal import interrupts_deferred
from ocitool_runtime.host.userns.idmap import Maps, usable_maps
from ocitool_runtime.isolation import Isolation, start
from ocitool_runtime.spec import Exit, Mount, Sandbox, environment

_KEPT: Final = 20  # lines of output that an error shows
_NOT_FOUND: Final = 127  # the exit code of a shell that finds no program
_SHOWN: Final = 100  # characters of a command in a message
HOSTNAME: Final = "buildkitsandbox"  # what Dockerfiles have come to expect


def run(context: StepContext, step: Run, inputs: Inputs) -> Layer:
    """Execute *step* on the file system of its parents and return its layer.

    Raises:
        StepFailed: the command ended with another exit code than 0; nothing of it is kept.
        SandboxError: the sandbox could not be set up.
    """
    store, progress, parents = context.store, context.progress, inputs.parents
    if step.insecure and moves(context):
        raise BuildError(
            "RUN --security=insecure is not supported where no namespaces can be made",
            hint="use --isolation namespaces where it works",
        )
    with (
        store.layers.prepare(parents, progress) as snapshot,
        _script(step, store.lease().path) as script,
        volumes(context, step.around.volumes) as shared,
        made(context, step.mounts, inputs.mounted) as mounted,
    ):
        devices = made_devices(context, step.devices)
        mounts = (*shared, *script, *devices.mounts, *mounted.mounts)
        sandbox = sandbox_for(step, snapshot.mounts, mounts, {**devices.env, **mounted.env})
        sandbox = replace(
            sandbox,
            devices=devices.devices,
            groups=devices.groups,
            withheld=context.secrets.variables(os.environb),
        )
        output = _Output(progress, context.number, lambda: Masking(context.secrets))
        done = _run(context.isolation, sandbox, output, mounted.begun)
        for warning in done.warnings:
            store.warn_once(warning, progress)
        if done.code and done.network_error:
            text = f"lost the private network: {done.network_error}"
            progress.emit(Notice(text=text, level="warning"))
        for note in done.notes:
            progress.emit(Notice(text=note, level="debug"))
        if done.code:
            raise _failure(step, done, output)
        return store.layers.commit(
            snapshot, parents, clamp=context.epoch, compression=context.compression
        )


def sandbox_for(
    step: Run, rootfs: tuple[Mount, ...], mounts: tuple[Mount, ...], env: Mapping[str, str]
) -> Sandbox:
    """Return the sandbox of a RUN on *rootfs*, with *mounts* and the variables *env* beside it."""
    around, maps = step.around, usable_maps()
    sandbox = Sandbox(
        rootfs=rootfs,
        mounts=mounts,
        args=step.args,
        env=environment({**step.env, **step.secret_env, **env}),
        cwd=step.cwd,
        own_cwd=True,
        user=step.user,
        hostname=around.hostname or HOSTNAME,
        network=around.network,
        hosts=around.hosts,
        dns=around.dns,
        dns_search=around.dns_search,
        dns_options=around.dns_options,
        image_files=(*around.image_files, "/etc/hostname"),  # as BuildKit, which mounts none
        shm_size=around.shm_size,
        rlimits=around.rlimits,
        resources=around.resources,
    )
    rights = around.rights
    if step.insecure:
        if maps.single:
            raise BuildError(
                "RUN --security=insecure is not supported for a user with a single ID",
                hint="ask root for subordinate IDs, see `ocitool info`",
            )
        rights = Rights(added=("CAP_ALL",), seccomp=False)
    return maps.applied_to(_entitled(sandbox, rights, maps))


def _entitled(sandbox: Sandbox, rights: Rights, maps: Maps) -> Sandbox:
    if rights == Rights():
        return sandbox
    from ocitool_runtime.security import Security, entitled

    return entitled(
        sandbox,
        maps,
        added=rights.added,
        dropped=rights.dropped,
        security=Security(no_new_privileges=rights.no_new_privileges, seccomp=rights.seccomp),
    )


def _run(
    isolation: Isolation,
    sandbox: Sandbox,
    output: _Output,
    begun: Sequence[Callable[[], None]] = (),
) -> Exit:
    with contextlib.ExitStack() as stack:
        with interrupts_deferred():
            stdout, stderr = output.pipes()
            try:
                process = start(isolation, sandbox, stdin=None, stdout=stdout, stderr=stderr)
            finally:
                for pipe in {stdout, stderr}:
                    os.close(pipe)
                # What the command has left running may hold the pipe open; `close` ends it first.
                stack.callback(output.wait)
            stack.callback(process.close)
        for each in begun:
            each()
        return process.wait()


class _Output:
    """Passes on what a step prints, and keeps the last lines of it.

    Both of its streams go through one pipe: through two, what it printed first could come last.
    A sink may want them apart all the same (`ocitool.progress.wants_streams`).
    """

    def __init__(self, progress: ProgressSink, step: int, mask: Callable[[], Masking]) -> None:
        self._progress = progress
        self._step = step
        self._maskings = defaultdict[str, Masking](mask)  # of each stream
        self._tail: deque[bytes] = deque(maxlen=_KEPT)
        self._open: dict[str, bytes] = {}  # the unfinished line of each stream
        self._thread: threading.Thread | None = None

    def pipes(self) -> tuple[int, int]:
        """Return the writing ends for stdout and stderr, which may be one; a thread reads them."""
        reading, writing = {}, []
        for stream in ("stdout", "stderr") if wants_streams(self._progress) else ("stdout",):
            read, write = open_pipe()  # whoever USER names may open /dev/stdout
            reading[read] = stream
            writing.append(write)
        self._thread = threading.Thread(target=self._read, args=(reading,), daemon=True)
        self._thread.start()
        return writing[0], writing[-1]

    def wait(self) -> None:
        """Wait until everything that was printed has been passed on."""
        if self._thread is not None:
            self._thread.join()

    def lines(self) -> tuple[str, ...]:
        """Return the last lines."""
        kept = [*self._tail, *filter(None, self._open.values())]
        # Of a line that was written over, as progress bars do, the last state counts.
        return tuple(
            line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace") for line in kept
        )

    def _read(self, streams: dict[int, str]) -> None:
        with selectors.DefaultSelector() as selector:
            for fd, stream in streams.items():
                selector.register(fd, selectors.EVENT_READ, stream)
            while selector.get_map():
                for ready, _ in selector.select():
                    masking = self._maskings[ready.data]
                    if data := os.read(ready.fd, 1 << 16):
                        self._take(masking.feed(data), ready.data)
                    else:
                        self._take(masking.end(), ready.data)
                        selector.unregister(ready.fd)
                        os.close(ready.fd)

    def _take(self, data: bytes, stream: str) -> None:
        if not data:
            return
        self._progress.emit(StepOutput(step=self._step, data=data, stream=stream))
        *whole, rest = (self._open.get(stream, b"") + data).split(b"\n")
        self._tail.extend(whole)
        self._open[stream] = rest[-4096:]


def _failure(step: Run, done: Exit, output: _Output) -> StepFailed:
    command = " ".join(" ".join(step.args).split())
    if len(command) > _SHOWN:  # the excerpt of the Dockerfile has all of it
        command = command[: _SHOWN - 1] + "…"
    if done.error:
        text = f"{command!r}: {done.error}"
    else:
        text = f'process "{command}" did not complete successfully: exit code: {done.code}'
    hint = ""
    if done.code == _NOT_FOUND and done.error:
        hint = (
            "the image does not have this program: use another base image, or add the program "
            "in an earlier step"
        )
    elif done.code == _NOT_FOUND and re.match(r"\s*\[\s*[\"']", step.args[-1]):
        hint = (
            "the command is not a JSON array, so the shell executes it: strings of a JSON "
            "array have double quotes"
        )
    return StepFailed(text, status=done.code, log=output.lines(), hint=hint)


@contextlib.contextmanager
def _script(step: Run, directory: str) -> Iterator[tuple[Mount, ...]]:
    """Mount a heredoc that is a script into the sandbox, read-only."""
    if not step.script:
        yield ()
        return
    with tempfile.TemporaryDirectory(dir=directory) as scripts:
        os.chmod(scripts, 0o755)
        path = f"{scripts}/{step.args[-1].rpartition('/')[2]}"
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(step.script)
        os.chmod(path, 0o755)
        yield (Mount(type="bind", source=scripts, target=SCRIPTS, options=("ro",)),)
