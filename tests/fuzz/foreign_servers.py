"""Foreign servers: their answers to a build, with random changes of heads and bodies."""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final
from unittest import mock

from ocitool import BuildOptions, Store, build
from tests.fixtures.git_server import GitServer, backend
from tests.fuzz.layouts import MEDIA, changed_layout
from tests.fuzz.mutations import changed, changed_document, dumped

_PACKETS: Final = (
    b"0000", b"0001", b"0002", b"0004", b"ffff", b"0008NAK\n", b"packfile\n", b"PACK",
    b"version 2\n", b"refs/heads/main", b"HEAD", b"symref-target:", b"\n",
    b"ERR no\n", b"\x01", b"\x02",
)  # fmt: skip
_HEADERS: Final = {
    "Last-Modified": (
        "Sat, 01 Jan 2000 00:00:00 GMT",
        "never",
        "Sat, 01 Jan 99999 00:00:00 GMT",
        "0",
    ),
    "ETag": ('"a"', "W/", "a" * 5000, "\xff"),
    "Content-Disposition": ("attachment; filename=../../x", "attachment; filename*=UTF-8''%00"),
    "Content-Length": ("-1", "x", "99999999999999999999", "3", "0"),
    "Content-Encoding": ("gzip", "br", "x"),
    "Transfer-Encoding": ("chunked", "x"),
    "Content-Type": ("text/html", "application/vnd.oci.image.index.v1+json", "x/y; charset=\xff"),
    "Location": ("/", "//", "http://[", "ftp://x/", "http://127.0.0.1:1/", "\xff"),
    "Docker-Content-Digest": ("sha256:0", "sha256:" + "0" * 64, "x", ""),
    "Www-Authenticate": ('Bearer realm="http://127.0.0.1:1/"', "Basic", "Bearer realm=[", '"'),
    "Retry-After": ("0", "-1", "x", "Sat, 01 Jan 2000 00:00:00 GMT"),
    "Link": ("</v2/>; rel=next", "<", ">;"),
}
_STATUS: Final = (200, 200, 200, 206, 301, 302, 304, 401, 404, 416, 429, 500, 999)

Answer = tuple[int, dict[str, str], bytes]


class ForeignServers:
    """Targets that a server on loopback answers."""

    def __init__(self, work: Path, store: Store) -> None:
        self._work = work
        self._store = store
        self._number = 0
        self._git = GitServer(work / "repositories")
        if not self._git.root.exists():
            self._git.root.mkdir()
            self._git.address = "x"
            self._git.repository().commit({"a": "a\n", "d/b": {"link": "../a"}})

    def git(self, dice: random.Random) -> None:
        """ADD of a repository."""
        self._build(dice, self._answer, "ADD http://{}/r.git /r\n", _PACKETS)

    def file(self, dice: random.Random) -> None:
        """ADD of a URL, unpacked or not."""
        flag = dice.choice(("", "--unpack=true ", "--checksum=sha256:" + "0" * 64 + " "))
        self._build(dice, lambda *_: (200, {}, b"served\n"), f"ADD {flag}http://{{}}/f /f/\n")

    def registry(self, dice: random.Random) -> None:
        """FROM an image of a registry."""
        files = changed_layout(dice)
        index = json.dumps({"manifests": []}).encode()
        try:
            entry = json.loads(files["index.json"])["manifests"][0]
            index = files[f"blobs/sha256/{entry['digest'][7:]}"]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            pass

        def answer(method: str, path: str, head: BaseHTTPRequestHandler, body: bytes) -> Answer:
            name = path.rpartition(":")[2]
            if "/blobs/" in path or f"sha256/{name}" in files:
                data = files.get(f"blobs/sha256/{name}")
                return (404, {}, b"{}") if data is None else (200, {}, data)
            return 200, {"Content-Type": f"{MEDIA}manifest.v1+json"}, index

        self._build(dice, answer, "FROM {}/a/b:1\nCOPY --from={}/a/b:1 / /x/\n")

    def token(self, dice: random.Random) -> None:
        """FROM an image of a registry that wants a token."""
        document = {"token": "t", "access_token": "u", "expires_in": 60, "issued_at": "now"}
        token = dumped(dice, changed_document(dice, document))
        body = changed(dice, b'{"errors": [{"code": "DENIED", "message": "no", "detail": {}}]}')

        def answer(method: str, path: str, head: BaseHTTPRequestHandler, body_: bytes) -> Answer:
            if path.startswith("/token"):
                return 200, {}, token
            realm = f'Bearer realm="http://{head.headers["Host"]}/token",service="s"'
            return 401, {"Www-Authenticate": realm}, body

        self._build(dice, answer, "FROM {}/a/b:1\n")

    def repository(self, dice: random.Random) -> None:
        """ADD of a repository whose files tell git what to do."""
        self._number += 1
        made = self._git.repository(f"r{self._number}.git")
        modules = b'[submodule "a"]\n\tpath = d\n\turl = ../r.git\n\tbranch = main\n'
        attributes = b"* text=auto eol=crlf\n*.x filter=lfs -text export-ignore\n"
        texts = {
            ".gitmodules": changed(dice, modules, (b"url", b"../", b"path", b"-x", b"file://")),
            ".gitattributes": changed(dice, attributes, (b"filter=", b"ident", b"* ")),
        }
        made.commit({"a.x": "a\n"}, push=False)
        for name, text in texts.items():
            made.write(name, text)
        head = made.git("rev-parse", "HEAD")
        try:
            made.git("update-index", "--add", "--cacheinfo", f"160000,{head},d")
            made.commit()
        except AssertionError:  # git itself refuses what it should commit
            return

        text = f"ADD http://{{}}/r{self._number}.git /r\n"
        self._build(dice, self._answer, text, wrong=99)

    def _answer(self, method: str, path: str, head: BaseHTTPRequestHandler, body: bytes) -> Answer:
        lines, _, content = backend(self._git, method, path, head.headers, body).partition(
            b"\r\n\r\n"
        )
        fields = dict(line.partition(": ")[::2] for line in lines.decode().split("\r\n"))
        status = int(fields.pop("Status", "200").split()[0])
        return status, fields, content

    def _build(
        self,
        dice: random.Random,
        answer: Callable[[str, str, BaseHTTPRequestHandler, bytes], Answer],
        text: str,
        words: tuple[bytes, ...] = (),
        wrong: int | None = None,
    ) -> None:
        wrong = dice.randrange(4) if wrong is None else wrong
        with _served(dice, answer, words, wrong) as address:
            lines = text.replace("{}", address)
            start = "" if lines.startswith("FROM") else "FROM scratch\n"
            options = BuildOptions(
                context=str(self._work), dockerfile=f"{start}{lines}".encode(), no_cache=True,
                insecure=True, retry=0, retry_delay=0, secret_scan=False, pull="always",
            )  # fmt: skip
            with mock.patch.dict(os.environ, {"NO_PROXY": "127.0.0.1"}):
                build(options, store=self._store)


@contextmanager
def _served(
    dice: random.Random,
    answer: Callable[[str, str, BaseHTTPRequestHandler, bytes], Answer],
    words: tuple[bytes, ...],
    wrong: int,
) -> Iterator[str]:
    """Serve answers of which the one with the number *wrong* is changed; yields the address."""
    asked = [0]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, fields, content = answer(self.command, self.path, self, body)
            fields = {"Content-Length": str(len(content)), **fields}
            if asked[0] == wrong:
                if dice.random() < 0.5:
                    content = changed(dice, content, words)
                    fields["Content-Length"] = str(len(content))
                for name in dice.sample(list(_HEADERS), dice.choice((0, 1, 1, 2))):
                    fields[name] = dice.choice(_HEADERS[name])
                status = dice.choice(_STATUS) if dice.random() < 0.3 else status
            asked[0] += 1
            self.send_response(status)
            for name, value in fields.items():
                self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_POST = do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            return None

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            return None  # a client that goes away

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
