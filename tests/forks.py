"""What runs in the child of a fork."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

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
