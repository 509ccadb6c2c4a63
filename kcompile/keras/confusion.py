"""Metrics that count right and wrong answers at thresholds: the positives and negatives, Precision, Recall,
the values of one of both at the other, and the area under a curve.

Enters: labels of 0 and 1, and scores of any shape. Leaves: a number, or one for each threshold. What is
counted are sums of weights, for each threshold (and label). Formulas are those of confusion_metrics.py and
metrics_utils.py in Keras 3, which tf.keras has too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras.metric import Metric
from kcompile.keras.operands import tensor
from kcompile.keras.settings import epsilon
from kcompile.keras.tensors import Variable, is_integer, is_number
from kcompile_runtime.checks import check_count, check_flag, check_number
from kcompile_runtime.errors import InputError, ModelError, describe

_BELOW_ALL = -1e10  # a threshold that every score is above, and the score of what is not among the largest
_COUNTS = ("true_positives", "false_positives", "true_negatives", "false_negatives")


def quotient(x: Tensor, y: Tensor) -> Tensor:
    """x / y, and 0 where y is 0."""
    none = ops.equal(y, 0.0)
    return ops.select(none, ops.zeros_like(x), x / ops.select(none, ops.ones_like(y), y))


def weights_of(sample_weight: Any, like: Tensor) -> Tensor:
    """Weights of the first axes of a tensor, as one for each element."""
    weight = ops.cast(tensor(sample_weight), like.dtype)
    if weight.rank < like.rank:
        weight = ops.reshape(weight, (*weight.shape, *(1,) * (like.rank - weight.rank)))
    return ops.broadcast_to(weight, like.shape)


class Counting(Metric):
    """Counts at thresholds. kept: which of the four numbers. top_k: scores that are not among the top_k of
    the last axis count as no. class_id: the only place of the last axis that counts."""

    kept: tuple[str, ...] = _COUNTS

    def count_at(
        self, thresholds: Sequence[float], top_k: int | None, class_id: int | None, labels: int | None = None
    ) -> None:
        """Make the variables. labels: count each of so many places of the last axis by itself."""
        kind = type(self).__name__
        self.thresholds = list(thresholds)
        self.top_k = None if top_k is None else check_count(f"{kind}: top_k", top_k)
        if class_id is not None and not (is_integer(class_id) and class_id >= 0):
            raise InputError(describe(f"{kind}: class_id", "an integer of at least 0", repr(class_id)))
        self.class_id = class_id
        shape = (len(self.thresholds),) if labels is None else (len(self.thresholds), labels)
        self.counts: dict[str, Variable] = {name: self.add_weight(name, shape) for name in self.kept}

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        scores = ops.cast(tensor(y_pred), self.dtype)
        truth = ops.cast(tensor(y_true), self.dtype)
        if truth.rank != scores.rank or (truth.rank and truth.shape[-1] != scores.shape[-1]):
            truth = ops.reshape(truth, scores.shape)
        weight = None if sample_weight is None else weights_of(sample_weight, scores)
        if self.top_k is not None:
            scores = ops.select(
                _among_largest(scores, self.top_k), scores, ops.zeros_like(scores) + _BELOW_ALL
            )
        if self.class_id is not None:
            scores, truth = scores[..., self.class_id], truth[..., self.class_id]
            weight = weight if weight is None else weight[..., self.class_id]
        self.count(truth, scores, weight)

    def count(self, truth: Tensor, scores: Tensor, weight: Tensor | None) -> None:
        """Add what labels and scores of one shape say."""
        yes = ops.cast(ops.not_equal(truth, 0.0), self.dtype)
        weight = ops.ones_like(yes) if weight is None else weight
        several = len(self.counts[self.kept[0]].shape) == 2
        sides = scores.shape[-1:] if several else ()
        limits = ops.constant(scores.graph, self.thresholds, self.dtype)
        limits = ops.reshape(limits, (len(self.thresholds), *(1,) * scores.rank))
        said = ops.cast(ops.reshape(scores, (1, *scores.shape)) > limits, self.dtype)
        weighted = {"true": yes * weight, "false": (1.0 - yes) * weight}
        axes = range(1, scores.rank + 1 - len(sides))
        for name, variable in self.counts.items():
            kind = "true" if name in ("true_positives", "false_negatives") else "false"
            answer = said if name.endswith("positives") else 1.0 - said
            variable.assign_add(
                ops.reduce_sum(answer * ops.reshape(weighted[kind], (1, *scores.shape)), axes)
            )

    def share(self, part: str, rest: str) -> Tensor:
        """part / (part + rest) of the counts."""
        x = tensor(self.counts[part])
        return quotient(x, x + tensor(self.counts[rest]))

    def __getattr__(self, name: str) -> Any:
        counts = vars(self).get("counts", {})
        if name in counts:
            return counts[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def _among_largest(x: Tensor, k: int) -> Tensor:
    """Whether fewer than k elements of the last axis are larger, or equal and before."""
    size = x.shape[-1]
    if not isinstance(size, int):
        raise ModelError(describe("top_k", "a known size of the last axis", str(x.type)))
    one, other = (ops.reshape(x, (*x.shape[:-1], *sides)) for sides in ((size, 1), (1, size)))
    places = ops.iota(x.graph, (size, size), 0) > ops.iota(x.graph, (size, size), 1)
    places = ops.reshape(places, (*(1,) * (x.rank - 1), size, size))
    before = ops.logical_or(other > one, ops.logical_and(ops.equal(other, one), places))
    return ops.reduce_sum(ops.cast(before, x.dtype), -1) < float(k)


def _thresholds(kind: str, given: Any, default: float) -> list[float]:
    if given is None:
        return [default]
    several = list(given) if isinstance(given, (list, tuple)) else [given]
    if not several or not all(is_number(t) and 0 <= t <= 1 for t in several):
        raise InputError(describe(f"{kind}: thresholds", "numbers from 0 to 1", repr(given)))
    return [float(t) for t in several]


class _AtThresholds(Counting):
    """A number for each threshold, or for the only one. Keras' names of the arguments."""

    def _begin(
        self, thresholds: Any, name: str | None, dtype: Any, top_k: int | None = None, class_id: Any = None
    ) -> None:
        Metric.__init__(self, name, dtype)
        self.init_thresholds = thresholds
        default = 0.5 if top_k is None else _BELOW_ALL
        self.count_at(_thresholds(type(self).__name__, thresholds, default), top_k, class_id)

    def reported(self, values: Tensor) -> Tensor:
        return values if len(self.thresholds) > 1 else values[0]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "thresholds": self.init_thresholds}


class _OneCount(_AtThresholds):
    def __init__(self, thresholds: Any = None, name: str | None = None, dtype: Any = None) -> None:
        self._begin(thresholds, name, dtype)

    def result(self) -> Any:
        return self.reported(tensor(self.counts[self.kept[0]]))


class TruePositives(_OneCount):
    """The weight of what is 1 and said to be."""

    kept = ("true_positives",)


class FalsePositives(_OneCount):
    """The weight of what is 0 and said to be 1."""

    kept = ("false_positives",)


class TrueNegatives(_OneCount):
    """The weight of what is 0 and said to be."""

    kept = ("true_negatives",)


class FalseNegatives(_OneCount):
    """The weight of what is 1 and said to be 0."""

    kept = ("false_negatives",)


class _Ratio(_AtThresholds):
    def __init__(
        self,
        thresholds: Any = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        self._begin(thresholds, name, dtype, top_k, class_id)

    def result(self) -> Any:
        return self.reported(self.share(*self.kept))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "top_k": self.top_k, "class_id": self.class_id}


class Precision(_Ratio):
    """The share of 1 in what is said to be 1."""

    kept = ("true_positives", "false_positives")


class Recall(_Ratio):
    """The share of what is said to be 1 in what is 1."""

    kept = ("true_positives", "false_negatives")


# ---------------------------------------------------------------- one ratio at a value of another


class _AtValue(Counting):
    """The largest `found` at thresholds where `limited` is at least a value."""

    found: tuple[str, str]
    limited: tuple[str, str]
    of: str  # the name of the argument

    def _begin(self, value: float, num_thresholds: int, class_id: Any, name: Any, dtype: Any) -> None:
        Metric.__init__(self, name, dtype)
        kind = type(self).__name__
        self.value = check_number(f"{kind}: {self.of}", value, 0, 1)
        self.num_thresholds = check_count(f"{kind}: num_thresholds", num_thresholds)
        steps = self.num_thresholds - 1
        self.count_at([i / steps for i in range(steps + 1)] if steps else [0.5], None, class_id)

    def result(self) -> Any:
        found, limited = self.share(*self.found), self.share(*self.limited)
        return ops.reduce_max(ops.select(limited >= self.value, found, ops.zeros_like(found)))

    def get_config(self) -> dict[str, Any]:
        given = {self.of: self.value, "num_thresholds": self.num_thresholds, "class_id": self.class_id}
        return {**super().get_config(), **given}


_SENSITIVITY = ("true_positives", "false_negatives")
_SPECIFICITY = ("true_negatives", "false_positives")
_PRECISION = ("true_positives", "false_positives")


class SensitivityAtSpecificity(_AtValue):
    """The largest sensitivity at thresholds of at least this specificity."""

    found, limited, of = _SENSITIVITY, _SPECIFICITY, "specificity"

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        self._begin(specificity, num_thresholds, class_id, name, dtype)


class SpecificityAtSensitivity(_AtValue):
    """The largest specificity at thresholds of at least this sensitivity."""

    found, limited, of = _SPECIFICITY, _SENSITIVITY, "sensitivity"

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        self._begin(sensitivity, num_thresholds, class_id, name, dtype)


class PrecisionAtRecall(_AtValue):
    """The largest precision at thresholds of at least this recall."""

    found, limited, of = _PRECISION, _SENSITIVITY, "recall"

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        self._begin(recall, num_thresholds, class_id, name, dtype)


class RecallAtPrecision(_AtValue):
    """The largest recall at thresholds of at least this precision."""

    found, limited, of = _SENSITIVITY, _PRECISION, "precision"

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        self._begin(precision, num_thresholds, class_id, name, dtype)


# ---------------------------------------------------------------- areas

_CURVES = ("ROC", "PR", "PRGAIN")
_HEIGHTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "interpolation": lambda a, b: (a + b) * 0.5,
    "minoring": ops.minimum,
    "majoring": ops.maximum,
}


class AUC(Counting):
    """The area under a curve, ROC or precision and recall (PR, PRGAIN), as a sum over thresholds.

    multi_label: each place of the last axis, of num_labels, has its own area, of which the mean (weighted by
    label_weights) is reported. from_logits: scores are logits.
    """

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: Any = None,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Sequence[float] | None = None,
        from_logits: bool = False,
    ) -> None:
        super().__init__(name, dtype)
        kind = str(curve).upper().replace("_", "")  # tf.keras has PR_GAIN
        if kind not in _CURVES:
            raise InputError(describe("AUC: curve", " or ".join(_CURVES), repr(curve)))
        if str(summation_method).lower() not in _HEIGHTS:
            raise InputError(describe("AUC: summation_method", " or ".join(_HEIGHTS), repr(summation_method)))
        self.curve, self.summation_method = kind, str(summation_method).lower()
        self.init_thresholds = thresholds
        if thresholds is None:
            count = check_count("AUC: num_thresholds", num_thresholds, 2)
            inner = [i / (count - 1) for i in range(1, count - 1)]
        else:
            inner = sorted(_thresholds("AUC", thresholds, 0.5))
        self.limits = [-epsilon(), *inner, 1.0 + epsilon()]
        self.num_thresholds = len(self.limits)
        self.multi_label = check_flag("AUC: multi_label", multi_label)
        self.from_logits = check_flag("AUC: from_logits", from_logits)
        self.num_labels = None if num_labels is None else check_count("AUC: num_labels", num_labels)
        if (num_labels is not None or label_weights is not None) and not self.multi_label:
            raise InputError("AUC: num_labels and label_weights are of multi_label=True")
        self.label_weights = None if label_weights is None else [float(w) for w in label_weights]
        self.top_k = self.class_id = None
        if not self.multi_label or self.num_labels is not None:
            self.count_at(self.limits, None, None, self.num_labels)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        scores = tensor(y_pred)
        scores = ops.sigmoid(ops.cast(scores, self.dtype)) if self.from_logits else scores
        if self.multi_label:
            labels = scores.shape[-1] if scores.rank == 2 else None
            wanted = {self.num_labels, self.label_weights and len(self.label_weights)} - {None, labels}
            if not isinstance(labels, int) or wanted:
                raise ModelError(
                    describe(f"{self.label}: y_pred", "[batch, labels], as many as it has", str(scores.type))
                )
            if not hasattr(self, "counts"):
                self.count_at(self.limits, None, None, labels)
        super().update_state(y_true, scores, sample_weight)

    def result(self) -> Any:
        if not hasattr(self, "counts"):
            raise ModelError(f"{self.label}: it knows the number of labels from its first batch on")
        areas = self._areas_of_pr() if self._interpolates_pr() else self._areas()
        if not self.multi_label:
            return ops.reduce_sum(areas)
        by_label = ops.reduce_sum(areas, 0)
        if self.label_weights is None:
            return ops.reduce_mean(by_label)
        weights = ops.constant(by_label.graph, self.label_weights, self.dtype)
        return quotient(ops.reduce_sum(by_label * weights), ops.reduce_sum(weights))

    def _interpolates_pr(self) -> bool:
        return (self.curve, self.summation_method) == ("PR", "interpolation")

    def _areas(self) -> Tensor:
        """The rectangles between neighbouring thresholds."""
        x, y = self.share(*_SENSITIVITY), self.share(*_PRECISION)
        if self.curve == "ROC":
            x, y = self.share("false_positives", "true_negatives"), x
        elif self.curve == "PRGAIN":
            tp, fp, tn, fn = (tensor(self.counts[name]) for name in _COUNTS)
            scale, none = quotient(tp + fn, tn + fp), ops.equal(tp, 0.0)
            gain = ops.select(none, ops.zeros_like(tp), 1.0 - scale * quotient(fn, tp))
            x, y = ops.maximum(gain, 0.0), ops.select(none, ops.ones_like(tp), 1.0 - scale * quotient(fp, tp))
        return (x[:-1] - x[1:]) * _HEIGHTS[self.summation_method](y[:-1], y[1:])

    def _areas_of_pr(self) -> Tensor:
        """The same under a curve on which the numbers of positives, and not their ratio, are interpolated
        (Davis and Goadrich 2006)."""
        tp, fp, _, fn = (tensor(self.counts[name]) for name in _COUNTS)
        said = tp + fp
        more, slope = tp[:-1] - tp[1:], quotient(tp[:-1] - tp[1:], ops.maximum(said[:-1] - said[1:], 0.0))
        start = tp[1:] - slope * said[1:]
        both = ops.logical_and(said[:-1] > 0.0, said[1:] > 0.0)
        ratio = ops.select(both, quotient(said[:-1], said[1:]), ops.ones_like(more))
        return quotient(slope * (more + start * ops.log(ratio)), ops.maximum(tp[1:] + fn[1:], 0.0))

    def get_config(self) -> dict[str, Any]:
        config = {
            **super().get_config(),
            "num_thresholds": self.num_thresholds,
            "curve": self.curve,
            "summation_method": self.summation_method,
            "multi_label": self.multi_label,
            "num_labels": self.num_labels,
            "label_weights": self.label_weights,
            "from_logits": self.from_logits,
        }
        if self.init_thresholds is not None:  # with which their number says nothing
            config["thresholds"] = self.limits[1:-1]
        return config
