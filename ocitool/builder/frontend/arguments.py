"""What a Dockerfile is evaluated with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ocitool.builder.definition import LocalContext, Surroundings
from ocitool.builder.entitlements import Entitlements
from ocitool.builder.frontend.epoch import TimeOf
from ocitool.oci.config import RunConfig
from ocitool.oci.platform import Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The options of a build, as far as they are about its Dockerfile and its image."""

    platform: Platform  # of the image
    platform_given: bool = False  # by the caller: the image has it, whatever its base is for
    build_platform: Platform  # of this machine
    target: str = ""  # a stage; default: the last one
    build_args: Mapping[str, str] = field(default_factory=dict, hash=False)
    epoch: int | str | None = None  # SOURCE_DATE_EPOCH, unless the build arguments have it
    #: Returns the time of what is fetched, for SOURCE_DATE_EPOCH; see `epoch.TimeOf`.
    time_of: TimeOf = field(default=lambda _: None, hash=False, compare=False)
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)  # override LABEL
    unset_labels: tuple[str, ...] = ()  # of the image
    unset_env: tuple[str, ...] = ()  # of the image
    env: Mapping[str, str] = field(default_factory=dict, hash=False)  # of the image, after ENV
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    created_annotation: bool = False
    omit_history: bool = False
    inherit_labels: bool = True  # of the images and stages that stages are based on
    first_base: str = ""  # the image of the first FROM, whatever that names
    no_cache_filter: tuple[str, ...] = ()  # stages whose steps are executed again
    #: Images and directories that replace what has their names (`familiar_name`).
    contexts: Mapping[str, str | LocalContext] = field(default_factory=dict, hash=False)
    around: Surroundings = field(default_factory=Surroundings)  # of each RUN
    entitlements: Entitlements = field(default_factory=Entitlements)
    #: Returns what of a path is excluded from the build context; see `checks.copy_ignored_file`.
    ignored: Callable[[str], str] = field(default=lambda _: "", hash=False, compare=False)

    def overriding(self, run: RunConfig, warn: Callable[[str], None]) -> RunConfig:
        """Return what the image has of *run*.

        As with buildah, a label that is set and unset is set, and a variable is unset.
        """
        labels, env = self.unset_labels, self.unset_env
        for kind, option, names, known in (
            ("label", "--unsetlabel", labels, run.labels),
            ("variable", "--unsetenv", env, {**run.environment(), **self.env}),
        ):
            for name in names:
                if name not in known:
                    warn(f"no {kind} is named {name!r}: {option} has no effect")
        kept = {name: value for name, value in run.labels.items() if name not in labels}
        changed = replace(run, labels={**kept, **self.labels})
        if self.env:
            changed = changed.with_env(self.env)
        return changed.without_env(env)
