"""Cache keys are stored data: those of each kind of step are literals here.

A key that changes costs every user a whole build, and a store that two versions share its hits.
"""

from __future__ import annotations

import io
import tarfile

import pytest

from ocitool.builder.definition import Copy, Run, Surroundings, Workdir
from ocitool.builder.solver.keys import contents_key, key_of, step_key
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor
from ocitool.store.layer_content import Layer
from ocitool_runtime.defaults import Network

LAYER = Layer(
    diff_id=Digest.parse(f"sha256:{'1' * 64}"),
    blob=Descriptor(
        media_type="application/vnd.oci.image.layer.v1.tar",
        digest=Digest.parse(f"sha256:{'2' * 64}"),
        size=3,
    ),
)
BASE = (LAYER, LAYER)
ARM = "linux/arm64/v8"

DOCKERFILE = """\
FROM scratch AS made
WORKDIR /w
COPY f /f
COPY --chown=5:6 --chmod=640 d d/
ADD a.tar /a/
FROM made
ARG V=1
ENV E=$V
COPY <<one <<two f /x$E/
1 $V
one
2
two
COPY --from=made /w/d/g /g
USER 7
WORKDIR sub
CMD ["x"]
"""
KEYS = {
    "24bae185d316f6bb733931033f7942d083ea64f66809940023ea4992f75bdfd4",
    "30c4f9f1f0245ca7565bef13cfbdd9db752397a88ac983d1395c846564ebe7fa",
    "47373ff975bd308eea9f8b4269166cdc7e7f2a46fd767ec1358fe0de3e552653",
    "a3bc25795da9212427d241d9e22239dbf1cd5937c72c7a3738856e65b811cece",
    "b925cc46d5914076f972766bfc391eca41556620d8611b3619cb839c1371f96c",
    "bc64a0b822749a75c6621e44e0bc39fb2c470f67ae1bc4a38b6ee74c9a3d0297",
    "d5e9e69dfd3da1f6a5c16a2750cc53bb982e4945f786130d6c87da591199fb2b",
    "f32ecd1f36d46ff12adfff25f09b2b5f6cf1ebb64aae9629794b60ce0593cfc6",
}


def test_the_keys_of_a_build(project):
    """As they are stored; the image's own key, which holds digests
    of compressed layers, apart."""
    project.put(
        {"f": "a file\n", "d": {"mode": 0o755}, "d/g": {"text": "g\n", "mode": 0o600},
         "d/l": {"link": "g"}}
    )  # fmt: skip
    with tarfile.open(project.top / "a.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
        member = tarfile.TarInfo("m")
        member.size = 2
        archive.addfile(member, io.BytesIO(b"m\n"))
    (project.top / "a.tar").chmod(0o644)
    project.build(DOCKERFILE, platform="linux/amd64", source_date_epoch=1_700_000_000)
    rows = project.store.database.rows("SELECT key FROM cache WHERE record NOT LIKE '%\"image\"%'")
    assert {key for (key,) in rows} == KEYS


@pytest.mark.parametrize("network", [Network.DEFAULT, Network.PRIVATE, Network.HOST])
def test_the_key_of_a_command(network):
    """It has not changed since there was the host's network alone, which others count as."""
    step = Run(
        base=0,
        platform=ARM,
        args=("/bin/sh", "-c", "make"),
        env={"PATH": "/bin", "A": "é"},
        cwd="/w",
        user="me",
        around=Surroundings(network=network),
        secret_env={"HTTP_PROXY": "x"},
    )
    wanted = "0f35fb8a3697a0987f0a41cf7f5b8cf5af0c41714b0cefcd2c2da091c767190c"
    assert step_key(step, BASE, None) == wanted


def test_the_key_of_a_script_without_network():
    step = Run(
        base=0,
        platform=ARM,
        args=("/bin/sh", "-c", "/dev/pipes/EOF"),
        env={},
        cwd="/",
        user="",
        around=Surroundings(network=Network.NONE),
        script="#!/bin/sh\n",
    )
    wanted = "b10062f25541dbf83d1b9249c0bf1d74001aa1cb65bff3fcdefa83cbb27b19e4"
    assert step_key(step, BASE, 5) == wanted


def test_the_key_of_a_copy():
    step = Copy(
        base=0, platform=ARM, source=1, paths=("f", "d"), dest="/x/", chown="a:b", chmod="755"
    )
    contents = (("f", "file", "12"), ("", "dir", "34"))
    wanted = "f631a0a3f7dc4f4daceb3fa033479b4a83fa92fde7347e85f7a1d410e17ec891"
    assert step_key(step, BASE, None, contents) == wanted


def test_the_key_of_a_working_directory():
    step = Workdir(base=0, platform=ARM, path="/w", user="me")
    wanted = "a75e6ec07fc832f5ef7bafe0cba7c5b64f4abcbe4910ac57f9ee8986c9ac7ea8"
    assert step_key(step, BASE, None) == wanted
    plain = Workdir(base=0, platform="linux/amd64", path="/w", user="")
    wanted = "e391c45d4f05b6b76dbc553028744c33b7d146e4d7b9d8bdc33424050cfceb67"
    assert step_key(plain, (), 0) == wanted


def test_numbers_of_vertices_do_not_count():
    """They differ between two Dockerfiles with the same step."""
    first = Copy(base=1, platform=ARM, source=0, paths=("f",), dest="/f")
    second = Copy(base=9, platform=ARM, source=7, paths=("f",), dest="/f")
    assert step_key(first, BASE, None) == step_key(second, BASE, None)
    assert step_key(first, BASE, None) != step_key(first, (LAYER,), None)
    assert contents_key(BASE, "/f", owners=True) != contents_key((LAYER,), "/f", owners=True)


def test_inputs_are_framed():
    assert key_of("x", "ab", "c") != key_of("x", "a", "bc")
    assert key_of("x", ["a"], "b") != key_of("x", ["a", "b"])
    assert key_of("x", "1") != key_of("x", 1) != key_of("x", None)
