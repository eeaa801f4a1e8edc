"""Whole projects of different kinds, with cache mounts and secrets: built, run, and built again.

Most install compilers first, so that they are tried by ``make projects``.
"""

from __future__ import annotations

import http.server
import os
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.fixtures.programs import CHECKOUT, Finished, RunCli
from tests.fixtures.tables import read_table

PROJECTS: Final = CHECKOUT / "testdata/projects"
TABLE: Final[dict[str, dict[str, Any]]] = read_table(PROJECTS / "projects.yaml")
ALL: Final = bool(os.environ.get("OCITOOL_PROJECTS"))
TOKEN: Final = "a-token-that-nobody-else-has"
CACHED: Final = "Nothing to do: "


class _Library(http.server.BaseHTTPRequestHandler):
    """Gives a file to whoever has the token."""

    def do_GET(self) -> None:
        allowed = self.headers["Authorization"] == f"Bearer {TOKEN}"
        self.send_response(200 if allowed else 401)
        self.end_headers()
        self.wfile.write(b"the library\n" if allowed else b"")

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def library() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Library) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def ocitool(run_cli: RunCli, session_tree: Path) -> Any:
    """Return a function that runs a command on the store that all projects share."""
    store = session_tree / "projects"

    def run(*words: Any) -> Finished:
        return run_cli(*words, root=store, timeout=1200).ok()

    return run


def _words(name: str, library: str, base: str, busybox: str) -> list[Any]:
    project = TABLE[name]
    given = {"BASE": base, "BUSYBOX": busybox, **project.get("args", {})}
    secrets = {"ca": f"src={ssl.get_default_verify_paths().cafile or ''}", "token": "env=TOKEN"}
    if project.get("server"):
        given["SERVER"] = library
    words = ["--network", "host"]
    words += [word for key, value in given.items() for word in ("--build-arg", f"{key}={value}")]
    for key in project.get("secrets", ()):
        words += ["--secret", f"id={key},{secrets[key]}"]
    for key, value in project.get("contexts", {}).items():
        words += ["--build-context", f"{key}={PROJECTS / name / value}"]
    return words


@pytest.mark.campaign
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if ALL or project.get("quick") else pytest.mark.skip("long"))
        for name, project in TABLE.items()
    ],
)
@pytest.mark.usefixtures("root_only", "containers", "network")
def test_a_project(
    name: str, ocitool: Any, library: str, debian_base: str, busybox_base: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("TOKEN", TOKEN)
    project = TABLE[name]
    context = PROJECTS / name / project.get("context", ".")
    words = _words(name, library, debian_base, busybox_base)
    targets = {project.get("target", ""): project.get("prints"), **project.get("also", {})}
    for target, prints in targets.items():
        tag = f"projects/{name}{target}:1"
        command = ("build", *words, "--target", target, "-t", tag, context)
        ocitool(*command)
        said = ocitool("run", "--rm", "--network", "none", tag).stdout.rstrip("\n")
        assert prints is None or said == prints
        assert project.get("contains", "") in said
        assert ocitool(*command).stdout.startswith(CACHED)
    if platform := project.get("platform"):
        ocitool("build", *words, "--platform", platform, "-t", f"projects/{name}:other", context)
        form = "{{.Os}}/{{.Architecture}}"
        named = ocitool("inspect", "--format", form, f"projects/{name}:other")
        assert named.stdout.strip() == platform
    for target, files in project.get("files", {}).items():
        ocitool("build", *words, "--target", target, "-o", tmp_path, context)
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == files


def test_there_are_twenty() -> None:
    assert len(TABLE) >= 20
    assert {path.name for path in PROJECTS.iterdir() if path.is_dir()} == TABLE.keys()
