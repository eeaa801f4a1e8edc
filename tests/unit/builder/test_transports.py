"""Tags and base images that are transports of buildah: what is said of them."""

from __future__ import annotations

import pytest

from ocitool import BuildOptions, build
from ocitool.builder.transports import instead_of_base
from ocitool.errors import BadReference


@pytest.mark.parametrize(
    ("tag", "hint"),
    [
        ("oci-archive:/out.tar", "use -o type=oci,dest=FILE"),
        ("docker-archive:/out.tar", "use -o type=docker,dest=FILE"),
        ("docker-daemon:app:1", "use --load"),
        ("oci:/out", "use -o type=oci,tar=false,dest=DIRECTORY"),
        ("docker://app", "leave out docker://: app"),
    ],
)
def test_a_tag_is_no_destination(store, tmp_path, tag, hint):
    options = BuildOptions(context=str(tmp_path), dockerfile=b"FROM scratch\n", tags=(tag,))
    with pytest.raises(BadReference) as caught:
        build(options, store=store)
    assert caught.value.hint == hint


def test_a_tag_that_is_a_name_and_reads_like_a_destination_is_a_warning(store, tmp_path):
    tags = ("containers-storage:app", "oci-archive:out.tar", "docker:27", "a:1")
    options = BuildOptions(context=str(tmp_path), dockerfile=b"FROM scratch\n", tags=tags)
    warnings = build(options, store=store).warnings
    assert [warning.split()[0] for warning in warnings] == list(tags[:2])
    assert "leave containers-storage: out" in warnings[0]


def test_an_archive_is_no_base_image():
    assert "ocitool load" in instead_of_base("oci-archive:a.tar")
    assert instead_of_base("docker:27") == instead_of_base("oci") == ""
