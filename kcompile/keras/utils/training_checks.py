"""What `keras.engine.training_utils` has of use to loops of a script's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from kcompile.keras import backend as K
from kcompile.keras import losses
from kcompile_runtime.errors import InputError, describe

__all__ = [
    "batch_shuffle",
    "check_array_length_consistency",
    "check_loss_and_target_compatibility",
    "iter_sequence_infinite",
    "weighted_masked_objective",
]

_SAME_SHAPE = (losses.mean_squared_error, losses.binary_crossentropy, losses.categorical_crossentropy)


def batch_shuffle(index_array: np.ndarray, batch_size: int) -> np.ndarray:
    """Numbers of samples, whole batches in random order; those behind the last whole batch stay there."""
    whole = len(index_array) // batch_size * batch_size
    batches = np.array(index_array[:whole]).reshape(-1, batch_size)
    np.random.shuffle(batches)
    return np.append(batches.ravel(), index_array[whole:])


def check_array_length_consistency(inputs: Any, targets: Any, weights: Any = None) -> None:
    """Raises InputError unless the arrays of inputs, targets and weights have one number of samples."""

    def lengths(arrays: Any) -> set[int]:
        return {0 if a is None else len(a) for a in ([None] if arrays is None else arrays)}

    x, y, w = lengths(inputs), lengths(targets), lengths(weights)
    for name, found in (("inputs (x)", x), ("targets (y)", y), ("sample_weight", w)):
        if len(found) > 1:
            raise InputError(
                describe(
                    f"arrays of {name}", "the same number of samples", ", ".join(map(str, sorted(found)))
                )
            )
    for what, found in (("inputs", x), ("sample_weight", w if weights is not None else set())):
        if found and y and found != y:
            raise InputError(
                describe(f"arrays of {what}", f"as many samples as targets, {min(y)}", str(min(found)))
            )


def check_loss_and_target_compatibility(
    targets: Sequence[Any], loss_fns: Sequence[Any], output_shapes: Sequence[Any]
) -> None:
    """Raises InputError for targets that a loss cannot compare with outputs of these shapes."""
    for y, loss, shape in zip(targets, loss_fns, output_shapes):
        if y is None or loss is None:
            continue
        if loss is losses.categorical_crossentropy and y.shape[-1] == 1:
            raise InputError(
                describe(
                    "categorical_crossentropy",
                    "targets of zeros and ones, (samples, classes)",
                    f"shape {y.shape}",
                    "Make them of numbers of classes by to_categorical, or use "
                    "sparse_categorical_crossentropy, which takes the numbers",
                )
            )
        fits = all(size in (None, found) for found, size in zip(y.shape[1:], shape[1:]))
        if loss in _SAME_SHAPE and not fits:
            raise InputError(
                describe(f"{loss.__name__}", f"targets of the output's shape, {shape}", f"shape {y.shape}")
            )


def iter_sequence_infinite(seq: Iterable[Any]) -> Iterator[Any]:
    """The batches of a Sequence, again and again."""
    while True:
        yield from seq


def weighted_masked_objective(fn: Callable[[Any, Any], Any] | None) -> Callable[..., Any] | None:
    """A loss of (y_true, y_pred) as one of (y_true, y_pred, weights, mask=None): the mean over what is not
    masked, each sample by its weight, divided by the share of weights that are not zero."""
    if fn is None:
        return None

    def weighted(y_true: Any, y_pred: Any, weights: Any, mask: Any = None) -> Any:
        scores = fn(y_true, y_pred)
        if mask is not None:
            kept = K.cast(mask, K.floatx())
            scores = scores * kept / K.mean(kept)
        if weights is not None:
            rest = list(range(K.ndim(weights), K.ndim(scores)))
            scores = (K.mean(scores, axis=rest) if rest else scores) * weights
            scores = scores / K.mean(K.cast(K.not_equal(weights, 0), K.floatx()))
        return K.mean(scores)

    return weighted
