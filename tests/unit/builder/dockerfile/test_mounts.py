"""RUN --mount and --device: their fields, and what is refused, from tables."""

from __future__ import annotations

from typing import Any

import pytest

from ocitool.builder.dockerfile.devices import DeviceFlag, parse_device
from ocitool.builder.dockerfile.expansion.expand import expand
from ocitool.builder.dockerfile.mounts import MountFields, parse_mount, parse_mount_flag
from ocitool.errors import FormatError

VARIABLES = {"V": "v", "S": "/s p", "T": "tmpfs", "SIZE": "4k"}


def mount(text: str) -> MountFields:
    return parse_mount(parse_mount_flag(text), lambda value: expand(value, VARIABLES))


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("target=/in", {"target": "/in"}),
        ("target=/in,rw", {"target": "/in", "readonly": False}),
        ("readwrite=true,dst=/in", {"target": "/in", "readonly": False}),
        ("readwrite=false,dst=/in", {"target": "/in"}),
        ("rw,ro", {}),
        ("ro,rw=1", {"readonly": False}),
        ("TYPE=bind,SRC=a,Destination=b", {"source": "a", "target": "b"}),
        ("type=CACHE,target=/c", {"type": "cache", "target": "/c", "readonly": False}),
        ("type=cache,ro,id=x", {"type": "cache", "id": "x"}),
        ("type=cache,sharing=Locked", {"type": "cache", "sharing": "locked", "readonly": False}),
        ("type=tmpfs,size=1m", {"type": "tmpfs", "size": 1 << 20, "readonly": False}),
        ("type=tmpfs,size=1.5kiB", {"type": "tmpfs", "size": 1536, "readonly": False}),
        ("type=tmpfs,size=65536", {"type": "tmpfs", "size": 65536, "readonly": False}),
        ("type=$T,size=$SIZE", {"type": "tmpfs", "size": 4096, "readonly": False}),
        ("type=secret,id=k", {"type": "secret", "id": "k"}),
        ("type=secret,id=k,required", {"type": "secret", "id": "k", "required": True}),
        ("type=secret,id=k,required=f", {"type": "secret", "id": "k"}),
        ("type=secret,src=k,env=E", {"type": "secret", "source": "k", "env": "E"}),
        (
            "type=secret,target=k,mode=0440,uid=5,gid=6",
            {"type": "secret", "target": "k", "mode": 0o440, "uid": 5, "gid": 6},
        ),
        ("type=ssh", {"type": "ssh"}),
        ("type=ssh,required=1,id=a", {"type": "ssh", "required": True, "id": "a"}),
        ("source=$V/$V,target=/x-${V}", {"source": "v/v", "target": "/x-v"}),
        ("source=$S", {"source": "/s p"}),
        ("source='$V'", {"source": "$V"}),
        ('target=/in,"source=a,b"', {"target": "/in", "source": "a,b"}),
        ('"target=/in",source=a', {"target": "/in", "source": "a"}),
        ('"source=""a"""', {"source": "a"}),  # the language has quotes, too
        ("target=a,target=b", {"target": "b"}),
        ("target=a=b", {"target": "a=b"}),
        ("target=/x,z", {"target": "/x"}),  # buildah's
        ("Z,type=cache,target=/x", {"type": "cache", "target": "/x", "readonly": False}),
        ("target=/x,relabel=private", {"target": "/x"}),
    ],
)
def test_fields_of_a_mount(text: str, fields: dict[str, Any]) -> None:
    assert mount(text) == MountFields(**fields)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("type=volume,target=/x", 'unsupported mount type "volume"'),
        ("type=cach", 'unsupported mount type "cach" (did you mean cache?)'),
        ("type=cache,sharing=sometimes", 'unsupported sharing value "sometimes"'),
        ("target=/x,rw=maybe", "invalid value for rw: maybe"),
        ("readonly=", "invalid value for readonly: "),
        ("targte=/x", "unexpected key 'targte' in 'targte=/x' (did you mean target?)"),
        ("Volume=/x", "unexpected key 'volume' in 'Volume=/x'"),
        ("target", "invalid field 'target' must be a key=value pair"),
        ("target=/x,", "invalid field '' must be a key=value pair"),
        ("target=/x,mode=0700", 'mode not allowed for "bind" type mounts'),
        ("type=tmpfs,uid=1", 'uid not allowed for "tmpfs" type mounts'),
        ("gid=1,type=tmpfs", 'gid not allowed for "tmpfs" type mounts'),
        ("type=tmpfs,target=/x,Z", 'Z not allowed for "tmpfs" type mounts'),
        ("target=/x,z=1", "unexpected key 'z' in 'z=1'"),
        ("target=/x,relabel=all", 'unsupported relabel value "all"'),
        ("type=cache,mode=8", "invalid value 8 for mode"),
        ("type=cache,mode=0o7", "invalid value 0o7 for mode"),
        ("type=cache,mode=40000000000", "invalid value 40000000000 for mode"),
        ("type=cache,uid=-1", "invalid value -1 for uid"),
        ("type=cache,gid=4294967296", "invalid value 4294967296 for gid"),
        ("size=1,type=tmpfs", "unexpected key 'size' for mount type 'bind'"),
        ("type=tmpfs,size=1x", "invalid value for size: 1x"),
        ("type=tmpfs,size=-1", "invalid value for size: -1"),
        ("required,type=secret", "unexpected key 'required' for mount type 'bind'"),
        ("required=x,type=secret", "unexpected key 'required' for mount type 'bind'"),
        ("type=cache,required", "unexpected key 'required' for mount type 'cache'"),
        ("sharing=shared", "invalid cache sharing set for bind mount"),
        ("type=secret", "invalid secret mount. one of source, target required"),
        ("type=secret,env=A", "invalid secret mount. one of source, target required"),
        ("type=secret,id=a,source=b", "both source and id can't be set"),
        ("type=secret,id=a,from=b", "secret mount should not have a from"),
        ("type=secret,id=a,sharing=shared", "secret mount should not define sharing"),
        ("type=ssh,source=a", "ssh does not support source"),
        ("source=${V?}${U?}", 'failed to process "${V?}${U?}": U: is not allowed to be unset'),
    ],
)
def test_a_mount_is_refused(text: str, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        mount(text)
    assert caught.value.message == message


def test_only_from_is_known_before_variables_are() -> None:
    assert parse_mount_flag("type=$T,from=a,nonsense=$").from_ == "a"
    assert parse_mount_flag("from=a,FROM=b$").from_ == "b$"
    assert parse_mount_flag("from").from_ == ""


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("acme.com/gpu=0", DeviceFlag(name="acme.com/gpu=0")),
        ("name=acme.com/gpu=*", DeviceFlag(name="acme.com/gpu=*")),
        ("required,acme.com/gpu", DeviceFlag(name="acme.com/gpu", required=True)),
        ("NAME=a.b/c=d:e,required=0", DeviceFlag(name="a.b/c=d:e")),
    ],
)
def test_a_device(text: str, device: DeviceFlag) -> None:
    assert parse_device(text) == device
