"""Waiting for a shim."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from ocitool_runtime.host.launch import wait_readable


@pytest.mark.slow
def test_a_signal_is_handled_that_did_not_interrupt_the_wait():
    """One that comes just before poll(2) does not either; here another thread gets it."""
    reading, writing = os.pipe()

    def elsewhere():
        time.sleep(0.2)  # so that nearly always the wait has begun
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        end.wait()

    end = threading.Event()
    thread = threading.Thread(target=elsewhere)
    before = signal.signal(signal.SIGUSR1, lambda *_: os.write(writing, b"x"))
    try:
        thread.start()
        assert wait_readable([reading], 30)
    finally:
        end.set()
        thread.join()
        signal.signal(signal.SIGUSR1, before)
        os.close(reading)
        os.close(writing)


def test_the_wait_has_an_end():
    reading, writing = os.pipe()
    try:
        assert not wait_readable([reading], 0)
        assert not wait_readable([reading], -1)
        assert not wait_readable([reading], 0.01)
        os.write(writing, b"x")
        assert wait_readable([reading], 0)
        assert wait_readable([writing, reading], None)
    finally:
        os.close(reading)
        os.close(writing)
