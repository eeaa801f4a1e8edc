"""Where credentials are found, in which order, and how they are kept."""

from __future__ import annotations

import base64
import json
import stat

import pytest

from ocitool.errors import RegistryError
from ocitool_registry.auth import authfile, keychain
from ocitool_registry.auth.credential import Credential
from ocitool_registry.auth.keychain import default_source, remove_credential, store_credential


def auth(user: str, password: str = "p") -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def environment(home, tmp_path):
    return {"HOME": str(home), "XDG_RUNTIME_DIR": str(tmp_path / "run")}


def write(path, auths, **fields):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"auths": auths, **fields}))


def user(source, registry="r.example", repository="a/b"):
    found = source.get(registry, repository)
    return found.username if found else None


def test_files_are_searched_in_their_order(home, environment, tmp_path):
    paths = [
        home / ".docker/config.json",
        home / ".config/containers/auth.json",
        tmp_path / "run/containers/auth.json",
        tmp_path / "docker/config.json",
    ]
    environment["DOCKER_CONFIG"] = str(tmp_path / "docker")
    assert user(default_source(environment=environment)) is None
    for number, path in enumerate(paths):
        write(path, {"r.example": auth(f"user{number}")})
        found = default_source(environment=environment).get("r.example", "a")
        assert (found.username, found.origin) == (f"user{number}", str(path))


def test_a_given_file_is_the_only_one_used(home, environment, tmp_path):
    write(home / ".docker/config.json", {"r.example": auth("home")})
    write(tmp_path / "other.json", {})
    named = str(tmp_path / "other.json")
    assert user(default_source(named, environment)) is None
    assert user(default_source(environment={**environment, "REGISTRY_AUTH_FILE": named})) is None


def test_a_given_file_must_exist(environment):
    with pytest.raises(RegistryError, match="authentication file not found"):
        default_source("/nowhere/auth.json", environment)


def test_the_variable_comes_before_the_files_and_falls_through(home, environment):
    write(home / ".docker/config.json", {"r.example": auth("home"), "s.example": auth("s")})
    environment["DOCKER_AUTH_CONFIG"] = json.dumps({"auths": {"r.example": auth("inline")}})
    source = default_source(environment=environment)
    assert user(source) == "inline"
    assert user(source, "s.example") == "s"


def test_the_most_specific_key_wins():
    auths = {"r.example": auth("host"), "r.example/a": auth("space"), "r.example/a/b": auth("repo")}
    file = authfile.parse(json.dumps({"auths": auths}).encode(), "x")
    wanted = {"a/b": "repo", "a/c": "space", "ab": "host", "": "host"}
    assert {name: file.get("r.example", name).username for name in wanted} == wanted
    assert file.get("other.example", "a") is None


@pytest.mark.parametrize(
    "key",
    ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"],
)
def test_docker_hub_has_many_names(key):
    file = authfile.parse(json.dumps({"auths": {key: auth("me")}}).encode(), "x")
    assert file.get("docker.io", "library/debian").username == "me"


@pytest.mark.parametrize("key", ["https://r.example", "http://r.example/", "https://r.example/v1/"])
def test_old_keys_are_understood(key):
    file = authfile.parse(json.dumps({"auths": {key: auth("me")}}).encode(), "x")
    assert file.get("r.example", "").username == "me"


def test_entries_take_several_forms():
    auths = {
        "a": {"username": "u", "password": "p"},
        "b": {"identitytoken": "i", **auth("x", "")},
        "c": {"registrytoken": "r"},
        "d": {},
        "e": auth("u", "a:b\0\0"),
        "f": {"auth": "dTph\r\nOmI=\n"},  # as base64(1) writes it
        "g": None,
    }
    file = authfile.parse(json.dumps({"auths": auths}).encode(), "x")
    assert file.get("a", "") == Credential(username="u", password="p")
    assert file.get("b", "").identity_token == "i"
    assert file.get("c", "").registry_token == "r"
    assert file.get("d", "") is None
    assert file.get("e", "").password == file.get("f", "").password == "a:b"
    assert file.get("g", "") is None


def test_half_a_surrogate_pair_is_no_character_of_a_password():
    entry = {"username": "\ud800", "password": "p\udfff"}
    found = authfile.parse(json.dumps({"auths": {"a": entry}}).encode(), "x").get("a", "")
    assert found == Credential(username="\ufffd", password="p\ufffd")
    assert base64.b64decode(found.basic.removeprefix("Basic ")).decode() == "\ufffd:p\ufffd"


@pytest.mark.parametrize("name", ["a\0b", "../a", "/bin/sh"])
def test_a_helper_is_a_name(name):
    file = authfile.parse(json.dumps({"credHelpers": {"r.example": name}}).encode(), "x")
    with pytest.raises(RegistryError, match="x: invalid name of a credential helper"):
        file.ask_helper("r.example")
    file = authfile.parse(b'{"credsStore": "\\ud800"}', "x")
    assert file.ask_helper("r.example") is None  # no such program


@pytest.mark.parametrize(
    "text",
    ['{"auths":{"a":{"auth":"%%"}}}', "{", "[]", '{"auths":[1]}', '{"auths":{"a":"secret"}}'],
)
def test_an_invalid_file_is_an_error_without_secrets(text):
    with pytest.raises(RegistryError) as caught:
        authfile.parse(text.encode(), "the file").get("a", "")
    assert str(caught.value).startswith("the file")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("rest", ["", "\n", '"\n', "}", '\n{"auths": {}}'])
def test_what_follows_the_first_value_is_not_read(rest):
    text = f' {{"auths": {{"r.example": {json.dumps(auth("me"))}}}}}{rest}'
    for data in (text.encode(), text.encode("utf-8-sig")):
        assert user(authfile.parse(data, "file")) == "me"


def test_the_repr_of_a_credential_has_no_secrets():
    shown = repr(Credential(username="u", password="hush", identity_token="hush"))
    assert "hush" not in shown


def test_a_stored_credential_is_found_and_removed(home, environment):
    where = store_credential(
        "r.example", Credential(username="me", password="p:w"), environment=environment
    )
    assert where == str(home / ".docker/config.json")
    assert stat.S_IMODE((home / ".docker/config.json").stat().st_mode) == 0o600
    found = default_source(environment=environment).get("r.example", "a")
    assert (found.username, found.password) == ("me", "p:w")
    assert remove_credential("r.example", environment=environment)
    assert not remove_credential("r.example", environment=environment)
    assert user(default_source(environment=environment)) is None


def test_other_entries_and_settings_are_kept(home, environment):
    path = home / ".docker/config.json"
    write(path, {"s.example": auth("s"), "https://r.example/": auth("old")}, psFormat="x")
    store_credential("r.example", Credential(username="new"), environment=environment)
    fields = json.loads(path.read_text())
    assert fields["psFormat"] == "x"
    assert sorted(fields["auths"]) == ["r.example", "s.example"]


def test_a_newer_credential_is_not_hidden_by_an_older_one(environment, tmp_path):
    path = tmp_path / "run/containers/auth.json"
    write(path, {"r.example": auth("old")})
    where = store_credential("r.example", Credential(username="new"), environment=environment)
    assert where == str(path)
    assert user(default_source(environment=environment)) == "new"


def test_a_symlink_to_the_file_is_kept(home, environment, tmp_path):
    write(tmp_path / "dotfiles.json", {})
    (home / ".docker").mkdir(parents=True)
    (home / ".docker/config.json").symlink_to(tmp_path / "dotfiles.json")
    store_credential("r.example", Credential(username="me"), environment=environment)
    assert (home / ".docker/config.json").is_symlink()
    assert user(default_source(environment=environment)) == "me"


def test_docker_hub_is_stored_as_docker_does(home, environment):
    store_credential("docker.io", Credential(username="me"), environment=environment)
    fields = json.loads((home / ".docker/config.json").read_text())
    assert list(fields["auths"]) == ["https://index.docker.io/v1/"]


def test_a_plugin_is_asked_last(environment, monkeypatch):
    class Plugin:
        def get(self, registry, repository):
            return Credential(username=f"plugin of {registry}")

    monkeypatch.setattr(keychain.plugins, "names", lambda group: ("mine",))
    monkeypatch.setattr(keychain.plugins, "lookup", lambda group, name: Plugin)
    assert user(default_source(environment=environment)) == "plugin of r.example"


def test_names_and_passwords_are_bytes(home, environment):
    """Of an old user directory they may be Latin-1; docker passes them on as they are."""
    name, password = "\udce4", "p\udcff:"
    store_credential(
        "r.example", Credential(username=name, password=password), environment=environment
    )
    found = default_source(environment=environment).get("r.example", "x")
    assert (found.username, found.password) == (name, password)
    assert base64.b64decode(found.basic.removeprefix("Basic ")) == b"\xe4:p\xff:"


def test_without_a_home_directory_no_file_of_the_working_directory_is_read(monkeypatch, tmp_path):
    monkeypatch.setattr(keychain.os.path, "expanduser", lambda path: path)
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "~/.docker/config.json", {"r.example": auth("planted")})
    assert keychain.lookup_paths(None, {}) == ()
    assert user(default_source(environment={})) is None
    with pytest.raises(RegistryError, match="no home directory"):
        store_credential("r.example", Credential(username="me"), environment={})
    assert len(keychain.lookup_paths(None, {"XDG_RUNTIME_DIR": "/run/me"})) == 1
