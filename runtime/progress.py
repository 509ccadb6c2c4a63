"""The progress bar, in the forms that Keras 2, tf.keras and Keras 3 print.

Enters: how many samples are done, and named values. Leaves: text on a stream. On a terminal the line is
rewritten as samples are done; elsewhere it is written once, when it is complete.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any, TextIO

import numpy as np

from kcompile_runtime.texts import printable

STYLES = ("samples", "steps", "line")
WIDTH = 30
LINE = 20  # the width in Keras 3
INTERVAL = 0.05  # seconds between two updates of the line


class Progbar:
    """How far a pass over `target` samples is.

    style: "samples" counts them, as Keras 2 does: `1437/1437 [======] - 1s 45us/step - loss: 0.1000`; "steps"
    counts batches, as tf.keras does: `45/45 [======] - 0s 3ms/step - loss: 0.1000`, and so does "line", of
    Keras 3: `45/45 ━━━━━━ 0s 3ms/step - loss: 0.1000`. batch_size: the number of samples in a batch, for the
    latter two. verbose: 0 nothing, 1 the bar, 2 one line without a bar.
    """

    def __init__(
        self,
        target: int,
        verbose: int = 1,
        stream: TextIO | None = None,
        style: str = "samples",
        batch_size: int = 1,
    ) -> None:
        self.target = target
        self.verbose = verbose
        self.stream = sys.stdout if stream is None else stream
        self.style = style
        self._unit = 1 if style == "samples" else batch_size
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
        shown = "".join(f" - {printable(name)}: {format_value(value)}" for name, value in values)
        if self.verbose == 2:
            self.stream.write(self._plain(now - self._start, shown) + "\n")
        else:
            line = self._bar(current) + self._times(current, now - self._start) + shown
            erase = "\r" if self._dynamic else ""
            self.stream.write(erase + line + " " * (self._length - len(line)))
            self._length = len(line)
            if current >= self.target:
                self.stream.write("\n")
        self.stream.flush()
        self._last = now

    def _counts(self, current: int) -> tuple[int, int]:
        """What is done and what there is, in samples or batches."""
        return -(-current // self._unit), -(-self.target // self._unit)

    def _plain(self, elapsed: float, shown: str) -> str:
        """The line of a whole pass, without a bar."""
        steps = self._counts(self.target)[1]
        each = format_each(elapsed / max(steps, 1))
        head = "" if self.style == "samples" else f"{steps}/{steps}"
        line = f"{head} - {elapsed:.0f}s"
        if self.style == "line":
            return f"{line} - {each}/step{shown}"
        return f"{line}{shown}" + (f" - {format_each(elapsed)}/epoch - {each}/step" if head else "")

    def _bar(self, current: int) -> str:
        done, total = self._counts(current)
        head = f"{done:{len(str(total))}d}/{total}"
        if self.style == "line":
            return f"{head} {'━' * (LINE * done // max(total, 1)):<{LINE}}"
        return f"{head} {arrow(current, self.target, WIDTH)}"

    def _times(self, current: int, elapsed: float) -> str:
        done, total = self._counts(current)
        each = elapsed / max(done, 1)
        if self.style == "line":
            return f" {elapsed if done >= total else each * (total - done):.0f}s {format_each(each)}/step"
        if current < self.target:
            return f" - ETA: {format_seconds(each * (total - done))}"
        return f" - {elapsed:.0f}s {format_each(each)}/step"


def arrow(current: int, target: int, width: int) -> str:
    """`[=====>....]`: the share of a target that is done, in so many characters."""
    filled = int(width * current / max(target, 1))
    body = "=" * (filled - 1) + ("=" if current >= target else ">") if filled > 0 else ""
    return f"[{body:.<{width}}]"


def format_each(seconds: float) -> str:
    """`2s`, `45ms`, `45us`."""
    if seconds >= 1:
        return f"{seconds:.0f}s"
    return f"{seconds * 1e3:.0f}ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f}us"


def format_value(value: Any) -> str:
    """Four decimals, or an exponent for what would not be seen in them; of an array, of its mean."""
    value = float(np.mean(value))
    return f"{value:.4f}" if abs(value) > 1e-3 or value != value else f"{value:.4e}"


def format_seconds(seconds: float) -> str:
    """`7s`, `1:30`, `2:05:00`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest:02d}"
    return f"{minutes}:{rest:02d}" if minutes else f"{rest}s"
