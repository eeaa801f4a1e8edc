"""Image configurations: read, changed and written without losing what we do not know."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from ocitool.errors import BadManifest, FormatError
from ocitool.oci.config import History, ImageConfig, RunConfig, chain_id
from ocitool.oci.digest import Digest
from ocitool.oci.platform import this_platform

A, B, C = (Digest.of(name) for name in (b"a", b"b", b"c"))

FULL = {
    "created": "2024-01-02T03:04:05.678Z",
    "author": "somebody",
    "architecture": "arm",
    "os": "linux",
    "os.version": "1",
    "os.features": ["f"],
    "variant": "v6",
    "config": {
        "User": "1000:1000",
        "ExposedPorts": {"53/udp": {}, "80/tcp": {}},
        "Env": ["PATH=/bin", "EMPTY=", "TWICE=1", "TWICE=2"],
        "Entrypoint": ["/init"],
        "Cmd": ["--help"],
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1000000000},
        "Volumes": {"/data": {}},
        "WorkingDir": "/work",
        "OnBuild": ["RUN true"],
        "Labels": {"a": "1", "b": "2"},
        "StopSignal": "SIGINT",
        "Shell": ["/bin/sh", "-c"],
        "ArgsEscaped": True,
        "StopTimeout": 7,
        "MadeUp": {"deep": [None]},
    },
    "rootfs": {"type": "layers", "diff_ids": [str(A), str(B)]},
    "history": [
        {"created": "2024-01-02T03:04:05Z", "created_by": "RUN a", "comment": "x"},
        {"created_by": "ENV b", "author": "y", "empty_layer": True, "made_up": 1},
        {"created_by": "COPY c"},
    ],
    "container": "made up by docker",
    "docker_version": "1.2",
}


def parse(**changes):
    fields = {"architecture": "amd64", "os": "linux", "rootfs": {"diff_ids": []}, **changes}
    return ImageConfig.parse(json.dumps(fields).encode())


def test_everything_survives_reading_and_writing():
    assert json.loads(ImageConfig.parse(json.dumps(FULL).encode()).dump()) == FULL


def test_everything_else_survives_a_change():
    config = ImageConfig.parse(json.dumps(FULL).encode())
    run = replace(config.run, cmd=("new",), labels={"c": "3"}, user="")
    step = History(created_by="RUN d")
    changed = replace(
        config, run=run, diff_ids=(*config.diff_ids, C), history=(*config.history, step)
    )
    wanted = json.loads(json.dumps(FULL))
    wanted["config"] |= {"Cmd": ["new"], "Labels": {"c": "3"}}
    del wanted["config"]["User"]
    wanted["rootfs"]["diff_ids"].append(str(C))
    wanted["history"].append({"created_by": "RUN d"})
    assert json.loads(changed.dump()) == wanted


def test_the_same_value_gives_the_same_bytes():
    turned = {**FULL, "config": dict(reversed(FULL["config"].items()))}
    turned["config"]["Labels"] = {"b": "2", "a": "1"}
    turned["config"].update(ArgsEscaped=True, StopTimeout=7, MadeUp={"deep": [None]})
    one = ImageConfig.parse(json.dumps(FULL).encode())
    assert one.dump() == ImageConfig.parse(one.dump()).dump()
    other = ImageConfig.parse(json.dumps(turned).encode())
    assert replace(one.run, unknown={}).to_json() == replace(other.run, unknown={}).to_json()
    assert list(other.run.to_json()["Labels"]) == ["a", "b"]


def test_null_counts_as_absent():
    names = [name for name in FULL if name not in ("architecture", "os", "rootfs", "container")]
    names.remove("docker_version")
    assert parse(**dict.fromkeys(names)) == parse()
    known = [name for name in FULL["config"] if name not in ("ArgsEscaped", "StopTimeout")]
    known.remove("MadeUp")
    assert parse(config=dict.fromkeys(known)).run == RunConfig()


def test_docker_s_list_of_nothing_is_kept_apart_from_none():
    assert parse(config={"Cmd": None}).run.cmd is None
    assert parse(config={"Cmd": []}).run.cmd == ()


@pytest.mark.parametrize("missing", [None, ""])
@pytest.mark.parametrize("name", ["os", "architecture"])
def test_what_a_config_does_not_say_of_its_platform_is_this_machines(name, missing):
    """As docker takes it; kaniko and `docker import` of old write such configs."""
    here = this_platform()
    said = {"os": "windows", "architecture": "arm", "variant": "v6", name: missing}
    platform = parse(**said).platform
    assert getattr(platform, name) == getattr(here, name)
    assert platform.variant == "v6"


def test_a_config_without_history_and_one_with_too_much_are_read():
    assert parse(rootfs={"diff_ids": [str(A)]}).history == ()
    assert len(parse(history=[{}, {}]).history) == 2


@pytest.mark.parametrize(
    ("layers", "history", "aligned"),
    [
        (2, "ab", "ab"),
        (2, "aEb", "aEb"),
        (1, "abc", "aEE"),  # more entries than layers
        (0, "a", "E"),
        (2, "aEbEcE", "aEbEEE"),
        (3, "aE", "aE??"),  # fewer: those of the upper layers are missing
        (2, "", "??"),
    ],
)
def test_history_is_aligned_with_the_layers_from_the_lowest_up(layers, history, aligned):
    """A letter is an entry with a layer, E an empty one, ? one that was missing."""
    entries = [
        {"created_by": name, **({"empty_layer": True} if name == "E" else {})} for name in history
    ]
    config = parse(history=entries, rootfs={"diff_ids": [str(A)] * layers})
    shown = ["E" if each.empty_layer else each.created_by or "?" for each in config.aligned_history]
    assert "".join(shown) == aligned
    named = [each.created_by for each in config.aligned_history if each.comment != "no history"]
    assert "".join(named) == history


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"architecture": 1}, "architecture"),
        ({"os": 1}, "os"),
        ({"rootfs": None}, "rootfs"),
        ({"rootfs": []}, "rootfs"),
        ({"rootfs": {"type": "blob"}}, "rootfs.type"),
        ({"rootfs": {"diff_ids": "x"}}, "rootfs.diff_ids"),
        ({"rootfs": {"diff_ids": [str(A), 1]}}, "rootfs.diff_ids[1]"),
        ({"rootfs": {"diff_ids": ["sha256:1"]}}, "rootfs.diff_ids[0]"),
        ({"config": []}, "config"),
        ({"config": {"Env": {}}}, "config.Env"),
        ({"config": {"Env": [1]}}, "config.Env[0]"),
        ({"config": {"Cmd": "sh"}}, "config.Cmd"),
        ({"config": {"Labels": {"a": 1}}}, "config.Labels.a"),
        ({"config": {"Volumes": []}}, "config.Volumes"),
        ({"config": {"Healthcheck": "true"}}, "config.Healthcheck"),
        ({"history": {}}, "history"),
        ({"history": [{}, 1]}, "history[1]"),
        ({"history": [{"empty_layer": 1}]}, "history[0].empty_layer"),
        ({"history": [{"created_by": []}]}, "history[0].created_by"),
    ],
)
def test_a_bad_config_is_refused_with_its_place(changes, where):
    with pytest.raises(FormatError) as caught:
        parse(**changes)
    assert caught.value.where == where


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{", b"null", b'{"a":1,"a":2}', b"\xff\xfe{\x00}\x00"]
)
def test_what_is_no_config(raw):
    with pytest.raises(BadManifest):
        ImageConfig.parse(raw)


def test_the_environment_in_order():
    run = RunConfig(env=("B=1", "A=x=y", "B=2", "NONE"))
    assert run.environment() == {"B": "2", "A": "x=y", "NONE": ""}
    assert run.with_env({"A": "new", "C": "3"}).env == ("B=2", "A=new", "NONE", "C=3")


def test_chain_ids():
    def link(below, diff_id):
        return Digest("sha256", hashlib.sha256(f"{below} {diff_id}".encode()).hexdigest())

    assert chain_id([A]) == A
    assert chain_id([A, B]) == link(A, B)
    assert chain_id([A, B, C]) == link(link(A, B), C)
    with pytest.raises(ValueError, match="at least one layer"):
        chain_id([])


def test_the_chain_id_of_a_known_image():
    """Worked out by hand with ``printf '%s %s' | sha256sum``."""
    empty = Digest.parse("sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef")
    want = "sha256:170b376f64fb30995c140276be3d71dfb256b308d86183ca3b22aa93a79ad548"
    assert str(chain_id([empty, empty])) == want
