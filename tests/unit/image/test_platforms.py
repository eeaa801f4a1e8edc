"""An image for one platform is never taken for one for another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ocitool import BuildOptions, build
from ocitool.containers.lifecycle import warn_of_platform
from ocitool.drivers.conformance.layers import file
from ocitool.errors import FormatError, ImageNotFound
from ocitool.image.copy import copy
from ocitool.image.store_content import StoreSink, StoreSource, local_image
from ocitool.oci.manifest import Index
from ocitool.oci.platform import Platform, this_platform
from tests.fixtures.stores import put_image

NAME = "docker.io/library/a:1"
HERE = this_platform()
OTHER = Platform.of("linux", "s390x" if HERE.architecture != "s390x" else "amd64")
BOGUS = Platform.parse("linux/bogus")


class Events(list):
    emit = list.append


@pytest.mark.parametrize("wanted", [BOGUS, OTHER])
def test_another_platform_than_asked_for_is_not_copied(store, other, wanted):
    image = put_image(store, NAME, [file("f", b"1")])
    source = StoreSource(store, image.descriptor)
    with pytest.raises(ImageNotFound) as caught:
        copy(source, StoreSink(other, NAME), platform=wanted, name=NAME)
    assert str(caught.value) == (
        f"image {NAME} was found but does not match the specified platform:"
        f" wanted {wanted}, actual {HERE}"
    )
    assert list(other.blobs.all()) == []
    for platform in (None, HERE):
        copy(source, StoreSink(other, NAME), platform=platform)
    assert other.refs.get(NAME) is not None


def test_an_index_is_believed_about_its_images(store, other):
    """Old images for arm/v6 have a config that says another variant, or none."""
    image = put_image(store, "", [file("f", b"1")], platform=Platform.parse("linux/arm/v7"))
    wanted = Platform.parse("linux/arm/v5")
    index = Index.new([replace(image.descriptor, platform=wanted)])
    store.blobs.put(index.raw, store.lease())
    copy(StoreSource(store, index.descriptor), StoreSink(other, NAME), platform=wanted)
    assert other.refs.get(NAME).digest == image.digest


def test_an_image_of_the_store_is_not_taken_for_another_platform(store):
    put_image(store, NAME, [file("f", b"1")])
    assert local_image(store, "a:1", HERE).config.platform == HERE
    with pytest.raises(ImageNotFound, match="does not match the specified platform"):
        local_image(store, "a:1", OTHER)


def test_a_container_of_another_platform_is_warned_of(store):
    events = Events()
    warn_of_platform(put_image(store, NAME, [file("f", b"1")]), events)
    assert events == []
    warn_of_platform(put_image(store, NAME, [file("f", b"1")], platform=OTHER), events)
    ((level, text),) = [(event.level, event.text) for event in events]
    assert level == "warning"
    assert f"platform ({OTHER}) does not match the detected host platform ({HERE})" in text


@pytest.mark.parametrize("dockerfile", ["FROM a:1\n", f"FROM --platform={OTHER} a:1\n"])
def test_a_base_image_of_another_platform_is_warned_of(store, tmp_path, dockerfile, monkeypatch):
    """BuildKit's warning, and the image gets the platform of its base."""
    image = put_image(store, NAME, [file("f", b"1")], platform=OTHER)
    actual, expected = OTHER, HERE
    if "--platform" in dockerfile:
        image = put_image(store, NAME, [file("f", b"1")])
        actual, expected = HERE, OTHER

    def in_registry(images, name, platform, _):
        images._origins[name, platform] = name
        return image

    # A registry that has no other image, either.
    monkeypatch.setattr("ocitool.builder.solver.images.SourceImages._in_registry", in_registry)
    options = BuildOptions(context=str(tmp_path), dockerfile=dockerfile.encode())
    done = build(options, store=store)
    assert done.warnings[-1:] == (
        "Dockerfile:1: InvalidBaseImagePlatform: Base image a:1 was pulled with platform"
        f' "{actual}", expected "{expected}" for current build',
    )
    assert local_image(store, str(done.image_id)).config.platform == actual


def test_an_invalid_platform_of_a_build_is_refused(store, tmp_path):
    for options in ({"platform": "bogus"}, {"dockerfile": b"FROM --platform=bogus scratch\n"}):
        given = {"context": str(tmp_path), "dockerfile": b"FROM scratch\n", **options}
        with pytest.raises(FormatError, match="unknown operating system or architecture"):
            build(BuildOptions(**given), store=store)
