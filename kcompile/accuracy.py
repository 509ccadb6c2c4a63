"""How far predictions in lower precision are from those of float32.

Enters: the outputs of two compiled forms of one model for the same inputs. Leaves: an `Accuracy`, whose
`text` is a table with a row for each output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kcompile_runtime.texts import printable


@dataclass(frozen=True)
class OutputAccuracy:
    """Of one output. largest: the largest difference, over the largest number of float32's. mean: the mean
    difference, over the mean of float32's magnitudes. same_class: the share of rows whose largest number is
    in the same place; None where rows have one number."""

    output: str
    largest: float
    mean: float
    same_class: float | None


@dataclass(frozen=True)
class Accuracy:
    """Of all outputs. precision: the form that was compared with float32. samples: how many there were."""

    precision: str
    samples: int
    outputs: tuple[OutputAccuracy, ...]

    def text(self) -> str:
        """A table."""
        names = [printable(o.output) for o in self.outputs]
        width = max(len("output"), *map(len, names)) if names else len("output")
        lines = [
            f"{self.precision} beside float32, {self.samples} samples",
            f"{'output':<{width}}  largest difference  mean difference  same class",
        ]
        for name, o in zip(names, self.outputs):
            same = "-" if o.same_class is None else f"{o.same_class:.2%}"
            lines.append(f"{name:<{width}}  {o.largest:18.2e}  {o.mean:15.2e}  {same:>10}")
        return "\n".join(lines)


def accuracy(
    precision: str, names: Sequence[str], made: Sequence[np.ndarray], right: Sequence[np.ndarray]
) -> Accuracy:
    """The outputs `made` in a precision, by names, beside those `right` of float32. Numbers that are not
    finite in either count where they differ, as infinite differences."""
    rows = tuple(_of_output(*one) for one in zip(names, made, right))
    return Accuracy(precision, len(right[0]) if right else 0, rows)


def _of_output(name: str, made: np.ndarray, right: np.ndarray) -> OutputAccuracy:
    x, y = made.astype(np.float64), right.astype(np.float64)
    same = (x == y) | (np.isnan(x) & np.isnan(y))
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0.0, np.abs(x - y))
    difference = np.where(np.isnan(difference), np.inf, difference)
    size = np.abs(y[np.isfinite(y)])
    largest, mean = (
        float(d) / float(s) if d and s else float(d)
        for d, s in (
            (difference.max(initial=0.0), size.max(initial=0.0)),
            (difference.mean() if difference.size else 0.0, size.mean() if size.size else 0.0),
        )
    )
    classes = right.ndim > 1 and right.shape[-1] > 1 and right.size > 0
    agree = float(np.mean(x.argmax(-1) == y.argmax(-1))) if classes else None
    return OutputAccuracy(name, largest, mean, agree)
