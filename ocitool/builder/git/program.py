"""The host's program ``git``, executed so that no repository and no file of the user configures it.

Nothing secret is an argument: credentials go as configuration in the environment, which only the
same user can read.

Source: git(1), "ENVIRONMENT VARIABLES"; git-config(1), GIT_CONFIG_COUNT.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Final

from ocitool.errors import BuildError
from ocitool.programs import find_program, search_path

if TYPE_CHECKING:
    from ocitool.builder.secrets.ssh.agent import Agent

_LARGEST: Final = 64 << 20  # bytes of output: the refs of a repository
_OLDEST: Final = (2, 31)  # that has GIT_CONFIG_COUNT
_TAIL: Final = 64 << 10  # bytes of messages that are kept
_CHUNK: Final = 1 << 16
_PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
#: No file of the user is read, nobody is asked, and no key is used but an agent's.
_SSH: Final = "ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=yes -o IdentityFile=none"
_CONFIG: Final = {
    "advice.detachedHead": "false",
    "core.fsmonitor": "false",
    "core.hooksPath": "/dev/null",
    "core.logAllRefUpdates": "false",
    "core.symlinks": "true",
    "fetch.recurseSubmodules": "false",
    "gc.auto": "0",
    "init.defaultBranch": "main",
    "maintenance.auto": "false",
    "safe.directory": "*",  # some file systems show another owner; nothing there is executed
    "pack.threads": "1",  # what a repository that is kept consists of is then the same each time
    "submodule.recurse": "false",
}


class GitFailed(Exception):
    """A command of git failed; ``messages`` is the end of what it wrote to standard error."""

    def __init__(self, messages: str) -> None:
        super().__init__(messages)
        self.messages = messages


class Git:
    """Executes commands of git, with the directory *home* as home and working directory.

    *config* is further configuration, which may have secrets; *agent* has the keys for ssh; *show*
    gets the messages of git and of servers as they come, and b"" at the end of a command.
    """

    def __init__(
        self,
        home: str,
        config: Mapping[str, str],
        agent: Agent | None = None,
        show: Callable[[bytes], object] | None = None,
    ) -> None:
        self.show = show
        self._home = home
        self._agent = agent
        self._env = {
            "PATH": search_path(),  # also for ssh, which git starts in the directory of the files
            "HOME": home,
            "LC_ALL": "C",  # messages are looked at
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",  # none, also of other variables
            "SSH_ASKPASS_REQUIRE": "never",
            "GIT_ALLOW_PROTOCOL": "http:https:ssh:git",  # submodules as well
            "GIT_SSH_COMMAND": _SSH,
            "GIT_SSH_VARIANT": "ssh",
            **_surroundings(),
            **_as_environment({**_CONFIG, **config}),
        }

    def reach(self, *words: str, directory: str = "") -> str:
        """Execute a command that reaches servers: `run`, with the keys for ssh."""
        if self._agent is None:
            return self.run(*words, directory=directory)
        from ocitool.builder.secrets.ssh.server import listening

        with listening(self._agent, self._home) as socket:
            return self.run(*words, directory=directory, agent=socket)

    def run(self, *words: str, directory: str = "", agent: str = "") -> str:
        """Execute one command in *directory*, and return what it wrote.

        *agent* is the socket of an SSH agent.

        Raises:
            GitFailed: it ended with another exit code than 0.
            BuildError: there is no program git, it is too old, or it wrote more than any repository
                needs.
        """
        program = find_program("git")
        if program is None:
            raise BuildError(
                "git is not installed, and is needed for git repositories",
                hint="install the package git",
            )
        _require_version(program)
        process = None
        try:
            with _interrupts_waiting():  # or it would be started, and not known
                process = subprocess.Popen(
                    [program, *words],
                    cwd=directory or self._home,
                    env=self._env | ({"SSH_AUTH_SOCK": agent} if agent else {}),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    start_new_session=True,  # there is no terminal on which ssh could ask
                    umask=0o022,  # modes are 0644 and 0755, whoever builds
                )
            output, messages = _read(process, self.show)
            code = process.wait()
        finally:
            if process is not None:
                _end(process)
        if code:
            raise GitFailed(messages.decode("utf-8", "replace"))
        return output.decode("utf-8", "surrogateescape")


@cache
def _require_version(program: str) -> None:
    """Refuse a *program* that does not take configuration from the environment; `BuildError`."""
    said = subprocess.run(
        [program, "version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    ).stdout
    found = re.search(r"(\d+)\.(\d+)", said)
    if found and (int(found[1]), int(found[2])) < _OLDEST:
        raise BuildError(
            f"git {found[0]} is too old: git {_OLDEST[0]}.{_OLDEST[1]} or newer is needed",
            hint="install a newer package git",
        )


@contextlib.contextmanager
def _interrupts_waiting() -> Iterator[None]:
    """Let an interrupt wait for the end of the block, whichever thread the kernel gives it to."""
    if threading.current_thread() is not threading.main_thread():
        yield  # none is raised here
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            signal.raise_signal(signal.SIGINT)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the program if it is still there, with what it has started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    with process:  # closes the streams, and waits
        pass


def _read(
    process: subprocess.Popen[bytes], show: Callable[[bytes], object] | None
) -> tuple[bytes, bytes]:
    """Read both streams to their ends: all of the output, and the tail of the messages.

    *show* gets the messages as they come.
    """
    assert process.stdout is not None
    assert process.stderr is not None
    output, messages = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, output)
        selector.register(process.stderr, selectors.EVENT_READ, messages)
        while selector.get_map():
            for key, _ in selector.select():
                data = os.read(key.fd, _CHUNK)
                if not data:
                    selector.unregister(key.fileobj)
                key.data.extend(data)
                if key.data is messages and show is not None:
                    show(data)
            del messages[:-_TAIL]
            if len(output) > _LARGEST:
                raise BuildError(
                    f"the repository has more than {_LARGEST} bytes of refs",
                    hint="name the commit, with all of its digits",
                )
    return bytes(output), bytes(messages)


def _surroundings() -> dict[str, str]:
    """Return what of the environment says how servers are reached."""
    found = {}
    for name in _PROXIES:
        for each in (name, name.upper()):
            if each in os.environ:
                found[each] = os.environ[each]
    for name, others in (
        ("GIT_SSL_CAINFO", ("GIT_SSL_CAINFO", "SSL_CERT_FILE")),
        ("GIT_SSL_CAPATH", ("GIT_SSL_CAPATH", "SSL_CERT_DIR")),
    ):
        given = [os.environ[each] for each in others if os.environ.get(each)]
        if given:
            found[name] = given[0]
    return found


def _as_environment(config: Mapping[str, str]) -> dict[str, str]:
    found = {"GIT_CONFIG_COUNT": str(len(config))}
    for number, (key, value) in enumerate(config.items()):
        found[f"GIT_CONFIG_KEY_{number}"] = key
        found[f"GIT_CONFIG_VALUE_{number}"] = value
    return found
