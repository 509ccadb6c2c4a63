"""The progress bar, in the form that Keras 2 prints.

Enters: how many samples are done, and named values. Leaves: text on a stream. On a terminal the line is
rewritten as samples are done; elsewhere it is written once, when it is complete.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TextIO

WIDTH = 30
INTERVAL = 0.05  # seconds between two updates of the line


class Progbar:
    """`1437/1437 [==============================] - 1s 45us/step - loss: 0.1000 - acc: 0.9800`.

    target: the number of samples. verbose: 0 nothing, 1 the bar, 2 one line without a bar.
    """

    def __init__(self, target: int, verbose: int = 1, stream: TextIO | None = None) -> None:
        self.target = target
        self.verbose = verbose
        self.stream = sys.stdout if stream is None else stream
        self._dynamic = self.stream.isatty() or "ipykernel" in sys.modules
        self._start = time.perf_counter()
        self._last = 0.0
        self._length = 0

    def due(self, current: int) -> bool:
        """Whether an update now would be shown: so that values need not be made for nothing."""
        if self.verbose != 1 or current >= self.target:
            return self.verbose > 0 and current >= self.target
        return self._dynamic and time.perf_counter() - self._last >= INTERVAL

    def update(self, current: int, values: Sequence[tuple[str, float]] = ()) -> None:
        """Show that `current` samples are done, and the values so far."""
        if not self.due(current):
            return
        now = time.perf_counter()
        shown = "".join(f" - {name}: {format_value(value)}" for name, value in values)
        if self.verbose == 2:
            self.stream.write(f" - {now - self._start:.0f}s{shown}\n")
        else:
            line = self._bar(current) + self._times(current, now - self._start) + shown
            erase = "\r" if self._dynamic else ""
            self.stream.write(erase + line + " " * (self._length - len(line)))
            self._length = len(line)
            if current >= self.target:
                self.stream.write("\n")
        self.stream.flush()
        self._last = now

    def _bar(self, current: int) -> str:
        done = int(WIDTH * current / max(self.target, 1))
        head = "=" if current >= self.target else ">"
        filled = "=" * (done - 1) + head if done else ""
        return f"{current:{len(str(self.target))}d}/{self.target} [{filled:.<{WIDTH}}]"

    def _times(self, current: int, elapsed: float) -> str:
        each = elapsed / max(current, 1)
        if current < self.target:
            return f" - ETA: {format_seconds(each * (self.target - current))}"
        unit = (f"{each:.0f}s" if each >= 1 else
                f"{each * 1e3:.0f}ms" if each >= 1e-3 else f"{each * 1e6:.0f}us")
        return f" - {elapsed:.0f}s {unit}/step"


def format_value(value: float) -> str:
    """Four decimals, or an exponent for what would not be seen in them."""
    return f"{value:.4f}" if abs(value) > 1e-3 or value != value else f"{value:.4e}"


def format_seconds(seconds: float) -> str:
    """`7s`, `1:30`, `2:05:00`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest:02d}"
    return f"{minutes}:{rest:02d}" if minutes else f"{rest}s"
