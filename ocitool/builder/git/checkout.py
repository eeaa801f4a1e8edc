"""The files of one commit, in a directory: fetched without history, with submodules.

Source: git-fetch(1), git-checkout(1), git-submodule(1); what is kept of ``.git``, BuildKit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from ocitool.builder.definition import GitTree
from ocitool.builder.git.access import Access
from ocitool.builder.git.errors import fetch_error
from ocitool.builder.git.program import Git, GitFailed
from ocitool.builder.git.refs import Resolved
from ocitool.errors import BuildError
from ocitool.layer.beneath import remove_tree
from ocitool.layer.entry import DEFAULT_LIMITS

#: What servers say that cannot send a commit without its history, or by its ID.
_SHALLOW = ("shallow", "--depth")
_DEEPEST = DEFAULT_LIMITS.depth
_BY_ID = ("not our ref", "unadvertised object", "upload-pack: not our ref")


class Checkout:
    """A working tree of *tree*'s repository at a commit, made below the directory *home*."""

    def __init__(self, git: Git, access: Access, tree: GitTree, home: str) -> None:
        self._git = git
        self._access = access
        self._tree = tree
        self._top = f"{home}/tree"
        self.directory = ""  # with the files, once they are made
        self.commit_time = 0  # seconds since the epoch

    def make(self, resolved: Resolved) -> None:
        """Fetch the commit and write its files.

        Raises:
            BuildError: the commit cannot be fetched, or has no such directory.
        """
        self._fetch(resolved)
        try:
            self._run("checkout", "--quiet", "--force", "--detach", self._commit(resolved))
            if self._tree.submodules and os.path.lexists(f"{self._top}/.gitmodules"):
                self._submodules()
            self._require_depth()
            self.commit_time = int(self._run("show", "--no-patch", "--format=%ct"))
            if self._tree.keep_git_dir and not self._tree.subdir:
                self._clean()
            else:
                self._drop()
        except GitFailed as failure:
            raise fetch_error(failure, "checkout remote", self._access) from failure
        self.directory = self._directory()
        if self._tree.commit_time:
            _set_times(self.directory, self.commit_time)

    def _run(self, *words: str) -> str:
        return self._git.run(*words, directory=self._top)

    def _reach(self, *words: str) -> str:
        return self._git.reach(*words, directory=self._top)

    # -- fetching ---------------------------------------------------------------------------

    def _fetch(self, resolved: Resolved) -> None:
        os.makedirs(self._top, 0o755)
        form = ["--object-format=sha256"] if len(resolved.object) == 64 else []
        try:
            self._run("init", "--quiet", "--template=", *form)
            self._run("remote", "add", "origin", self._access.url)
            self._fetch_objects(resolved)
        except GitFailed as failure:
            raise fetch_error(failure, "fetch remote", self._access) from failure

    def _fetch_objects(self, resolved: Resolved) -> None:
        messages = "--quiet" if self._git.show is None else "--progress"
        fetch = ["fetch", messages, "--no-tags", "--force"]
        ref = resolved.ref if resolved.ref.startswith("refs/") else ""
        wanted = f"{resolved.object}:{ref}" if ref else resolved.object
        everything = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"]
        try:
            try:
                self._reach(*fetch, "--update-head-ok", "--depth=1", "origin", wanted)
            except GitFailed as failure:
                if not _says(failure, _SHALLOW):
                    raise
                self._reach(*fetch, "--update-head-ok", "origin", wanted)
        except GitFailed as failure:
            if not _says(failure, _BY_ID):
                raise
            self._reach(*fetch, "origin", *everything, *([f"+{ref}:refs/fetched"] if ref else []))
            self._require(resolved)

    def _require(self, resolved: Resolved) -> None:
        try:
            self._run("cat-file", "-e", resolved.object)
        except GitFailed as failure:
            raise BuildError(
                f"repository does not contain commit {resolved.object}",
                where=self._access.shown,
                hint="no branch or tag contains this commit",
            ) from failure

    def _commit(self, resolved: Resolved) -> str:
        """Return the ID of the commit; what is named by its ID may be a tag.

        For a tag that is named by its ref the server has said which commit it is: that was compared
        with a checksum, and the files are stored under it.
        """
        commit = self._run("rev-parse", "--verify", f"{resolved.object}^{{commit}}").strip()
        if resolved.commit not in (commit, resolved.object):
            raise BuildError(
                f"the server says that {resolved.ref} is commit {resolved.commit},"
                f" but it is {commit}",
                where=self._access.shown,
                hint="its refs are inconsistent: name the commit by its ID",
            )
        return commit

    def _require_depth(self) -> None:
        """Refuse directories deeper than a layer's, also those that names of submodules make."""
        todo = [(self._top, 0)]
        while todo:
            directory, depth = todo.pop()
            if depth > _DEEPEST:
                raise BuildError(
                    f"directories are nested more than {_DEEPEST} deep",
                    where=self._access.shown,
                    hint="no layer can have such files",
                )
            with os.scandir(directory) as entries:
                inner = (entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
                todo += ((path, depth + 1) for path in inner)

    # -- submodules -------------------------------------------------------------------------

    def _submodules(self) -> None:
        update = ["submodule", "--quiet", "update", "--init", "--recursive"]
        try:
            try:
                self._reach(*update, "--depth=1")
            except GitFailed as failure:
                if not _says(failure, (*_SHALLOW, *_BY_ID)):
                    raise
                remove_tree(f"{self._top}/.git/modules")
                self._reach(*update)
        except GitFailed as failure:
            error = fetch_error(failure, "update submodules for", self._access)
            error.hint = error.hint or "submodules=false in the query of the URL leaves them out"
            raise error from failure

    # -- what becomes of .git ---------------------------------------------------------------

    def _clean(self) -> None:
        """Leave nothing in ``.git`` that differs from one build to the next.

        That are the times in the index, and how the server packs.
        """
        for name in ("FETCH_HEAD", "ORIG_HEAD", "logs"):
            remove_tree(f"{self._top}/.git/{name}")
        for git_dir in self._git_dirs():
            os.unlink(f"{git_dir}/index")
            repository = ("--git-dir", git_dir)
            self._run(*repository, "read-tree", "HEAD")
            self._run(*repository, "repack", "-a", "-d", "-f", "-n", "-q", "--window=0")

    def _git_dirs(self) -> Iterator[str]:
        for directory, _, names in os.walk(f"{self._top}/.git"):
            if "index" in names and "HEAD" in names:
                yield directory

    def _drop(self) -> None:
        """Remove ``.git``; no file of a commit has that name, so all of them are git's."""
        remove_tree(f"{self._top}/.git")
        if os.path.lexists(f"{self._top}/.gitmodules"):
            for directory, names, files in os.walk(self._top):
                for name in {".git"}.intersection((*names, *files)):
                    remove_tree(f"{directory}/{name}")
                names[:] = [name for name in names if name != ".git"]

    # -- the directory ----------------------------------------------------------------------

    def _directory(self) -> str:
        """Return the directory that the reference names."""
        subdir = self._tree.subdir
        if not subdir:
            return self._top
        top = os.path.realpath(self._top)
        found = os.path.realpath(f"{top}/{subdir}")
        if not found.startswith(f"{top}/") and found != top:
            raise BuildError(
                f'subdir "{subdir}" leads out of the repository',
                where=self._access.shown,
                hint="it is a symbolic link; name a directory inside the repository",
            )
        if not os.path.isdir(found):
            fault = "is not a directory" if os.path.lexists(found) else "not found"
            raise BuildError(
                f'failed to open subdir "{subdir}": {fault}',
                where=self._access.shown,
                hint="name a directory of that commit",
            )
        return found


def _says(failure: GitFailed, words: tuple[str, ...]) -> bool:
    return any(word in failure.messages for word in words)


def _set_times(top: str, seconds: int) -> None:
    for directory, names, files in os.walk(top, topdown=False):
        for name in (*files, *names):
            os.utime(f"{directory}/{name}", (seconds, seconds), follow_symlinks=False)
    os.utime(top, (seconds, seconds))
