"""How far predictions in lower precision are from those of float32.

Enters: the outputs of two compiled forms of one model for the same inputs. Leaves: an `Accuracy`, whose
`text` is a table with a row for each output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcompile_runtime.errors import InputError, describe
from kcompile_runtime.texts import printable


@dataclass(frozen=True)
class OutputAccuracy:
    """Of one output. largest: the largest difference, over the largest number of float32's. mean: the mean
    difference, over the mean of float32's magnitudes. same_class: the share of rows whose largest number is
    in the same place; None where rows have one number. of_labels, of_float32: beside labels, the share of
    classes that are met, in this precision and in float32, or the mean absolute errors where labels are no
    classes (`classes`); None without labels."""

    output: str
    largest: float
    mean: float
    same_class: float | None
    of_labels: float | None = None
    of_float32: float | None = None
    classes: bool = False


@dataclass(frozen=True)
class Accuracy:
    """Of all outputs. precision: the form that was compared with float32. samples: how many there were.
    outputs: an `OutputAccuracy` for each."""

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
        for name, o in zip(names, self.outputs):
            if o.of_labels is not None:
                what, form = ("accuracy", ".2%") if o.classes else ("mean absolute error", ".4g")
                lines.append(
                    f"{name:<{width}}  {what} {o.of_labels:{form}}, in float32 {o.of_float32:{form}}"
                )
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()


def accuracy(
    precision: str,
    names: Sequence[str],
    made: Sequence[np.ndarray],
    right: Sequence[np.ndarray],
    labels: Any = None,
) -> Accuracy:
    """The outputs `made` in a precision, by names, beside those `right` of float32. Numbers that are not
    finite in either count where they differ, as infinite differences. labels: of the one output, or of each,
    in a list or a dict by names, None for none: class numbers, rows with 1 for the class, or values as the
    output has them. Raises InputError for labels that do not fit."""
    rows = tuple(_of_output(*one) for one in zip(names, made, right, _of_names(names, labels)))
    return Accuracy(precision, len(right[0]) if right else 0, rows)


def _of_names(names: Sequence[str], labels: Any) -> list[Any]:
    """The labels of each output."""
    if labels is None:
        return [None] * len(names)
    if isinstance(labels, Mapping):
        unknown = [key for key in labels if key not in names]
        if unknown:
            raise InputError(describe("labels", "of outputs: " + ", ".join(names), repr(unknown[0])))
        return [labels.get(name) for name in names]
    if isinstance(labels, (list, tuple)) and len(labels) == len(names) and not np.isscalar(labels[0]):
        return list(labels)
    if len(names) > 1:
        raise InputError(describe("labels", f"a list of {len(names)}, one for each output", "others"))
    return [labels]


def _beside_labels(name: str, labels: Any, made: np.ndarray, right: np.ndarray) -> tuple[float, float, bool]:
    """How far outputs are from labels, those of float32 too, and whether these are classes."""
    truth = np.asarray(labels)
    whole = truth.dtype.kind in "iub" or bool(np.isin(truth, (0, 1)).all())
    rows, one_hot = right.shape[:-1], truth.shape == right.shape and right.shape[-1:] != (1,)
    classes = right.ndim > 1 and whole and (one_hot or truth.size * right.shape[-1] == right.size)
    if truth.size != (right.size if one_hot or not classes else np.prod(rows)):
        wanted = f"shape {rows} or {right.shape}"
        raise InputError(describe(f"labels of output {name!r}", wanted, f"shape {truth.shape}"))
    if not classes:
        of_made, of_right = (float(np.abs(x - truth.reshape(right.shape)).mean()) for x in (made, right))
        return of_made, of_right, False
    truth = truth.argmax(-1) if one_hot else truth.reshape(rows)
    of_made, of_right = (float(np.mean(_classes(x) == truth)) for x in (made, right))
    return of_made, of_right, True


def _classes(output: np.ndarray) -> np.ndarray:
    """Of rows of one number, a probability, whether it is above a half."""
    return output[..., 0] > 0.5 if output.shape[-1] == 1 else output.argmax(-1)


def _of_output(name: str, made: np.ndarray, right: np.ndarray, labels: Any) -> OutputAccuracy:
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
    beside = () if labels is None else _beside_labels(name, labels, x, y)
    return OutputAccuracy(name, largest, mean, agree, *beside)
