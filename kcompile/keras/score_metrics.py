"""Metrics over sums of all batches: scores of classes, of regressions, and overlaps of segmentations.

Enters: labels, outputs and weights of batches. Leaves: a number, or one for each class where that is asked
for. Formulas are those of f_score_metrics.py, regression_metrics.py and iou_metrics.py in Keras 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras.confusion import quotient, weights_of
from kcompile.keras.metric import Metric
from kcompile.keras.operands import tensor
from kcompile.keras.semantics import semantics
from kcompile.keras.settings import epsilon, floatx, vintage_made
from kcompile.keras.tensors import Variable, is_integer
from kcompile_runtime.checks import check_count, check_flag, check_number
from kcompile_runtime.errors import InputError, ModelError, describe


def _classes_of(metric: Metric, y_pred: Tensor) -> int:
    """The size of the last axis of [batch, classes]. Raises ModelError."""
    classes = y_pred.shape[-1] if y_pred.rank == 2 else None
    if not isinstance(classes, int):
        raise ModelError(describe(f"{metric.label}: y_pred", "a tensor [batch, outputs]", str(y_pred.type)))
    return classes


class FBetaScore(Metric):
    """(1 + beta^2) precision recall / (beta^2 precision + recall) of each class.

    average: None (one for each class), "micro" (of all classes together), "macro" (the mean), or
    "weighted" (by how often each class is). threshold: a class is said where its score is above; None: where
    it is largest.
    """

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(name, dtype)
        kind = type(self).__name__
        if average not in (None, "micro", "macro", "weighted"):
            raise InputError(
                describe(f"{kind}: average", "None, 'micro', 'macro' or 'weighted'", repr(average))
            )
        self.average = average
        self.beta = check_number(f"{kind}: beta", beta, 1e-30)
        self.threshold = None
        if threshold is not None:
            self.threshold = check_number(f"{kind}: threshold", threshold, 1e-30, 1)
        self.counts: list[Variable] = []

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        scores, truth = ops.cast(tensor(y_pred), self.dtype), ops.cast(tensor(y_true), self.dtype)
        classes = _classes_of(self, scores)
        if not self.counts:
            shape = () if self.average == "micro" else (classes,)
            names = ("true_positives", "false_positives", "false_negatives", "intermediate_weights")
            self.counts = [self.add_weight(name, shape) for name in names]
        if self.threshold is None:
            largest = scores >= ops.reduce_max(scores, 1, keepdims=True)
            said = ops.logical_and(largest, ops.abs(scores) > 1e-9)
        else:
            said = scores > self.threshold
        yes = ops.cast(said, self.dtype)
        one = ops.constant(yes.graph, 1.0, self.dtype)
        weight = weights_of(one if sample_weight is None else sample_weight, yes)
        parts = (yes * truth, yes * (1.0 - truth), (1.0 - yes) * truth, truth)
        for variable, part in zip(self.counts, parts):
            variable.assign_add(ops.reduce_sum(part * weight, None if self.average == "micro" else 0))

    def result(self) -> Any:
        if not self.counts:
            raise ModelError(f"{self.label}: it knows the number of classes from its first batch on")
        tp, fp, fn, often = map(tensor, self.counts)
        precision, recall = tp / (tp + fp + epsilon()), tp / (tp + fn + epsilon())
        square = self.beta**2
        score = precision * recall * (1.0 + square) / (precision * square + recall + epsilon())
        if self.average == "weighted":
            return ops.reduce_sum(score * (often / (ops.reduce_sum(often) + epsilon())))
        return ops.reduce_mean(score) if self.average == "macro" else score

    def get_config(self) -> dict[str, Any]:
        given = {"average": self.average, "beta": self.beta, "threshold": self.threshold}
        return {**super().get_config(), **given}


class F1Score(FBetaScore):
    """`FBetaScore` with beta 1."""

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = "f1_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(average, 1.0, threshold, name, dtype)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["beta"]
        return config


class RootMeanSquaredError(Metric):
    """The root of the mean squared error of all elements."""

    def __init__(self, name: str | None = "root_mean_squared_error", dtype: Any = None) -> None:
        super().__init__(name, dtype)
        self.total, self.count = self.add_weight("total"), self.add_weight("count")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        scores, truth = ops.cast(tensor(y_pred), self.dtype), ops.cast(tensor(y_true), self.dtype)
        truth = truth if truth.rank == scores.rank else ops.reshape(truth, scores.shape)
        errors = ops.square(scores - truth)
        if sample_weight is None:
            errors = ops.reduce_mean(errors, range(1, errors.rank)) if errors.rank > 1 else errors
            self.total.assign_add(ops.reduce_sum(errors))
            self.count.assign_add(ops.count(errors, range(errors.rank)))
            return
        weight = ops.cast(tensor(sample_weight), self.dtype)
        if errors.rank > weight.rank:
            errors = ops.reduce_mean(errors, range(weight.rank, errors.rank))
        self.total.assign_add(ops.reduce_sum(errors * weight))
        self.count.assign_add(ops.reduce_sum(ops.broadcast_to(weight, errors.shape)))

    def result(self) -> Any:
        return ops.sqrt(quotient(tensor(self.total), tensor(self.count)))


class R2Score(Metric):
    """1 - the squared errors over the squared distances from the mean, for each output.

    class_aggregation: None (one for each output), "uniform_average", or "variance_weighted_average".
    num_regressors: of the model, for the adjusted score.
    """

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = "r2_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(name, dtype)
        if class_aggregation not in (None, "uniform_average", "variance_weighted_average"):
            raise InputError(
                describe(
                    "R2Score: class_aggregation",
                    "None, 'uniform_average' or 'variance_weighted_average'",
                    repr(class_aggregation),
                )
            )
        self.class_aggregation = class_aggregation
        self.num_regressors = check_count("R2Score: num_regressors", num_regressors, 0)
        self.sums: list[Variable] = []

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        scores, truth = ops.cast(tensor(y_pred), self.dtype), ops.cast(tensor(y_true), self.dtype)
        outputs = _classes_of(self, scores)
        truth = truth if truth.rank == scores.rank else ops.reshape(truth, scores.shape)
        if not self.sums:
            names = ("squared_sum", "sum", "residual", "count")
            self.sums = [self.add_weight(name, (outputs,)) for name in names]
            self.samples = self.add_weight("num_samples")
        one = ops.constant(scores.graph, 1.0, self.dtype)
        weight = weights_of(one if sample_weight is None else sample_weight, scores)
        parts = (ops.square(truth) * weight, truth * weight, ops.square(truth - scores) * weight, weight)
        for variable, part in zip(self.sums, parts):
            variable.assign_add(ops.reduce_sum(part, 0))
        self.samples.assign_add(ops.count(truth, (0, 1)))

    def result(self) -> Any:
        if not self.sums:
            raise ModelError(f"{self.label}: it knows the number of outputs from its first batch on")
        squares, total, residual, count = map(tensor, self.sums)
        spread = squares - total * total / count
        flat = ops.equal(spread, 0.0)
        score = ops.select(flat, ops.zeros_like(spread), 1.0 - quotient(residual, spread))
        if self.class_aggregation == "uniform_average":
            score = ops.reduce_mean(score)
        elif self.class_aggregation == "variance_weighted_average":
            score = ops.reduce_sum(spread * score) / ops.reduce_sum(spread)
        if not self.num_regressors:
            return score
        n = tensor(self.samples)
        left = n - (self.num_regressors + 1.0)
        adjusted = 1.0 - (1.0 - score) * quotient(n - 1.0, left)
        return ops.select(left > 0.0, adjusted, score)  # with too few samples it stays as it is

    def get_config(self) -> dict[str, Any]:
        given = {"class_aggregation": self.class_aggregation, "num_regressors": self.num_regressors}
        return {**super().get_config(), **given}


# ---------------------------------------------------------------- overlaps


def _flat(x: Tensor) -> Tensor:
    """All elements in one axis."""
    return x if x.rank == 1 else ops.reshape(x, (x.type.numel,))


class _Overlap(Metric):
    """The mean of intersection over union of classes, from how often each class is taken for each."""

    ids: list[int]

    def _begin(
        self,
        num_classes: int,
        name: str | None,
        dtype: Any,
        ignore_class: int | None,
        sparse_y_true: bool,
        sparse_y_pred: bool,
        axis: int,
    ) -> None:
        whole = dtype is None and semantics(vintage_made(self)).overlaps_counted == "int32"
        super().__init__(name, "int32" if whole else dtype)
        kind = type(self).__name__
        self.num_classes = check_count(f"{kind}: num_classes", num_classes)
        if ignore_class is not None and not is_integer(ignore_class):
            raise InputError(describe(f"{kind}: ignore_class", "an integer or None", repr(ignore_class)))
        self.ignore_class = ignore_class
        self.sparse_y_true = check_flag(f"{kind}: sparse_y_true", sparse_y_true)
        self.sparse_y_pred = check_flag(f"{kind}: sparse_y_pred", sparse_y_pred)
        if not is_integer(axis):
            raise InputError(describe(f"{kind}: axis", "an integer", repr(axis)))
        self.axis = axis
        self.total_cm = self.add_weight("total_confusion_matrix", (self.num_classes, self.num_classes))

    def _chosen(self, ids: Sequence[int]) -> list[int]:
        """Checked class numbers."""
        ids = list(ids) if isinstance(ids, (list, tuple, range)) else [ids]  # type: ignore[list-item]
        if not ids or not all(is_integer(i) and 0 <= i < self.num_classes for i in ids):
            raise InputError(
                describe(
                    f"{type(self).__name__}: target_class_ids",
                    f"class numbers below {self.num_classes}",
                    repr(ids),
                )
            )
        return [int(i) for i in ids]

    def classes(self, y: Tensor, sparse: bool) -> Tensor:
        """Class numbers, int32."""
        return ops.cast(y if sparse else ops.argmax(y, self.axis), "int32")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        labels = self.classes(tensor(y_true), self.sparse_y_true)
        truth, said = _flat(labels), _flat(self.classes(tensor(y_pred), self.sparse_y_pred))
        weight = ops.ones_like(ops.cast(truth, floatx()))
        if sample_weight is not None:
            given = ops.cast(ops.cast(tensor(sample_weight), self.dtype), floatx())
            weight = _flat(weights_of(given, ops.cast(labels, floatx())))
        if self.ignore_class is not None:
            weight = weight * ops.cast(ops.not_equal(truth, self.ignore_class), floatx())
        rows, columns = (ops.one_hot(x, self.num_classes, floatx()) for x in (truth, said))
        weighted = rows * ops.reshape(weight, (*weight.shape, 1))
        counted = ops.matmul(ops.transpose(weighted, (1, 0)), columns)
        self.total_cm.assign_add(ops.cast(counted + 0.5 if self.dtype == "int32" else counted, self.dtype))

    def result(self) -> Any:
        matrix = ops.cast(tensor(self.total_cm), floatx())
        same = ops.one_hot(ops.iota(matrix.graph, (self.num_classes,), 0), self.num_classes, floatx())
        hits = ops.reduce_sum(matrix * same, 0)
        union = ops.reduce_sum(matrix, 0) + ops.reduce_sum(matrix, 1) - hits
        wanted = [float(i in self.ids) for i in range(self.num_classes)]
        there = ops.cast(union > 1e-9, floatx()) * ops.constant(matrix.graph, wanted, floatx())
        return quotient(ops.reduce_sum(hits / (union + epsilon()) * there), ops.reduce_sum(there))

    def get_config(self) -> dict[str, Any]:
        keys = ("num_classes", "ignore_class", "sparse_y_true", "sparse_y_pred", "axis")
        return {**super().get_config(), **{key: getattr(self, key) for key in keys}}


class IoU(_Overlap):
    """The mean intersection over union of some classes."""

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        self._begin(num_classes, name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis)
        self.ids = self._chosen(target_class_ids)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "target_class_ids": self.ids}


class MeanIoU(_Overlap):
    """The mean intersection over union of all classes."""

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        self._begin(num_classes, name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis)
        self.ids = list(range(self.num_classes))


class OneHotIoU(IoU):
    """`IoU` of labels, and unless sparse_y_pred of outputs, that have an axis of classes."""

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, target_class_ids, name, dtype, ignore_class, False, sparse_y_pred, axis)

    def get_config(self) -> dict[str, Any]:
        return {key: value for key, value in super().get_config().items() if key != "sparse_y_true"}


class OneHotMeanIoU(MeanIoU):
    """`MeanIoU` of labels, and unless sparse_y_pred of outputs, that have an axis of classes."""

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, name, dtype, ignore_class, False, sparse_y_pred, axis)

    def get_config(self) -> dict[str, Any]:
        return {key: value for key, value in super().get_config().items() if key != "sparse_y_true"}


class BinaryIoU(_Overlap):
    """The mean intersection over union of the classes 0 and 1, of scores at a threshold."""

    def __init__(
        self,
        target_class_ids: Sequence[int] = (0, 1),
        threshold: float = 0.5,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        self._begin(2, name, dtype, None, True, True, -1)
        self.ids = self._chosen(target_class_ids)
        self.threshold = check_number("BinaryIoU: threshold", threshold, 0, 1)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        super().update_state(y_true, ops.cast(tensor(y_pred) >= self.threshold, "int32"), sample_weight)

    def get_config(self) -> dict[str, Any]:
        config = Metric.get_config(self)
        return {**config, "target_class_ids": self.ids, "threshold": self.threshold}
