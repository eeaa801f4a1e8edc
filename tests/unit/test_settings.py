"""Settings: files, then the environment, then flags; and where each came from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ocitool.errors import FormatError
from ocitool.settings import Settings, default_root
from tests.fixtures.deadlines import within


@pytest.fixture
def config(tmp_path):
    """Return a function that writes the user's file; returns the environment it is found in."""

    def write(text):
        path = tmp_path / "config" / "ocitool" / "config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}

    return write


def test_the_nearest_wins_and_is_reported(config):
    environ = config('root = "/from/file"\ndriver = "vfs"\n')
    file = f"{environ['XDG_CONFIG_HOME']}/ocitool/config.toml"
    settings = Settings.load(environ=environ)
    assert (settings.root, settings.driver) == ("/from/file", "vfs")
    assert settings.origins == {"root": file, "driver": file}
    environ["OCITOOL_ROOT"] = "/from/env"
    settings = Settings.load(environ=environ)
    assert (settings.root, settings.origins["root"]) == ("/from/env", "OCITOOL_ROOT")
    settings = Settings.load(environ=environ, flags={"root": "/from/flag", "driver": None})
    assert (settings.root, settings.origins["root"]) == ("/from/flag", "--root")
    assert (settings.driver, settings.origins["driver"]) == ("vfs", file)


def test_a_flag_may_take_back_the_driver(config):
    environ = config('driver = "vfs"\n')
    assert Settings.load(environ=environ, flags={"driver": ""}).driver == ""


def test_work_in_the_background_is_allowed_or_not(config):
    environ = config('background = "no"\n')
    assert not Settings.load(environ=environ).background
    assert Settings.load(environ={**environ, "OCITOOL_BACKGROUND": "yes"}).background
    with pytest.raises(FormatError, match="expected 'yes' or 'no'") as caught:
        Settings.load(environ={**environ, "OCITOOL_BACKGROUND": "1"})
    assert caught.value.where == "OCITOOL_BACKGROUND"


def test_shared_stores_are_a_path_of_directories(config, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    environ = {**config('shared_stores = "/a:b"\n'), "OCITOOL_SHARED_STORES": ""}
    settings = Settings.load(environ=environ)
    assert settings.shared_stores == ("/a", f"{tmp_path}/b")
    settings = Settings.load(environ={**environ, "OCITOOL_SHARED_STORES": "/c:"})
    assert (settings.shared_stores, settings.origins["shared_stores"]) == (
        ("/c",), "OCITOOL_SHARED_STORES"
    )  # fmt: skip
    settings = Settings.load(environ=environ, flags={"shared_stores": ""})
    assert (settings.shared_stores, settings.origins["shared_stores"]) == ((), "--shared-stores")


def test_a_root_is_absolute(config, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    environ = config("")
    assert Settings.load(environ=environ, flags={"root": "a/../b"}).root == str(tmp_path / "b")


def test_an_empty_root_is_not_the_current_directory(config):
    with pytest.raises(FormatError, match="the root directory is empty") as caught:
        Settings.load(environ=config(""), flags={"root": ""})
    assert caught.value.where == "--root"
    assert Settings.load(environ={**config(""), "OCITOOL_ROOT": ""}).origins["root"] == "default"


def test_the_default_depends_on_the_user(tmp_path):
    found = default_root({"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data")})
    if os.geteuid() == 0:
        assert found == "/var/lib/ocitool"
    else:
        assert found == str(tmp_path / "data" / "ocitool")
        assert default_root({"HOME": "/h"}) == "/h/.local/share/ocitool"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("root = \n", "invalid TOML"),
        ("rot = 'x'\n", "unknown key 'rot'"),
        ("root = 1\n", "value of 'root' must be a string"),
        ("[root]\n", "value of 'root' must be a string"),
    ],
)
def test_a_wrong_file_is_reported(config, text, message):
    environ = config(text)
    with pytest.raises(FormatError, match=message) as caught:
        Settings.load(environ=environ)
    assert caught.value.where.endswith("ocitool/config.toml")


def test_a_directory_in_its_place_is_reported(config, tmp_path):
    environ = config("")
    path = tmp_path / "config" / "ocitool" / "config.toml"
    path.unlink()
    path.mkdir()
    with pytest.raises(FormatError, match="cannot read the file"):
        Settings.load(environ=environ)


def test_a_file_that_is_a_pipe_or_too_large_or_nested_is_refused(config):
    environ = config("")
    file = Path(environ["XDG_CONFIG_HOME"]) / "ocitool/config.toml"
    for text in ("a = " + "[" * 100_000, "#" * (1024 * 1024 + 1), "a = 1\n\0"):
        file.write_text(text)
        with pytest.raises(FormatError) as caught:
            Settings.load(environ=environ)
        assert caught.value.where == str(file)
    file.unlink()
    os.mkfifo(file)
    with within(10), pytest.raises(FormatError, match="expected a regular file, got a named pipe"):
        Settings.load(environ=environ)
    file.unlink()
    file.symlink_to("/dev/zero")
    with within(10), pytest.raises(FormatError, match="expected a regular file, got a device"):
        Settings.load(environ=environ)
