"""The range of subordinate IDs that a hint names belongs to nobody."""

from __future__ import annotations

import re

import pytest

from ocitool_runtime import errors
from ocitool_runtime.errors import MapsUnavailable
from ocitool_runtime.host.userns import idmap
from ocitool_runtime.host.userns.subids import free_range, usermod_hint


@pytest.mark.parametrize(
    ("files", "first"),
    [
        ({}, 100_000),
        ({"subuid": "ann:100000:65536\n"}, 165_536),
        ({"subuid": "bob:165536:65536\nann:100000:65536\n"}, 231_072),
        ({"subgid": "ann:100000:65536\n"}, 165_536),  # one range for both
        ({"subuid": "ann:100000:10\n", "subgid": "ann:150000:100000\n"}, 250_000),
        ({"subuid": "ann:100000:65536\nbob:231072:65536\n"}, 165_536),  # between them
        ({"subuid": "ann:100000:65536\nbob:231071:65536\n"}, 296_607),  # no room between them
        ({"passwd": "root:x:0:0::/:\nann:x:100005:100::/:\n"}, 100_006),
        ({"group": "staff:x:165535:\n"}, 165_536),
        ({"subuid": "broken\nann:x:y\n1000:1:99999\n"}, 100_000),
        ({"subuid": "ann:100000:600000000\n"}, 100_000),  # none is left: root has to look
    ],
)
def test_a_free_range(tmp_path, files, first):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert free_range(str(tmp_path)) == first


def test_the_command(tmp_path):
    (tmp_path / "subuid").write_text("ann:100000:65536\n")
    assert usermod_hint("bob", str(tmp_path)) == (
        "usermod --add-subuids 165536-231071 --add-subgids 165536-231071 bob"
    )


def test_hints_name_it(monkeypatch, tmp_path):
    monkeypatch.setattr(idmap.os, "geteuid", lambda: 54321)
    monkeypatch.setattr(idmap, "_find", lambda tool: tool)
    monkeypatch.setattr(idmap, "obstacle", lambda path: "")
    free = f"--add-subuids {free_range()}-"
    with pytest.raises(MapsUnavailable) as caught:
        idmap.current_maps(str(tmp_path / "subuid"), str(tmp_path / "subgid"))
    assert free in caught.value.hint
    assert re.search(f"{free}.* USER", errors.remedy("drop privileges", "setresuid", 22, ""))
