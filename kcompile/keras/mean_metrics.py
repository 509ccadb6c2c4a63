"""Metrics over values: their sum, their mean, and means of each place of a tensor.

Enters: values and weights of batches. Leaves: a number, or a tensor of them (MeanTensor). Formulas are those
of reduction_metrics.py in Keras 3, and of base_metric.py and regression_metrics.py in tf_keras.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch
from kcompile.keras.confusion import quotient
from kcompile.keras.metric import Metric
from kcompile.keras.operands import tensor
from kcompile.keras.semantics import semantics
from kcompile.keras.tensors import Variable
from kcompile_runtime.arrays import as_array
from kcompile_runtime.errors import InputError, UnsupportedError, describe


class Sum(Metric):
    """The sum of values, each times its weight."""

    def __init__(self, name: str | None = "sum", dtype: Any = None) -> None:
        super().__init__(name, dtype)
        self.total = self.add_weight("total")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        values = ops.cast(tensor(values), self.dtype)
        if sample_weight is not None:
            weight = ops.cast(tensor(sample_weight), self.dtype)
            if values.rank > weight.rank:
                values = ops.reduce_sum(values, range(weight.rank, values.rank))
            values = values * weight
        self.total.assign_add(ops.reduce_sum(values))

    def result(self) -> Any:
        return tensor(self.total)


class Mean(Metric):
    """The mean of values; with sample_weight, of their first axes, the sum of weighted values over the sum of
    weights. In Keras 3 the values of a sample count as their mean, however many it has."""

    def __init__(self, name: str | None = "mean", dtype: Any = None) -> None:
        super().__init__(name, dtype)
        self.total, self.count = self.add_weight("total"), self.add_weight("count")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        values = ops.cast(tensor(values), self.dtype)
        by_sample = semantics(self.vintage).means_count == "samples"
        if sample_weight is None:
            if by_sample and values.rank > 1:
                values = ops.reduce_mean(values, range(1, values.rank))
            count = ops.count(values, range(values.rank)) if values.rank else 1.0
        else:
            weight = ops.cast(tensor(sample_weight), self.dtype)
            if weight.rank == values.rank + 1 and weight.shape[-1] == 1:
                weight = ops.reshape(weight, weight.shape[:-1])
            if values.rank > weight.rank and by_sample:
                values = ops.reduce_mean(values, range(weight.rank, values.rank))
            weight = ops.reshape(weight, (*weight.shape, *(1,) * (values.rank - weight.rank)))
            weight = ops.broadcast_to(weight, values.shape)
            values, count = values * weight, ops.reduce_sum(weight)
        self.total.assign_add(ops.reduce_sum(values))
        self.count.assign_add(count)

    def result(self) -> Any:
        total, count = tensor(self.total), tensor(self.count)
        none = ops.equal(count, 0.0)
        return ops.select(none, ops.zeros_like(total), total / ops.select(none, ops.ones_like(count), count))


class MeanRelativeError(Mean):
    """The mean of |y_true - y_pred| / normalizer, which broadcasts to them; 0 where the normalizer is 0."""

    def __init__(self, normalizer: Any, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(name, dtype)
        self.normalizer = np.asarray(as_array(normalizer, "MeanRelativeError: normalizer"), self.dtype)

    def update_state(  # type: ignore[override]  # it takes labels and outputs
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        y_pred, y_true = ops.cast(tensor(y_pred), self.dtype), ops.cast(tensor(y_true), self.dtype)
        scale = ops.constant(y_pred.graph, self.normalizer, self.dtype)
        if scale.rank == y_pred.rank + 1 and scale.shape[-1] == 1:
            scale = ops.reshape(scale, scale.shape[:-1])
        errors = ops.abs(y_true - y_pred)
        super().update_state(quotient(errors, ops.broadcast_to(scale, errors.shape)), sample_weight)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "normalizer": self.normalizer.tolist()}


class MeanTensor(Metric):
    """The weighted mean of each place of the values, which all have one shape: that of the first ones unless
    it is given. Raises UnsupportedError in a model's graph for values of as many rows as the batch has."""

    def __init__(
        self, name: str | None = "mean_tensor", dtype: Any = None, shape: Sequence[int] | None = None
    ) -> None:
        super().__init__(name, dtype)
        self.total: Variable | None = None
        self.count: Variable | None = None
        if shape is not None:
            self._build(shape)

    def _build(self, shape: Any) -> None:
        self.total, self.count = self.add_weight("total", shape), self.add_weight("count", shape)

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        values = ops.cast(tensor(values), self.dtype)
        if any(isinstance(size, Batch) for size in values.shape):
            wanted = "values whose shape is the same in every batch"
            raise UnsupportedError(describe(f"{self.label}: values", wanted, str(values.type)))
        if self.total is None or self.count is None:
            self._build(values.shape)
            return self.update_state(values, sample_weight)
        if values.shape != self.total.shape:
            wanted = f"values of shape {self.total.shape}, as at first"
            raise InputError(describe(self.label, wanted, str(values.type)))
        weight = ops.ones_like(values) if sample_weight is None else self._weights(sample_weight, values)
        self.total.assign_add(values * weight)
        self.count.assign_add(weight)
        return None

    def _weights(self, given: Any, values: Tensor) -> Tensor:
        weight = ops.cast(tensor(given), self.dtype)
        if weight.rank == values.rank - 1 and weight.rank:
            weight = ops.reshape(weight, (*weight.shape, 1))
        if weight.rank == values.rank + 1 and weight.shape[-1] == 1:
            weight = ops.reshape(weight, weight.shape[:-1])
        return ops.broadcast_to(weight, values.shape)

    def result(self) -> Any:
        if self.total is None or self.count is None:
            raise InputError(f"{self.label}: it has no value before its first batch")
        return quotient(tensor(self.total), tensor(self.count))

    def reset_state(self) -> None:
        self._zero()
