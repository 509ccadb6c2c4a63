"""Loops and branches of keras.ops on values outside graphs: their functions simply run, on values.

Enters: arrays, variables and numbers, nested. Leaves: arrays in the dtypes of Keras 3. Where a tape notes,
tensors, which have values, go through as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kcompile.ir.tensor import Tensor
from kcompile.keras.eager import as_eager
from kcompile.keras.keras3_ops.calls import VINTAGE, as_value, narrow
from kcompile.keras.operands import leaves, map_leaves
from kcompile.keras.settings import running


def _array(x: Any) -> Any:
    return x if x is None or isinstance(x, Tensor) else as_eager(narrow(np.asarray(as_value(x))), VINTAGE)


def arrays(tree: Any) -> Any:
    """Nested values as arrays; None stays."""
    return map_leaves(_array, tree)


def _number(x: Any) -> int:
    return int(np.asarray(as_value(x)))


def _holds(x: Any) -> bool:
    return bool(np.asarray(as_value(x)))


def cond(pred: Any, true_fn: Any, false_fn: Any) -> Any:
    with running(VINTAGE):
        return arrays((true_fn if _holds(pred) else false_fn)())


def switch(index: Any, branches: Any, *operands: Any) -> Any:
    at = min(max(_number(index), 0), len(branches) - 1)
    with running(VINTAGE):
        return arrays(branches[at](*arrays(list(operands))))


def fori_loop(lower: Any, upper: Any, body_fun: Any, init_val: Any) -> Any:
    value = arrays(init_val)
    with running(VINTAGE):
        for i in range(_number(lower), _number(upper)):
            value = arrays(body_fun(i, value))
    return value


def while_loop(cond: Any, body: Any, loop_vars: Any, maximum_iterations: int | None = None) -> Any:
    several = isinstance(loop_vars, (list, tuple))
    values = tuple(arrays(list(loop_vars) if several else [loop_vars]))
    left = np.inf if maximum_iterations is None else _number(maximum_iterations)
    with running(VINTAGE):
        while left > 0 and _holds(cond(*values)):
            new = body(*values)
            new = new if isinstance(new, (list, tuple)) else (new,)
            if len(new) != len(values):
                raise ValueError(
                    f"while_loop: the body gives {len(new)} values in place of {len(values)} loop_vars"
                )
            values, left = tuple(arrays(list(new))), left - 1
    return values if several else values[0]


def _rows(xs: Any, axis: int = 0) -> list[Any]:
    xs = arrays(xs)
    counts = {x.shape[axis] for x in leaves(xs)}
    if len(counts) != 1:
        raise ValueError(f"a loop runs along an axis of one size. Received: {sorted(counts)}")
    return [map_leaves(lambda x: np.take(x, i, axis), xs) for i in range(counts.pop())]  # noqa: B023


def _stacked(parts: list[Any], axis: int = 0) -> Any:
    columns = zip(*(list(leaves([part])) for part in parts))
    made = iter([None if c[0] is None else np.stack([np.asarray(v) for v in c], axis) for c in columns])
    return arrays(map_leaves(lambda _: next(made), parts[0]))


def scan(
    f: Any, init: Any, xs: Any = None, length: int | None = None, reverse: bool = False, unroll: Any = 1
) -> Any:
    rows = [None] * int(length or 0) if xs is None else _rows(xs)
    carry, made = arrays(init), []
    with running(VINTAGE):
        for row in reversed(rows) if reverse else rows:
            carry, y = arrays(f(carry, row))
            made.append(y)
    made = made[::-1] if reverse else made
    return carry, None if not made or made[0] is None else _stacked(made)


def map(f: Any, xs: Any) -> Any:
    with running(VINTAGE):
        return _stacked([arrays(f(row)) for row in _rows(xs)])
