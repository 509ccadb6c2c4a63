"""Losses and metrics that look at all pairs of samples.

Enters: what the graph of training or testing takes. Leaves: whether it can be traced for any number of
samples; else Keras' own steps train and test the model, which are traced for each number that comes. In Keras
2, which has no such steps, an error says what is broadcast.
"""

from __future__ import annotations

from typing import Any

from kcompile.keras import graphs, losses
from kcompile.keras.lengths import lengths_of
from kcompile.keras.own_code import has_own, is_own
from kcompile.keras.step_data import check_pairs, packed, weighted
from kcompile_runtime.arrays import Array
from kcompile_runtime.errors import KcompileError, ModelError


def needs_steps(
    trainer: Any,
    entry: str,
    data: Any,
    class_weight: Any,
    found: tuple[list[Array], int],
    size: int | None = None,
) -> tuple[list[Array], int]:
    """The arrays of data and the number of samples, as the graph of an entry takes them. Where that cannot be
    traced for any number of samples, it is that of Keras' own step, and the trainer's `by_steps` says so.

    data: a batch, or a tuple (x, y, sample_weight). found: what the graph takes otherwise. size: of a batch.
    """
    model = trainer.model
    if trainer.by_steps is not None:
        return found
    trainer.by_steps = False
    own = has_own(trainer.arguments)
    if not own and not (model.has_steps and (_pairs(model) or _own_penalties(model))):
        return found
    graph = None
    try:
        graph = graphs.trace(model, entry, lengths_of(model, found[0])).graph
        check_pairs(graph)
    except KcompileError as error:
        if not model.has_steps:
            if graph is None:
                return found  # it says what is wrong when it is compiled
            raise _of_pairs(error) from error
        trainer.by_steps = True
        given = packed(*data) if isinstance(data, tuple) else data
        try:
            seen: tuple[list[Array], int] = model.see(entry, weighted(given, class_weight), size)
            return seen
        except KcompileError:
            trainer.by_steps = False  # the first error is about what the script says
            if graph is not None:
                raise _of_pairs(error) from error
    return found


def _own_penalties(model: Any) -> bool:
    """Whether a penalty on outputs is a script's own, which may compare the samples."""
    penalties = [layer.activity_regularizer for layer in model.owned_layers]
    return any(penalty is not None and is_own(penalty) for penalty in penalties)


def _of_pairs(error: KcompileError) -> ModelError:
    return ModelError(
        f"a loss or metric of the script's own has a value for each pair of samples: {error}. Labels [n] "
        "beside outputs [n, 1] are broadcast so: flatten both, or give both the last axis"
    )


def _pairs(model: Any) -> bool:
    """Whether an output has the samples on two axes, as scores of each for each have, or a loss compares
    them."""
    losses_of = graphs.compile_arguments(model).losses
    axes = [d for y in model.outputs for d in y.batch_type.shape[1:]]
    return any(not isinstance(d, int) for d in axes) or any(map(losses.compares_samples, losses_of))
