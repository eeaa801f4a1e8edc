"""From docker's syntax to mounts; the messages of what is refused."""

from __future__ import annotations

import os

import pytest

from ocitool.errors import ContainerError
from ocitool_runtime import volumes
from ocitool_runtime.volumes import any_mount, bind_mount, parse_mounts, with_image_volumes


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("", ("rbind", "rw")),
        (":ro", ("rbind", "ro")),
        (":z", ("rbind", "rw")),
        (":ro,Z", ("rbind", "ro")),
        (":cached", ("rbind", "rw")),
        (":rprivate,ro", ("rbind", "ro")),
    ],
)
def test_options_of_v(tmp_path, monkeypatch, words, options):
    monkeypatch.setattr(volumes, "_SELINUX", str(tmp_path / "none"))
    found = bind_mount(f"{tmp_path}:/d{words}")
    assert (found.source, found.target, found.options) == (str(tmp_path), "/d", options)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("U", "'U' is not supported"),
        ("rslave", "'rslave' is not supported"),
        ("nocopy", "'nocopy' is not supported"),
        ("z,Z", "z and Z are mutually exclusive"),
        ("ro,rw", "ro and rw are mutually exclusive"),
    ],
)
def test_options_of_v_that_are_refused(tmp_path, words, said):
    with pytest.raises(ContainerError, match=said):
        bind_mount(f"{tmp_path}:/d:{words}")


def test_relabeling_is_refused_where_it_would_mean_something(tmp_path, monkeypatch):
    monkeypatch.setattr(volumes, "_SELINUX", str(tmp_path))
    bind_mount(f"{tmp_path}:/d:ro")
    with pytest.raises(ContainerError, match="relabeling for SELinux is not supported") as caught:
        bind_mount(f"{tmp_path}:/d:ro,z")
    assert "chcon" in caught.value.hint


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("", ("rbind", "rw")),
        (",readonly", ("rbind", "ro")),
        (",ro=1", ("rbind", "ro")),
        (",readonly=false", ("rbind", "rw")),
        (",bind-nonrecursive", ("bind", "rw")),
        (",bind-propagation=rprivate", ("rbind", "rw")),
    ],
)
def test_a_bind_mount(tmp_path, words, options):
    for source, target in (("source", "target"), ("src", "dst"), ("src", "destination")):
        found = any_mount(f"type=bind,{source}={tmp_path},{target}=/d/../e{words}")
        expected = ("bind", str(tmp_path), "/e", options)
        assert (found.type, found.source, found.target, found.options) == expected


def test_fields_are_those_of_csv(tmp_path):
    (tmp_path / "a,b").mkdir()
    found = any_mount(f'type=bind,"src={tmp_path}/a,b",dst=/d')
    assert found.source == f"{tmp_path}/a,b"


def test_a_relative_source_begins_with_a_dot(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert any_mount("type=bind,src=.,dst=/d").source == os.path.realpath(tmp_path)


def test_a_tmpfs():
    found = any_mount("type=tmpfs,dst=/t,tmpfs-size=1M,tmpfs-mode=01777,ro")
    assert (found.type, found.target) == ("tmpfs", "/t")
    assert set(found.options) == {"ro", "nosuid", "nodev", "noexec", "size=1m", "mode=1777"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("src=data,dst=/d", "named volumes are not supported"),
        ("dst=/d,ro", "a volume without a source cannot be read-only"),
        ("dst=/d,tmpfs-size=1", r"cannot mix 'tmpfs-\*' options with type volume"),
        ("type=volume", "target is required"),
        ("type=npipe,dst=/d", "mounts of type npipe are not supported"),
        ("type=bind,src=/", "target is required"),
        ("type=bind,src=/,dst=d", "target must be an absolute path"),
        ("type=bind,src=/,dst=/", "destination can't be '/'"),
        ("type=bind,dst=/d", "source is required"),
        ("type=bind,src=rel,dst=/d", "must be an absolute path"),
        ("type=bind,src=/no/where,dst=/d", "bind source path does not exist: /no/where"),
        ("type=bind,src=/,dst=/d,bogus=1", "unexpected key 'bogus' in 'bogus=1'"),
        ("type=bind,src=/,dst=/d,volume-nocopy", "'volume-nocopy' is not supported"),
        ("type=bind,src=/,dst=/d,readonly=maybe", "invalid value for readonly: 'maybe'"),
        ("type=bind,src=/,dst=/d,bind-propagation=shared", "bind-propagation=shared is not"),
        ("type=bind,src=/,dst=/d,tmpfs-size=1", r"cannot mix 'tmpfs-\*' options with type bind"),
        ("type=tmpfs,dst=/d,bind-nonrecursive", r"cannot mix 'bind-\*' options with type tmpfs"),
        ("type=tmpfs,dst=/d,src=/", "has no source"),
        ("type=tmpfs,dst=/d,tmpfs-size=big", "invalid value for tmpfs-size: 'big'"),
        ("type=tmpfs,dst=/d,tmpfs-mode=9", "invalid value for tmpfs-mode: '9'"),
        ("type", "must be a key=value pair"),
        ('"', "invalid --mount"),
        ("", "invalid --mount"),
    ],
)
def test_mounts_that_are_refused(text, said):
    with pytest.raises(ContainerError, match=said):
        any_mount(text)


@pytest.mark.parametrize("text", ["data", "data:/d", "data:/d:ro", "../d"])
def test_named_volumes_are_refused(text):
    with pytest.raises(ContainerError, match=r"named volumes are not supported|invalid volume"):
        parse_mounts((text,), (), ())


def test_volumes_of_the_image_and_without_a_source(tmp_path):
    given = parse_mounts(
        ("/a/b/", f"{tmp_path}:/c/d/e"), ("dst=/m", f"type=bind,src={tmp_path},dst=/c"), ("/t",)
    )
    found = with_image_volumes(given, ("/t", "/c/", "/c/d", "rel/./x", "/c/d"))
    assert [(mount.target, mount.type) for mount in found] == [
        ("/m", "volume"), ("/c", "bind"), ("/t", "tmpfs"),
        ("/a/b", "volume"), ("/c/d", "volume"), ("/rel/x", "volume"),
        ("/c/d/e", "bind"),
    ]  # fmt: skip


def test_two_mounts_of_one_target(tmp_path):
    with pytest.raises(ContainerError, match="duplicate mount point: /d"):
        parse_mounts((f"{tmp_path}:/d",), (f"type=bind,src={tmp_path},dst=/d/",), ())
    with pytest.raises(ContainerError, match="duplicate mount point: /d"):
        parse_mounts((f"{tmp_path}:/d",), (), ("//d",))
