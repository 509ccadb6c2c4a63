"""Counts and times of a server, in the text format that Prometheus reads.

Enters: what was observed. Leaves: text, version 0.0.4 of the format.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
Labels = tuple[tuple[str, str], ...]


def _labels(labels: Labels) -> str:
    escaped = [(k, v.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")) for k, v in labels]
    return "{" + ",".join(f'{k}="{v}"' for k, v in escaped) + "}" if labels else ""


class Counter:
    """How often something happened, by labels."""

    kind = "counter"

    def __init__(self) -> None:
        self._counts: dict[Labels, float] = {}

    def add(self, count: float = 1, **labels: str) -> None:
        """It happened so often more."""
        key = tuple(labels.items())
        self._counts[key] = self._counts.get(key, 0) + count

    def lines(self, name: str) -> Iterator[str]:
        """Lines of the format."""
        yield from (f"{name}{_labels(labels)} {count:g}" for labels, count in self._counts.items())


class Gauge:
    """A number that is asked for when somebody looks. read: gives it, by labels."""

    kind = "gauge"

    def __init__(self, read: Callable[[], dict[Labels, float]]) -> None:
        self._read = read

    def lines(self, name: str) -> Iterator[str]:
        """Lines of the format."""
        yield from (f"{name}{_labels(labels)} {value:g}" for labels, value in self._read().items())


class Histogram:
    """How large numbers were, by labels. bounds: the largest number of each bucket."""

    kind = "histogram"

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}

    def observe(self, value: float, **labels: str) -> None:
        """One number more."""
        key = tuple(labels.items())
        counts = self._counts.setdefault(key, [0] * (len(self._bounds) + 1))
        counts[bisect_left(self._bounds, value)] += 1
        self._sums[key] = self._sums.get(key, 0.0) + value

    def lines(self, name: str) -> Iterator[str]:
        """Lines of the format: counts up to each bound."""
        for labels, counts in self._counts.items():
            total = 0
            for bound, count in zip((*(f"{b:g}" for b in self._bounds), "+Inf"), counts):
                total += count
                yield f"{name}_bucket{_labels((*labels, ('le', bound)))} {total}"
            yield f"{name}_sum{_labels(labels)} {self._sums[labels]:.9g}"
            yield f"{name}_count{_labels(labels)} {total}"


def exposed(metrics: dict[str, tuple[str, Counter | Gauge | Histogram]]) -> str:
    """The text. metrics: by their names, what each is."""
    lines = []
    for name, (meaning, metric) in metrics.items():
        lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {metric.kind}", *metric.lines(name)]
    return "\n".join([*lines, ""])
