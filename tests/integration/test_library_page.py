"""The examples of docs/library.md, executed one after the other as a reader would."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from ocitool_registry import MemoryBackend
from ocitool_registry.server.serve import serve
from tests.fixtures.programs import CHECKOUT, python_environment

DOCKERFILE = 'ARG BASE\nFROM $BASE\nCOPY a.txt /a.txt\nRUN cat /a.txt\nCMD ["cat", "/a.txt"]\n'


@pytest.mark.campaign
def test_the_examples_of_the_library(run_cli, tools_context, store_root, containers, tmp_path):
    page = (CHECKOUT / "docs/library.md").read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    (tmp_path / "project").mkdir()
    (tmp_path / "project/Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "project/a.txt").write_text("hello\n")
    (tmp_path / "token.txt").write_text("a long secret")
    with serve(MemoryBackend()) as registry:
        base = f"{registry.address}/base:1"
        run_cli("build", "-q", "-t", base, tools_context, root=store_root / "base").ok()
        run_cli("push", "-q", base, root=store_root / "base").ok()
        code = code.replace("localhost:5000", registry.address)
        code = code.replace("docker.io/library/busybox:1.36", base)
        code += "\nassert result.digest and done.size >= 0\n"
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            env=python_environment({"OCITOOL_ROOT": str(store_root / "here")}),
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert "0 of 3 steps were cached" in said and "exit code 3, line 2:" in said
    assert "FromAsCasing" in said and "stored  ('docker.io/library/app:files',)" in said
    assert "\n4 \n" in said  # the exit code of the container
    assert (tmp_path / "out/a.txt").read_text() == "hello\n"
