"""The loop language on numpy arrays: the meaning that compiled code is compared with.

What enters: an expression and the values of its names, or a whole `Function` and its buffers. What
leaves: the value with the bits that the native code gives, or the buffers, changed in place. All
loops run one after the other, so this is for tests and for looking, not for work.

A value of one lane may be an array of any shape: then the expression is evaluated for each of its
elements at once. A value of several lanes has them as its last axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kcompile.codegen import loops
from kcompile.codegen.loops import COMPARISONS, FLOATS, Buffer, Expr, Function, Stmt
from kcompile.ir.ops.halves import nearest_bfloat16

Array = Any  # an ndarray of the expression's dtype, or (scalar int64) a Python int

_COMPARE = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
_EXACT = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "min": np.minimum,
    "max": np.maximum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "shl": np.left_shift,
    "shr": np.right_shift,
    "mod": np.fmod,
}


def evaluate(
    expression: Expr, names: Mapping[str, Array], buffers: Mapping[Buffer, np.ndarray] | None = None
) -> np.ndarray:
    """The value of an expression.

    names: the value of each variable, of its dtype. buffers: the memory of each buffer that is
    loaded from, flat. Raises KeyError for a name or buffer that is missing.
    """
    with np.errstate(all="ignore"):
        return np.asarray(Values(dict(names), dict(buffers or {})).value(expression))


def run(function: Function, buffers: Sequence[np.ndarray], n: int = 1) -> None:
    """Execute a kernel for a batch of n on arrays, one per parameter, which it changes in place.

    Raises ValueError when the arrays do not fit the parameters, IndexError for an access outside
    a buffer.
    """
    if len(buffers) != len(function.buffers):
        raise ValueError(
            f"{function.name}: expected {len(function.buffers)} buffers. Received: {len(buffers)}"
        )
    memory = {}
    for buffer, array in zip(function.buffers, buffers):
        if array.dtype != buffer.dtype or not array.flags.c_contiguous:
            raise ValueError(
                f"{function.name}: {buffer.name} must be contiguous {buffer.dtype}. "
                f"Received: {array.dtype} with strides {array.strides}"
            )
        memory[buffer] = array.reshape(-1)
    with np.errstate(all="ignore"):
        _execute(function.body, {"n": n, "begin": 0, "end": 1}, memory)


class Values:
    """The values of a statement's expressions, each of which is evaluated once."""

    def __init__(self, names: dict[str, Array], buffers: dict[Buffer, np.ndarray]) -> None:
        self.names = names
        self.buffers = buffers
        self.known: dict[int, Array] = {}

    def value(self, e: Expr) -> Array:
        if id(e) not in self.known:
            self.known[id(e)] = self.compute(e)
        return self.known[id(e)]

    def compute(self, e: Expr) -> Array:
        if isinstance(e, loops.Load):
            return self.load(e)
        if isinstance(e, loops.Var):
            return np.asarray(self.names[e.name], e.dtype)
        return _of_parts(e, *map(self.value, loops.children(e)))

    def load(self, e: loops.Load) -> Array:
        memory, where = self.buffers[e.buffer], self.place(e.buffer, e.index)
        if e.mask is None:
            return memory[_inside(where, memory, e.buffer)]
        mask = np.asarray(self.value(e.mask))
        where, mask = np.broadcast_arrays(where, mask)
        out = np.zeros(where.shape, e.dtype)
        out[mask] = memory[_inside(where[mask], memory, e.buffer)]
        return out

    def place(self, buffer: Buffer, index: Expr) -> np.ndarray:
        """Element numbers in a buffer's memory, which holds scalars."""
        where = np.asarray(self.value(index))
        return where if buffer.lanes == 1 else where[..., None] * buffer.lanes + np.arange(buffer.lanes)


def _of_parts(e: Expr, *parts: Array) -> Array:
    """The value of an expression that reads no memory, from the values of its operands."""
    if isinstance(e, loops.Const):
        return np.dtype(e.dtype).type(e.value)
    if isinstance(e, loops.Binary):
        return _binary(e.op, parts[0], parts[1], e.a.dtype)
    if isinstance(e, loops.Fma):
        return fused(*parts)
    if isinstance(e, loops.DotBytes):
        return dot_bytes(*parts)
    if isinstance(e, loops.DotHalves):
        return dot_halves(*parts)
    if isinstance(e, loops.Halves):
        low, high = (nearest_bfloat16(np.asarray(x)).view(np.uint32) for x in parts)
        return low >> np.uint32(16) | high
    if isinstance(e, loops.Select):
        return np.where(*parts)
    a = np.asarray(parts[0])
    if isinstance(e, loops.Unary):
        return _unary(e.op, a)
    if isinstance(e, loops.Cast):
        return a.view(e.dtype) if e.bits else convert(a, e.dtype)
    if isinstance(e, loops.Ramp):
        return a[..., None] + e.stride * np.arange(e.lanes)
    if isinstance(e, loops.Broadcast):
        return np.broadcast_to(a[..., None], (*a.shape, e.lanes))
    if isinstance(e, loops.Shuffle):
        return np.concatenate(np.broadcast_arrays(*parts), -1)[..., list(e.order)]
    assert isinstance(e, loops.ReduceLanes)
    return _reduce_lanes(e.op, a, e.dtype)


def _inside(where: np.ndarray, memory: np.ndarray, buffer: Buffer) -> np.ndarray:
    if where.size and (where.min() < 0 or where.max() >= memory.size):
        raise IndexError(f"{buffer.name}: elements {where.min()} to {where.max()} of {memory.size}")
    return where


def _binary(op: str, a: Array, b: Array, dtype: str) -> Array:
    if op in COMPARISONS:
        return _COMPARE[op](a, b)
    if op == "div":
        return np.divide(a, b) if dtype in FLOATS else (a - np.fmod(a, b)) // b
    return _EXACT[op](a, b)


def _unary(op: str, a: Array) -> Array:
    a = np.asarray(a)
    if op == "floor":
        return np.floor(a) if a.dtype.kind == "f" else a
    if op == "not":
        return ~a
    return {"neg": np.negative, "abs": np.abs, "sqrt": np.sqrt}[op](a)


def _reduce_lanes(op: str, a: np.ndarray, dtype: str) -> np.ndarray:
    while a.shape[-1] > 1:
        half = a.shape[-1] // 2
        a = _binary(op, a[..., :half], a[..., half:], dtype)
    return a[..., 0]


def convert(a: np.ndarray, dtype: str) -> np.ndarray:
    """A conversion of values. A float out of an integer's range becomes its nearest end, NaN becomes 0."""
    if a.dtype.kind != "f" or np.dtype(dtype).kind not in "iu":
        return a.astype(dtype)
    limits = np.iinfo(dtype)
    with np.errstate(invalid="ignore"):
        out = np.where(np.isnan(a), 0, a).astype(dtype)
    out = np.where(a >= float(limits.max), np.dtype(dtype).type(limits.max), out)
    return np.where(a <= float(limits.min), np.dtype(dtype).type(limits.min), out)


def fused(a: Array, b: Array, c: Array) -> np.ndarray:
    """`a * b + c` rounded once (float64: but for results that are denormal).

    The last rounding is right when the sum before it was rounded to odd: Boldo and Melquiond,
    "Emulation of a FMA and correctly rounded sums", IEEE Transactions on Computers 57 (2008).
    """
    with np.errstate(all="ignore"):
        return _fused(*(np.asarray(x) for x in (a, b, c)))


def dot_bytes(a: Array, b: Array, c: Array) -> np.ndarray:
    """`c` plus the products of the unsigned bytes of a with the signed bytes of b; see `DotBytes`."""
    a, b, c = (np.asarray(x, np.int32) for x in (a, b, c))
    for i in range(4):
        of_a = (a >> np.int32(8 * i)) & np.int32(255)
        of_b = (b << np.int32(24 - 8 * i)) >> np.int32(24)
        c = c + of_a * of_b
    return np.asarray(c, np.int32)


def dot_halves(a: Array, b: Array, c: Array) -> np.ndarray:
    """`c` plus the products of the halves of a and b, the upper ones first; see `DotHalves`."""

    def half(x: Array, shift: int) -> np.ndarray:
        number: np.ndarray = (np.asarray(x, np.uint32) >> np.uint32(shift) << np.uint32(16)).view(np.float32)
        return number

    for shift in (16, 0):
        c = fused(half(a, shift), half(b, shift), c)
    return np.asarray(c, np.float32)


def _fused(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    if a.dtype == np.float32:
        product = a.astype(np.float64) * b
        return np.asarray(_odd_sum(product, c.astype(np.float64)), np.float32)
    (fa, ea), (fb, eb) = np.frexp(a), np.frexp(b)
    shift = np.where(a * b == 0, 0, ea + eb)
    scaled = np.ldexp(c, np.clip(-shift, -2100, 2100))
    high, low = _product(fa, fb)
    top, rest = _two_sum(scaled, low)
    head, tail = _two_sum(high, top)
    exact = np.ldexp(head + _odd_sum(rest, tail), shift)
    lost = ~np.isfinite(scaled) | ((c != 0) & (abs(scaled) < 1e-300)) | (fa * fb == 0)
    return np.asarray(np.where(lost | ~np.isfinite(a * b + c), a * b + c, exact))


def _product(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """a * b as an unevaluated sum (Dekker 1971), for operands near 1."""

    def halves(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        big = x * 134217729.0
        top = big - (big - x)
        return top, x - top

    (a1, a2), (b1, b2), p = halves(a), halves(b), a * b
    return p, a2 * b2 - (((p - a1 * b1) - a2 * b1) - a1 * b2)


def _two_sum(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    s = a + b
    back = s - a
    return s, (a - (s - back)) + (b - back)


def _odd_sum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The float64 sum, rounded to the neighbour with an odd last bit unless it is exact."""
    s, error = _two_sum(a, b)
    even = (np.asarray(s).view(np.int64) & 1) == 0
    moved = np.nextafter(s, np.where(error > 0, np.inf, -np.inf))
    return np.where(even & (error != 0) & np.isfinite(error), moved, s)


# ---------------------------------------------------------------- statements


def _execute(body: Sequence[Stmt], names: dict[str, Array], buffers: dict[Buffer, np.ndarray]) -> None:
    """Run the statements of one block. Names that they bind end with it."""
    names, buffers = dict(names), dict(buffers)
    for s in body:
        values = Values(names, buffers)
        if isinstance(s, loops.Let):
            names[s.var.name] = values.value(s.value)
        elif isinstance(s, loops.Store):
            _store(s, values)
        elif isinstance(s, loops.Alloc):
            size = s.buffer.size * s.buffer.lanes
            fill = np.nan if s.buffer.dtype in FLOATS else -1
            buffers[s.buffer] = np.full(size, fill).astype(s.buffer.dtype)
        elif isinstance(s, loops.Barrier):
            raise ValueError("blocks of threads are run by kcompile.codegen.gpu.evaluate")
        elif isinstance(s, loops.If):
            _execute(s.then if values.value(s.condition) else s.otherwise, names, buffers)
        else:
            start, stop = int(values.value(s.start)), int(values.value(s.stop))
            if s.kind == "chunk":
                _execute(s.body, {**names, "begin": start, "end": stop}, buffers)
                continue
            inner = {**names, "end": stop} if s.kind == "parallel" else dict(names)
            for i in range(start, stop, s.step):
                inner[s.var.name] = i
                _execute(s.body, inner, buffers)


def _store(s: loops.Store, values: Values) -> None:
    memory, where = values.buffers[s.buffer], values.place(s.buffer, s.index)
    value = values.value(s.value)
    if s.mask is None:
        memory[_inside(where, memory, s.buffer)] = value
        return
    where, value, mask = np.broadcast_arrays(where, value, np.asarray(values.value(s.mask)))
    memory[_inside(where[mask], memory, s.buffer)] = value[mask]
