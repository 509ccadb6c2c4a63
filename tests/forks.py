"""What runs in the child of a fork."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest


def in_child(work: Callable[[], bool], seconds: float = 60) -> None:
    """Run it in the child of a fork, which must end in time and find it true."""
    child = os.fork()
    if child == 0:
        good = False
        try:
            good = work()
        finally:
            os._exit(0 if good else 1)
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            assert os.waitstatus_to_exitcode(status) == 0
            return
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("the child of the fork hangs")


@contextmanager
def another_thread(call: Callable[[], object]) -> Iterator[None]:
    """A thread that makes the call again and again while the body runs, and must end after it."""
    running = True

    def calls() -> None:
        while running:
            call()

    thread = threading.Thread(target=calls, daemon=True)
    thread.start()
    try:
        yield
    finally:
        running = False
        thread.join(60)
    assert not thread.is_alive()
