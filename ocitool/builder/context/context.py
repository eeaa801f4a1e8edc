"""The build context: the files a COPY can take, without those that are ignored."""

from __future__ import annotations

import marshal
import os
import posixpath
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from hashlib import sha256
from operator import itemgetter
from typing import Final, NamedTuple

from ocitool.builder.context.describe import describe
from ocitool.builder.context.file_tree import DIRECTORY, FileTree
from ocitool.builder.context.ignore.rules import IgnoreRules
from ocitool.builder.context.ignore.rules import State as IgnoreState
from ocitool.builder.context.name_patterns import find_matches, has_wildcard, segments_of
from ocitool.builder.context.parents_exclude import (
    ON_THE_WAY,
    Enter,
    Selection,
    Verdict,
    joined,
    leads_on,
    takes_itself,
)
from ocitool.builder.context.statcache import StatCache, State
from ocitool.errors import BuildError, LayerError
from ocitool.layer.changes.describe import Links
from ocitool.layer.entry import Entry, encode, identity
from ocitool.layer.symlinks import resolve
from ocitool.store.database.build_cache import BuildCache
from ocitool.suggestions import nearest

_DEEPEST: Final = 400  # levels of directories, below Python's own limit of nested calls


class Item(NamedTuple):
    """Something that a COPY names: its path in the context, and what it is there."""

    path: str  # relative; "" is the context itself
    name: str  # what it is called in a directory it is copied into
    is_directory: bool
    selection: Selection = Selection()  # of what is in a directory


class _Walk(NamedTuple):
    """How a directory is walked: by which rules, and what they are called in the stat cache."""

    enter: Enter
    rules: str


class Context:
    """The directory *top* under *rules*.

    Nothing outside is ever reached, whatever links say and whatever changes meanwhile.

    *records* keep what is known of the files for the next build, unless it is None.
    """

    def __init__(
        self, top: str, rules: IgnoreRules, records: BuildCache | None, *, shown: str = ""
    ) -> None:
        self.top = os.path.realpath(top)
        self._tree = FileTree(self.top)
        self._shown = shown or self.top  # what messages call it
        self._rules = rules
        self._walker = rules.walker()
        self._records = records
        self._cache: StatCache | None = None

    @property
    def cache(self) -> StatCache:
        """The stat cache; read when the first COPY needs it."""
        if self._cache is None:
            self._cache = StatCache(self._records, self._tree, self._rules.digest)
        return self._cache

    # -- finding ----------------------------------------------------------------------------

    def find(self, source: str) -> list[Item]:
        """Return what the COPY source *source* names; a wildcard may name nothing.

        Raises:
            BuildError: a name without wildcards is missing or ignored, or what a link is to that
                a wildcard has found.
        """
        segments = segments_of(source)
        if any(has_wildcard(segment) for segment in segments):
            return list(self._find_matches(segments))
        named = "/".join(segments)
        path = self._resolve(named)
        if path is None or not self._sent(named, path):
            if path is None and posixpath.normpath(source.lstrip("/")).startswith("../"):
                raise self._outside(named)
            raise self._absent(named, ignored=path is not None)
        return [self._item(path, segments[-1] if segments else "")]

    def _find_matches(self, segments: list[str]) -> Iterator[Item]:
        for matched, path, name in find_matches(segments, self._names, self._resolve):
            if path is not None and self._sent(matched, path):
                yield self._item(path, name)
            elif matched != path and not self._rules.ignored(matched):
                raise self._absent(matched, ignored=path is not None)

    def _names(self, directory: str) -> list[str]:
        try:
            names = self._tree.names(directory)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(names, key=encode)

    def _item(self, path: str, name: str = "") -> Item:
        return Item(path, name or path.rpartition("/")[2], self._tree.is_directory(path))

    def _sent(self, named: str, path: str) -> bool:
        """Say whether neither *named* nor *path*, where its links lead, is ignored.

        A directory that is ignored is sent with what is re-included below it, never alone.
        """
        if named != path and self._rules.ignored(named):
            return False
        return not self._rules.ignored(path) or self._has_something(path)

    def _has_something(self, directory: str) -> bool:
        """Say whether *directory* is one, and anything below it is not ignored."""
        if not self._tree.is_directory(directory):
            return False
        inside = [(directory, self._verdict(directory))]
        while inside:
            path, verdict = inside.pop()
            if verdict.settled:
                continue
            with self._tree.opened(path, DIRECTORY) as fd, os.scandir(fd) as entries:
                for entry in entries:
                    is_directory = entry.is_dir(follow_symlinks=False)
                    below = self._walker.enter(verdict, entry.name, is_directory)
                    if not below.ignored:
                        return True
                    if is_directory:
                        inside.append((f"{path}/{entry.name}", below))
        return False

    def _resolve(self, path: str) -> str | None:
        """Follow the links of *path* inside the context; None if it does not exist."""
        try:
            return resolve(path, self._tree.readlink)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except LayerError as error:
            raise BuildError("too many levels of symbolic links", where=f"/{path}") from error

    def _absent(self, path: str, *, ignored: bool) -> BuildError:
        is_link = os.path.islink(f"{self.top}/{path}")
        what = "the target of this symbolic link" if is_link else "it"
        if ignored:
            example = "" if is_link else f" such as !{path}"
            hint = f"{what} is excluded by the ignore file; add an exception{example}"
        elif is_link:
            hint = f"{what} is not in the context"
        elif near := self._nearest(path):
            hint = f"did you mean {near}? The context is {self._shown}"
        else:
            hint = (
                f"the context is {self._shown}" if os.listdir(self.top) else "the context is empty"
            )
        return BuildError(f'"/{path}": not found', hint=hint)

    def _outside(self, path: str) -> BuildError:
        hint = (
            f"files outside of the build context cannot be copied: the context is {self._shown}; "
            "for another directory use "
            "--build-context NAME=DIRECTORY and COPY --from=NAME"
        )
        return BuildError(f'"/{path}": not found', hint=hint)

    def _nearest(self, path: str) -> str:
        """Return the path that was probably meant: for each name the most similar one."""
        found = ""
        for name in path.split("/"):
            names = self._names(found)
            near = name if name in names else nearest(name, names)
            if not near:
                return ""
            found = f"{found}/{near}".lstrip("/")
        return found

    # -- digests ----------------------------------------------------------------------------

    def digest(self, item: Item) -> str:
        """Return a digest of an item's content: all that its entries have but owners and times.

        Hard links to one file differ from copies of it.
        """
        links: dict[tuple[int, int], list[str]] = {}
        if item.is_directory:
            walk, verdict = self._begin(item)
            content = self._directory(item.path, verdict, links, walk)
        else:
            began = time.time_ns()
            parent, _, name = item.path.rpartition("/")
            found = _state(name, self._tree.state(item.path))
            content = self.cache.digest(parent, [found], began, self._tree.host_path(item.path))
        several = sorted(sorted(paths) for paths in links.values() if len(paths) > 1)
        return sha256(repr((item.is_directory, content, several)).encode()).hexdigest()

    def _begin(self, item: Item) -> tuple[_Walk, Verdict]:
        """Return how the directory *item* is walked, and the verdict on it."""
        own: tuple[Enter, Verdict] = (self._walker.enter, self._verdict(item.path))
        if not item.selection:
            return _Walk(own[0], ""), own[1]
        enter, verdict = joined(item.selection, own)
        # A path has no two slashes: the records of a selection are beside the directory's own.
        return _Walk(enter, f"//{item.path}:{item.selection.digest}"), verdict

    def _directory(
        self,
        path: str,
        verdict: Verdict,
        links: dict[tuple[int, int], list[str]],
        walk: _Walk,
    ) -> str:
        if path.count("/") >= _DEEPEST:
            raise BuildError(
                f"directories are nested more than {_DEEPEST} deep",
                where=f"{path[:40]}...",
                hint="name the directory in .dockerignore, or pack it and ADD the archive",
            )
        host_path = self._tree.host_path(path)
        began = time.time_ns()
        files, directories = self._listed(path, verdict, links, walk)
        key = host_path if verdict.settled else host_path + walk.rules
        parts = [self.cache.digest(path, files, began, key)]
        for name, found in directories:
            below = verdict if verdict.settled else walk.enter(verdict, name, True)
            if below.ignored and below.settled:
                continue
            child = f"{path}/{name}" if path else name
            digest = self._directory(child, below, links, walk)
            if below.ignored and digest == _EMPTY and not self._left_empty(child, below):
                continue
            entry = describe(self._tree, child, name, found)
            led = ON_THE_WAY if below.ignored and leads_on(below) else ""
            parts.append(f"{digest} {identity(entry, owners=False)}{led}")
        return sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()

    def _listed(
        self,
        path: str,
        verdict: Verdict,
        links: dict[tuple[int, int], list[str]],
        walk: _Walk,
    ) -> tuple[list[State], list[tuple[str, os.stat_result]]]:
        """Return the files in a directory that are taken, and all directories, by name."""
        files: list[State] = []
        directories: list[tuple[str, os.stat_result]] = []
        settled, enter, is_dir_mode = verdict.settled, walk.enter, stat.S_ISDIR
        with self._tree.opened(path, DIRECTORY) as fd, os.scandir(fd) as entries:
            for entry in entries:
                name = entry.name
                found = entry.stat(follow_symlinks=False)
                mode = found.st_mode
                if is_dir_mode(mode):
                    directories.append((name, found))
                    continue
                if (verdict if settled else enter(verdict, name, False)).ignored:
                    continue
                files.append(
                    (name, mode, found.st_ino, found.st_size, found.st_mtime_ns,
                     found.st_ctime_ns)
                )  # fmt: skip
                if found.st_nlink > 1:
                    child = f"{path}/{name}" if path else name
                    links.setdefault((found.st_dev, found.st_ino), []).append(child)
        files.sort()
        directories.sort(key=itemgetter(0))
        return files, directories

    def _left_empty(self, directory: str, verdict: Verdict) -> bool:
        """Say whether *directory*, of which nothing is taken, is sent for what is excluded."""
        return takes_itself(verdict) and self._has_something(directory)

    def _verdict(self, path: str) -> IgnoreState:
        state = self._walker.root
        for name in path.split("/") if path else ():
            state = self._walker.enter(state, name, True)
        return state

    # -- content ----------------------------------------------------------------------------

    def walk(self, item: Item) -> Iterator[tuple[Entry, str]]:
        """Yield what is in the directory *item*, in a layer's order, with what `reader` takes.

        Paths are relative to *item*; hard links among the files are kept.
        """
        walk, verdict = self._begin(item)
        yield from self._walk(item.path, "", verdict, {}, walk.enter)

    def _walk(
        self,
        path: str,
        inside: str,
        verdict: Verdict,
        links: Links,
        enter: Enter,
    ) -> Iterator[tuple[Entry, str]]:
        for name, found in sorted(self._tree.listing(path), key=lambda each: encode(each[0])):
            child = f"{path}/{name}" if path else name
            relative = f"{inside}/{name}" if inside else name
            is_directory = stat.S_ISDIR(found.st_mode)
            below = verdict if verdict.settled else enter(verdict, name, is_directory)
            if below.ignored and (below.settled or not is_directory):
                continue
            entry = describe(self._tree, child, relative, found, links)
            if not is_directory:
                yield entry, child
                continue
            content = self._walk(child, relative, below, links, enter)
            if below.ignored:
                # Only there for what is re-included below it.
                first = next(content, None)
                if first is None and not self._left_empty(child, below):
                    continue
                yield entry, ON_THE_WAY if leads_on(below) else ""
                if first is not None:
                    yield first
            else:
                yield entry, ""
            yield from content

    def file(self, item: Item) -> tuple[Entry, str]:
        """Return the entry of a file (its path is its name), and what `reader` takes."""
        state = self._tree.state(item.path)
        return describe(self._tree, item.path, item.name, state), item.path

    def state(self, item: Item) -> os.stat_result:
        """Return what lstat(2) says of *item*."""
        return self._tree.state(item.path)

    def reader(self) -> AbstractContextManager[Callable[[str], int]]:
        """Return what opens files that `walk`, `file` and `find` have named, for one step."""
        return self._tree.reader()

    def close(self) -> None:
        """Store what is known of the files for the next build."""
        if self._cache is not None:
            self._cache.save()
        self._tree.close()


def _state(name: str, found: os.stat_result) -> State:
    return (
        name, found.st_mode, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns,
    )  # fmt: skip


#: The digest of a directory without files.
_EMPTY: Final = sha256(sha256(marshal.dumps([], 2)).hexdigest().encode()).hexdigest()
