"""The loop language: the one form between the graph and LLVM.

A kernel is a `Function`: buffers, and loops over them. Expressions are immutable trees of explicit
scalar or vector type (`dtype`, `lanes`); statements are immutable too, so a schedule is a function
from statements to statements. What enters: lowering rules build expressions with the constructors
below, which fold constants and keep index arithmetic affine (`Ramp`). What leaves: a `Function`
that `llvm.emit` can translate for any target without knowing any operation of the graph.

Conventions:
- indices count elements, not bytes, and are int64;
- an expression is evaluated afresh in each statement that mentions it, `Let` shares a value;
- operands of different lanes are widened by `Broadcast`, put in by the constructors;
- the variables `n` (the batch), `begin` and `end` are always defined: a `For` of kind "parallel" must
  be outermost, runs over [0, extent) as a whole, and over [begin, end) in the code of one thread.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Union

from kcompile.ir.types import BYTES as BYTES

INDEX = "int64"
FLOATS = ("float32", "float64")
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
UNARY = ("neg", "abs", "sqrt", "floor", "not")

Space = Literal["global", "stack", "scratch", "register", "shared"]
Kind = Literal["serial", "parallel", "unroll", "span", "grid", "block"]


@dataclass(frozen=True)
class Buffer:
    """A run of memory.

    space: "global" is a parameter of the function; "scratch" is memory private to the executing
    thread (any size, taken from the arena); "stack" is a small local array; "register" is a local
    array which is only indexed by constants once loops of kind "unroll" are unrolled, and so lives
    in registers; "shared" is memory that the threads of a block have in common, on targets that have
    blocks. An element of a local buffer may be a vector of `lanes`.
    size: elements (of `lanes` scalars each); 0 for "global".
    align: bytes guaranteed for the start.
    """

    name: str
    dtype: str
    space: Space = "global"
    size: int = 0
    lanes: int = 1
    align: int = 64


# ---------------------------------------------------------------- expressions


class Arithmetic:
    """Python operators on expressions: `i * 4 + j`, `i // 4`, `i % 4`. Comparisons are functions."""

    __slots__ = ()

    def __add__(self, other: Operand) -> Expr:
        return binary("add", self, other)  # type: ignore[arg-type]

    def __radd__(self, other: Operand) -> Expr:
        return binary("add", self, other)  # type: ignore[arg-type]

    def __sub__(self, other: Operand) -> Expr:
        return binary("sub", self, other)  # type: ignore[arg-type]

    def __rsub__(self, other: Operand) -> Expr:
        return binary("sub", other, self)  # type: ignore[arg-type]

    def __mul__(self, other: Operand) -> Expr:
        return binary("mul", self, other)  # type: ignore[arg-type]

    def __rmul__(self, other: Operand) -> Expr:
        return binary("mul", self, other)  # type: ignore[arg-type]

    def __floordiv__(self, other: Operand) -> Expr:
        return binary("div", self, other)  # type: ignore[arg-type]

    def __truediv__(self, other: Operand) -> Expr:
        return binary("div", self, other)  # type: ignore[arg-type]

    def __mod__(self, other: Operand) -> Expr:
        return binary("mod", self, other)  # type: ignore[arg-type]

    def __neg__(self) -> Expr:
        return unary("neg", self)  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False, slots=True)
class Const(Arithmetic):
    """A literal. Floats are written exactly (as bits) by the emitter; NaN and infinities allowed."""

    value: float | int | bool
    dtype: str
    lanes: int = field(default=1, init=False)


@dataclass(frozen=True, eq=False, slots=True)
class Var(Arithmetic):
    """A loop variable, or a name bound by `Let`."""

    name: str
    dtype: str = INDEX
    lanes: int = 1


@dataclass(frozen=True, eq=False, slots=True)
class Binary(Arithmetic):
    """`a op b`. Integer `div` and `mod` truncate and are used on non-negative values only (index
    arithmetic) or with C's meaning; float `mod` is C's fmod and not available in vectors.
    `min`/`max` propagate NaN. Comparisons give bool and are ordered (`ne` is unordered)."""

    op: str
    a: Expr
    b: Expr
    dtype: str
    lanes: int


@dataclass(frozen=True, eq=False, slots=True)
class Unary(Arithmetic):
    """neg, abs, sqrt (correctly rounded), floor, not (of bool or integer bits)."""

    op: str
    a: Expr
    dtype: str
    lanes: int


@dataclass(frozen=True, eq=False, slots=True)
class Fma(Arithmetic):
    """`a * b + c`, rounded once: on every target, or, unless `exact`, where that is an instruction
    (elsewhere the product is rounded too)."""

    a: Expr
    b: Expr
    c: Expr
    dtype: str
    lanes: int
    exact: bool = True


@dataclass(frozen=True, eq=False, slots=True)
class Select(Arithmetic):
    """`condition ? a : b`, lane by lane; both sides are evaluated."""

    condition: Expr
    a: Expr
    b: Expr
    dtype: str
    lanes: int


@dataclass(frozen=True, eq=False, slots=True)
class Cast(Arithmetic):
    """Conversion of value (truncation towards zero; bool is 0 or 1), or of bits when `bits`."""

    a: Expr
    dtype: str
    lanes: int
    bits: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Load(Arithmetic):
    """Element(s) of a buffer. A scalar index loads one element; a `Ramp` of stride 1 is a vector
    load, any other vector index a gather. Where `mask` (bool lanes) is false nothing is read and
    the lane is zero. From a buffer whose elements are vectors, a scalar index loads a vector."""

    buffer: Buffer
    index: Expr
    dtype: str
    lanes: int
    mask: Expr | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Ramp(Arithmetic):
    """(base, base + stride, base + 2 stride, ...): an index in vector form. base is a scalar."""

    base: Expr
    stride: int
    lanes: int
    dtype: str = field(default=INDEX, init=False)


@dataclass(frozen=True, eq=False, slots=True)
class Broadcast(Arithmetic):
    """A scalar in every lane."""

    a: Expr
    lanes: int
    dtype: str


@dataclass(frozen=True, eq=False, slots=True)
class Across(Arithmetic):
    """A vector's lanes combined into one scalar by `op` (add, mul, min, max, and, or), as a fixed
    balanced tree: lane i with lane i + lanes/2, and so on."""

    op: str
    a: Expr
    dtype: str
    lanes: int = field(default=1, init=False)


Expr = Union[Const, Var, Binary, Unary, Fma, Select, Cast, Load, Ramp, Broadcast, Across]
Operand = Union[Expr, int, float, bool]

# ---------------------------------------------------------------- statements


@dataclass(frozen=True, eq=False, slots=True)
class Let:
    """Bind a name to a value, from here to the end of the enclosing block."""

    var: Var
    value: Expr


@dataclass(frozen=True, eq=False, slots=True)
class Store:
    """Write element(s); index and mask as in `Load`. A vector index with stride != 1 scatters."""

    buffer: Buffer
    index: Expr
    value: Expr
    mask: Expr | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Alloc:
    """Bring a local buffer into scope, contents undefined."""

    buffer: Buffer


@dataclass(frozen=True, eq=False, slots=True)
class For:
    """`for var in range(start, stop, step)`; var is an int64 scalar, step a positive constant.
    kind "unroll" needs constant bounds and is unrolled by the emitter. kind "span" is a parallel loop
    whose body does not mention var and covers all of [begin, end) in one run, in blocks of its own.
    kind "grid" (outermost, from 0) runs each iteration as a block of threads of its own; kind "block",
    directly inside, from 0 to a constant, runs each iteration as a thread of that block."""

    var: Var
    start: Expr
    stop: Expr
    body: tuple[Stmt, ...]
    step: int = 1
    kind: Kind = "serial"


@dataclass(frozen=True, eq=False, slots=True)
class If:
    """A branch on a bool scalar."""

    condition: Expr
    then: tuple[Stmt, ...]
    otherwise: tuple[Stmt, ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class Barrier:
    """Every thread of the block waits here for all others, and then sees what they wrote. All threads
    must come to it: it stands in no branch or loop whose condition differs between threads."""


Stmt = Union[Let, Store, Alloc, For, If, Barrier]


@dataclass(frozen=True, eq=False)
class Function:
    """A kernel: `buffers` are its pointer parameters in order, `body` its code.

    note: where it came from (Keras layer names), printed as a comment.
    aliased: True when two of the buffers may be the same memory (an in-place update).
    """

    name: str
    buffers: tuple[Buffer, ...]
    body: tuple[Stmt, ...]
    note: str = ""
    aliased: bool = False


# ---------------------------------------------------------------- constructors


def const(value: float | int | bool, dtype: str = INDEX) -> Const:
    if dtype == "bool":
        return Const(bool(value), dtype)
    return Const(float(value) if dtype in FLOATS else int(value), dtype)


def wrap(x: Operand, dtype: str) -> Expr:
    """An operand as an expression: Python numbers become constants of `dtype`."""
    return const(x, dtype) if isinstance(x, (bool, int, float)) else x


def broadcast(x: Expr, lanes: int) -> Expr:
    if x.lanes == lanes:
        return x
    if x.lanes != 1:
        raise ValueError(f"cannot broadcast {x.lanes} lanes to {lanes}")
    return Broadcast(x, lanes, x.dtype)


def _pair(a: Operand, b: Operand) -> tuple[Expr, Expr]:
    if isinstance(a, (bool, int, float)):
        if isinstance(b, (bool, int, float)):
            raise TypeError("one operand must be an expression")
        a = wrap(a, b.dtype)
    b = wrap(b, a.dtype)
    if a.dtype != b.dtype:
        raise TypeError(f"operands of different dtype: {a.dtype}, {b.dtype}")
    return a, b


_FOLD: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.floordiv,
    "mod": operator.mod,
    "min": min,
    "max": max,
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}


def binary(op: str, a: Operand, b: Operand) -> Expr:
    """`a op b`, simplified when it is index arithmetic: constants fold, x + 0, x * 1, x // 1 and the
    like disappear, a `Ramp` plus or times a scalar stays a `Ramp`."""
    a, b = _pair(a, b)
    dtype = "bool" if op in COMPARISONS else a.dtype
    if a.dtype in ("int64", "bool"):
        simpler = _simplify(op, a, b, dtype)
        if simpler is not None:
            return simpler
    lanes = max(a.lanes, b.lanes)
    return Binary(op, broadcast(a, lanes), broadcast(b, lanes), dtype, lanes)


def _simplify(op: str, a: Expr, b: Expr, dtype: str) -> Expr | None:
    if isinstance(a, Const) and isinstance(b, Const) and op in _FOLD:
        if not (op in ("div", "mod") and (b.value == 0 or a.value < 0 or b.value < 0)):
            return const(_FOLD[op](a.value, b.value), dtype)
    if a.dtype == "bool":
        if isinstance(a, Const) and op in ("and", "or"):
            a, b = b, a
        if isinstance(b, Const) and op in ("and", "or"):
            keep = (op == "and") == bool(b.value)
            return a if keep else broadcast(b, a.lanes)
        return None
    if isinstance(a, Const) and op in ("add", "mul"):
        a, b = b, a
    if isinstance(b, Const):
        value = int(b.value)
        if (value == 0 and op in ("add", "sub")) or (value == 1 and op in ("mul", "div")):
            return a
        if (value == 0 and op == "mul") or (value == 1 and op == "mod"):
            return broadcast(const(0), a.lanes)
        if isinstance(a, Binary) and isinstance(a.b, Const):
            inner = int(a.b.value)
            if op == "add" and a.op == "add":
                return binary("add", a.a, inner + value)
            if op == "mul" and a.op == "mul":
                return binary("mul", a.a, inner * value)
            if op == "mul" and a.op == "add":
                return binary("add", binary("mul", a.a, value), inner * value)
            if op == "div" and a.op == "mul" and value and inner % value == 0:
                return binary("mul", a.a, inner // value)
            if op == "mod" and a.op == "mul" and value and inner % value == 0:
                return const(0)
    if isinstance(a, Ramp) and b.lanes == 1:
        if op in ("add", "sub"):
            return Ramp(binary(op, a.base, b), a.stride, a.lanes)
        if op == "mul" and isinstance(b, Const):
            return Ramp(binary("mul", a.base, b), a.stride * int(b.value), a.lanes)
    if isinstance(b, Ramp) and a.lanes == 1 and op == "add":
        return Ramp(binary("add", a, b.base), b.stride, b.lanes)
    if isinstance(a, Ramp) and isinstance(b, Ramp) and op == "add" and a.lanes == b.lanes:
        return Ramp(binary("add", a.base, b.base), a.stride + b.stride, a.lanes)
    return None


def unary(op: str, a: Expr) -> Expr:
    if isinstance(a, Const) and op == "neg":
        return const(-a.value, a.dtype)
    return Unary(op, a, a.dtype, a.lanes)


def fma(a: Expr, b: Operand, c: Operand, exact: bool = True) -> Expr:
    b, c = wrap(b, a.dtype), wrap(c, a.dtype)
    lanes = max(a.lanes, b.lanes, c.lanes)
    return Fma(broadcast(a, lanes), broadcast(b, lanes), broadcast(c, lanes), a.dtype, lanes, exact)


def select(condition: Expr, a: Operand, b: Operand) -> Expr:
    a, b = _pair(a, b)
    if isinstance(condition, Const):
        return a if condition.value else b
    lanes = max(condition.lanes, a.lanes, b.lanes)
    return Select(broadcast(condition, lanes), broadcast(a, lanes), broadcast(b, lanes), a.dtype, lanes)


def cast(a: Expr, dtype: str) -> Expr:
    return a if a.dtype == dtype else Cast(a, dtype, a.lanes)


def bitcast(a: Expr, dtype: str) -> Expr:
    if BYTES[a.dtype] != BYTES[dtype]:
        raise TypeError(f"bit cast between sizes: {a.dtype}, {dtype}")
    return a if a.dtype == dtype else Cast(a, dtype, a.lanes, bits=True)


def load(buffer: Buffer, index: Operand, mask: Expr | None = None) -> Load:
    index = wrap(index, INDEX)
    if buffer.lanes > 1 and index.lanes > 1:
        raise ValueError(f"{buffer.name}: vector index into a buffer of vectors")
    lanes = max(buffer.lanes, index.lanes)
    return Load(buffer, index, buffer.dtype, lanes, None if mask is None else broadcast(mask, lanes))


def store(buffer: Buffer, index: Operand, value: Operand, mask: Expr | None = None) -> Store:
    index, value = wrap(index, INDEX), wrap(value, buffer.dtype)
    if value.dtype != buffer.dtype:
        raise TypeError(f"{buffer.name}: store of {value.dtype} into {buffer.dtype}")
    lanes = max(buffer.lanes, index.lanes)
    return Store(buffer, index, broadcast(value, lanes), None if mask is None else broadcast(mask, lanes))


def ramp(base: Operand, lanes: int, stride: int = 1) -> Expr:
    return wrap(base, INDEX) if lanes == 1 else Ramp(wrap(base, INDEX), stride, lanes)


def across(op: str, a: Expr) -> Expr:
    return a if a.lanes == 1 else Across(op, a, a.dtype)


_PARTS = ("condition", "a", "b", "c", "base", "index", "mask")


def children(e: Expr) -> list[Expr]:
    """The expressions that an expression is made of, in the order in which its text names them."""
    parts = [getattr(e, name, None) for name in _PARTS]
    return [part for part in parts if part is not None]


def walk(body: Iterable[Stmt]) -> Iterator[Stmt]:
    """All statements, also those in loops and branches, in no particular order."""
    waiting = list(body)
    while waiting:
        s = waiting.pop()
        yield s
        if isinstance(s, For):
            waiting += s.body
        elif isinstance(s, If):
            waiting += (*s.then, *s.otherwise)


def written(body: Iterable[Stmt]) -> set[Buffer]:
    """The buffers that statements store to."""
    return {s.buffer for s in walk(body) if isinstance(s, Store)}


def let(name: str, value: Expr) -> tuple[Let, Var]:
    """A binding and the variable that stands for it."""
    var = Var(name, value.dtype, value.lanes)
    return Let(var, value), var


def loop(
    var: Var, start: Operand, stop: Operand, body: Sequence[Stmt], step: int = 1, kind: Kind = "serial"
) -> For:
    return For(var, wrap(start, INDEX), wrap(stop, INDEX), tuple(body), step, kind)


N = Var("n")
ZERO = const(0)
TRUE = const(True, "bool")
