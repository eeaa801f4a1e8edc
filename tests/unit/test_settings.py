"""Settings: files, then the environment, then flags; and where each came from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ocitool.errors import FormatError
from ocitool.settings import NO_HOME, Settings, default_root, settings_files
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


# -- without a home directory --------------------------------------------------------------


@pytest.fixture
def homeless(monkeypatch, tmp_path):
    """A user without HOME and without a line in passwd, as OpenShift runs containers."""
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() or 12345)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.chdir(tmp_path)
    return {"TMPDIR": str(tmp_path / "temporary")}


def test_the_store_is_a_directory_of_the_user_in_tmpdir(homeless, tmp_path):
    settings = Settings.load(environ=homeless)
    assert settings.root == f"{tmp_path}/temporary/ocitool-{os.geteuid()}"
    assert settings.origins["root"] == NO_HOME
    assert default_root({}) == f"/tmp/ocitool-{os.geteuid()}"
    assert settings_files(homeless) == ("/etc/ocitool/config.toml",)


def test_the_data_directory_and_the_variable_come_first(homeless):
    data = {**homeless, "XDG_DATA_HOME": "/data"}
    assert Settings.load(environ=data).root == "/data/ocitool"
    given = Settings.load(environ={**homeless, "OCITOOL_ROOT": "/given"})
    assert (given.root, given.origins["root"]) == ("/given", "OCITOOL_ROOT")


def test_home_is_the_root_for_a_user_without_one(homeless):
    """As docker and Kubernetes set it for an ID that passwd does not have."""
    environ = {**homeless, "HOME": "/"}
    assert Settings.load(environ=environ).origins["root"] == NO_HOME
    assert settings_files(environ) == ("/etc/ocitool/config.toml",)


@pytest.mark.parametrize("path", ["~", "~/store"])
def test_a_tilde_that_is_unknown_is_an_error(homeless, path):
    with pytest.raises(FormatError, match="home directory is unknown") as caught:
        Settings.load(environ={**homeless, "OCITOOL_ROOT": path})
    assert caught.value.where == "OCITOOL_ROOT"


@pytest.mark.parametrize("what", ["open", "file", "link", "foreign"])
def test_a_directory_of_others_in_tmpdir_is_refused(homeless, tmp_path, what):
    """Every user may make something of that name."""
    (tmp_path / "temporary").mkdir()
    path = Path(default_root(homeless))
    if what == "file":
        path.touch(0o600)
    elif what == "link":
        path.symlink_to(tmp_path)
    else:
        path.mkdir(0o700)
        path.chmod(0o755 if what == "open" else 0o700)
    if os.getuid() == 0 and what != "foreign":
        os.chown(path, os.geteuid(), -1, follow_symlinks=False)
    elif what == "foreign" and os.getuid() != 0:
        pytest.skip("needs root, which is another user here")
    with pytest.raises(FormatError, match="is not a private directory") as caught:
        Settings.load(environ=homeless)
    assert "OCITOOL_ROOT" in caught.value.hint


@pytest.mark.slow
def test_a_directory_of_its_own_in_tmpdir_is_used_again(homeless, tmp_path):
    path = Path(default_root(homeless))
    path.mkdir(0o700, parents=True)
    if os.getuid() == 0:
        os.chown(path, os.geteuid(), -1)
    assert Settings.load(environ=homeless).root == str(path)


@pytest.mark.slow
def test_the_directory_in_tmpdir_is_made_before_another_user_can(homeless, monkeypatch):
    path = Path(default_root(homeless))
    path.parent.mkdir(exist_ok=True)
    real = os.mkdir

    def make(where, mode=0o777):
        real(where, mode)
        if os.getuid() == 0:
            os.chown(where, os.geteuid(), -1)

    monkeypatch.setattr(os, "mkdir", make)
    Settings.load(environ=homeless)
    assert path.stat().st_mode & 0o7777 == 0o700
