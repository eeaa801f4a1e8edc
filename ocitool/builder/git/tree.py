"""Trees of git repositories: which commit one is, for its key, and its files once they are needed.

A tree that names its commit is known without asking anybody.  Otherwise the server is asked for
its refs, once in a build.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from ocitool.builder.definition import GitTree
from ocitool.builder.git import kept
from ocitool.builder.git.access import Access, access
from ocitool.builder.git.checkout import Checkout
from ocitool.builder.git.errors import fetch_error
from ocitool.builder.git.program import Git, GitFailed
from ocitool.builder.git.reference import is_commit
from ocitool.builder.git.refs import Refs, Resolved
from ocitool.builder.secrets.secrets import Secrets
from ocitool.builder.secrets.ssh.agents import DEFAULT
from ocitool.errors import BuildError
from ocitool.layer.beneath import remove_tree
from ocitool.store.database.build_cache import Content, StepRecord
from ocitool.store.directory.full_disk import full_disk
from ocitool.store.store import Store

if TYPE_CHECKING:
    from ocitool.builder.secrets.ssh.agent import Agent


class _Files(NamedTuple):
    """The files of a tree, made."""

    directory: str
    commit_time: int  # seconds since the epoch


class Repositories:
    """The repositories of one build; ssh has the keys of *agent*, by default of ``--ssh``."""

    def __init__(self, store: Store, secrets: Secrets, agent: Agent | None = None) -> None:
        self._store = store
        self._secrets = secrets
        self._agent = agent or secrets.agents.get(DEFAULT)
        self._refs: dict[str, Refs] = {}  # by URL

    def tree(self, vertex: GitTree, show: Callable[[bytes], object] | None = None) -> RemoteTree:
        """Return the tree that *vertex* describes; *show* gets what is said while it is fetched."""
        reached = access(vertex.remote, self._secrets)
        return RemoteTree(vertex, reached, self._agent, self._store, self._refs, show)


class RemoteTree:
    """One tree; its files are kept until `close`.  *refs* are those of repositories by URL."""

    is_tree: Literal[True] = True
    name: Final = ""  # its files are copied, not a directory

    def __init__(
        self,
        vertex: GitTree,
        access: Access,
        agent: Agent | None,
        store: Store,
        refs: dict[str, Refs],
        show: Callable[[bytes], object] | None,
    ) -> None:
        self.shown = access.shown  # for messages
        self._vertex = vertex
        self._access = access
        self._agent = agent
        self._store = store
        self._refs = refs
        self._show = show
        self._resolved: Resolved | None = None
        self._home = ""  # a temporary directory, made when it is needed
        self._files: _Files | None = None

    def content(self, *, unpacked: bool = False, exclude: Sequence[str] = ()) -> Content:
        """Return the part of a cache key for the tree: the commit, and which of its files are used.

        Archives in a repository are never *unpacked*.

        Raises:
            BuildError: there is no such commit, or it is not that of the checksum.
        """
        return self._content(self.resolve(), exclude)

    def _content(self, resolved: Resolved, exclude: Sequence[str] = ()) -> Content:
        tree = self._vertex
        # What is kept of .git has the URL and the ref.
        own = [resolved.object, resolved.ref, self._access.url] if self._keeps else []
        fields = [resolved.commit, tree.subdir, tree.submodules, tree.commit_time, own]
        if exclude:
            fields.append(list(exclude))
        return Content(self.name, "git", sha256(json.dumps(fields).encode()).hexdigest())

    @property
    def _keeps(self) -> bool:
        return self._vertex.keep_git_dir and not self._vertex.subdir

    def resolve(self) -> Resolved:
        """Return the commit; `BuildError` as `content`."""
        if self._resolved is None:
            resolved, wanted = self._named() or self._ask(), self._vertex.checksum
            ids = list(dict.fromkeys((resolved.object, resolved.commit)))
            if not any(each.startswith(wanted) for each in ids):
                raise BuildError(
                    f"expected checksum to match {wanted}, got {' or '.join(ids)}",
                    where=self.shown,
                    hint="the repository has changed, or the checksum belongs to another commit",
                )
            self._resolved = resolved
            if self._show is not None:
                self._show(f"{resolved.commit}\t{resolved.ref}".rstrip().encode() + b"\n")
        return self._resolved

    def is_kept(self) -> bool:
        """Say whether the files are in the build cache; `BuildError` as `content`."""
        return kept.find(self._store, self.content()) is not None

    def directory(self) -> str:
        """Return a directory with the files; `BuildError` if they cannot be fetched."""
        return self._made().directory

    def commit_time(self) -> int:
        """Return when the commit was made, in seconds since the epoch."""
        return self._made().commit_time

    def _made(self) -> _Files:
        """Make the files, once: those of an earlier build, or else fetched ones."""
        if self._files is None:
            content = self.content()
            record = kept.find(self._store, content)
            with full_disk(self._store.layout.root):
                self._files = self._fetched(content) if record is None else self._restored(record)
        return self._files

    def _fetched(self, content: Content) -> _Files:
        checkout = Checkout(self._git(), self._access, self._vertex, self._home)
        checkout.make(self.resolve())
        files = _Files(checkout.directory, checkout.commit_time)
        kept.keep(self._store, content, files.directory, files.commit_time)
        return files

    def _restored(self, record: StepRecord) -> _Files:
        directory = f"{self._temporary()}/kept"
        kept.restore(self._store, record, directory)
        return _Files(directory, kept.commit_time(record))

    def close(self) -> None:
        """Remove the files."""
        if self._home:
            with contextlib.suppress(OSError):  # the end of the lease removes it, too
                remove_tree(self._home)
            self._home, self._files = "", None

    def _named(self) -> Resolved | None:
        """Return the commit if the reference itself names it."""
        tree = self._vertex
        commit = tree.checksum if tree.by_commit else tree.ref
        if not is_commit(commit):
            return self._known()
        ref = tree.ref if tree.by_commit and tree.ref.startswith("refs/") else ""
        return Resolved(ref=ref, object=commit, commit=commit)

    def _known(self) -> Resolved | None:
        """Return the commit of a whole checksum if the store has its files, without a request."""
        commit = self._vertex.checksum
        if self._keeps or not is_commit(commit):
            return None
        known = Resolved(ref="", object=commit, commit=commit)
        return None if kept.find(self._store, self._content(known)) is None else known

    def _ask(self) -> Resolved:
        url = self._access.url
        if url not in self._refs:
            try:
                listed = self._git().reach("ls-remote", "--symref", "--", url)
            except GitFailed as failure:
                raise fetch_error(failure, "fetch remote", self._access) from failure
            self._refs[url] = Refs.parse(listed)
        ref = self._vertex.ref
        try:  # some of the digits are what ?commit= has, without a ref
            return self._refs[url].find(ref, digits=ref == self._vertex.checksum != "")
        except BuildError as error:
            error.where = self.shown
            raise

    def _git(self) -> Git:
        return Git(self._temporary(), self._access.config, self._agent, self._show)

    def _temporary(self) -> str:
        if not self._home:
            with full_disk(self._store.layout.root):
                self._home = tempfile.mkdtemp(dir=self._store.lease().path)
        return self._home
