"""The steps that make layers, as values: everything their result depends on, and nothing else.

A step stands on a tree named by its layers, so equal steps on equal trees have equal keys however
they came about.  Times and the names of machines are no inputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ocitool.builder.solver.cache import key_of
from ocitool.store.layer_content import Layer, chain_ids

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: Where a heredoc that is a program lies while it runs.
SCRIPTS: Final = "/dev/pipes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Op(ABC):
    """What every step depends on."""

    below: tuple[Layer, ...]  # lowest first
    platform: str
    epoch: int | None  # SOURCE_DATE_EPOCH

    def key(self) -> str:
        """Return the key of this step in the cache."""
        names = chain_ids(self.below)
        return key_of(
            type(self).__name__,
            names[-1] if names else "",
            self.platform,
            self.epoch,
            *self.inputs(),
        )

    @abstractmethod
    def inputs(self) -> list[Any]:
        """Return what this kind of step depends on, framed by lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOp(Op):
    """A command on the tree.  ``secret_env`` (proxies) reaches it and is no input."""

    args: tuple[str, ...]
    env: Mapping[str, str] = field(hash=False)
    cwd: str
    user: str
    network: str
    script: str = ""  # a heredoc that is a program, put where `args` names it
    secret_env: Mapping[str, str] = field(default_factory=dict, hash=False)

    def inputs(self) -> list[Any]:
        env = sorted(self.env.items())
        return [list(self.args), env, self.cwd, self.user, self.network, self.script]


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOp(Op):
    """Files into the tree.  ``contents``: for each source its name, kind and content digest."""

    dest: str
    contents: tuple[tuple[str, str, str], ...]
    chown: str  # as written: the tree says what names mean
    chmod: str

    def inputs(self) -> list[Any]:
        return [self.dest, [list(content) for content in self.contents], self.chown, self.chmod]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkdirOp(Op):
    """A directory that must be there."""

    path: str
    user: str  # who owns what is made

    def inputs(self) -> list[Any]:
        return [self.path, self.user]
