"""Losses and metrics over the samples of a batch: means and sums by weights and masks.

Enters: what a loss or metric gives, one number for each sample, for each of its steps, or for the batch; the
weights of samples or of steps, and the mask. Leaves: the scalar that Keras has there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras import losses
from kcompile.keras.losses import Loss
from kcompile.keras.newer_losses import dice, tversky
from kcompile.keras.own_code import is_own
from kcompile.keras.semantics import Semantics
from kcompile.keras.settings import epsilon
from kcompile_runtime.errors import ModelError, describe


@dataclass(frozen=True)
class Scored:
    """An output that is looked at: its loss, times scale, and its metrics; labels y, predictions, weights w
    and mask. prefix: of the names of its results."""

    name: str
    prefix: str
    loss: Loss | None
    scale: float
    metrics: list[Any]
    weighted_metrics: list[Any]
    y: Tensor
    prediction: Tensor
    w: Weights
    mask: Tensor | None
    flat: bool = False


def may_be_of_batch(loss: Loss) -> bool:
    """Whether a loss may give one number for the whole batch, as far as its function is known."""
    function = losses.base_function(loss)
    return function in (dice, tversky) or function not in losses.FUNCTIONS.values()


def asks_for_weights(loss: Loss | None, weighted_metrics: Sequence[Any], meaning: Semantics) -> bool:
    """Whether what is told of an output depends on whether weights are given, be they all 1."""
    once = meaning.batch_values == "once"  # and a script's own metric may give one number for the batch
    if any(getattr(m, "asks_for_weights", False) or (once and is_own(m)) for m in weighted_metrics):
        return True
    asks = meaning.sum_of_one_loss == "as given"
    return loss is not None and asks and loss.reduction == "sum" and may_be_of_batch(loss)


class Weights(Tensor):
    """Weights of samples, or of their steps, 1 where there are none. given: whether there are; a scalar, 1 or
    0, where the data say it."""

    __slots__ = ("given",)

    def __init__(self, weights: Tensor, given: Tensor | bool) -> None:
        super().__init__(weights.graph, weights.value)
        self.given = ops.reduce_max(given) if isinstance(given, Tensor) and given.rank else given


def by_sample(value: Tensor, like: Tensor) -> bool:
    """Whether it has a value for each sample of a tensor."""
    return bool(value.rank) and value.shape[0] == like.shape[0]


def row_means(value: Tensor, rank: int = 1, summed: bool = False) -> Tensor:
    """Means (or sums) over all axes from `rank` on."""
    if value.rank <= rank:
        return value
    return (ops.reduce_sum if summed else ops.reduce_mean)(value, range(rank, value.rank))


def masked(each: Tensor, mask: Tensor | None, share: bool = True) -> Tensor:
    """Losses [n, ...] with those of masked steps as zeros; share: divided by the share of steps that
    are not masked, so that the mean over all is the mean over those."""
    if mask is None:
        return each
    _need_steps(each, mask, "a masked output")
    there = ops.cast(mask, each.dtype)
    if share:
        there = there / (ops.reduce_mean(there) + epsilon())
    return row_means(each, mask.rank) * there


def weighted(each: Tensor, w: Tensor) -> Tensor:
    """Values [n, ...] times weights of their first axes."""
    _need_steps(each, w, "an output whose steps have weights")
    return each * widened(w, each.rank)


def _need_steps(each: Tensor, steps: Tensor, of: str) -> None:
    """Raises ModelError where there is no value for each step of a mask or of weights."""
    if each.rank < steps.rank:
        wanted = f"a value for each step, of shape {steps.type}"
        raise ModelError(describe(f"loss or metric of {of}", wanted, str(each.type)))


def times_mask(weight: Tensor | None, mask: Tensor, dtype: str) -> Tensor:
    """Weights of what is not masked, of the axes of both; None: weights of 1."""
    there = ops.cast(mask, dtype)
    return there if weight is None else widened(there, weight.rank) * widened(weight, there.rank)


def widened(x: Tensor, rank: int) -> Tensor:
    """x with axes of size 1 behind, to meet a tensor of this rank."""
    return ops.reshape(x, (*x.shape, *(1,) * (rank - x.rank)))


def output_loss(output: Scored, loss: Loss, meaning: Semantics) -> Tensor:
    """The weighted loss of an output, a scalar.

    The mean over what the weights are of, samples or steps; Keras 2 divides by the number of weights
    that are not zero instead (by 1 when all are zero, where Keras 2 has NaN). Masked steps do not
    count. reduction="sum" adds up all there is, "mean_with_sample_weight" divides by the sum of weights.
    One number for the batch is as good as one for each sample; but as a sum it counts once where no weights
    are given, and else as often as these add up to. Raises ModelError for what cannot be reduced so.
    """
    y, mask = output.y, output.mask
    w: Tensor = output.w
    each = loss.values(y, output.prediction)
    if not isinstance(each, Tensor):
        raise ModelError(
            describe(
                f"loss {loss.name!r} of output {output.name!r}",
                "a symbolic tensor",
                repr(each),
                "Write it over K functions.",
            )
        )
    summed, each = loss.reduction == "sum", ops.cast(each, w.dtype)
    counts = losses.counted(loss, y, output.prediction, each)
    if counts is not None:
        mask = counts if mask is None else ops.logical_and(widened(mask, counts.rank), counts)
    if loss.reduction == "none" and (each.rank or mask is not None):
        wanted = "without a mask one number for the batch, as reduction='none'"
        raise _unfit(output, loss, wanted, each)
    across = losses.is_across_batch(loss, output.prediction.rank)
    if each.rank and (across or not by_sample(each, output.prediction)):
        if (mask is not None or w.rank > 1) and any(size != 1 for size in each.shape):
            raise _unfit(output, loss, "one number for each sample, or a scalar", each)
        each = (ops.reduce_sum if summed else ops.reduce_mean)(each)
    if not each.rank and summed:
        return each if across else each * _times(output, mask)
    if not each.rank and mask is not None:
        each = ops.broadcast_to(each, mask.shape)
    rows = row_means(each, max(w.rank, mask.rank if mask is not None else 1), summed)
    if loss.reduction == "mean_with_sample_weight":
        w = widened(w, rows.rank) * ops.ones_like(rows)
        w = w if mask is None else w * ops.cast(widened(mask, rows.rank), w.dtype)
        count = ops.reduce_sum(w)
        return ops.reduce_sum(rows * w) / ops.select(ops.equal(count, 0.0), ops.ones_like(count), count)
    return weighted_mean(rows, w, mask, meaning, summed)


def _unfit(output: Scored, loss: Loss, wanted: str, each: Tensor) -> ModelError:
    return ModelError(describe(f"loss {loss.name!r} of output {output.name!r}", wanted, str(each.type)))


def _times(output: Scored, mask: Tensor | None) -> Tensor | float:
    """How often one number for the batch counts in a sum: what the weights of that which is not masked add up
    to, which are 1 for each place of the mask, or 1 in all, where none are given."""
    w: Tensor = output.w
    given, unweighted = output.w.given, None
    if mask is not None:
        unweighted = ops.reduce_sum(ops.cast(mask, w.dtype))
        w = times_mask(w, mask, w.dtype)
    if given is False:
        return 1.0 if unweighted is None else unweighted
    total = ops.reduce_sum(w)
    if given is True:
        return total
    unweighted = ops.ones_like(total) if unweighted is None else unweighted
    return ops.select(given > 0.5, total, unweighted)


def weighted_mean(
    rows: Tensor, w: Tensor, mask: Tensor | None, meaning: Semantics, summed: bool = False
) -> Tensor:
    """The mean (or sum) of values by the weights and the mask, as a loss is weighed."""
    rows = row_means(masked(rows, mask, share=not summed), w.rank, summed)
    total = ops.reduce_sum(weighted(rows, w) if rows.rank else rows * w)
    if summed:
        return total
    if meaning.loss_divides_by == "weights":
        return total / ops.count(w, range(w.rank))
    used = ops.reduce_sum(ops.cast(ops.not_equal(w, 0.0), w.dtype))
    return total / ops.maximum(used, 1.0)
