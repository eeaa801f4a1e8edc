"""Upload sessions are bounded, and abandoned ones make way."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ocitool_registry import limits
from ocitool_registry.server.backend import TooManyUploads, UploadConflict, UploadNotFound
from ocitool_registry.server.upload_sessions import UploadSessions


@pytest.fixture
def now():
    return SimpleNamespace(time=0.0)


@pytest.fixture
def dropped():
    return []


@pytest.fixture
def sessions(now, dropped):
    return UploadSessions(dropped.append, most=2, clock=lambda: now.time)


def content(size):
    return SimpleNamespace(size=size)


def test_the_number_of_open_sessions_is_limited(sessions):
    first, _ = sessions.begin("a", content(0)), sessions.begin("a", content(0))
    with pytest.raises(TooManyUploads, match="at most 2 may be open"):
        sessions.begin("a", content(0))
    with sessions.locked("a", first):
        sessions.end(first)
    sessions.begin("a", content(0))


@pytest.mark.parametrize("size, lasts", [(0, limits.UPLOAD_EMPTY), (1, limits.UPLOAD_IDLE)])
def test_an_idle_session_expires_when_another_begins(sessions, now, dropped, size, lasts):
    held = content(size)
    old = sessions.begin("a", held)
    now.time += lasts
    sessions.begin("a", content(0))
    assert sessions.size("a", old) == size
    now.time += 1
    sessions.begin("a", content(0))
    assert held in dropped
    with pytest.raises(UploadNotFound):
        sessions.size("a", old)


def test_a_session_in_use_does_not_expire(sessions, now):
    old = sessions.begin("a", content(1))
    now.time += limits.UPLOAD_IDLE
    with sessions.locked("a", old):
        now.time += limits.UPLOAD_IDLE * 2
        sessions.begin("a", content(0))  # it is being written, however long that takes
    now.time += limits.UPLOAD_IDLE
    sessions.begin("a", content(0))
    assert sessions.size("a", old) == 1


def test_a_session_is_locked_by_one_request(sessions):
    name = sessions.begin("a", content(5))
    with sessions.locked("a", name):
        with pytest.raises(UploadConflict) as caught, sessions.locked("a", name):
            pass
        assert caught.value.size == 5


def test_close_ends_all_sessions(sessions, dropped):
    sessions.begin("a", content(0))
    sessions.begin("b", content(1))
    sessions.close()
    assert len(dropped) == 2
