"""Settings from files, then the environment, then flags; the origin of each is known.

Files are TOML, ``/etc/ocitool/config.toml`` and then ``$XDG_CONFIG_HOME/ocitool/config.toml``,
with the names of the fields below as keys.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from ocitool.errors import FormatError
from ocitool.inputfile import read_input_file
from ocitool.option_types import convert_fields

_LARGEST: Final = 1024 * 1024  # bytes of a file
#: The origin of a root directory that is in $TMPDIR, because there is no home directory.
NO_HOME: Final = "default, without a home directory"
_ENVIRONMENT: Final = {
    "root": "OCITOOL_ROOT",
    "driver": "OCITOOL_DRIVER",
    "isolation": "OCITOOL_ISOLATION",
    "network": "OCITOOL_NETWORK",
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
    network: str = "default"  # of containers and RUN that do not name one: a network's name
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
        origins = {"root": NO_HOME if values["root"] == _temporary(environ) else "default"}
        for path in settings_files(environ):
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
        if origins["root"] == NO_HOME:
            _require_private(values["root"])
        return cls(
            root=_absolute(values["root"], origins["root"]),
            shared_stores=tuple(_absolute(path, origins["shared_stores"]) for path in shared),
            driver=values.get("driver", ""),
            isolation=values.get("isolation") or "auto",
            network=values.get("network") or "default",
            background=background == "yes",
            trusted_owner=trusted,
            origins=origins,
        )


def _absolute(path: str, origin: str) -> str:
    found = os.path.expanduser(path)
    if found == path and (path == "~" or path.startswith("~/")):
        raise FormatError(
            f"the home directory is unknown: {path}", where=origin, hint="write an absolute path"
        )
    return os.path.abspath(found)


def default_root(environ: Mapping[str, str]) -> str:
    """Return the default directory of the store.

    Of a user without a home directory it is one in $TMPDIR, which is named by the user's ID.
    """
    if os.geteuid() == 0:
        return "/var/lib/ocitool"
    if data := environ.get("XDG_DATA_HOME"):
        return os.path.join(data, "ocitool")
    home = _home(environ)
    return os.path.join(home, ".local/share/ocitool") if home else _temporary(environ)


def settings_files(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the paths of the files, whether they exist or not; the last one counts most."""
    home = _home(environ)
    config = environ.get("XDG_CONFIG_HOME") or (os.path.join(home, ".config") if home else "")
    own = (os.path.join(config, "ocitool/config.toml"),) if config else ()
    return ("/etc/ocitool/config.toml", *own)


def _home(environ: Mapping[str, str]) -> str:
    """Return the home directory; "" if there is neither HOME nor a line in passwd.

    Container runtimes set HOME to / for a user without a line.
    """
    home = environ.get("HOME") or os.path.expanduser("~")
    return "" if home in ("~", "/") else home


def docker_directory(environ: Mapping[str, str]) -> str:
    """Return where docker's command line has its configuration; "" without a home directory."""
    # Of a user without a line in passwd "~" stays "~": a name in the working directory.
    home = environ.get("HOME") or os.path.expanduser("~").removeprefix("~")
    return environ.get("DOCKER_CONFIG") or (home and os.path.join(home, ".docker"))


def _temporary(environ: Mapping[str, str]) -> str:
    return os.path.join(environ.get("TMPDIR") or "/tmp", f"ocitool-{os.geteuid()}")


def _require_private(path: str) -> None:
    """Make *path* in a directory that is open to all; refuse what others have made there.

    It is made now: another user could make it between a check and its first use.
    """
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        state = os.lstat(path)
    except OSError:  # the store says why it cannot be made
        return
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid() or state.st_mode & 0o077:
        raise FormatError(
            f"{path} is not a private directory of this user",
            where="root",
            hint="set OCITOOL_ROOT to a directory of your own",
        )


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
