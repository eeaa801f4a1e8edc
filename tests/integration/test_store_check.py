"""What a build has left as unpacked layers passes the check, with every driver."""

from __future__ import annotations

import pytest

DOCKERFILE = """
FROM tools:1
RUN mkdir -p /a/b /gone && echo 1 > /a/f && ln -s f /a/link && ln /a/f /a/other
RUN rm -rf /gone && echo 2 > /a/f && chmod 700 /a/b && touch /a/b/new && rm /a/link
RUN rm -rf /a && mkdir /a && echo 3 > /a/f
COPY Dockerfile /a/copied
RUN cat /a/copied > /a/again
"""


@pytest.mark.parametrize("driver", ["overlay", "vfs"])
def test_layers_that_a_build_made_are_whole(
    tools_store, run_cli, containers, tmp_path, driver, store_root
):
    run_cli("save", "-o", tmp_path / "tools.tar", "tools:1", root=tools_store).ok()
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "Dockerfile").write_text(DOCKERFILE)

    def run(*words):
        return run_cli("--driver", driver, *words, root=store_root)

    run("load", "-i", tmp_path / "tools.tar").ok()
    run("build", "-t", "made:1", tmp_path / "context").ok()
    run("run", "--rm", "made:1", "cat", "/a/again").ok()
    assert run("system", "check").ok().stdout == "No problems found\n"
