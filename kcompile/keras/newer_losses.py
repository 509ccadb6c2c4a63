"""Losses that came with Keras 3: of overlaps, of distances between samples, of unaligned labels.

Like those of `losses`, which has them too. Formulas are those of losses/losses.py in Keras 3.
"""

from __future__ import annotations

from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor, as_tensor
from kcompile.ir.types import Batch
from kcompile.keras.backend.ctc import unaligned
from kcompile.keras.operands import axes_of, lift
from kcompile.keras.settings import epsilon
from kcompile_runtime.errors import ModelError, UnsupportedError, describe


def _like(y_true: Any, y_pred: Tensor) -> Tensor:
    return ops.cast(as_tensor(y_pred.graph, y_true), y_pred.dtype)


def dice(y_true: Any, y_pred: Tensor, axis: Any = None) -> Tensor:
    """1 - 2 sum(y_true y_pred) / (sum(y_true) + sum(y_pred)) over some axes, or over the batch."""
    y_true, axes = _like(y_true, y_pred), axes_of(y_pred, axis)
    both, first, second = (ops.reduce_sum(x, axes) for x in (y_true * y_pred, y_true, y_pred))
    return 1.0 - both * 2.0 / (first + second + epsilon())


def tversky(y_true: Any, y_pred: Tensor, alpha: float = 0.5, beta: float = 0.5, axis: Any = None) -> Tensor:
    """1 - b / (b + alpha y + beta p): b = sum(y_true y_pred), y and p what each has alone (Salehi
    et al. 2017). As in `dice`, over some axes, or over the batch."""
    y_true, axes = _like(y_true, y_pred), axes_of(y_pred, axis)
    both, missed, more = (
        ops.reduce_sum(x, axes) for x in (y_true * y_pred, (1.0 - y_pred) * y_true, y_pred * (1.0 - y_true))
    )
    return 1.0 - both / (both + missed * alpha + more * beta + epsilon())


def circle(
    y_true: Any,
    y_pred: Tensor,
    ref_labels: Any = None,
    ref_embeddings: Any = None,
    remove_diagonal: bool = True,
    gamma: float = 80,
    margin: float = 0.4,
) -> Tensor:
    """log(1 + sum(exp of pairs of one class) sum(exp of pairs of two)) of each sample, whose embeddings have
    norm 1: what is alike should lie near, what is not far (Sun et al. 2020).

    ref_labels, ref_embeddings: of the samples that each is paired with; default those of the batch, of which
    a sample is not paired with itself where remove_diagonal says so.
    """
    labels = ops.cast(as_tensor(y_pred.graph, y_true), "int32")
    others = labels if ref_labels is None else ops.cast(as_tensor(y_pred.graph, ref_labels), "int32")
    near = y_pred if ref_embeddings is None else _like(ref_embeddings, y_pred)
    if y_pred.rank != 2:
        raise ModelError(describe("circle: y_pred", "embeddings [batch, size]", str(y_pred.type)))
    n, m = y_pred.shape[0], near.shape[0]
    if isinstance(n, Batch) and isinstance(m, Batch):
        raise UnsupportedError(
            describe(
                "circle",
                "embeddings of a known number of samples",
                str(y_pred.type),
                "A compiled model has the batch on one axis, and no pairs of its samples: call the loss on "
                "arrays, or give ref_labels and ref_embeddings of fixed size in a loss of your own.",
            )
        )
    far = ops.maximum(1.0 - ops.matmul(y_pred, near, transpose_b=True), 0.0)
    alike = ops.equal(ops.reshape(labels, (n, 1)), ops.reshape(others, (1, m)))
    apart = ops.logical_not(alike)
    if remove_diagonal:
        itself = ops.equal(ops.iota(y_pred.graph, (n, m), 0), ops.iota(y_pred.graph, (n, m), 1))
        alike = ops.logical_and(alike, ops.logical_not(itself))
    pulls = (far + margin) * (far - margin) * gamma
    pushes = ops.maximum(1.0 + margin - far, 0.0) * (1.0 - margin - far) * gamma
    return ops.softplus(_log_sum(pulls, alike) + _log_sum(pushes, apart))


def _log_sum(x: Tensor, there: Tensor) -> Tensor:
    """log(sum(exp(x))) of each row, of what is there; of nothing a number far below all others."""
    low = ops.select(there, x, ops.zeros_like(x) - 1e30)
    top = ops.stop_gradient(ops.reduce_max(low, 1, keepdims=True))
    total = ops.reduce_sum(ops.select(there, ops.exp(low - top), ops.zeros_like(x)), 1)
    some = total > 0.0
    logarithm = ops.log(ops.select(some, total, ops.ones_like(total)))
    return ops.select(some, logarithm + ops.reshape(top, top.shape[:1]), ops.zeros_like(total) - 1e30)


def ctc(y_true: Any, y_pred: Tensor) -> Tensor:
    """-log P(labels) of unaligned labels [batch, most] (Graves 2006). y_pred: logits [batch, time, classes],
    of which class 0 is the blank; labels of 0 do not count."""
    labels = ops.cast(as_tensor(y_pred.graph, y_true), "int32")
    if labels.rank != 2 or y_pred.rank != 3:
        wanted = "labels [batch, most] and logits [batch, time, classes]"
        raise ModelError(describe("ctc", wanted, f"{labels.type} and {y_pred.type}"))
    logs = ops.log_softmax(y_pred)
    logs = ops.concatenate([logs[:, :, 1:], logs[:, :, :1]], 2)  # the blank last
    used = ops.reduce_sum(ops.cast(ops.not_equal(labels, 0), "float32"), 1, keepdims=True)
    batch, time = y_pred.shape[:2]
    steps = ops.broadcast_to(ops.constant(y_pred.graph, time, "int32"), (batch, 1))
    cost = unaligned(labels - 1, logs, steps, ops.cast(used, "int32"))
    return ops.reshape(cost, (batch,))


lift(globals(), "y_true", "y_pred")
