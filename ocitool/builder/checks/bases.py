"""Rules of FROM, once its variables are known: a function for each."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ocitool.builder.checks.linter import Linter
from ocitool.builder.dockerfile.expansion.variables import Variables
from ocitool.builder.dockerfile.instructions import From
from ocitool.builder.dockerfile.lines.span import Span
from ocitool.errors import FormatError
from ocitool.go_values import quoted
from ocitool.oci.config import ImageConfig
from ocitool.oci.platform import Platform
from ocitool.oci.reference import Reference, is_image_id
from ocitool.suggestions import closest


def invalid_default_arg_in_from(
    linter: Linter, origin: From, default: str, earlier: Collection[str]
) -> None:
    """What FROM names without build arguments, *default*, is a name; *earlier* are stages."""
    if default in earlier or is_image_id(default):
        return
    try:
        Reference.parse(default)
    except FormatError:
        linter.warn("InvalidDefaultArgInFrom", origin.span, origin.image)


def undefined_arg_in_from(
    linter: Linter, span: Span, used: Variables, declared: Mapping[str, object]
) -> None:
    for name in sorted(used.unset):
        if name not in declared:
            near = linter.suggests and closest(name, declared)
            linter.warn(
                "UndefinedArgInFrom", span, name, f" (did you mean {near}?)" if near else ""
            )


def redundant_target_platform(linter: Linter, origin: From, used: Variables, platform: str) -> None:
    """Its platform is that of the image anyway."""
    if not used.unset and used.found.get("TARGETPLATFORM") == platform and len(used.found) == 1:
        linter.warn("RedundantTargetPlatform", origin.span, origin.platform or "")


def from_platform_flag_const_disallowed(
    linter: Linter, origin: From, used: Variables, platform: str
) -> None:
    """A constant platform is accepted in a stage that is named after it."""
    if used.unset or used.found:
        return
    try:
        parsed = Platform.parse(platform)
    except FormatError:
        return  # an error soon
    name = origin.name or ""
    if parsed.os not in name and parsed.architecture not in name:
        linter.warn("FromPlatformFlagConstDisallowed", origin.span, quoted(platform))


def invalid_base_image_platform(
    linter: Linter, span: Span, reference: str, config: ImageConfig, expected: Platform
) -> None:
    actual = config.platform
    same = (actual.os, actual.architecture) == (expected.os, expected.architecture)
    if not same and config.diff_ids:  # an image without layers runs anywhere
        linter.warn(
            "InvalidBaseImagePlatform",
            span,
            reference,
            quoted(actual.in_full),
            quoted(expected.in_full),
        )
