"""Settings from files, then the environment, then flags; the origin of each is known.

Files are TOML, ``/etc/ocitool/config.toml`` and then ``$XDG_CONFIG_HOME/ocitool/config.toml``,
with the names of the fields below as keys.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from ocitool.errors import FormatError
from ocitool.inputfile import read_input_file
from ocitool.option_types import convert_fields

_LARGEST: Final = 1024 * 1024  # bytes of a file
_ENVIRONMENT: Final = {
    "root": "OCITOOL_ROOT",
    "driver": "OCITOOL_DRIVER",
    "isolation": "OCITOOL_ISOLATION",
    "background": "OCITOOL_BACKGROUND",
    "shared_stores": "OCITOOL_SHARED_STORES",
    "trusted_owner": "OCITOOL_TRUSTED_OWNER",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one process."""

    root: str  # the store's directory, absolute
    driver: str = ""  # a storage driver's name; "" chooses the first that works
    isolation: str = "auto"  # how programs are isolated; "auto" chooses the first that works
    background: bool = True  # whether a process may go on removing files after the command
    shared_stores: tuple[str, ...] = ()  # directories, absolute; written with ":" between them
    trusted_owner: str = ""  # decimal user ID; root may use the store of this user, too
    #: name of a field -> "default", a file's path, "OCITOOL_ROOT", "--root"
    origins: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        convert_fields(self)

    @classmethod
    def load(
        cls,
        *,
        flags: Mapping[str, str | None] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Self:
        """Read the settings; the ``where`` of `FormatError` is a wrong file or variable."""
        environ = os.environ if environ is None else environ
        values = {"root": default_root(environ)}
        origins = {"root": "default"}
        for path in _files(environ):
            for key, value in _read(path).items():
                values[key], origins[key] = value, path
        for key, variable in _ENVIRONMENT.items():
            if environ.get(variable):
                values[key], origins[key] = environ[variable], variable
        for key, flag in (flags or {}).items():
            if flag is not None:
                values[key], origins[key] = flag, f"--{key.replace('_', '-')}"
        if not values["root"]:
            raise FormatError(
                "the root directory is empty", where=origins["root"], hint="set a path"
            )
        background = values.pop("background", "yes")
        if background not in ("yes", "no"):
            where = origins["background"]
            raise FormatError(f"expected 'yes' or 'no', got {background!r}", where=where)
        trusted = values.get("trusted_owner", "")
        if not trusted.isdecimal() and trusted:
            raise FormatError(f"invalid user ID {trusted!r}", where=origins["trusted_owner"])
        shared = filter(None, values.get("shared_stores", "").split(":"))
        return cls(
            root=_absolute(values["root"]),
            shared_stores=tuple(map(_absolute, shared)),
            driver=values.get("driver", ""),
            isolation=values.get("isolation") or "auto",
            background=background == "yes",
            trusted_owner=trusted,
            origins=origins,
        )


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


def default_root(environ: Mapping[str, str]) -> str:
    """Return the default directory of the store."""
    if os.geteuid() == 0:
        return "/var/lib/ocitool"
    data = environ.get("XDG_DATA_HOME") or os.path.join(_home(environ), ".local/share")
    return os.path.join(data, "ocitool")


def _home(environ: Mapping[str, str]) -> str:
    return environ.get("HOME") or os.path.expanduser("~")


def _files(environ: Mapping[str, str]) -> tuple[str, ...]:
    config = environ.get("XDG_CONFIG_HOME") or os.path.join(_home(environ), ".config")
    return ("/etc/ocitool/config.toml", os.path.join(config, "ocitool/config.toml"))


def _read(path: str) -> dict[str, str]:
    try:
        text = read_input_file(path, _LARGEST)
        import tomllib  # takes 4 ms, only spent if there is a file

        fields: dict[str, Any] = tomllib.loads(text.decode())
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    except OSError as error:
        raise FormatError(f"cannot read the file: {error.strerror}", where=path) from error
    except FormatError:
        raise
    except RecursionError as error:
        raise FormatError("invalid TOML: nested too deeply", where=path) from error
    except ValueError as error:
        raise FormatError(f"invalid TOML: {error}", where=path) from error
    for key, value in fields.items():
        if key not in _ENVIRONMENT:
            known = ", ".join(_ENVIRONMENT)
            raise FormatError(f"unknown key {key!r}", where=path, hint=f"supported: {known}")
        if not isinstance(value, str):
            raise FormatError(f"value of {key!r} must be a string", where=path)
    return fields
