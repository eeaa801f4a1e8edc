"""Credential helpers: runs the programs ``docker-credential-*``.

Source: the protocol of docker-credential-helpers: the verb is the argument, stdin and stdout are
JSON.
"""

from __future__ import annotations

import errno
import json
import os
import select
import subprocess
import time
from typing import Final

from ocitool.errors import RegistryError
from ocitool.oci.json_text import parse_json
from ocitool.programs import find_program, search_path
from ocitool_registry import limits
from ocitool_registry.auth.credential import Credential

#: What helpers print if they have no credentials for a registry; they exit with 1 then.
_NOT_FOUND: Final = (
    "credentials not found",
    "no credentials server url",
    "no credentials username",
)
#: The user name that marks the secret as an identity token.
_TOKEN_USER: Final = "<token>"


def get(helper: str, server: str) -> Credential | None:
    """Return the credential for *server*; ``None`` if there is none, or no such helper.

    Raises:
        RegistryError: the helper failed.
    """
    try:
        output = _run(helper, "get", server)
    except FileNotFoundError:
        return None  # a file copied from another machine may name missing helpers
    if output is None:
        return None
    try:
        fields = parse_json(output)
        username, secret = str(fields["Username"]), str(fields["Secret"])
    except (ValueError, KeyError, TypeError) as error:
        raise _failed(
            helper, "get", "invalid output: expected JSON with Username and Secret"
        ) from error
    origin = _program(helper)
    if username == _TOKEN_USER:
        return Credential(identity_token=secret, origin=origin)
    return Credential(username=username, password=secret, origin=origin)


def store(helper: str, server: str, credential: Credential) -> None:
    """Store *credential* in *helper*; `RegistryError` if it fails."""
    token = credential.identity_token
    fields = {
        "ServerURL": server,
        "Username": _TOKEN_USER if token else credential.username,
        "Secret": token or credential.password,
    }
    _required(helper, "store", json.dumps(fields))


def erase(helper: str, server: str) -> bool:
    """Erase *server* from *helper*; returns whether there was a credential."""
    if get(helper, server) is None:
        return False
    _required(helper, "erase", server)
    return True


def _required(helper: str, verb: str, text: str) -> None:
    try:
        _run(helper, verb, text)
    except FileNotFoundError as error:
        raise RegistryError(
            f"credential helper not found: {_program(helper)}",
            hint="install it, or remove it from the authentication file",
        ) from error


def _run(helper: str, verb: str, text: str) -> bytes | None:
    try:
        status, output = _communicate(helper, verb, text.encode("utf-8", "surrogateescape"))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _failed(helper, verb, str(error)) from error
    if status == 0:
        return output
    # Helpers print errors to standard output; they contain no secrets.
    message = output.decode(errors="replace").strip() or f"exit status {status}"
    if any(text in message.lower() for text in _NOT_FOUND):
        return None
    raise _failed(helper, verb, message[:200])


def _communicate(helper: str, verb: str, text: bytes) -> tuple[int, bytes]:
    """Return exit status and output of a helper; it is killed after `limits.HELPER_TIME`."""
    end = time.monotonic() + limits.HELPER_TIME
    program = find_program(_program(helper))
    if program is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), _program(helper))
    # Not a pipe, which blocks if the helper does not read it, nor a file on disk: it has secrets.
    with open(os.memfd_create("stdin"), "w+b") as given:
        given.write(text)
        given.seek(0)
        process = subprocess.Popen(
            [program, verb],
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PATH": search_path()},
        )
    with process:
        try:
            output = _output(process, end)
            status = process.wait(max(end - time.monotonic(), 0))
        except subprocess.TimeoutExpired as error:
            reason = f"no result after {limits.HELPER_TIME:g} seconds"
            raise _failed(helper, verb, reason) from error
        finally:
            process.kill()  # no effect if it has ended
    if len(output) > limits.HELPER_OUTPUT:
        raise _failed(helper, verb, f"output is larger than {limits.HELPER_OUTPUT} bytes")
    return status, output


def _output(process: subprocess.Popen[bytes], end: float) -> bytes:
    """Return the output of a process, at most one byte more than `limits.HELPER_OUTPUT`."""
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
