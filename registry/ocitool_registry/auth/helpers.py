"""Credential helpers: the programs ``docker-credential-*`` and how to talk to them.

Source: the protocol of docker-credential-helpers: a verb as argument, JSON on the pipes.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from typing import Final

from ocitool.errors import RegistryError
from ocitool_registry import limits
from ocitool_registry.auth.credential import Credential

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
        status, output = _answer(helper, verb, text.encode())
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _failed(helper, verb, str(error)) from error
    if status == 0:
        return output
    # Errors come on standard output, where the answer would be; it holds no secret then.
    said = output.decode(errors="replace").strip() or f"exit status {status}"
    if any(text in said.lower() for text in _NOTHING):
        return None
    raise _failed(helper, verb, said[:200])


def _answer(helper: str, verb: str, text: bytes) -> tuple[int, bytes]:
    """Return a helper's exit status and what it printed; one that does not end is killed."""
    end = time.monotonic() + limits.HELPER_TIME
    # Not a pipe, which a helper that does not read would fill; and no secret goes to a disk.
    with open(os.memfd_create("stdin"), "w+b") as given:
        given.write(text)
        given.seek(0)
        process = subprocess.Popen(
            [_program(helper), verb],
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    with process:
        try:
            output = _output(process, end)
            status = process.wait(max(end - time.monotonic(), 0))
        except subprocess.TimeoutExpired as error:
            reason = f"takes more than {limits.HELPER_TIME:g} seconds"
            raise _failed(helper, verb, reason) from error
        finally:
            process.kill()  # does nothing once it has ended
    if len(output) > limits.HELPER_OUTPUT:
        raise _failed(helper, verb, f"prints more than {limits.HELPER_OUTPUT} bytes")
    return status, output


def _output(process: subprocess.Popen[bytes], end: float) -> bytes:
    """Return what a process prints, with one byte too many at most."""
    assert process.stdout is not None
    output = b""
    while len(output) <= limits.HELPER_OUTPUT:
        left = max(end - time.monotonic(), 0)
        if not select.select([process.stdout], [], [], left)[0]:
            raise subprocess.TimeoutExpired(process.args, limits.HELPER_TIME)
        data = os.read(process.stdout.fileno(), limits.HELPER_OUTPUT + 1 - len(output))
        if not data:
            return output
        output += data
    process.kill()
    return output


def _failed(helper: str, verb: str, reason: str) -> RegistryError:
    return RegistryError(f"{_program(helper)} {verb}: {reason}")


def _program(helper: str) -> str:
    return f"docker-credential-{helper}"
