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


def logits_behind(x: Tensor, from_logits: bool) -> tuple[Tensor, bool]:
    """x and whether it is logits. Where the vintage has it so, what a sigmoid or a softmax was taken of, if x
    is its result, whichever crossentropy asks."""
    if meaning().logits_behind:
        node, found = x.graph.nodes[x.value.node], x.graph.softmax_of.get(x.value)
        if found is None and node.op.name == "sigmoid":
            (found,) = node.inputs
        if found is not None:
            return Tensor(x.graph, found), True
    return x, from_logits


def log_probabilities(x: Tensor, from_logits: bool, axis: int = -1, sparse: bool = False) -> Tensor:
    """log p: of logits exactly; of probabilities brought to sum 1 and clipped, or clipped first where labels
    are numbers (sparse) and the vintage has it so."""
    x, from_logits = logits_behind(x, from_logits)
    if from_logits:
        return ops.log_softmax(x, axis)
    if sparse and meaning().sparse_probabilities == "clipped first":
        x = clipped(x)
        return ops.log(x / ops.reduce_sum(x, axis, keepdims=True))
    return ops.log(clipped(x / ops.reduce_sum(x, axis, keepdims=True)))


def binary_terms(target: Tensor, x: Tensor, from_logits: bool = False) -> Tensor:
    """-t log(p) - (1 - t) log(1 - p) of each element, for clipped probabilities p or for logits."""
    x, from_logits = logits_behind(x, from_logits)
    if from_logits:
        return target * ops.softplus(-x) + (1.0 - target) * ops.softplus(x)
    p = clipped(x)
    added = epsilon() if meaning().binary_logarithms == "of p + epsilon" else 0.0
    return -(target * ops.log(p + added) + (1.0 - target) * ops.log(1.0 - p + added))


def smoothed(y_true: Tensor, share: float, classes: int) -> Tensor:
    """Labels of which a share is spread over all classes."""
    return y_true * (1.0 - share) + share / classes if share else y_true


def classes_on(y_pred: Tensor, axis: int = -1) -> int:
    """How many classes lie on an axis. Raises ValueError where the size is unknown."""
    classes = y_pred.shape[axis]
    if not isinstance(classes, int):
        raise ValueError(f"the classes lie on axis {axis}. Received: {y_pred.type}")
    return classes


def spread(y_pred: Tensor, axis: int) -> int:
    """Over how many classes smoothed labels are spread: the size of an axis, which not every Keras takes for
    that of the classes."""
    others = {"the classes": axis, "axis 1": 1 if y_pred.rank > 1 else -1}
    return classes_on(y_pred, others.get(meaning().smoothed_over, -1))
