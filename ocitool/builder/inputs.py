"""What a build takes beside its context's files: the Dockerfile, its ignore rules, options."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from ocitool.builder.build_arguments import EPOCH
from ocitool.builder.checks.copy_ignored_file import ignored_by
from ocitool.builder.context.ignore.files import (
    LARGEST,
    display_name,
    ignore_rules,
    read_text,
)
from ocitool.builder.context.ignore.inside import inside
from ocitool.builder.context.ignore.rules import IgnoreRules
from ocitool.builder.context_sources.kinds import HEAD, STDIN, is_archive
from ocitool.builder.context_sources.named import NamedContext, named_contexts
from ocitool.builder.context_sources.opened import ContextFiles, Contexts
from ocitool.builder.definition import Surroundings
from ocitool.builder.dockerfile.values import is_http
from ocitool.builder.entitlements import parse_entitlements
from ocitool.builder.frontend.arguments import Arguments
from ocitool.builder.frontend.epoch import TimeOf
from ocitool.builder.git.reference import KEEP_GIT_DIR, shown_git
from ocitool.builder.options import BuildOptions
from ocitool.builder.outputs.annotations import select
from ocitool.errors import BuildError, during
from ocitool.inputfile import require_small
from ocitool.oci.platform import Platform, this_platform
from ocitool.oci.reference import Reference, is_image_id

#: The second is that of a file system that is not case-sensitive, as with docker.
_NAMES: Final = ("Dockerfile", "dockerfile", "Containerfile")
_SHOWN: Final = 8  # names that an error lists


class DockerfileText(NamedTuple):
    """A Dockerfile: what messages call it, its path (``""`` unless it is a file), and its text."""

    name: str
    path: str
    text: bytes


def main_context(options: BuildOptions, contexts: Contexts) -> ContextFiles:
    """Return the files of the context; `BuildError` as `Contexts.main`."""
    given = options.build_args
    return contexts.main(
        options.context,
        keep_git_dir=given.get(KEEP_GIT_DIR, ""),
        commit_time=options.source_date_epoch is not None or bool(given.get(EPOCH)),
    )


def read_dockerfiles(
    options: BuildOptions, files: ContextFiles, contexts: Contexts
) -> list[DockerfileText]:
    """Return the Dockerfile, or the several that are read as one.

    Raises:
        BuildError: it is missing, cannot be fetched or read, or is an archive.
    """
    found = list(_dockerfiles(options, files, contexts))
    for name, _, text in found:
        require_small(text, LARGEST, name)
        if is_archive(text[:HEAD]):
            raise BuildError(
                f"failed to read dockerfile: {name} is an archive",
                hint="an archive can be the context: name it without -f",
            )
    return found


def _dockerfiles(
    options: BuildOptions, files: ContextFiles, contexts: Contexts
) -> Iterable[DockerfileText]:
    if options.dockerfile is not None:
        return [DockerfileText("Dockerfile", "", options.dockerfile)]
    if files.dockerfile is not None:
        if options.files:
            raise BuildError(
                f"there are two Dockerfiles: {files.shown}, which is no archive, and"
                f" {options.files[0]}",
                hint="leave out -f, or give an archive or a directory as the context",
            )
        return [DockerfileText("Dockerfile", "", files.dockerfile)]
    if (options.context == STDIN) + options.files.count(STDIN) > 1:
        raise BuildError(
            "standard input cannot be both the context and the Dockerfile",
            hint="name one of the two, and give the other on standard input",
        )
    if not options.files:
        return [_find(files, _NAMES)]
    return [_dockerfile(word, files, contexts) for word in options.files]


def _dockerfile(word: str, files: ContextFiles, contexts: Contexts) -> DockerfileText:
    if word == STDIN:
        return DockerfileText("Dockerfile", "", sys.stdin.buffer.read(LARGEST + 1))
    if is_http(word) and not os.path.lexists(word):
        doing = "load build definition from"
        with contexts.fetched(word, doing) as remote, open(remote.file().path, "rb") as file:
            return DockerfileText(remote.shown, "", file.read(LARGEST + 1))
    if "://" in word and not os.path.lexists(word):
        raise BuildError(
            f"failed to read dockerfile: {shown_git(word)} is neither an HTTP URL nor a file",
            hint="give a file, a URL that begins with http:// or https://, or - for standard input",
        )
    if files.temporary:
        return _find(files, _either_case(word))
    # As buildah, which looks into the context for what is not in the working directory.
    return _find(files, (*_either_case(os.path.abspath(word)), *_either_case(word)), links=True)


def _either_case(path: str) -> tuple[str, ...]:
    """Return the *path* of a Dockerfile, and the one in lower case that stands for it."""
    directory, name = os.path.split(path)
    return (path, os.path.join(directory, _NAMES[1])) if name == _NAMES[0] else (path,)


def _find(files: ContextFiles, names: Sequence[str], *, links: bool = False) -> DockerfileText:
    """Return the first of *names* that is there; those that are relative are in the context.

    *links* says whether their links may lead out of it.
    """
    why = os.strerror(errno.ENOENT)
    for name in names:
        path = os.path.join(files.top, name)
        shown = name if files.temporary else display_name(path)
        try:
            text = read_text(path if links else inside(files.top, name), shown)
        except (FileNotFoundError, NotADirectoryError) as error:
            why = why if name != names[0] else os.strerror(error.errno or errno.ENOENT)
            continue
        except OSError as error:
            raise BuildError(
                f"failed to read dockerfile: open {shown}: {error.strerror}",
                hint="pass the Dockerfile with -f, and the context as the last argument",
            ) from error
        return DockerfileText(shown, "" if files.temporary else path, text)
    first = names[0] if files.temporary else display_name(os.path.join(files.top, names[0]))
    place = f" in {files.shown}" if files.temporary else ""
    raise BuildError(
        f"failed to read dockerfile: open {first}{place}: {why.lower()}",
        hint=_nearby(files, names[0], links=links),
    )


def _nearby(files: ContextFiles, missing: str, *, links: bool) -> str:
    """Say what else there is that may be the Dockerfile."""
    linked = os.path.join(files.top, missing)
    if not files.temporary and not links and os.path.islink(linked):
        to = os.readlink(linked)
        return f"it is a link to {to}, which is not in the context; -f follows it wherever it leads"
    try:
        names = sorted(os.listdir(files.top))
        deeper = [
            f"{each}/{name}"
            for each in names
            if os.path.isdir(f"{files.top}/{each}") and not os.path.islink(f"{files.top}/{each}")
            for name in _NAMES
            if os.path.isfile(f"{files.top}/{each}/{name}")
        ]
    except OSError:
        return "pass the Dockerfile with -f"
    if files.temporary and len(names) == 1 and deeper:
        return f"pack what is in {names[0]}, not the directory itself; or pass -f {deeper[0]}"
    if files.temporary and os.path.isfile(missing):
        return f"it is looked for in the context; give a file that is not in it by -f - <{missing}"
    named = [name for name in names if "dockerfile" in name.lower()]
    if near := named or deeper:
        return f"pass the Dockerfile with -f; there is {', '.join(near[:_SHOWN])}"
    if not files.temporary:
        return "pass the Dockerfile with -f"
    listed = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return f"pass the Dockerfile with -f; {files.shown} has {listed or 'no files'}"


def arguments(
    options: BuildOptions,
    rules: IgnoreRules,
    around: Surroundings,
    time_of: TimeOf = lambda _: None,
) -> Arguments:
    """Return what a Dockerfile is evaluated with; *rules* are those of the context."""
    this = this_platform()
    platform = Platform.parse(options.platform) if options.platform else this
    return Arguments(
        platform=platform,
        platform_given=bool(options.platform),
        build_platform=this,
        target=options.target,
        build_args=options.build_args,
        epoch=options.source_date_epoch if options.timestamp is None else options.timestamp,
        time_of=time_of,
        labels=options.labels,
        unset_labels=options.unset_labels,
        env=options.env,
        unset_env=options.unset_env,
        annotations=select(options.annotations, platform).manifest,
        created_annotation=options.created_annotation,
        inherit_labels=options.inherit_labels,
        first_base=options.from_image,
        omit_history=options.omit_history,
        no_cache_filter=options.no_cache_filter,
        contexts={
            name: found.vertex if isinstance(found, NamedContext) else found
            for name, found in named_contexts(options.build_contexts).items()
        },
        around=around,
        entitlements=parse_entitlements(options.allow),
        ignored=ignored_by(rules),
    )


def named_files(options: BuildOptions) -> list[NamedContext]:
    """Return the named contexts that are files; raises as `named_contexts`."""
    found = named_contexts(options.build_contexts).values()
    return [context for context in found if isinstance(context, NamedContext)]


def rules_of(
    options: BuildOptions,
    files: ContextFiles,
    dockerfile: str,
    warn: Callable[[str], object] = lambda _: None,
) -> IgnoreRules:
    """Return the ignore rules of the main context; *dockerfile* is the path of the first one."""
    if options.ignorefile:
        path = options.ignorefile
        try:
            return IgnoreRules.parse(read_text(path, path), name=path)
        except OSError as error:
            raise BuildError(
                f"failed to read ignore file: open {path}: {error.strerror}",
                hint="--ignorefile takes a file with the rules of a .dockerignore",
            ) from error
    return IgnoreRules() if files.temporary else ignore_rules(dockerfile, files.top, warn)


def require_image(name: str) -> None:
    """Raise `FormatError` if *name*, the image of the first FROM, is no reference to one."""
    if name and not is_image_id(name):
        with during("--from"):
            Reference.parse(name)
