"""Cache keys are stored data: those of each kind of step are literals here.

A key that changes costs every user a whole build, and a store that two versions share its hits.
"""

from __future__ import annotations

import io
import tarfile

from ocitool.builder.definition import Copy, Run, Workdir
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
    "1648d976c0b3f806f94747eecf0d6e47155ace611720341f291793749d1c26d1",
    "6dd947182c8e2bb746e83009c91cdeff0d2115983e04b478a8dad90133445995",
    "87cb974d917be956d67f30df91d21036e466ce46104b241ce3ee8716e35229e5",
    "936729c92222835b5750222a87f72d0e862202415b1d790c8f10a1d821bfa848",
    "a24be9fc4d29060e97d8adc44b009c653de094823efe8420a35c600f8ae2b336",  # files of --from
    "a97a65617979eb21b81e6466d2fd2fb974bec5086607b257bfe9560fe02f5fd6",
    "b435e0ed31e35838cf7ebe320795960732849b30ac8a6b5c2dbef361a7732a37",
    "bac09d9360a6b40276efcd80717f47b703e8dc2f2192135db3046514cfc1378f",
}


def test_the_keys_of_a_build(project):
    """As the version before the definition stored them; the image's own key, which holds digests
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


def test_the_key_of_a_command():
    step = Run(
        base=0,
        platform=ARM,
        args=("/bin/sh", "-c", "make"),
        env={"PATH": "/bin", "A": "é"},
        cwd="/w",
        user="me",
        network=Network.HOST,
        secret_env={"HTTP_PROXY": "x"},
    )
    wanted = "6d7b1090ff04d29c9ce495992642c62cedc863a51be966de47ace758be166269"
    assert step_key(step, BASE, None) == wanted


def test_the_key_of_a_script_without_network():
    step = Run(
        base=0,
        platform=ARM,
        args=("/bin/sh", "-c", "/dev/pipes/EOF"),
        env={},
        cwd="/",
        user="",
        network=Network.NONE,
        script="#!/bin/sh\n",
    )
    wanted = "579180a0fcc29c1c4b8da91dea7fa1deec432f5cc3c6e0be09cffc2222769f58"
    assert step_key(step, BASE, 5) == wanted


def test_the_key_of_a_copy():
    step = Copy(
        base=0, platform=ARM, source=1, paths=("f", "d"), dest="/x/", chown="a:b", chmod="755"
    )
    contents = (("f", "file", "12"), ("", "dir", "34"))
    wanted = "30e752f51b383c0b0993754a07475a15d839a90a0ef0dd74cbebad68579c8082"
    assert step_key(step, BASE, None, contents) == wanted


def test_the_key_of_a_working_directory():
    step = Workdir(base=0, platform=ARM, path="/w", user="me")
    wanted = "02246537fa8735482d63668b812a0554432000ad18b3fffdadf1f9983d06ac40"
    assert step_key(step, BASE, None) == wanted
    plain = Workdir(base=0, platform="linux/amd64", path="/w", user="")
    wanted = "6bd60026c06ec1d99f107103c29856fa0bb9a15ed1721aaaee226e7879b2a3cd"
    assert step_key(plain, (), 0) == wanted


def test_numbers_of_vertices_do_not_count():
    """They differ between two Dockerfiles with the same step."""
    first = Copy(base=1, platform=ARM, source=0, paths=("f",), dest="/f")
    second = Copy(base=9, platform=ARM, source=7, paths=("f",), dest="/f")
    assert step_key(first, BASE, None) == step_key(second, BASE, None)
    assert step_key(first, BASE, None) != step_key(first, (LAYER,), None)
    assert contents_key(BASE, "/f") != contents_key((LAYER,), "/f")


def test_inputs_are_framed():
    assert key_of("x", "ab", "c") != key_of("x", "a", "bc")
    assert key_of("x", ["a"], "b") != key_of("x", ["a", "b"])
    assert key_of("x", "1") != key_of("x", 1) != key_of("x", None)
