"""Which groups compute each sample by itself, and whether a batch is better computed in blocks of samples.

Enters: groups of a fused graph. Leaves: answers. The values between the layers of a large network do not stay
in a cache, for a whole batch. Where each sample depends on itself alone, an entry runs all its launches for a
few samples before the next ones, in the same memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from kcompile.codegen import cost
from kcompile.codegen.program import Blocks, Size, buffer_bytes, row_bytes
from kcompile.ir.graph import Graph, Node
from kcompile.ir.indices import CHECK
from kcompile.ir.types import Batch, TensorType
from kcompile_runtime.layout import ALIGNMENT, round_up

_ALL = 1 << 40  # more samples than a batch has


def sample_blocks(
    graph: Graph, groups: Sequence[Node], arena: Size, lanes: int | None, guarded: bool
) -> Blocks | None:
    """How an entry of a fused graph is best run in blocks of samples; None where all at once is as good, or
    where samples depend on each other. groups: but for those that check indices. arena: of the entry. lanes:
    float32 elements of a vector, None where there are no threads. guarded: whether indices are checked."""
    results = {name: value for name, value in graph.outputs.items() if not name.startswith(CHECK)}
    boundary = [[graph.type(v) for v in side.values()] for side in (graph.inputs, results)]
    types = [t for side in boundary for t in side]
    if not groups or graph.updates or any(m.op.loop or not is_rowwise(m) for m in groups):
        return None
    if not all(map(_leads_with_batch, types)):
        return None
    inputs, outputs = (tuple(map(row_bytes, side)) for side in boundary)
    unit = math.lcm(*(ALIGNMENT // math.gcd(ALIGNMENT, size) for size in (*inputs, *outputs)))
    held = arena.per_sample + sum(inputs) + sum(outputs)
    samples = round_up(max(cost.BLOCK_BYTES // max(held, 1), 1), unit)
    traffic = [_traffic(graph, m) for m in groups]
    moved, weights = (sum(t[i] for t in traffic) for i in (0, 1))
    again = weights * cost.WEIGHTS_AGAIN > moved * samples
    least = _samples_for_thread(groups, traffic, lanes) if len(groups) > 1 and lanes else None
    if guarded or again or samples > cost.BLOCK_SAMPLES or held * samples > 2 * cost.BLOCK_BYTES:
        return None if least is None else Blocks(_ALL, 1, inputs, outputs, least)
    return Blocks(samples, unit, inputs, outputs, least)


def _samples_for_thread(groups: Sequence[Node], traffic: Sequence[tuple[int, int]], lanes: int) -> int | None:
    """How many samples at least are worth it that a thread computes all groups for them by itself. It reads
    all weights, of which threads that share the columns of a product read a part each: where they do not stay
    in its own cache and arithmetic does not hide it, that must be a small part of the time. None where no
    number of samples is worth it."""
    far = 4 * cost.FAR_READ  # bytes a cycle
    work = [
        (max(cost.multiply_adds(m, 1) // (lanes * cost.MULTIPLY_ADDS), moved // far), weights)
        for m, (moved, weights) in zip(groups, traffic)
    ]
    cycles = max(sum(each for each, _ in work), 1)
    samples = -(-cost.THREAD_CYCLES // cycles)
    while samples <= cost.BLOCK_SAMPLES:
        reading = [w // far - samples * each for each, w in work if w >= 4 * cost.FAR_OPERAND]
        if sum(max(r, 0) for r in reading) * cost.WEIGHTS_SHARE <= samples * cycles:
            return samples
        samples *= 2
    return None


def _traffic(graph: Graph, group: Node) -> tuple[int, int]:
    """(Bytes that a group reads and writes for each sample, bytes of weights that it reads)."""
    sizes = [buffer_bytes(type) for type in (*group.types, *map(graph.type, group.inputs))]
    return sum(size.per_sample for size in sizes), sum(size.fixed for size in sizes)


# ---------------------------------------------------------------- groups


def is_rowwise(group: Node) -> bool:
    """Whether each sample of a group's results depends on the same sample of its operands only, in
    the same place: then any range of samples can be computed by itself. Not so where samples share a
    result: threads at different steps would write it."""
    body = group.body
    return all(map(_leads_with_batch, group.types)) and all(
        _is_rowwise_node(m, [body.type(v) for v in m.inputs]) for m in body.nodes.values()
    )


def _is_rowwise_node(m: Node, operands: Sequence[TensorType]) -> bool:
    if m.op.kind == "random" or m.op.origin in ("index", "size"):
        return False
    if any(_has_batch(t) and not _leads_with_batch(t) for t in m.types):
        return False
    samples = [t for t in operands if _has_batch(t)]
    if not _leads_with_batch(m.types[0]):
        return not samples  # else a sum over samples
    several = m.regions or m.op.view or m.op.contraction is not None  # rows of a sample, not as many
    aligned = all(_leads_with_batch(t) if several else t.shape[0] == m.types[0].shape[0] for t in samples)
    return aligned and _goes_by_rows(m, operands)


def _goes_by_rows(m: Node, operands: Sequence[TensorType]) -> bool:
    """Whether a row of the result depends on the same rows of the operands that have the batch."""
    if m.regions:
        return is_rowwise(m)
    if m.op.contraction is not None:
        return m.op.contraction(*operands, **m.attrs).by_sample
    if m.op.numbered is not None:
        return m.op.numbered > 0 or not _has_batch(operands[0])
    return m.op.view or m.op.kind in ("elementwise", "source") or m.op.row_by_row(**m.attrs)


def _has_batch(type: TensorType) -> bool:
    return any(isinstance(d, Batch) for d in type.shape)


def _leads_with_batch(type: TensorType) -> bool:
    return bool(type.shape) and isinstance(type.shape[0], Batch)
