"""Functions of tf whose results have sizes that follow from the data, and Python's flow in words of
TensorFlow: on values alone, where they simply run. See `functions`."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

import numpy as np

from kcompile.ir.tensor import Tensor
from kcompile.keras.eager import as_tensors
from kcompile.keras.operands import leaves, map_leaves
from kcompile.tensorflow.functions import Function, o, of_values, on_values
from kcompile_runtime.errors import InputError, UnsupportedError, describe

UniqueWithCounts = collections.namedtuple("UniqueWithCounts", ("y", "idx", "count"))


def unique_with_counts(x: Any, out_idx: Any = "int32", name: Any = None) -> Any:
    """The values that differ, in the order in which they come, which of them each is, and how often each is
    there."""
    of_values("unique_with_counts", "Use it on arrays", x)
    found, first, numbers, counts = np.unique(np.asarray(x), True, True, True)
    order = np.argsort(first)
    dtype = str(out_idx)
    return UniqueWithCounts(
        found[order], np.argsort(order)[numbers].astype(dtype), counts[order].astype(dtype)
    )


def boolean_mask(tensor: Any, mask: Any, axis: Any = None, name: str = "boolean_mask") -> Any:
    """The parts where a mask holds, whose axes are those of the tensor from `axis` on."""
    eager = isinstance(tensor, Tensor) and tensor.graph.eager  # where a tape notes
    of_values("boolean_mask", "Use tf.where(mask, tensor, 0)", *(() if eager else (tensor, mask)))
    first = 0 if axis is None else int(axis)
    chosen, shape = np.asarray(mask, bool), tuple(np.shape(tensor) if not eager else tensor.shape)
    behind = first + chosen.ndim
    if shape[first:behind] != chosen.shape:
        raise InputError(describe("boolean_mask: mask", f"the axes of {shape}", f"shape {chosen.shape}"))
    if eager:
        rows = o.reshape(tensor, (*shape[:first], chosen.size, *shape[behind:]))
        return o.take(rows, np.flatnonzero(chosen), first)
    return np.asarray(tensor)[(slice(None),) * first + (chosen,)]


def dynamic_partition(data: Any, partitions: Any, num_partitions: int, name: Any = None) -> Any:
    """The parts of data by the numbers that partitions gives them."""
    of_values("dynamic_partition", "Use tf.where", data, partitions)
    return [boolean_mask(data, np.asarray(partitions) == k) for k in range(int(num_partitions))]


def dynamic_stitch(indices: Any, data: Any, name: Any = None) -> Any:
    """One tensor of parts, each in the places that indices say."""
    of_values("dynamic_stitch", "Use tf.concat", indices, data)
    places = [np.asarray(i) for i in indices]
    parts = [np.asarray(d) for d in data]
    rest = parts[0].shape[places[0].ndim :]
    made = np.zeros((1 + max(int(i.max()) for i in places if i.size), *rest), parts[0].dtype)
    for place, part in zip(places, parts):
        made[place.ravel()] = part.reshape(place.size, *rest)
    return made


def strided_slice(
    input_: Any,
    begin: Any,
    end: Any,
    strides: Any = None,
    begin_mask: int = 0,
    end_mask: int = 0,
    ellipsis_mask: int = 0,
    new_axis_mask: int = 0,
    shrink_axis_mask: int = 0,
    var: Any = None,
    name: Any = None,
) -> Any:
    """The part from begin to end, so many steps apart; a mask's bits are the axes that it speaks of."""
    if ellipsis_mask or new_axis_mask:
        raise UnsupportedError(
            "tensorflow.strided_slice: ellipsis_mask and new_axis_mask. Write x[..., None]"
        )
    steps = [1] * len(begin) if strides is None else strides
    key: list[Any] = []
    for axis, (first, last, step) in enumerate(zip(begin, end, steps)):
        bit = 1 << axis
        whole = slice(
            None if begin_mask & bit else int(first), None if end_mask & bit else int(last), int(step)
        )
        key.append(int(first) if shrink_axis_mask & bit else whole)
    return np.asarray(input_)[tuple(key)] if on_values(input_) else o.get_item(input_, tuple(key))


def _segments(twin: str) -> Function:
    function = getattr(o, twin)

    def segment(data: Any, segment_ids: Any, name: Any = None) -> Any:
        of_values(f"math.{twin}", f"Use tf.math.unsorted_{twin} with num_segments", segment_ids)
        count = int(np.max(np.asarray(segment_ids), initial=-1)) + 1
        return function(data, segment_ids, count, sorted=True)

    return segment


def segment_mean(data: Any, segment_ids: Any, name: Any = None) -> Any:
    """The means of segments."""
    total = _segments("segment_sum")(data, segment_ids)
    count = _segments("segment_sum")(o.ones_like(data), segment_ids)
    return o.divide(total, o.maximum(count, o.ones_like(count)))


def confusion_matrix(
    labels: Any,
    predictions: Any,
    num_classes: Any = None,
    weights: Any = None,
    dtype: Any = "int32",
    name: Any = None,
) -> Any:
    """How often (or with how much weight) a label [row] is predicted as a class [column]."""
    of_values("math.confusion_matrix", "Use it on arrays", labels, predictions, weights)
    rows, columns = (np.asarray(x).ravel().astype(np.int64) for x in (labels, predictions))
    size = 1 + max(rows.max(initial=-1), columns.max(initial=-1)) if num_classes is None else int(num_classes)
    if rows.size and max(rows.max(), columns.max()) >= size:
        raise InputError(describe("confusion_matrix: labels, predictions", f"numbers below {size}", "more"))
    made = np.zeros((size, size), str(dtype))
    np.add.at(made, (rows, columns), 1 if weights is None else np.asarray(weights).ravel())
    return made


def bitcast(input: Any, type: Any, name: Any = None) -> Any:
    """The bits of values as values of another dtype."""
    of_values("bitcast", "There are no ops on the bits of numbers in models", input)
    array, target = np.asarray(input), np.dtype(str(type))
    if array.dtype.itemsize == target.itemsize:
        return array.view(target)
    if array.dtype.itemsize > target.itemsize:
        return array[..., None].view(target)
    return np.ascontiguousarray(array).view(target)[..., 0]


# ---------------------------------------------------------------- flow


def case(
    pred_fn_pairs: Any, default: Any = None, exclusive: bool = False, strict: bool = False, name: str = "case"
) -> Any:
    """What the function of the first condition that holds gives, else the default's. exclusive: no other may
    hold. strict: how results are nested, which nothing changes."""
    pairs = list(pred_fn_pairs.items() if isinstance(pred_fn_pairs, dict) else pred_fn_pairs)
    if not on_values([condition for condition, _ in pairs]):
        if default is None or exclusive:
            raise UnsupportedError("tensorflow.case: in a model, give a default and no exclusive")
        found: Any = default
        for condition, function in reversed(pairs):
            found = _branch(condition, function, found)
        return found()
    holding = [function for condition, function in pairs if bool(np.asarray(condition))]
    if exclusive and len(holding) > 1:
        raise InputError(describe("case: pred_fn_pairs", "one condition that holds", str(len(holding))))
    chosen = holding[0] if holding else default
    if chosen is None:
        raise InputError(describe("case", "a condition that holds, or a default", "neither"))
    return chosen()


def _branch(condition: Any, yes: Any, no: Any) -> Callable[[], Any]:
    return lambda: o.cond(condition, yes, no)


def switch_case(branch_index: Any, branch_fns: Any, default: Any = None, name: str = "switch_case") -> Any:
    """What the function of that number gives; of numbers without one, the default's (else the last's)."""
    numbered = isinstance(branch_fns, dict) or isinstance(branch_fns[0], tuple)
    table: dict[int, Any] = dict(branch_fns if numbered else enumerate(branch_fns))
    last = table[max(table)] if default is None else default
    if on_values(branch_index):
        return table.get(int(np.asarray(branch_index)), last)()
    count = max(table) + 1
    inside = o.logical_and(o.greater_equal(branch_index, 0), o.less(branch_index, count))
    functions = [table.get(k, last) for k in range(count)]
    return o.switch(o.where(inside, branch_index, count), [*functions, last])


def _rows(elems: Any, reverse: bool) -> list[Any]:
    def row(k: int) -> Any:
        return map_leaves(lambda x: as_tensors(np.asarray(x)[k]), elems)

    rows = [row(k) for k in range(len(np.asarray(next(leaves([elems])))))]
    return rows[::-1] if reverse else rows


def _steps(name: str, fn: Any, elems: Any, initializer: Any, reverse: bool) -> list[Any]:
    of_values(name, "Use keras.ops.scan over a known number of steps", *leaves([elems, initializer]))
    rows = _rows(elems, reverse)
    state = (
        rows.pop(0) if initializer is None else map_leaves(lambda x: as_tensors(np.asarray(x)), initializer)
    )
    states = [state] if initializer is None else []
    for row in rows:
        state = fn(state, row)
        states.append(state)
    return states or [state]


def scan(
    fn: Any,
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    infer_shape: bool = True,
    reverse: bool = False,
    name: Any = None,
) -> Any:
    """The states that fn(state, element) goes through along the first axis."""
    states = _steps("scan", fn, elems, initializer, reverse)
    states = states[::-1] if reverse else states
    columns = zip(*(list(leaves([state])) for state in states))
    made = iter([np.stack([np.asarray(x) for x in column]) for column in columns])
    return map_leaves(lambda _: next(made), states[0])


def _fold(name: str, reverse: bool) -> Function:
    def fold(
        fn: Any,
        elems: Any,
        initializer: Any = None,
        parallel_iterations: int = 10,
        back_prop: bool = True,
        swap_memory: bool = False,
        name: Any = None,
    ) -> Any:
        return _steps(str(name), fn, elems, initializer, reverse)[-1]

    return fold


def flattened(structure: Any, expand_composites: bool = False) -> list[Any]:
    """tf.nest.flatten: the parts of nested lists, tuples and dicts, of dicts in the order of their keys."""
    if isinstance(structure, dict):
        return [x for key in sorted(structure) for x in flattened(structure[key])]
    if isinstance(structure, (list, tuple)):
        return [x for part in structure for x in flattened(part)]
    return [structure]


def packed(structure: Any, flat_sequence: Any, expand_composites: bool = False) -> Any:
    """tf.nest.pack_sequence_as: parts nested as a structure is."""
    given = iter(flat_sequence)

    def again(part: Any) -> Any:
        if isinstance(part, dict):
            found = {key: again(part[key]) for key in sorted(part)}
            return {key: found[key] for key in part}
        if isinstance(part, (list, tuple)):
            made = [again(x) for x in part]
            return type(part)(*made) if hasattr(part, "_fields") else type(part)(made)
        return next(given)

    return again(structure)


def mapped(func: Any, *structures: Any, **kwargs: Any) -> Any:
    """tf.nest.map_structure: a function of the parts of structures that are nested alike."""
    columns = zip(*(flattened(structure) for structure in structures))
    return packed(structures[0], [func(*parts) for parts in columns])


FUNCTIONS: dict[str, Any] = {
    "boolean_mask": boolean_mask,
    "bitcast": bitcast,
    "case": case,
    "dynamic_partition": dynamic_partition,
    "dynamic_stitch": dynamic_stitch,
    "foldl": _fold("foldl", False),
    "foldr": _fold("foldr", True),
    "math.confusion_matrix": confusion_matrix,
    "math.segment_max": _segments("segment_max"),
    "math.segment_mean": segment_mean,
    "math.segment_min": _segments("segment_min"),
    "math.segment_prod": _segments("segment_prod"),
    "math.segment_sum": _segments("segment_sum"),
    "scan": scan,
    "strided_slice": strided_slice,
    "switch_case": switch_case,
    "unique_with_counts": unique_with_counts,
}
NEST: dict[str, Any] = {
    "nest.flatten": flattened,
    "nest.is_nested": lambda structure: isinstance(structure, (list, tuple, dict)),
    "nest.map_structure": mapped,
    "nest.pack_sequence_as": packed,
}
