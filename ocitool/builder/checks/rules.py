"""The build checks by name, with the texts that BuildKit has for them.

Source: Docker documentation, "Build checks"; BuildKit, Dockerfile frontend 1.26.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_PAGES: Final = "https://docs.docker.com/go/dockerfile/rule/"
_WORD_BEGINS: Final = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One check; ``detail`` is a format string for what a warning says."""

    name: str
    description: str
    detail: str
    experimental: bool = False  # executed only if it is asked for
    whole_file: bool = False  # no comment above a single instruction has it skipped
    has_page: bool = True

    @property
    def url(self) -> str:
        """Where the rule is explained; ``""`` if it is nowhere."""
        return f"{_PAGES}{_WORD_BEGINS.sub('-', self.name).lower()}/" if self.has_page else ""


_ALL: Final = (
    Rule(
        name="StageNameCasing",
        description="Stage names should be lowercase",
        detail="Stage name '{}' should be lowercase",
    ),
    Rule(
        name="FromAsCasing",
        description="The 'as' keyword should match the case of the 'from' keyword",
        detail="'{}' and '{}' keywords' casing do not match",
    ),
    Rule(
        name="NoEmptyContinuation",
        description="Empty continuation lines will become errors in a future release",
        detail="Empty continuation line",
        whole_file=True,
    ),
    Rule(
        name="ConsistentInstructionCasing",
        description="All commands within the Dockerfile should use the same casing (either upper "
        "or lower)",
        detail="Command '{}' should match the case of the command majority ({})",
        whole_file=True,
    ),
    Rule(
        name="DuplicateStageName",
        description="Stage names should be unique",
        detail="Duplicate stage name {}, stage names should be unique",
        whole_file=True,
    ),
    Rule(
        name="ReservedStageName",
        description="Reserved words should not be used as stage names",
        detail="Stage name should not use the same name as reserved stage {}",
        whole_file=True,
    ),
    Rule(
        name="JSONArgsRecommended",
        description="JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior "
        "related to OS signals",
        detail="JSON arguments recommended for {} to prevent unintended behavior related to OS "
        "signals",
    ),
    Rule(
        name="MaintainerDeprecated",
        description="The MAINTAINER instruction is deprecated, use a label instead to define an "
        "image author",
        detail="Maintainer instruction is deprecated in favor of using label",
    ),
    Rule(
        name="UndefinedArgInFrom",
        description="FROM command must use declared ARGs",
        detail="FROM argument '{}' is not declared{}",
    ),
    Rule(
        name="WorkdirRelativePath",
        description="Relative workdir without an absolute workdir declared within the build can "
        "have unexpected results if the base image changes",
        detail="Relative workdir {} can have unexpected results if the base image changes",
    ),
    Rule(
        name="UndefinedVar",
        description="Variables should be defined before their use",
        detail="Usage of undefined variable '${}'{}",
    ),
    Rule(
        name="MultipleInstructionsDisallowed",
        description="Multiple instructions of the same type should not be used in the same stage",
        detail="Multiple {} instructions should not be used in the same stage because only the "
        "last one will be used",
    ),
    Rule(
        name="LegacyKeyValueFormat",
        description="Legacy key/value format with whitespace separator should not be used",
        detail='"{0} key=value" should be used instead of legacy "{0} key value" format',
    ),
    Rule(
        name="InvalidBaseImagePlatform",
        description="Base image platform does not match expected target platform",
        detail="Base image {} was pulled with platform {}, expected {} for current build",
        has_page=False,
        whole_file=True,
    ),
    Rule(
        name="RedundantTargetPlatform",
        description="Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this "
        "is the default behavior",
        detail="Setting platform to predefined {} in FROM is redundant as this is the default "
        "behavior",
    ),
    Rule(
        name="SecretsUsedInArgOrEnv",
        description="Sensitive data should not be used in the ARG or ENV commands",
        detail="Do not use ARG or ENV instructions for sensitive data ({} {})",
    ),
    Rule(
        name="InvalidDefaultArgInFrom",
        description="Default value for global ARG results in an empty or invalid base image name",
        detail="Default value for ARG {} results in empty or invalid base image name",
        whole_file=True,
    ),
    Rule(
        name="FromPlatformFlagConstDisallowed",
        description="FROM --platform flag should not use a constant value",
        detail="FROM --platform flag should not use constant value {}",
    ),
    Rule(
        name="CopyIgnoredFile",
        description="Attempting to Copy file that is excluded by .dockerignore",
        detail="Attempting to {} file {} that is excluded by .dockerignore",
    ),
    Rule(
        name="InvalidDefinitionDescription",
        description="Comment for build stage or argument should follow the format: "
        "`# <arg/stage name> <description>`. If this is not intended to be a description comment, "
        "add an empty line or comment between the instruction and the comment.",
        detail="Comment for {} should follow the format: `# {} <description>`",
        experimental=True,
    ),
    Rule(
        name="ExposeProtoCasing",
        description="Protocol in EXPOSE instruction should be lowercase",
        detail="Defined protocol '{}' in EXPOSE instruction should be lowercase",
    ),
    Rule(
        name="ExposeInvalidFormat",
        description="IP address and host-port mapping should not be used in EXPOSE instruction. "
        "This will become an error in a future release",
        detail="EXPOSE instruction should not define an IP address or host-port mapping, found "
        "'{}'",
    ),
)

#: In the order of BuildKit's documentation.
RULES: Final[Mapping[str, Rule]] = {rule.name: rule for rule in _ALL}
