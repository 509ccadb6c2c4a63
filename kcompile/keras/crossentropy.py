"""The formulas of crossentropies that K and the losses share.

Enters: probabilities or logits, and labels of the same shape. Leaves: terms, not summed yet.
"""

from __future__ import annotations

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras.settings import epsilon, meaning


def clipped(p: Tensor) -> Tensor:
    """Probabilities so far from 0 and 1 that their logarithms are finite."""
    return ops.clip(p, epsilon(), 1.0 - epsilon())


def log_probabilities(x: Tensor, from_logits: bool, axis: int = -1, sparse: bool = False) -> Tensor:
    """log p: of logits exactly; of probabilities brought to sum 1 and clipped, or clipped first where labels
    are numbers (sparse) and the vintage has it so."""
    if from_logits:
        return ops.log_softmax(x, axis)
    if sparse and meaning().sparse_probabilities == "clipped first":
        x = clipped(x)
        return ops.log(x / ops.reduce_sum(x, axis, keepdims=True))
    return ops.log(clipped(x / ops.reduce_sum(x, axis, keepdims=True)))


def binary_terms(target: Tensor, x: Tensor, from_logits: bool = False) -> Tensor:
    """-t log(p) - (1 - t) log(1 - p) of each element, for clipped probabilities p or for logits."""
    if from_logits:
        return target * ops.softplus(-x) + (1.0 - target) * ops.softplus(x)
    p = clipped(x)
    return -(target * ops.log(p) + (1.0 - target) * ops.log(1.0 - p))
