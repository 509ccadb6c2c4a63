"""keras.ops of unaligned labels (connectionist temporal classification, Graves 2006): loss and decoding.

Enters: scores [batch, time, classes], of which the class `mask_index` is the blank. The loss is that of
`K.ctc_batch_cost`, whose blank is the last class.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras.backend.ctc import search_prefixes, unaligned
from kcompile.keras.keras3_ops.calls import on_values, operation, places, real
from kcompile.keras.operands import fixed_size
from kcompile_runtime.errors import UnsupportedError


def _checked(name: str, scores: Tensor, mask_index: Any) -> int:
    if scores.rank != 3:
        raise ValueError(f"{name}: expected scores [batch, time, classes]. Received: {scores.type}")
    classes = fixed_size(scores, 2)
    blank = classes - 1 if mask_index is None else int(mask_index)
    if not 0 <= blank < classes:
        raise ValueError(f"{name}: mask_index {mask_index} is none of {classes} classes")
    return blank


def _blank_last(scores: Tensor, blank: int) -> Tensor:
    classes = fixed_size(scores, 2)
    order = [k for k in range(classes) if k != blank] + [blank]
    return scores if blank == classes - 1 else ops.take(scores, np.asarray(order, np.int32), 2)


@operation
def ctc_loss(target: Any, output: Any, target_length: Any, output_length: Any, mask_index: int = 0) -> Any:
    """-log P(labels) of each sample, [batch]; infinite where there are fewer steps than labels need.

    target: labels [batch, most], of which target_length [batch] count. output: logits, of which
    output_length [batch] steps count.
    """
    scores = real(output)
    blank, labels = _checked("ctc_loss", scores, mask_index), places(target)
    one = ops.ones_like(labels)
    labels = labels - ops.select(labels > blank, one, one * 0)
    columns = [ops.reshape(n, (n.shape[0], 1)) for n in (places(output_length), places(target_length))]
    cost = unaligned(labels, ops.log_softmax(_blank_last(scores, blank)), columns[0], columns[1])
    return ops.reshape(cost, (scores.shape[0],))


def _searched(
    inputs: Any,
    sequence_lengths: Any,
    strategy: str,
    beam_width: int,
    top_paths: int,
    merge_repeated: bool,
    mask_index: int,
) -> Any:
    if strategy != "beam_search":
        return NotImplemented
    scores = np.asarray(inputs, np.float32)
    classes = scores.shape[-1]
    blank = classes - 1 if mask_index is None else int(mask_index)
    logs = scores[..., [k for k in range(classes) if k != blank] + [blank]]
    paths = np.full((int(top_paths), *logs.shape[:2]), -1, np.int32)
    likely = np.empty((len(logs), int(top_paths)), np.float32)
    for i, (steps, count) in enumerate(zip(logs, np.asarray(sequence_lengths))):
        labels, likely[i] = search_prefixes(steps[:count], int(beam_width), int(top_paths))
        for k, row in enumerate(labels):
            paths[k, i, : len(row)] = [label + (label >= blank) for label in row]
    return paths, likely


@on_values(_searched)
@operation
def ctc_decode(
    inputs: Any,
    sequence_lengths: Any,
    strategy: str = "greedy",
    beam_width: int = 100,
    top_paths: int = 1,
    merge_repeated: bool = True,
    mask_index: int = 0,
) -> Any:
    """The likeliest labels [paths, batch, time], -1 behind the last, and how likely they are [batch, paths].

    strategy: 'greedy', the best class of each step, or 'beam_search', for prefixes, on values alone.
    """
    scores, lengths = real(inputs), places(sequence_lengths)
    blank = _checked("ctc_decode", scores, mask_index)
    if strategy == "greedy":
        return _greedy(scores, lengths, blank, merge_repeated)
    if strategy != "beam_search":
        raise ValueError(f"strategy: expected 'greedy' or 'beam_search'. Received: {strategy!r}")
    raise UnsupportedError(
        "ops.ctc_decode: a search over prefixes works on values, and there are none in a model. Give it what "
        "predict gives, or strategy='greedy'"
    )


def _greedy(scores: Tensor, lengths: Tensor, blank: int, merge: bool) -> tuple[Tensor, Tensor]:
    batch, time = scores.shape[0], fixed_size(scores, 1)
    best, likely = ops.argmax(scores, 2), ops.reduce_max(scores, 2)
    step = ops.iota(scores.graph, (1, time), 1, "int32")
    over = ops.broadcast_to(step >= ops.reshape(lengths, (batch, 1)), best.shape)
    best = ops.select(over, ops.ones_like(best) * blank, best)
    likely = ops.select(over, ops.zeros_like(likely), likely)
    gone = ops.equal(best, blank)
    if merge:
        again = ops.equal(ops.part_of(best, 1, 1, time), ops.part_of(best, 1, 0, time - 1))
        first = ops.constant(scores.graph, np.zeros((1, 1)), "bool")
        again = ops.concatenate([ops.broadcast_to(first, (batch, 1)), again], 1)
        gone = ops.logical_or(gone, again)
    kept = ops.select(gone, ops.ones_like(best) * -1, best)
    at = ops.select(gone, ops.ones_like(best) * time, ops.broadcast_to(step, best.shape))
    made = ops.in_order(kept, ops.ranks(at), time)
    return ops.reshape(made, (1, batch, time)), -ops.reduce_sum(likely, 1, keepdims=True)
