"""``ocitool kaniko-executor``: a call of kaniko's executor, done by ``ocitool build``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from ocitool.cli.kaniko import options
from ocitool.cli.options.containers import RunCommand
from ocitool.cli.options.goflags import normalized
from ocitool.cli.output.outfile import write_text
from ocitool.cli.output.output import write_line
from ocitool.oci.reference import Reference


class Executor(RunCommand):
    """A command whose usage errors end with kaniko's exit code for them."""

    usage_exit_code = 1

    def make_context(
        self, info_name: str | None, args: list[str], *others: Any, **more: Any
    ) -> click.Context:
        """Ignore empty arguments, as kaniko does: parameters of a Tekton task that are not set."""
        return super().make_context(info_name, list(filter(None, args)), *others, **more)


@click.command(name="kaniko-executor", cls=Executor)
@options.source
@options.result
@options.cache
@options.registries
@options.others
@click.pass_context
def command(context: click.Context, /, **given: Any) -> None:
    """Build and push an image as kaniko's executor

    This is also what the program does under the name 'executor'.  The build is that of `ocitool
    build`: the file system of the container is neither used nor changed, so that what kaniko needs
    for that is accepted and has no effect.
    """
    from ocitool.cli.commands.build import command as build
    from ocitool.cli.commands.build import result_of
    from ocitool.cli.kaniko.words import build_words

    words = build_words(given, os.environ)
    for option in ("--cache-repo", "--cache-dir"):
        if given[option.strip("-").replace("-", "_")]:
            write_line(
                f"warning: {option} is not used: the build cache is in the storage directory",
                sys.stderr,
            )
    try:
        with build.make_context("build", normalized(build, words), parent=context.parent) as inner:
            build.invoke(inner)
    except click.UsageError as error:
        error.ctx = context  # its usage is that of the command that was called
        raise
    digest = str(result_of(inner).digest)
    names = [Reference.parse(name) for name in given["destination"]]
    _write_digests(given, names, digest)
    if (output := os.environ.get("BUILDER_OUTPUT")) and not given["no_push"]:
        # What Google's Cloud Build takes as the result of a step.
        rows = ({"name": str(name), "digest": digest} for name in names)
        lines = "".join(f"{json.dumps(row, separators=(',', ':'))}\n" for row in rows)
        write_text(os.path.join(output, "images"), lines)


def _write_digests(given: Mapping[str, Any], names: Sequence[Reference], digest: str) -> None:
    kinds: tuple[tuple[str, Callable[[Reference], str]], ...] = (
        ("image_name_with_digest_file", lambda name: name.repository),
        ("image_name_tag_with_digest_file", lambda name: f"{name.repository}:{name.tag}"),
    )
    texts = {given["digest_file"]: digest}
    for option, called in kinds:
        texts[given[option]] = "".join(f"{called(name)}@{digest}\n" for name in names)
    for path, text in texts.items():
        if path:
            os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
            write_text(path, text)
