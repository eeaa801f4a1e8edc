"""``RUN --mount``: a line of CSV to its fields.

Of a mount only ``from`` is known when the Dockerfile is parsed, for the graph of stages; all else
may have variables, and is checked once they are expanded.

Source: Dockerfile reference, "RUN --mount".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ocitool.builder.dockerfile.csv_fields import parse_bool, split_fields
from ocitool.errors import FormatError
from ocitool.go_values import size_of
from ocitool.suggestions import suggest

_TYPES: Final = ("bind", "cache", "tmpfs", "secret", "ssh")
_SHARING: Final = ("shared", "private", "locked")
_OF_SECRETS: Final = ("secret", "ssh")  # which may be required
_WITH_OWNER: Final = ("cache", "secret", "ssh")
#: buildah's, for SELinux: the files of a mount are never labelled, nor is the command.
_RELABEL: Final = ("shared", "private")
_RELABELED: Final = ("bind", "cache")
_WRITABLE: Final = ("cache", "tmpfs")  # unless they say otherwise
_ALIASES: Final = {
    "src": "source", "dst": "target", "destination": "target", "ro": "readonly", "rw": "readwrite",
}  # fmt: skip
_KEYS: Final = (
    "type", "from", "source", "target", "readonly", "readwrite", "id", "sharing", "required",
    "size", "mode", "uid", "gid", "env",
)  # fmt: skip
_LARGEST: Final = 2**32 - 1  # of a mode, and of an ID


@dataclass(frozen=True, slots=True, kw_only=True)
class MountFlag:
    """One ``--mount`` as it was written; ``from_`` is never expanded."""

    text: str
    from_: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MountFields:
    """What a mount says; what it leaves out is empty or None.

    Which vertex it takes files from, and what the defaults are, the frontend knows.
    """

    type: str = "bind"
    source: str = ""
    target: str = ""
    id: str = ""
    sharing: str = ""
    size: int = 0  # bytes; 0: no limit
    required: bool = False
    readonly: bool = True
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    env: str | None = None


def parse_mount_flag(text: str) -> MountFlag:
    """Read what has to be known of a mount before any variable is.

    Raises:
        FormatError: quotes around fields do not match, or ``from`` has a variable.
    """
    from_ = ""
    for field in split_fields(text, "mount"):
        key, equals, value = field.partition("=")
        if key.lower() != "from" or not equals:
            continue
        if "$" in value[:-1]:
            raise FormatError(
                "'from' doesn't support variable expansion, define alias stage instead",
                hint="add a stage (FROM with the variable, AS NAME), and write from=NAME",
            )
        from_ = value
    return MountFlag(text=text, from_=from_)


def parse_mount(flag: MountFlag, expand: Callable[[str], str]) -> MountFields:
    """Read a mount; *expand* replaces the variables of a value.

    Fields count in their order: ``size`` and ``required`` belong behind the ``type`` that has them.

    Raises:
        FormatError: a key, a value, or a combination of them is invalid.
    """
    reader = _Reader()
    for field in split_fields(flag.text, "mount"):
        key, equals, value = field.partition("=")
        known = _ALIASES.get(key.lower(), key.lower())
        if equals:
            reader.take(known, key.lower(), expand(value), field)
        else:
            reader.take_word(known, field)
    return reader.result(flag.from_)


class _Reader:
    """Collects the fields of one mount."""

    def __init__(self) -> None:
        self._type = "bind"
        self._texts: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        self._flags: dict[str, bool] = {}
        self._relabel = ""  # the field that asks for it

    def take_word(self, key: str, field: str) -> None:
        """Take a field that is a key alone."""
        if key == "z":  # or Z
            self._relabel = field
            return
        if key not in ("readonly", "readwrite", "required"):
            raise FormatError(
                f"invalid field '{field}' must be a key=value pair",
                hint="as target=PATH; readonly, readwrite and required may stand alone",
            )
        self._flag(key, True)

    def take(self, key: str, written: str, value: str, field: str) -> None:
        """Take a field; *written* is the key's name as it was given, in lower case."""
        if key == "relabel":
            _word("relabel value", value, _RELABEL)
            self._relabel = field
            return
        if key not in _KEYS:
            known = (*_KEYS, *_ALIASES)
            near = suggest(written, known)
            raise FormatError(
                f"unexpected key '{written}' in '{field}'{near}",
                hint="" if near else f"a mount has {', '.join(_KEYS)}",
            )
        if key == "type":
            self._type = _word("mount type", value, _TYPES)
        elif key == "sharing":
            self._texts[key] = _word("sharing value", value, _SHARING)
        elif key in ("readonly", "readwrite", "required"):
            self._of_type(key)
            self._flag(key, parse_bool(written, value))
        elif key == "size":
            self._of_type(key)
            self._numbers[key] = _size(value)
        elif key == "mode":
            self._numbers[key] = _number(key, value, 8, _LARGEST)
        elif key in ("uid", "gid"):
            self._numbers[key] = _number(key, value, 10, _LARGEST)
        else:
            self._texts[key] = value

    def _flag(self, key: str, value: bool) -> None:
        self._of_type(key)
        if key == "readwrite":
            key, value = "readonly", not value
        self._flags[key] = value

    def _of_type(self, key: str) -> None:
        """Refuse a key that the type, as it is known so far, does not have."""
        types = {"required": _OF_SECRETS, "size": ("tmpfs",)}.get(key)
        if types is not None and self._type not in types:
            raise FormatError(
                f"unexpected key '{key}' for mount type '{self._type}'",
                hint=(
                    f"{key} is only for mounts of type {' and '.join(types)}, and must come "
                    "after type="
                ),
            )

    def result(self, from_: str) -> MountFields:
        """Return the mount, checked as a whole."""
        kind, texts, numbers = self._type, self._texts, self._numbers
        for key in ("mode", "uid", "gid"):
            if key in numbers and kind not in _WITH_OWNER:
                raise FormatError(f'{key} not allowed for "{kind}" type mounts')
        if self._relabel and kind not in _RELABELED:
            raise FormatError(f'{self._relabel} not allowed for "{kind}" type mounts')
        source, name = texts.get("source", ""), texts.get("id", "")
        if kind == "secret":
            if from_:
                raise FormatError("secret mount should not have a from")
            if "sharing" in texts:
                raise FormatError("secret mount should not define sharing")
            if not (source or name or texts.get("target")):
                raise FormatError(
                    "invalid secret mount. one of source, target required",
                    hint="write --mount=type=secret,id=NAME",
                )
            if source and name:
                raise FormatError(
                    "both source and id can't be set", hint="source and id mean the same: use id"
                )
        if "sharing" in texts and kind != "cache":
            raise FormatError(f"invalid cache sharing set for {kind} mount")
        if kind == "ssh" and source:
            raise FormatError("ssh does not support source", hint="use id= to select an agent")
        return MountFields(
            type=kind,
            source=source,
            target=texts.get("target", ""),
            id=name,
            sharing=texts.get("sharing", ""),
            size=numbers.get("size", 0),
            required=self._flags.get("required", False),
            readonly=self._flags.get("readonly", kind not in _WRITABLE),
            mode=numbers.get("mode"),
            uid=numbers.get("uid"),
            gid=numbers.get("gid"),
            env=texts.get("env"),
        )


def _word(what: str, value: str, known: tuple[str, ...]) -> str:
    if value.lower() not in known:
        raise FormatError(
            f'unsupported {what} "{value}"{suggest(value, known)}',
            hint=f"one of {', '.join(known)}",
        )
    return value.lower()


def _number(key: str, value: str, base: int, largest: int) -> int:
    digits = "01234567" if base == 8 else "0123456789"
    if 0 < len(value) <= 16 and not value.strip(digits) and int(value, base) <= largest:
        return int(value, base)
    raise FormatError(
        f"invalid value {value} for {key}",
        hint="use an octal number such as 0755" if base == 8 else "the number of a user or group",
    )


def _size(value: str) -> int:
    size = size_of(value)
    if size is None:
        raise FormatError(
            f"invalid value for size: {value}",
            hint="use a number of bytes, or a size such as 64m or 1g",
        )
    return size
