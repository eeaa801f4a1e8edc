"""Finds out how a registry is reached: encrypted or not, and what it asks of us."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ocitool.errors import ConnectError, TransportError
from ocitool_registry import wire
from ocitool_registry.endpoint import hostname, is_loopback
from ocitool_registry.message import Request, Response
from ocitool_registry.transport import PlainHttpError

if TYPE_CHECKING:
    from ocitool_registry.transport import Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """A registry that answered."""

    base: str  # as "https://ghcr.io"
    response: Response  # closed; to ``GET /v2/`` without credentials


def probe(host: str, transport: Transport, *, insecure: bool) -> Probed:
    """Ask ``/v2/`` of *host* without credentials, and return how it answered.

    Only https is tried, unless *host* is this machine, which is asked in plain HTTP first, or
    *insecure* is given, which lets plain HTTP follow where TLS fails.

    Raises:
        TransportError: it does not answer.
    """
    if is_loopback(hostname(host)):
        return _loopback(host, transport)
    try:
        return _ask(f"https://{host}", transport)
    except ConnectError as error:
        if not insecure:
            raise
        try:
            return _ask(f"http://{host}", transport)
        except TransportError:
            # The first failure tells more, unless it was that there is no TLS.
            if isinstance(error, PlainHttpError):
                raise
            raise error from None


def _loopback(host: str, transport: Transport) -> Probed:
    # Plain HTTP first: a server that waits for a line would never answer a TLS handshake.
    try:
        probed = _ask(f"http://{host}", transport)
    except ConnectError:
        raise
    except TransportError:
        return _ask(f"https://{host}", transport)
    if probed.response.status == 400:  # "a plain request was sent to a TLS port", in many words
        return _ask(f"https://{host}", transport)
    return probed


def _ask(base: str, transport: Transport) -> Probed:
    response = transport.send(Request(method="GET", url=base + wire.API))
    response.close()
    return Probed(base=base, response=response)
