"""Times in configs and histories."""

from __future__ import annotations

from datetime import UTC, datetime


def timestamp(epoch: int | None) -> str:
    """Return *epoch* (seconds), or now, as RFC 3339 in UTC."""
    if epoch is not None:
        return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
