"""Connectionist temporal classification (Graves 2006): the loss of unaligned labels, and decoding.

Enters: probabilities [batch, time, classes], the last class being the blank, and numbers of steps. Labels are
what is left of a path of classes, one a step, when repetitions are merged and blanks removed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.ops.scan_build import scan
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import TensorType
from kcompile.keras.backend.recurrence import time_first
from kcompile.keras.backend.values import constant
from kcompile.keras.expressions import depends, on_values
from kcompile.keras.expressions import type_of as tensor_type
from kcompile.keras.operands import fixed_size, tensor, traced, value_of
from kcompile.keras.settings import computes_at_once, epsilon
from kcompile.keras.tensors import KerasTensor
from kcompile.keras.tracing import current
from kcompile_runtime.arrays import as_array
from kcompile_runtime.errors import InputError, UnsupportedError, describe

_NEVER = -1e30  # the logarithm of the probability of what cannot be: -inf would give gradients that are NaN


@traced
def ctc_batch_cost(y_true: Any, y_pred: Any, input_length: Any, label_length: Any) -> Any:
    """-log P(labels) of each sample, [batch, 1]; infinite where there are fewer steps than labels need.

    y_true: [batch, most labels]. y_pred: probabilities. input_length, label_length: [batch, 1], how many
    steps and labels count. The forward variables of Graves, as logarithms.
    """
    logs = ops.log_softmax(ops.log(tensor(y_pred) + epsilon()))
    return unaligned(tensor(y_true), logs, _column(input_length), _column(label_length))


def unaligned(labels: Tensor, logs: Tensor, steps: Tensor, used: Tensor) -> Tensor:
    """The same of logarithms of probabilities, [batch, time, classes]. steps, used: [batch, 1], int32."""
    labels = ops.cast(labels, "int32")
    batch, blank = logs.shape[0], fixed_size(logs, 2) - 1
    most = fixed_size(labels, 1)
    places = 2 * most + 1  # of the path: a blank before, between and behind the labels
    known = ops.iota(logs.graph, (batch, most), 1) < used
    labels = ops.select(known, labels, ops.constant(logs.graph, blank, "int32"))

    blanks = ops.broadcast_to(ops.constant(logs.graph, blank, "int32"), (batch, most, 1))
    pairs = ops.concatenate([blanks, ops.reshape(labels, (batch, most, 1))], 2)
    path = ops.concatenate([ops.reshape(pairs, (batch, 2 * most)), blanks[:, :1, 0]], 1)
    before = ops.pad(path[:, :-2], [0, 2], [0, 0])
    skips = ops.logical_and(ops.not_equal(path, blank), ops.not_equal(path, before))
    skips = ops.logical_and(skips, ops.iota(logs.graph, (batch, places), 1) > 1)
    skip = ops.select(skips, 0.0, ops.constant(logs.graph, _NEVER, logs.dtype))

    chosen = ops.one_hot(path, blank + 1, logs.dtype)
    emitted = ops.batch_matmul(logs, chosen, transpose_b=True)  # [batch, time, places]
    time = fixed_size(logs, 1)
    counts = ops.iota(logs.graph, (time, batch), 0) < ops.reshape(steps, (1, batch))

    first = ops.equal(ops.iota(logs.graph, (batch, places), 1), 0)
    start = ops.select(first, 0.0, ops.constant(logs.graph, _NEVER, logs.dtype))
    final, _ = scan(_advance, [start], [time_first(emitted), counts], [skip])
    last = 2 * used
    here = ops.iota(logs.graph, (batch, places), 1)
    ends = ops.logical_or(ops.equal(here, last), ops.equal(here, last - 1))
    reached = ops.select(ends, final[0], ops.constant(logs.graph, _NEVER, logs.dtype))
    top = ops.stop_gradient(ops.reduce_max(reached, 1, keepdims=True))
    total = top + ops.log(ops.reduce_sum(ops.exp(reached - top), 1, keepdims=True))
    return ops.select(total > _NEVER / 2, -total, ops.constant(logs.graph, math.inf, logs.dtype))


def _column(lengths: Any) -> Tensor:
    """Numbers of steps or labels as [batch, 1]."""
    x = ops.cast(tensor(lengths), "int32")
    return ops.reshape(x, (x.shape[0], 1))


def _advance(
    carried: list[Tensor], elements: list[Tensor], invariants: list[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """One step of the forward variables: a place is reached from itself, from the one before, and from the
    one before that across a blank that may be left out. Behind a sample's last step nothing changes."""
    (now,), (emitted, counts), (skip,) = carried, elements, invariants
    ways = [
        now,
        ops.pad(now[:, :-1], [0, 1], [0, 0], value=_NEVER),
        ops.pad(now[:, :-2], [0, 2], [0, 0], value=_NEVER) + skip,
    ]
    top = ops.stop_gradient(ops.maximum(ops.maximum(ways[0], ways[1]), ways[2]))
    total = ops.exp(ways[0] - top) + ops.exp(ways[1] - top) + ops.exp(ways[2] - top)
    new = ops.maximum(top + ops.log(total) + emitted, _NEVER)
    return [ops.select(ops.reshape(counts, (now.shape[0], 1)), new, now)], []


# ---------------------------------------------------------------- decoding


def ctc_decode(
    y_pred: Any, input_length: Any, greedy: bool = True, beam_width: int = 100, top_paths: int = 1
) -> tuple[list[Any], Any]:
    """([labels of the best path, of the second, ...], how likely they are).

    y_pred: probabilities [batch, time, classes]. input_length: [batch], how many steps count. Labels are
    [batch, longest] in Keras 2, else [batch, time], -1 behind the last. greedy: the most likely class of each
    step, and minus the sum of their logarithms [batch, 1]; else the best of a search with beam_width
    prefixes, and log P [batch, top_paths]. On values, results are constants. On tensors of a model the greedy
    labels are [batch, time]; a search is made by K.function, whose outputs its results are, and in a layer
    raises UnsupportedError.
    """
    symbolic = any(isinstance(x, KerasTensor) and depends(x) for x in (y_pred, input_length))
    if greedy and (symbolic or current() is not None):
        labels, scores = _greedy_in_graph(y_pred, input_length)
        return [labels], scores
    if current() is not None:
        raise UnsupportedError(
            "ctc_decode: a search over prefixes works on values, and there are none in a model. Give it what "
            "predict gives, or greedy=True"
        )
    if symbolic:
        time = tensor_type(y_pred).shape[1]
        batch = tensor_type(y_pred).shape[0]
        of_labels = [TensorType((batch, time), "int64")] * top_paths
        types = [*of_labels, TensorType((batch, top_paths), "float32")]
        made = on_values(ctc_decode, (y_pred, input_length, False, beam_width, top_paths), {}, types)
        return made[:-1], made[-1]
    given = as_array(value_of(y_pred), "ctc_decode: y_pred")
    lengths = as_array(value_of(input_length), "ctc_decode: input_length").astype(int).ravel()
    if given.ndim != 3 or len(lengths) != len(given) or (lengths > given.shape[1]).any():
        raise InputError(
            describe(
                "ctc_decode",
                "probabilities [batch, time, classes] and at most as many steps for each sample",
                f"{given.shape} and {lengths}",
            )
        )
    logs = np.log(given.astype("float32") + np.float32(epsilon()))
    samples = [steps[:length] for steps, length in zip(logs, lengths)]
    if greedy:
        top_paths, found = 1, [_best_steps(steps) for steps in samples]
    else:
        found = [search_prefixes(steps, beam_width, top_paths) for steps in samples]
    least = given.shape[1] if computes_at_once() else 0  # since tf.keras, as long as there are steps
    paths = [_dense([labels[k] for labels, _ in found], least) for k in range(top_paths)]
    return [constant(p, "int64") for p in paths], constant(np.array([s for _, s in found]), "float32")


def ctc_label_dense_to_sparse(labels: Any, label_lengths: Any) -> Any:
    """Labels [batch, places] of these lengths as a sparse tensor (see `K.is_sparse`): zeros stand behind."""
    made = _within(labels, label_lengths)
    if not isinstance(made, Tensor):
        made.sparse = True
    return made


@traced
def _within(labels: Any, lengths: Any) -> Any:
    labels = tensor(labels)
    inside = ops.iota(labels.graph, labels.shape, 1) < _column(lengths)
    return ops.select(inside, labels, ops.zeros_like(labels))


Paths = tuple[list[tuple[int, ...]], list[float]]  # labels, and how likely they are


def _best_steps(logs: np.ndarray) -> Paths:
    best = logs.argmax(1)
    kept = best[(best != logs.shape[1] - 1) & (best != np.concatenate([[-1], best[:-1]]))]
    return [tuple(kept)], [-float(logs.max(1, initial=-math.inf).sum())]


def search_prefixes(logs: np.ndarray, width: int, count: int) -> Paths:
    """Search over prefixes of labels (Graves 2012, Hannun 2014): of each, log P of its paths that end in a
    blank and in its last label. Sums leave out the paths through prefixes that a narrow beam has dropped."""
    logs = logs - np.logaddexp.reduce(logs, 1, keepdims=True)
    blank = logs.shape[1] - 1
    beam: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -math.inf)}
    for step in logs:
        ended: dict[tuple[int, ...], list[float]] = {}

        def add(prefix: tuple[int, ...], which: int, value: float, known: Any = ended) -> None:
            pair = known.setdefault(prefix, [-math.inf, -math.inf])
            pair[which] = np.logaddexp(pair[which], value)

        for prefix, (in_blank, in_label) in beam.items():
            both = np.logaddexp(in_blank, in_label)
            add(prefix, 0, both + step[blank])
            if prefix:
                add(prefix, 1, in_label + step[prefix[-1]])
            for label in range(blank):
                add((*prefix, label), 1, (in_blank if prefix[-1:] == (label,) else both) + step[label])
        likely = {prefix: float(np.logaddexp(a, b)) for prefix, (a, b) in ended.items()}
        best = sorted(likely, key=lambda p: -likely[p])[:width]
        beam = {prefix: (ended[prefix][0], ended[prefix][1]) for prefix in best}
    scores = {prefix: float(np.logaddexp(*pair)) for prefix, pair in beam.items()}
    top = sorted(scores, key=lambda p: -scores[p])[:count]
    if len(top) < count:
        raise InputError(
            describe("ctc_decode: top_paths", f"at most the {len(top)} prefixes there are", str(count))
        )
    return top, [scores[prefix] for prefix in top]


def _dense(labels: Sequence[tuple[int, ...]], least: int) -> np.ndarray:
    """Rows of one length, at least so long, -1 behind the last label."""
    found = np.full((len(labels), max([least, *map(len, labels)])), -1, np.int64)
    for row, path in zip(found, labels):
        row[: len(path)] = path
    return found


@traced
def _greedy_in_graph(y_pred: Any, input_length: Any) -> Any:
    logs = ops.log(tensor(y_pred) + epsilon())
    batch, time, blank = logs.shape[0], fixed_size(logs, 1), fixed_size(logs, 2) - 1
    counts = ops.iota(logs.graph, (batch, time), 1) < _column(input_length)
    best = ops.argmax(logs, 2)
    before = ops.pad(best[:, :-1], [0, 1], [0, 0], value=-1)
    kept = ops.logical_and(ops.logical_and(ops.not_equal(best, blank), ops.not_equal(best, before)), counts)
    # The place of each label that is kept is how many are kept before; so none is at a place twice
    kept_steps = ops.cast(kept, logs.dtype)
    upto = ops.constant(logs.graph, np.triu(np.ones((time, time)), 1), logs.dtype)
    places = ops.cast(ops.matmul(kept_steps, upto), "int32")
    moved = ops.one_hot(places, time, logs.dtype) * ops.reshape(kept_steps, (batch, time, 1))
    labels = ops.reshape(ops.cast(best + 1, logs.dtype), (batch, 1, time))
    dense = ops.reshape(ops.batch_matmul(labels, moved), (batch, time))
    top = ops.select(counts, ops.reduce_max(logs, 2), 0.0)
    return ops.cast(dense, "int64") - 1, -ops.reduce_sum(top, 1, keepdims=True)
