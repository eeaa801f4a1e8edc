"""Foreign bytes: whatever a build reads that others wrote, with random changes.

Each target makes something valid, changes it, and has it read as a build reads it.  What comes of
it is a result or an error of ours; any other exception is a fault.
"""

from __future__ import annotations

import io
import random
import shutil
import socket
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ocitool import BuildOptions, Store, build, check
from ocitool.builder.outputs.engine import _refusal
from ocitool.builder.secrets.ssh import keys
from ocitool.builder.secrets.ssh.protocol import Malformed, receive, split
from ocitool.builder.solver.mounts import cdi
from ocitool.cli.build_options.arguments import read_arguments
from ocitool.containers.variables import file_entries
from ocitool.image.archive.archive import load
from ocitool.settings import Settings
from ocitool_registry.auth import authfile
from ocitool_registry.auth.challenge import choose, parse_challenges
from tests.fixtures import images
from tests.fuzz.cases import random_case
from tests.fuzz.contexts import random_context
from tests.fuzz.dockerfiles import text_of
from tests.fuzz.foreign_servers import ForeignServers
from tests.fuzz.ignores import random_ignores
from tests.fuzz.layouts import changed_archive, changed_file, changed_layout, tar_of
from tests.fuzz.mutations import changed, changed_document, dumped

_WORDS: Final = tuple(
    word.encode()
    for word in (
        "FROM scratch", "\nRUN ", "\nCOPY ", "\nADD ", "\nENV ", "\nARG ", "\nLABEL ", "<<EOF",
        "\nEOF\n", "--from=", "--mount=", "--chmod=", "${A:-", "}", "# escape=`\n", "# check=skip=",
        "# syntax=", "ONBUILD ", '["', '"]', "\\\n", "--platform=", "type=cache,", "target=/",
        "HEALTHCHECK --interval=", "EXPOSE ", "VOLUME ", "SHELL ", " AS s0", "!", "**/", "[^a]",
        "https://", "git@", ".git#", "--checksum=sha256:", "--parents", "/./", "--exclude=",
    )
)  # fmt: skip
_SOME: Final = "FROM scratch\nCOPY . /c/\nADD *.t* /a/\n"
_DEVICES: Final = {
    "cdiVersion": "0.6.0",
    "kind": "acme.com/unit",
    "devices": [
        {
            "name": "0",
            "containerEdits": {
                "env": ["A=1"],
                "deviceNodes": [{"path": "/dev/x", "hostPath": "/dev/null", "type": "c",
                                 "permissions": "rw", "uid": 1, "major": 1, "minor": 3}],
                "mounts": [{"hostPath": "/etc", "containerPath": "/e", "options": ["ro"]}],
                "additionalGids": [5],
            },
        }
    ],
    "containerEdits": {"env": ["B=2"], "hooks": []},
}  # fmt: skip
_USERS: Final = {
    "passwd": b"root:x:0:0:root:/root:/bin/sh\nu:x:5:6::/home/u:/bin/sh\n",
    "group": b"root:x:0:\ng:x:8:u,root\n",
}
_CREDENTIALS: Final = {
    "auths": {
        "r.example:5000": {"auth": "dXNlcjpwYXNz"},
        "https://index.docker.io/v1/": {"username": "u", "password": "p", "identitytoken": "t"},
        "h.example/a/b": {"auth": ""},
    },
    "credHelpers": {"x.example": "none"},
    "credsStore": "",
    "HttpHeaders": {"A": "b"},
    "proxies": {"default": {"httpProxy": "http://p:1"}},
}


class Foreign:
    """Targets by name, and what they need: a directory and a store."""

    def __init__(self, work: Path, store: Store) -> None:
        self._work = work
        self._store = store
        self.servers = ForeignServers(work, store)

    def read(self, name: str, dice: random.Random) -> None:
        """Make, change and read what the target *name* is about."""
        TARGETS[name](self, dice)

    def _file(self, name: str, data: bytes) -> Path:
        path = self._work / name
        path.write_bytes(data)
        return path

    def _context(self) -> Path:
        top = self._work / "context"
        shutil.rmtree(top, ignore_errors=True)
        top.mkdir()
        return top

    def _build(self, **options: Any) -> None:
        build(BuildOptions(secret_scan=False, pull="never", **options), store=self._store)

    # -- what a build reads itself --------------------------------------------------------------

    def _dockerfile(self, dice: random.Random) -> None:
        """Check and evaluate a Dockerfile; nothing is executed."""
        case = random_case(dice)
        text = text_of(case.lines, case.escape).replace("$BASE", "scratch").encode()
        data = changed(dice, text, _WORDS) if dice.random() < 0.9 else dice.randbytes(80)
        top = self._context()
        for call in (check, self._definition):
            call(BuildOptions(context=str(top), dockerfile=data, pull="never"))

    def _definition(self, options: BuildOptions) -> None:
        """Build what has no RUN, up to the first step that needs a file."""
        lines = (options.dockerfile or b"").upper()
        if b"RUN" not in lines and b"HTTP" not in lines and b"GIT" not in lines:
            build(options, store=self._store)

    def _ignore_file(self, dice: random.Random) -> None:
        context = random_context(dice)
        text = "".join(random_ignores(dice, context.paths("file", "directory")).values())
        top = self._context()
        context.lay_out(top)
        (top / ".dockerignore").write_bytes(changed(dice, text.encode(), _WORDS))
        self._build(context=str(top), dockerfile=_SOME.encode())

    def _tar_context(self, dice: random.Random) -> None:
        members = {"Dockerfile": _SOME, "a.txt": "a\n", "b/": {"mode": 0o755}, "b/c": {"link": "d"},
                   "b/d": {"text": "d", "uid": 7}, "e": {"hardlink": "a.txt"}, "p": {"fifo": True},
                   "n" * 150: "long\n"}  # fmt: skip
        self._build(context=changed_archive(dice, members))

    def _archive_to_add(self, dice: random.Random) -> None:
        top = self._context()
        entries = [entry for entry in random_context(dice).entries if entry.kind == "archive"]
        members = entries[0].members if entries else {"a": "a\n", "b/c": {"link": "/a"}}
        (top / "a.tar").write_bytes(changed_archive(dice, members))
        self._build(context=str(top), dockerfile=_SOME.encode())

    # -- images ---------------------------------------------------------------------------------

    def _docker_archive(self, dice: random.Random) -> None:
        path = self._work / "docker.tar"
        recipe = {"a": "a\n", "d/": {"mode": 0o755}, "d/.wh.x": "", "l": {"link": "a"}}
        images.write_docker_archive(path, "fuzz:1", [recipe, {"b": "b\n"}], {"config": {}})
        files = {}
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member)
                files[member.name] = file.read() if file else b""
        for name in dice.sample(list(files), dice.choice((0, 1, 1, 2))):
            files[name] = changed_file(dice, name, files[name])
        self._load(changed(dice, tar_of(files)) if dice.random() < 0.3 else tar_of(files))

    def _load(self, data: bytes) -> None:
        load(io.BytesIO(data), into=self._store)
        self._build(dockerfile=b"FROM fuzz:1\nCOPY --from=fuzz:1 / /x/\n", context=str(self._work))

    def _oci_archive(self, dice: random.Random) -> None:
        self._load(tar_of(changed_layout(dice)))

    def _layout(self, dice: random.Random) -> None:
        top = self._work / "layout"
        shutil.rmtree(top, ignore_errors=True)
        for name, data in changed_layout(dice).items():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_bytes(data)
        named = {"base": f"oci-layout://{top}:fuzz"}
        text = b"FROM base\nCOPY --from=base / /x/\nONBUILD RUN true\nENV A=$A\n"
        self._build(dockerfile=text, context=str(self._work), build_contexts=named)

    def _users(self, dice: random.Random) -> None:
        """Names of owners, which a changed /etc/passwd and /etc/group of an image have."""
        top = self._context()
        (top / "etc").mkdir()
        for name, text in _USERS.items():
            (top / "etc" / name).write_bytes(changed(dice, text, (b":", b"\n", b"u", b"0", b"-1")))
        owner = dice.choice(("u", "u:g", "7", ":g", "u:7", "root"))
        line = f"COPY --chown={owner} etc/passwd /p\nUSER {owner}\nWORKDIR /w\n"
        self._build(context=str(top), dockerfile=f"FROM scratch\nCOPY . /\n{line}".encode())

    # -- small files ----------------------------------------------------------------------------

    def _devices(self, dice: random.Random) -> None:
        top = self._context()
        document = changed_document(dice, _DEVICES)
        data = dumped(dice, document)
        if dice.random() < 0.3:
            data = changed(
                dice, data, (b"\n", b"- ", b": ", b"&a ", b"*a", b"!!python/x ", b"<<: ")
            )
        (top / dice.choice(("a.json", "a.yaml"))).write_bytes(data)
        found = cdi._read([str(top)])
        for name, edits in found.devices.items():
            for each in edits:
                cdi._applied(name, each)

    def _credentials(self, dice: random.Random) -> None:
        path = self._file("auth.json", dumped(dice, changed_document(dice, _CREDENTIALS)))
        found = authfile.load(str(path))
        for registry in ("r.example:5000", "docker.io", "h.example", "x.example"):
            if (credential := found.get(registry, "a/b/c")) is not None:
                assert credential.basic.isascii()
            found.knows(registry)
            found.ask_helper(registry)

    def _challenge(self, dice: random.Random) -> None:
        text = b'Bearer realm="https://a.example/t",service="s",scope="x:y:z", Basic realm=a'
        header = changed(dice, text, (b",", b"=", b'"', b"Basic ", b"Bearer ")).decode("latin-1")
        choose(parse_challenges(header))

    def _argument_file(self, dice: random.Random) -> None:
        data = changed(dice, b"A=1\n# c\nB\nC='x y'\n", (b"=", b"A", b"#"))
        read_arguments((), (str(self._file("arguments", data)),))

    def _variables(self, dice: random.Random) -> None:
        data = changed(dice, b"A=1\n# c\nB\nC='x y'\n", (b"=", b"A", b"#"))
        list(file_entries(str(self._file("variables", data)), {"B": "1"}))

    def _settings(self, dice: random.Random) -> None:
        text = b'root = "/tmp/x"\ndriver = "vfs"\n'
        (self._work / "ocitool").mkdir(exist_ok=True)
        self._file("ocitool/config.toml", changed(dice, text, (b"[a]", b"=", b"root", b'"""')))
        Settings.load(environ={"XDG_CONFIG_HOME": str(self._work), "HOME": "/nowhere"})

    def _key(self, dice: random.Random) -> None:
        key = Path(self._work / "key")
        if not key.exists():
            import subprocess

            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
            subprocess.run(command, check=True)
        keys.load(str(self._file("changed", changed(dice, key.read_bytes()))))

    def _agent(self, dice: random.Random) -> None:
        one, other = socket.socketpair()
        message = b"\x00\x00\x00\x0c\x0d\x00\x00\x00\x03abc\x00\x00\x00\x00"
        with one, other:
            data = changed(dice, message)
            sender = threading.Thread(target=_send, args=(one, data))
            sender.start()
            other.settimeout(5)
            try:
                split(receive(other), 3)
            except (Malformed, OSError, EOFError):
                pass
            finally:
                sender.join()

    def _engine(self, dice: random.Random) -> None:
        lines = [{"stream": "x"}, {"errorDetail": {"message": "no"}, "error": "no"}]
        data = b"\n".join(dumped(dice, changed_document(dice, line)) for line in lines)
        _refusal(dice.choice((200, 500)), data)


def _send(to: socket.socket, data: bytes) -> None:
    to.sendall(data)
    to.shutdown(socket.SHUT_WR)


#: What is read, by name.
TARGETS: Final[dict[str, Callable[[Foreign, random.Random], None]]] = {
    "Dockerfile": Foreign._dockerfile,
    "ignore file": Foreign._ignore_file,
    "tar context": Foreign._tar_context,
    "archive to add": Foreign._archive_to_add,
    "docker archive": Foreign._docker_archive,
    "OCI archive": Foreign._oci_archive,
    "OCI layout": Foreign._layout,
    "users": Foreign._users,
    "CDI": Foreign._devices,
    "credentials": Foreign._credentials,
    "challenge": Foreign._challenge,
    "build-arg-file": Foreign._argument_file,
    "env-file": Foreign._variables,
    "settings": Foreign._settings,
    "SSH key": Foreign._key,
    "SSH agent": Foreign._agent,
    "docker engine": Foreign._engine,
    "git server": lambda foreign, dice: foreign.servers.git(dice),
    "file server": lambda foreign, dice: foreign.servers.file(dice),
    "registry": lambda foreign, dice: foreign.servers.registry(dice),
    "token server": lambda foreign, dice: foreign.servers.token(dice),
    "git repository": lambda foreign, dice: foreign.servers.repository(dice),
}
