"""Every parser of a short value reads a long one in one go, and refuses it by its own error."""

from __future__ import annotations

from contextlib import suppress

import pytest

from ocitool import go_values
from ocitool.builder.chown_chmod import parse_chmod, parse_chown
from ocitool.builder.dockerfile import values
from ocitool.cli.gotemplate.functions import FUNCTIONS
from ocitool.cli.output.text import plain_text, visible_line
from ocitool.containers.options import RunOptions
from ocitool.errors import ContainerError, FormatError, SandboxError
from ocitool.oci.digest import Digest
from ocitool.oci.platform import Platform
from ocitool.oci.reference import Reference
from ocitool.oci.timestamps import parse_epoch, parse_time
from ocitool_registry.protocol import REPOSITORY
from ocitool_runtime.host.plan import _mount
from ocitool_runtime.spec import Mount
from tests.fixtures.deadlines import within

PARSERS = {
    "reference": Reference.parse,
    "domain": lambda text: Reference.parse(f"{text}.x/y"),
    "tag": lambda text: Reference.parse(f"x:{text}"),
    "repository": REPOSITORY.fullmatch,
    "digest": Digest.parse,
    "encoded": lambda text: Digest.parse(f"sha256:{text}"),
    "platform": Platform.parse,
    "variant": lambda text: Platform.of("linux", "arm64", text).runs(),
    "time": parse_time,
    "fraction": lambda text: parse_time(f"2026-01-01T00:00:00.{text}"),
    "epoch": parse_epoch,
    "duration": go_values.parse_duration,
    "port": lambda text: values.Port.parse(text).exposed(),
    "signal": values.parse_stop_signal,
    "mode": parse_chmod,
    "owner": parse_chown,
    "source": values.source_kind,
    "hostname": lambda text: RunOptions(image="x", hostname=text).check(),
    "name": lambda text: RunOptions(image="x", name=text).check(),
    "tmpfs": lambda text: _mount(Mount(type="tmpfs", target="/x", options=(text,))),
    "overlay": lambda text: _mount(
        Mount(type="overlay", target="/x", lower=("/",), options=(text,))
    ),
    "title": FUNCTIONS["title"].body,
    "escapes": plain_text,
    "line": visible_line,
}
PIECES = [
    *("a", "A", "1", "-", "_", "__", ".", "/", ":", "@", " ", "\t", "a.", "a-", "a_", "1.", "a/"),
    *("+", "=u", "u=", "u=rwx,", "1h", "1", "[", "]", ".git", "a@", "https://", "\x1b[", "\x1b]"),
    *("\x1b", "\x9b", "\r", "size=1", "subpath="),
]
SIZE = 100_000


@pytest.mark.slow
@pytest.mark.parametrize("name", PARSERS)
def test_no_value_takes_long(name):
    with within(20):
        for piece in PIECES:
            for end in ("", "!", "\n!"):
                with suppress(FormatError, ContainerError, SandboxError):
                    PARSERS[name](piece * (SIZE // len(piece)) + end)
