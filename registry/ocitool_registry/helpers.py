"""Credential helpers: the programs ``docker-credential-*`` and how to talk to them.

Source: the protocol of docker-credential-helpers: a verb as argument, JSON on the pipes.
"""

from __future__ import annotations

import json
import subprocess
from typing import Any, Final

from ocitool.errors import RegistryError
from ocitool_registry.identity import Credential

_TIMEOUT: Final = 60  # seconds; some ask the user for a passphrase
#: What helpers print where they know nothing of a registry; they exit with 1 then.
_NOTHING: Final = ("credentials not found", "no credentials server url", "no credentials username")
#: The user's name that marks the secret as an identity token.
_TOKEN_USER: Final = "<token>"


def get(helper: str, server: str) -> Credential | None:
    """Return what *helper* knows of *server*; ``None`` if nothing, or if it is not installed.

    Raises:
        RegistryError: it fails in any other way.
    """
    try:
        output = _run(helper, "get", server)
    except FileNotFoundError:
        return None  # a config copied from another machine names helpers this one has not
    if output is None:
        return None
    try:
        fields = json.loads(output)
        username, secret = str(fields["Username"]), str(fields["Secret"])
    except (ValueError, KeyError, TypeError) as error:
        raise _failed(helper, "get", "does not answer in JSON") from error
    origin = _program(helper)
    if username == _TOKEN_USER:
        return Credential(identity_token=secret, origin=origin)
    return Credential(username=username, password=secret, origin=origin)


def store(helper: str, server: str, credential: Credential) -> None:
    """Have *helper* keep *credential*; `RegistryError` if it does not."""
    token = credential.identity_token
    fields = {
        "ServerURL": server,
        "Username": _TOKEN_USER if token else credential.username,
        "Secret": token or credential.password,
    }
    _required(helper, "store", json.dumps(fields))


def erase(helper: str, server: str) -> bool:
    """Have *helper* forget *server*; returns whether it knew it."""
    if get(helper, server) is None:
        return False
    _required(helper, "erase", server)
    return True


def _required(helper: str, verb: str, text: str) -> None:
    try:
        _run(helper, verb, text)
    except FileNotFoundError as error:
        raise RegistryError(
            f"{_program(helper)} is not installed",
            hint="install it, or take it out of the credentials file",
        ) from error


def _run(helper: str, verb: str, text: str) -> bytes | None:
    try:
        done: Any = subprocess.run(
            [_program(helper), verb],
            input=text.encode(),
            capture_output=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except FileNotFoundError:
        raise
    except subprocess.TimeoutExpired as error:
        raise _failed(helper, verb, f"takes more than {_TIMEOUT} seconds") from error
    except OSError as error:
        raise _failed(helper, verb, str(error)) from error
    if done.returncode == 0:
        return bytes(done.stdout)
    # Errors come on standard output, where the answer would be; it holds no secret then.
    said = done.stdout.decode(errors="replace").strip() or f"exit status {done.returncode}"
    if any(text in said.lower() for text in _NOTHING):
        return None
    raise _failed(helper, verb, said[:200])


def _failed(helper: str, verb: str, reason: str) -> RegistryError:
    return RegistryError(f"{_program(helper)} {verb}: {reason}")


def _program(helper: str) -> str:
    return f"docker-credential-{helper}"
