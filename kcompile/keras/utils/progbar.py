"""`Progbar`: the progress bar of Keras 2, for loops of a script's own."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from kcompile_runtime.checks import check_count
from kcompile_runtime.progress import arrow, format_each, format_seconds, format_value
from kcompile_runtime.texts import printable

__all__ = ["Progbar"]


class Progbar:
    """How many of `target` steps are done (None: unknown), with values, each the mean over the steps so far.

    width: of the bar, in characters. verbose: 0 nothing, 1 the bar, 2 one line at the end. interval: the
    least time between two bars, in seconds. stateful_metrics: names of values that are shown as they are.
    """

    def __init__(
        self,
        target: int | None,
        width: int = 30,
        verbose: int = 1,
        interval: float = 0.05,
        stateful_metrics: Iterable[str] | None = None,
    ) -> None:
        self.target = None if target is None else check_count("Progbar: target", target, 0)
        self.width = width
        self.verbose = verbose
        self.interval = interval
        self.stateful_metrics = set(stateful_metrics or ())
        self._seen = 0
        self._sums: dict[str, tuple[float, float]] = {}  # of values times steps, and of steps
        self._start = time.time()
        self._last = 0.0
        self._length = 0

    def add(self, n: int, values: Sequence[tuple[str, Any]] | None = None) -> None:
        """Show that n more steps are done."""
        self.update(self._seen + n, values)

    def update(self, current: int, values: Sequence[tuple[str, Any]] | None = None) -> None:
        """Show that `current` steps are done. values: (name, value) of the steps since the last update."""
        steps = current - self._seen
        for name, value in values or ():
            if name in self.stateful_metrics:
                self._sums[name] = (float(value), 1)
            else:
                total, count = self._sums.get(name, (0.0, 0))
                self._sums[name] = (total + float(value) * steps, count + steps)
        self._seen = current
        now = time.time()
        ends = self.target is not None and current >= self.target
        if self.verbose == 1:
            if self.target is None or ends or now - self._last >= self.interval:
                self._show_bar(current, now - self._start, ends)
                self._last = now
        elif self.verbose == 2 and (ends or self.target is None):
            self._write(f" - {now - self._start:.0f}s{self._shown()}\n")

    def _show_bar(self, current: int, elapsed: float, ends: bool) -> None:
        each = elapsed / current if current else 0.0
        if self.target is None:
            line = f"{current:7d}/Unknown"
        else:
            bar = arrow(current, self.target, self.width)
            line = f"{current:{len(str(self.target))}d}/{self.target} {bar}"
        if self.target is None or ends:
            line += f" - {elapsed:.0f}s {format_each(each)}/step"
        else:
            line += f" - ETA: {format_seconds(each * (self.target - current))}"
        line += self._shown()
        over = "\r" if sys.stdout.isatty() or "ipykernel" in sys.modules else "\n"
        self._write(over + line + " " * (self._length - len(line)) + ("\n" if ends else ""))
        self._length = len(line)

    def _shown(self) -> str:
        means = {name: total / max(1, count) for name, (total, count) in self._sums.items()}
        return "".join(f" - {printable(name)}: {format_value(mean)}" for name, mean in means.items())

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
