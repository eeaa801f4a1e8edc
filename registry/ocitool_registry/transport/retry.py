"""A transport that repeats failed requests: backoff with jitter, and ``Retry-After``."""

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

#: 499 and 522 are statuses of proxies for a timeout of the server.
RETRYABLE: Final = frozenset({408, 429, 499, 500, 502, 503, 504, 522})


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, and after how long, a request is repeated."""

    attempts: int = 5  # including the first
    first: float = 0.5  # seconds before the second attempt; doubled for each further attempt
    longest: float = 30.0  # seconds, maximum of one wait
    spread: float = 0.5  # which part of a wait is random: many clients do not retry at one time
    connect_attempts: int = 3  # of a host that cannot be reached, which rarely changes
    longest_asked: float = 120.0  # seconds; with a longer Retry-After there is no retry
    sleep: Callable[[float], None] = time.sleep

    def wait(self, attempt: int, asked: float | None = None) -> None:
        """Wait after the failed *attempt* (from 1), at least the seconds in ``Retry-After``."""
        most = min(self.first * 2 ** (attempt - 1), self.longest)
        self.sleep(max(most * random.uniform(1.0 - self.spread, 1.0), asked or 0.0))


class Retrying:
    """Repeats requests that failed for a temporary reason; bodies are opened again."""

    def __init__(self, inner: Transport, policy: RetryPolicy | None = None) -> None:
        self._inner = inner
        self.policy = policy or RetryPolicy()

    def send(self, request: Request) -> Response:
        """Send *request* until there is a final response, or no attempt is left.

        A request that is not repeatable is sent again only after a status 429 or 503, since the
        registry has not processed it then.
        """
        for attempt in range(1, self.policy.attempts + 1):
            last = attempt == self.policy.attempts
            try:
                response = self._inner.send(request)
            except TlsError:
                raise
            except ConnectError:
                # Nothing was sent, so any request may be repeated.
                if last or attempt >= self.policy.connect_attempts:
                    raise
                self.policy.wait(attempt)
                continue
            except TransportError:
                if last or not request.repeatable:
                    raise
                self.policy.wait(attempt)
                continue
            asked = retry_after(response.headers.get("Retry-After", ""))
            if last or not self._should_retry(request, response.status, asked):
                return response
            response.close()
            self.policy.wait(attempt, asked)
        raise RegistryError("invalid retry policy: at least one attempt is required")

    def _should_retry(self, request: Request, status: int, asked: float | None) -> bool:
        if asked is not None and asked > self.policy.longest_asked:
            return False
        if status in (429, 503):
            return True
        return request.repeatable and status in RETRYABLE


def retry_after(text: str, now: float | None = None) -> float | None:
    """Return the seconds in a ``Retry-After`` header, or ``None``; 0 for a date in the past.

    Source: RFC 9110, section 10.2.3: seconds or an HTTP date.
    """
    text = text.strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        timestamp = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0.0, timestamp - (time.time() if now is None else now))
