"""Credential helpers: get, store and erase."""

from __future__ import annotations

import json
import os
import textwrap
import time

import pytest

from ocitool.errors import RegistryError
from ocitool_registry import limits
from ocitool_registry.auth import authfile, helpers
from ocitool_registry.auth.credential import Credential
from ocitool_registry.auth.keychain import default_source, remove_credential, store_credential


@pytest.fixture
def helper(tmp_path, monkeypatch):
    """A helper ``docker-credential-fake`` whose secrets are files of a directory."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    bin = tmp_path / "bin"
    bin.mkdir()
    program = bin / "docker-credential-fake"
    program.write_text(
        textwrap.dedent(f"""\
        #!/bin/sh
        cd {secrets} || exit 9
        case $1 in
        get) name=$(tr / _)
            [ -f broken ] && {{ echo broken; exit 3; }}
            [ -f "$name" ] || {{ echo "credentials not found in native keychain"; exit 1; }}
            cat "$name";;
        store) cat > stored;;
        erase) rm "$(tr / _)";;
        esac
        """)
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(bin), prepend=":")
    return secrets


@pytest.fixture
def environment(tmp_path):
    return {"HOME": str(tmp_path / "home")}


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "home/.docker/config.json"
    path.parent.mkdir(parents=True)
    return path


def secret(user: str) -> str:
    return json.dumps({"ServerURL": "x", "Username": user, "Secret": "hush"})


def test_the_helper_for_a_host_is_used(helper, config, environment):
    config.write_text('{"credHelpers":{"r.example":"fake"}}')
    (helper / "r.example").write_text(secret("me"))
    source = default_source(environment=environment)
    found = source.get("r.example", "a")
    assert (found.username, found.password, found.origin) == (
        "me",
        "hush",
        "docker-credential-fake",
    )
    assert source.get("s.example", "a") is None


def test_the_default_helper_comes_before_the_file(helper, config, environment):
    config.write_text('{"credsStore":"fake","auths":{"s.example":{"username":"file"}}}')
    (helper / "https:__index.docker.io_v1_").write_text(secret("hub"))
    source = default_source(environment=environment)
    assert source.get("docker.io", "library/a").username == "hub"
    assert source.get("s.example", "a").username == "file"


def test_the_token_user_marks_an_identity_token(helper, config, environment):
    config.write_text('{"credsStore":"fake"}')
    (helper / "r.example").write_text(secret("<token>"))
    found = default_source(environment=environment).get("r.example", "")
    assert (found.username, found.identity_token) == ("", "hush")


def test_a_helper_that_is_not_installed_is_ignored(config, environment):
    config.write_text('{"credsStore":"absent-helper","auths":{"r.example":{"username":"file"}}}')
    assert default_source(environment=environment).get("r.example", "").username == "file"


@pytest.mark.parametrize("fault", ["broken", "not JSON"])
def test_a_broken_helper_is_a_warning(helper, config, environment, fault):
    """As docker and skopeo: the registry may give access to everybody."""
    config.write_text('{"credsStore":"fake"}')
    if fault == "broken":
        (helper / "broken").write_text("")
    (helper / "r.example").write_text("hush")
    warnings = []
    source = default_source(environment=environment, warn=warnings.append)
    assert source.get("r.example", "") is None
    (warning,) = warnings
    assert warning.startswith("docker-credential-fake get: ")
    assert "hush" not in warning
    config.write_text('{"credsStore":"fake","auths":{"r.example":{"username":"file"}}}')
    assert source.get("r.example", "").username == "file"
    assert default_source(environment=environment).get("r.example", "").username == "file"


def test_an_empty_helper_of_a_host_is_none(helper, config, environment):
    """Docker reads it so, too: the file is used, and not the default helper."""
    for empty in ('""', "null"):
        config.write_text(
            f'{{"credsStore":"fake","credHelpers":{{"r.example":{empty}}},'
            '"auths":{"r.example":{"username":"file"}}}'
        )
        (helper / "r.example").write_text(secret("store"))
        assert default_source(environment=environment).get("r.example", "").username == "file"


def test_a_helper_stores_and_erases(helper, config, environment):
    config.write_text('{"credsStore":"fake"}')
    credential = Credential(username="me", password="hush")
    where = store_credential("r.example", credential, environment=environment)
    assert where == "docker-credential-fake"
    stored = json.loads((helper / "stored").read_text())
    assert stored == {"ServerURL": "r.example", "Username": "me", "Secret": "hush"}
    assert "hush" not in config.read_text()
    assert authfile.load(str(config)).knows("r.example")
    (helper / "stored").rename(helper / "r.example")
    assert remove_credential("r.example", environment=environment)
    assert not (helper / "r.example").exists()
    assert not authfile.load(str(config)).knows("r.example")


def test_storing_with_a_helper_that_is_not_installed_is_an_error(config, environment):
    config.write_text('{"credsStore":"absent-helper"}')
    with pytest.raises(RegistryError, match="credential helper not found"):
        store_credential("r.example", Credential(username="me"), environment=environment)


# -- helpers and files without end ---------------------------------------------------------


@pytest.fixture
def careless(helper, config):
    """Returns a function that makes the helper the shell script that it is given."""
    config.write_text('{"credHelpers":{"r.example":"fake"}}')

    def make(script):
        program = helper.parent / "bin/docker-credential-fake"
        program.write_text(f"#!/bin/sh\n{script}\n")

    return make


def test_a_helper_with_endless_output_is_killed(careless):
    careless('while :; do printf "%01000d" 1; done')
    with pytest.raises(
        RegistryError, match="docker-credential-fake get: output is larger than 1048576"
    ):
        helpers.get("fake", "r.example")


@pytest.mark.slow
def test_a_helper_with_endless_error_output_is_killed(careless, monkeypatch):
    monkeypatch.setattr(limits, "HELPER_TIME", 0.5)
    careless('while :; do printf "%01000d" 1 >&2; done')
    with pytest.raises(RegistryError, match="no result after 0"):
        helpers.get("fake", "r.example")


@pytest.mark.slow
@pytest.mark.parametrize(
    "script", ["exec sleep 30", "sleep 30", "exec >&-; exec sleep 30", "sleep 30 & exit 0"]
)
def test_a_helper_that_does_not_end_is_killed(careless, monkeypatch, script):
    monkeypatch.setattr(limits, "HELPER_TIME", 0.5)
    careless(script)
    began = time.monotonic()
    with pytest.raises(RegistryError, match="docker-credential-fake get: no result after"):
        helpers.get("fake", "r.example")
    assert time.monotonic() - began < 60


def test_a_helper_that_reads_nothing_does_not_block(careless, environment):
    careless("exit 0")
    long = Credential(username="u", password="x" * 500_000)
    assert store_credential("r.example", long, environment=environment) == "docker-credential-fake"


@pytest.mark.parametrize("verb", ["get", "store", "erase"])
def test_a_pipe_is_not_an_authentication_file(config, environment, verb):
    os.mkfifo(config)
    calls = {
        "get": lambda: default_source(environment=environment).get("r.example", ""),
        "store": lambda: store_credential(
            "r.example", Credential(username="u", password="p"), environment=environment
        ),
        "erase": lambda: remove_credential("r.example", environment=environment),
    }
    with pytest.raises(RegistryError, match="is not a regular file"):
        calls[verb]()


def test_a_pipe_as_authfile_is_rejected(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RegistryError, match="is not a regular file"):
        default_source(str(tmp_path / "pipe")).get("r.example", "")


def test_devices_as_authfile():
    assert default_source("/dev/null").get("r.example", "") is None  # a way to say: nobody
    with pytest.raises(RegistryError, match="is not a regular file"):
        default_source("/dev/zero").get("r.example", "")


def test_the_size_of_an_authentication_file_is_limited(config, environment):
    config.write_bytes(b" " * (limits.AUTHFILE + 1))
    with pytest.raises(RegistryError, match="authentication file is larger than 4194304 bytes"):
        default_source(environment=environment).get("r.example", "")
