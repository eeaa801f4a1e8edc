"""The contexts of one build, each in a directory: that of the caller, or a temporary one."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO, Final

from ocitool.builder.context.context import Context
from ocitool.builder.context.ignore.files import LARGEST, ignore_rules
from ocitool.builder.context.ignore.rules import IgnoreRules
from ocitool.builder.context_sources.kinds import HEAD, context_kind, is_archive
from ocitool.builder.context_sources.named import NamedContext
from ocitool.builder.definition import GitTree, HttpFile, LocalContext
from ocitool.builder.dockerfile.lines.excerpt import without_credentials
from ocitool.builder.git.reference import KEEP_GIT_DIR, parse_flag, parse_git, shown_git
from ocitool.builder.secrets.masking import Masking
from ocitool.builder.secrets.secrets import Secrets
from ocitool.builder.secrets.ssh.agents import DEFAULT, agent_of_environment
from ocitool.builder.shown_steps import ShownStep, ShownSteps
from ocitool.errors import BuildError, FormatError, LayerError, during
from ocitool.layer.beneath import remove_tree
from ocitool.oci.content import Stream
from ocitool.oci.streams import Peeked
from ocitool.oci.timestamps import SECOND
from ocitool.store.directory.full_disk import full_disk
from ocitool.store.store import Store

if TYPE_CHECKING:
    from ocitool.builder.git.tree import Repositories
    from ocitool.builder.solver.http_file import RemoteFile

_INTERNAL: Final = "[internal]"  # the label of what no instruction asks for, as BuildKit's
_TIME: Final = "load SOURCE_DATE_EPOCH of"
_STDIN: Final = "standard input"
_FAILED: Final = "unable to prepare context: "
_REPACK: Final = "create the archive again: it is truncated or corrupt"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextFiles:
    """The directory of a context, and the Dockerfile that came instead of files.

    A temporary one is for this build alone: it has no ignore files, and no path leads out of it.
    """

    top: str
    shown: str  # what messages call it
    temporary: bool = False
    dockerfile: bytes | None = None
    time: int | None = None  # seconds since the epoch: of the commit, or of what was fetched


class Contexts(Mapping[str, Context]):
    """The contexts of a build, by their names in its definition; temporary files until `close`.

    These files are in *store*, which is asked for when they are made.  *secrets* has credentials of
    servers; *warn* gets what cannot be kept of an archive; *steps* show what is fetched.
    Contexts that are *named* are opened when they are asked for.
    """

    def __init__(
        self,
        store: Callable[[], Store],
        secrets: Secrets,
        warn: Callable[[str], object],
        steps: ShownSteps,
        named: Iterable[NamedContext] = (),
    ) -> None:
        self._open_store = store
        self._secrets = secrets
        self._warn = warn
        self._steps = steps
        self._named = {context.vertex.name: context for context in named}
        self._open: dict[str, Context] = {}
        self._times: dict[str, int | None] = {}
        self._stack = contextlib.ExitStack()

    @cached_property
    def _store(self) -> Store:
        return self._open_store()

    def put(self, name: str, files: ContextFiles, rules: IgnoreRules) -> None:
        """Name the context that *files* are, without those that *rules* ignore."""
        # Nothing is stored of files whose path is another one in the next build.
        records = None if files.temporary else self._store.build_cache
        self._times[name] = files.time
        context = Context(files.top, rules, records, shown=files.shown)
        self._open[name] = self._stack.enter_context(contextlib.closing(context))

    def __getitem__(self, name: str) -> Context:
        if name in self._named and name not in self._open:
            self._open_named(self._named[name])
        return self._open[name]

    def time(self, source: LocalContext | HttpFile | GitTree) -> int | None:
        """Return the time of what is fetched, in seconds since 1970; None of other files.

        A repository has the time of its commit.  A file has the time that the server says, an
        archive without one that of the newest file in it.

        Raises:
            BuildError: it cannot be fetched.
        """
        if isinstance(source, LocalContext):
            self[source.name]  # opens it
            return self._times[source.name]
        if isinstance(source, GitTree):
            shown = without_credentials(source.remote)
            with self._steps.show(f"{_INTERNAL} {_TIME} {shown}") as step:
                from ocitool.builder.git.tree import Repositories

                repositories = Repositories(self._store, self._secrets)
                with contextlib.closing(repositories.tree(source, self._masked(step))) as tree:
                    return tree.commit_time()
        with self._fetching(source, _TIME) as remote:
            fetched = remote.file()
            with open(fetched.path, "rb") as file:
                if fetched.mtime or not is_archive(file.read(HEAD)):
                    return fetched.mtime // SECOND or None
                file.seek(0)
                return _newest(self._unpacked(file, remote.shown).top)

    def __iter__(self) -> Iterator[str]:
        return iter(self._open)

    def __len__(self) -> int:
        return len(self._open)

    def close(self) -> None:
        """Remove what was made for the build."""
        self._stack.close()

    # -- the main context -------------------------------------------------------------------

    def main(
        self,
        context: str | bytes | BinaryIO,
        *,
        keep_git_dir: str = "",
        commit_time: bool = False,
    ) -> ContextFiles:
        """Return the files of the context that a build is given.

        Of a git repository *keep_git_dir* is the build argument of that name, and *commit_time*
        says that files have the time of the commit.

        Raises:
            BuildError: it is missing, cannot be fetched, or is no archive.
        """
        if not isinstance(context, str):
            stream = io.BytesIO(context) if isinstance(context, bytes) else context
            return self._of_stream(stream, "the context")
        kind = context_kind(context)
        if kind == "stdin":
            return self._of_stream(sys.stdin.buffer, _STDIN)
        if kind == "url":
            with self.fetched(context, "load remote build context") as remote:
                fetched = remote.file()
                with open(fetched.path, "rb") as file:
                    files = self._of_stream(file, remote.shown)
                time = fetched.mtime // SECOND or _newest(files.top)
                return replace(files, time=time)
        if kind == "git":
            return self._of_git(context, _INTERNAL, keep_git_dir, commit_time)
        return self._of_path(context)

    def _open_named(self, context: NamedContext) -> None:
        if context.kind == "url":
            files, rules = self._of_url(context), IgnoreRules()
        elif context.kind == "git":
            files, rules = self._of_git(context.value, _named(context)), IgnoreRules()
        else:
            files = ContextFiles(top=context.value, shown=context.value)
            rules = ignore_rules("", context.value, self._warn)
        self.put(context.vertex.name, files, rules)

    def _of_url(self, context: NamedContext) -> ContextFiles:
        """Return the files of an archive, or a file that is not one, which is named ``context``."""
        with self.fetched(context.value, "load", _named(context)) as remote:
            fetched = remote.file()
            with open(fetched.path, "rb") as file:
                if is_archive(file.read(HEAD)):
                    file.seek(0)
                    files = self._unpacked(file, remote.shown)
                    time = fetched.mtime // SECOND or _newest(files.top)
                    return replace(files, time=time)
            top = self._directory()
            with full_disk(self._store.layout.root):
                os.link(fetched.path, f"{top}/context")
                os.chmod(f"{top}/context", 0o600)  # as ADD
                os.utime(f"{top}/context", ns=(fetched.mtime, fetched.mtime))
        time = fetched.mtime // SECOND or None
        return ContextFiles(top=top, shown=remote.shown, temporary=True, time=time)

    @cached_property
    def _repositories(self) -> Repositories:
        from ocitool.builder.git.tree import Repositories

        # What the caller itself names may use the caller's agent, as with buildx.
        agent = self._secrets.agents.get(DEFAULT) or agent_of_environment()
        return Repositories(self._store, self._secrets, agent)

    def _of_git(
        self, text: str, label: str, keep_git_dir: str = "", commit_time: bool = False
    ) -> ContextFiles:
        shown = shown_git(text)
        try:
            tree = parse_git(text).tree
        except FormatError as error:
            error.where = shown
            raise
        try:
            keep = parse_flag(KEEP_GIT_DIR, keep_git_dir) if keep_git_dir else False
        except FormatError as error:  # BuildKit ignores it
            self._warn(f"{error.message}: {error.hint}")
            keep = False
        tree = replace(
            tree,
            keep_git_dir=tree.keep_git_dir or keep,
            commit_time=tree.commit_time or commit_time,
        )
        with self._steps.show(f"{label} load git source {shown}") as step:
            remote = self._repositories.tree(tree, self._masked(step))
            self._stack.callback(remote.close)
            step.cached = remote.is_kept()
            return ContextFiles(
                top=remote.directory(), shown=shown, temporary=True, time=remote.commit_time()
            )

    def _masked(self, step: ShownStep) -> Callable[[bytes], None]:
        """Return what shows output of *step* without the values of secrets."""
        masking = Masking(self._secrets)
        return lambda data: step.print(masking.feed(data) if data else masking.end())

    def _of_path(self, path: str) -> ContextFiles:
        top = os.path.abspath(path)
        if os.path.isdir(top):
            return ContextFiles(top=top, shown=top)
        shown = shown_git(path)  # it may have been meant as a URL
        if path.lower().startswith("ftp://"):
            raise BuildError(
                f"{_FAILED}{shown}: FTP URLs are not supported",
                hint="use http or https, or fetch the archive before the build",
            )
        if not os.path.lexists(top):
            raise BuildError(
                f'{_FAILED}path "{shown}" not found',
                hint="the build context is a directory, a tar archive, a URL, or - for standard"
                " input",
            )
        if not os.path.isfile(top):
            raise BuildError(
                f'{_FAILED}path "{path}" is neither a directory nor a file',
                hint="a pipe can be given on standard input: -",
            )
        try:
            with open(top, "rb") as file:
                if is_archive(file.read(HEAD)):
                    file.seek(0)
                    return self._unpacked(file, path)
        except OSError as error:
            raise BuildError(f"{_FAILED}open {path}: {error.strerror}") from error
        raise BuildError(
            f'{_FAILED}path "{path}" is neither a directory nor a tar archive',
            hint="pass a Dockerfile with -f, and the directory with the files as the context",
        )

    def _of_stream(self, stream: Stream | BinaryIO, shown: str) -> ContextFiles:
        """Return the files of an archive, or a Dockerfile without files."""
        peeked = Peeked(stream, HEAD)
        if is_archive(peeked.head):
            return self._unpacked(peeked, shown)
        text = b""
        while len(text) <= LARGEST and (data := peeked.read(LARGEST + 1 - len(text))):
            text += data
        return ContextFiles(top=self._directory(), shown=shown, temporary=True, dockerfile=text)

    def _unpacked(self, stream: Stream | BinaryIO, shown: str) -> ContextFiles:
        from ocitool.builder.context_sources.unpack import unpack  # slow to load, rarely wanted

        top = self._directory()
        try:
            with full_disk(self._store.layout.root):
                unpack(stream, top, shown, self._warn)
        except (FormatError, LayerError) as error:
            place = f": {error.where}" if error.where not in ("", shown) else ""
            raise BuildError(
                f"{_FAILED}{shown}{place}: {error.message}",
                hint=error.hint or (_REPACK if type(error) is LayerError else ""),
            ) from error
        return ContextFiles(top=top, shown=shown, temporary=True)

    def _directory(self) -> str:
        """Return a new directory, which is removed at the end."""
        path = f"{self._store.lease().file()}.d"
        with full_disk(self._store.layout.root):
            os.mkdir(path, 0o700)
        self._stack.callback(remove_tree, path)
        return path

    # -- files that are fetched -------------------------------------------------------------

    @contextlib.contextmanager
    def fetched(self, url: str, doing: str, label: str = _INTERNAL) -> Iterator[RemoteFile]:
        """Yield the file that *url* names; it is removed at the end.

        The step that fetches it is shown as *label* and *doing*.

        Raises:
            BuildError: it cannot be fetched.
        """
        from ocitool.builder.frontend.sources.remotes import http_file

        with during(doing):
            file = http_file(url, "")
        with self._fetching(file, doing, label) as remote:
            yield remote

    @contextlib.contextmanager
    def _fetching(self, file: HttpFile, doing: str, label: str = _INTERNAL) -> Iterator[RemoteFile]:
        from ocitool.builder.solver.http_file import RemoteFile

        remote = RemoteFile(file, self._store, self._secrets, self._steps.progress)
        try:
            with self._steps.show(f"{label} {doing} {remote.shown}"):
                remote.file()
            yield remote
        finally:
            remote.close()


def _named(context: NamedContext) -> str:
    return f"[context {context.name}]"


def _newest(top: str) -> int | None:
    """Return when the newest of the files below *top* was changed, in seconds; None without any."""
    found = (
        os.lstat(f"{directory}/{name}") for directory, _, names in os.walk(top) for name in names
    )
    times = (each.st_mtime_ns // SECOND for each in found if stat.S_ISREG(each.st_mode))
    return max(times, default=None)
