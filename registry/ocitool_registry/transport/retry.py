"""A transport that tries again: backoff with jitter, and what the registry asks to wait."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from ocitool.errors import ConnectError, RegistryError, TransportError
from ocitool_registry.transport.requests import TlsError

if TYPE_CHECKING:
    from ocitool_registry.transport.http import Request, Response
    from ocitool_registry.transport.requests import Transport

#: 499 and 522 are proxies' words for "the other side was too slow".
RETRYABLE: Final = frozenset({408, 429, 499, 500, 502, 503, 504, 522})

_CONNECT_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and after how long to try again."""

    attempts: int = 5  # in all
    first: float = 0.5  # seconds before the second attempt; doubled for each further one
    longest: float = 30.0  # seconds, the most one wait takes
    longest_asked: float = 120.0  # seconds; a registry that asks for more gets no retry
    sleep: Callable[[float], None] = time.sleep

    def wait(self, attempt: int, asked: float | None = None) -> None:
        """Wait after *attempt* (from 1) failed, at least the seconds the registry *asked* for."""
        most = min(self.first * 2 ** (attempt - 1), self.longest)
        # Half of it is chance, so that many clients do not come back in step.
        self.sleep(max(most * random.uniform(0.5, 1.0), asked or 0.0))


class Retrying:
    """Sends again what failed and may succeed later; bodies are opened anew."""

    def __init__(self, inner: Transport, policy: RetryPolicy | None = None) -> None:
        self._inner = inner
        self.policy = policy or RetryPolicy()

    def send(self, request: Request) -> Response:
        """Send *request* until it is answered for good or the attempts are used up.

        A request that is not repeatable is sent again only where the registry refused it before
        doing anything (429, 503), which is what these statuses say.
        """
        for attempt in range(1, self.policy.attempts + 1):
            last = attempt == self.policy.attempts
            try:
                response = self._inner.send(request)
            except TlsError:
                raise
            except ConnectError:
                # Nothing was sent, so any request may be repeated; but a host that is not there
                # seldom comes to be.
                if last or attempt >= _CONNECT_ATTEMPTS:
                    raise
                self.policy.wait(attempt)
                continue
            except TransportError:
                if last or not request.repeatable:
                    raise
                self.policy.wait(attempt)
                continue
            asked = retry_after(response.headers.get("Retry-After", ""))
            if last or not self._again(request, response.status, asked):
                return response
            response.close()
            self.policy.wait(attempt, asked)
        raise RegistryError("a retry policy needs at least one attempt")

    def _again(self, request: Request, status: int, asked: float | None) -> bool:
        if asked is not None and asked > self.policy.longest_asked:
            return False
        if status in (429, 503):
            return True
        return request.repeatable and status in RETRYABLE


def retry_after(text: str, now: float | None = None) -> float | None:
    """Return the seconds a ``Retry-After`` asks for, or ``None``; a date in the past is 0.

    Source: RFC 9110, section 10.2.3: seconds or an HTTP date.
    """
    text = text.strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0.0, moment - (time.time() if now is None else now))
