"""What clients have pushed to `registry serve` stays, whatever is done to the store beneath it."""

from __future__ import annotations

import hashlib
import http.client
import json

import pytest

from ocitool import Store
from ocitool.errors import StoreError
from ocitool.image.repair import repair
from ocitool.store.maintenance.prune import prune
from ocitool.store.maintenance.remove import remove_image
from tests.fixtures.commands import failed
from tests.fixtures.servers import served
from tests.fixtures.stores import age

EMPTY = b"{}"
EMPTY_DIGEST = f"sha256:{hashlib.sha256(EMPTY).hexdigest()}"
MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": EMPTY_DIGEST,
            "size": len(EMPTY),
        },
        "layers": [],
    }
).encode()
DIGEST = f"sha256:{hashlib.sha256(MANIFEST).hexdigest()}"
TYPE = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}
LONE = b"pushed, and no manifest yet"
LONE_DIGEST = f"sha256:{hashlib.sha256(LONE).hexdigest()}"


def ask(address, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def push(address, *targets):
    for data, digest in ((EMPTY, EMPTY_DIGEST), (LONE, LONE_DIGEST)):
        path = f"/v2/a/blobs/uploads/?digest={digest}"
        assert ask(address, "POST", path, data) == 201
    for target in targets:
        assert ask(address, "PUT", f"/v2/a/manifests/{target}", MANIFEST, TYPE) == 201


def is_whole(address, *targets):
    for target in targets:
        assert ask(address, "GET", f"/v2/a/manifests/{target}") == 200
    for digest in (EMPTY_DIGEST, LONE_DIGEST):
        assert ask(address, "GET", f"/v2/a/blobs/{digest}") == 200


def aged(root):
    """Let all that was pushed be an hour old, so that no lease protects it."""
    with Store.open(str(root)) as store:
        age(store)


@pytest.fixture
def pushed(store_root):
    """The store of a server that has ended; a manifest was pushed to it by digest, and by tag."""
    with served(store_root) as (_, address):
        push(address, DIGEST, "one")
    aged(store_root / "registry")
    return store_root / "registry"


@pytest.mark.parametrize("words", [("-f",), ("-a", "-f"), ("-f", "--filter", "until=1h")])
def test_prune_is_refused_while_a_registry_is_served(run_cli, store_root, words):
    with served(store_root) as (_, address):
        push(address, DIGEST)
        aged(store_root / "registry")
        done = run_cli("system", "prune", *words, root=store_root / "registry")
        failed(done, 1, f"{store_root}/registry: the store holds the content of a registry server")
        is_whole(address, DIGEST)
    # The store that contains the server's store belongs to its user alone.
    run_cli("system", "prune", "-f", root=store_root).ok()


def test_prune_is_refused_when_the_server_has_ended(run_cli, pushed):
    for words in (("-f",), ("-a", "-f")):
        failed(run_cli("system", "prune", *words, root=pushed), 1, "so prune is refused")
    with served(pushed.parent) as (_, address):
        is_whole(address, DIGEST, "one")


def test_nothing_in_the_library_removes_what_was_pushed(pushed):
    with Store.open(str(pushed)) as store:
        with pytest.raises(StoreError, match="prune is refused"):
            prune(store, cache=False, dangling=False)
        for force in (False, True):
            with pytest.raises(StoreError, match="rmi is refused"):
                remove_image(store, DIGEST.removeprefix("sha256:")[:12], force=force)
        assert list(repair(store)) == []
    with served(pushed.parent) as (_, address):
        is_whole(address, DIGEST, "one")


def test_check_and_df_promise_nothing_of_it(run_cli, pushed):
    assert run_cli("system", "check", root=pushed).ok().stdout == "No problems found\n"
    assert run_cli("system", "check", "--repair", root=pushed).ok().stdout == (
        "No problems found\n"
    )
    lines = run_cli("system", "df", "--format", "{{.Reclaimable}}", root=pushed).ok().stdout
    assert {line.partition(" ")[0] for line in lines.splitlines()} == {"0B"}
    with served(pushed.parent) as (_, address):
        is_whole(address, DIGEST, "one")


def test_the_store_of_an_older_server_is_known(run_cli, pushed):
    (pushed / "served").unlink()  # which servers have not always written
    failed(run_cli("system", "prune", "-a", "-f", root=pushed), 1, "so prune is refused")


def test_a_repair_keeps_the_database_of_a_registry(run_cli, pushed):
    for end in ("-wal", "-shm"):
        (pushed / f"db.sqlite{end}").unlink(missing_ok=True)
    (pushed / "db.sqlite").write_bytes(b"corrupt" * 1000)
    done = run_cli("system", "check", "--repair", root=pushed)
    assert done.code == 1
    assert "the registry (restore it from a backup" in done.stdout
    assert (pushed / "db.sqlite").read_bytes() == b"corrupt" * 1000


def test_a_store_may_be_made_after_its_registry(run_cli, store_root):
    with served(store_root):
        run_cli("images", root=store_root).ok()


USERS = """
import sys
from ocitool import Store
from ocitool.errors import StoreError
from ocitool.oci.digest import Digest
from ocitool.store.maintenance.prune import prune
from ocitool.store.registry_backend import StoreBackend
from ocitool_registry.server.backend import StoredManifest
from ocitool_registry.server.serve import serve

raw = b'{"schemaVersion":2}'
stored = StoredManifest(digest=Digest.of(raw), media_type="x", raw=raw)
with StoreBackend(sys.argv[1]) as backend, serve(backend):
    backend.put_manifest("a", stored)
    with Store.open(sys.argv[1]) as store:
        try:
            prune(store, all_images=True)
        except StoreError as error:
            print(error.message)
    assert backend.get_manifest("a", stored.digest) == stored
"""


def test_prune_is_refused_for_an_ordinary_user(ordinary_user):
    place = f"{ordinary_user.home}/served"
    done = ordinary_user.run(ordinary_user.python, "-c", USERS, place).ok()
    assert "so prune is refused" in done.stdout
