"""What cases take from servers on loopback: files, archives and git repositories."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from tests.fixtures.git_server import GitServer, handler
from tests.fixtures.images import packed

#: The addresses, in the text of a case.
FILES: Final = "http://@FILES@"
GIT: Final = "http://@GIT@"
_ARCHIVE: Final = {
    "p/": {"mode": 0o755},
    "p/one": {"text": "one\n", "mode": 0o640},
    "p/two": {"link": "one"},
    "a": "of an archive\n",
}
#: What the repository has, in two commits; the second one is a branch.
_TREE: Final = {
    "a.txt": "one\n",
    "run": {"text": "#!/bin/sh\n", "mode": 0o755},
    "sub/b.txt": "b\n",
    "sub/deep/c": "c\n",
    "link": {"link": "a.txt"},
}


class Remotes:
    """A server of files, and one of a repository, while a campaign runs."""

    def __init__(self, work: Path) -> None:
        files, repositories = work / "served", work / "repositories"
        files.mkdir()
        repositories.mkdir()
        (files / "f.txt").write_text("served\n")
        (files / "empty").touch()
        (files / "a.tar.gz").write_bytes(packed(_ARCHIVE, "gz"))
        (files / "a.tar").write_bytes(packed(_ARCHIVE, ""))
        self._listening: list[ThreadingHTTPServer] = []
        self.repositories = repositories
        git = GitServer(repositories)
        git.address = self._serve(handler(git))
        self._addresses = {
            "@FILES@": self._serve(handler(GitServer(files, plain_files=True))),
            "@GIT@": git.address,
        }
        made = git.repository()
        made.commit(_TREE)
        made.tag("v1")
        made.commit({"side": "side\n"}, branch="team/side")

    def _serve(self, answers: type[BaseHTTPRequestHandler]) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), answers)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self._listening.append(server)
        return f"127.0.0.1:{server.server_address[1]}"

    def addressed(self, text: str) -> str:
        """Return *text* with the servers' addresses."""
        for mark, address in self._addresses.items():
            text = text.replace(mark, address)
        return text

    def close(self) -> None:
        """Stop the servers."""
        for server in self._listening:
            server.shutdown()
            server.server_close()
