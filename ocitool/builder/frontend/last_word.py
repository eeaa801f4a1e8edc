"""What the options of a build say of its image: they have the last word, after the Dockerfile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ocitool.builder.frontend.arguments import Arguments
from ocitool.oci.config import RunConfig


def last_word(run: RunConfig, overrides: Arguments, warn: Callable[[str], None]) -> RunConfig:
    """Return what the image has of *run*: what is set counts after what is unset."""
    labels, env = overrides.unset_labels, overrides.unset_env
    for kind, option, names, known in (
        ("label", "--unsetlabel", labels, run.labels),
        ("variable", "--unsetenv", env, run.environment()),
    ):
        for name in names:
            if name not in known:
                warn(f"no {kind} is named {name!r}: {option} has no effect on it")
    kept = {name: value for name, value in run.labels.items() if name not in labels}
    changed = replace(run.without_env(env), labels={**kept, **overrides.labels})
    return changed.with_env(overrides.env) if overrides.env else changed
