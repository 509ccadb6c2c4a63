"""The loop language: the one form between the graph and LLVM. This is its expressions.

A kernel is a `Function`: buffers, and loops over them. Expressions are immutable trees of explicit
scalar or vector type (`dtype`, `lanes`); statements (`statements`) are immutable too, so a schedule is a
function from statements to statements. What enters: lowering rules build expressions with the constructors
below, which fold constants and keep index arithmetic affine (`Ramp`). What leaves: a `Function`
that `llvm.module` can translate for any target without knowing any operation of the graph.

Conventions:
- indices count elements, not bytes, and are int64;
- an expression is evaluated afresh in each statement that mentions it, `Let` shares a value;
- operands of different lanes are widened by `Broadcast`, put in by the constructors;
- the variables `n` (the batch), `begin` and `end` are always defined: a `For` of kind "parallel" must
  be outermost, runs over [0, extent) as a whole, and over [begin, end) in the code of one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Union

from kcompile.codegen.loops.folding import fold, stride_of
from kcompile.ir.types import BYTES as BYTES
from kcompile.ir.types import FLOATS as FLOATS
from kcompile_runtime.layout import ALIGNMENT

INDEX = "int64"
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
UNARY = ("neg", "abs", "sqrt", "floor", "not")

Space = Literal["global", "stack", "scratch", "register", "shared"]


@dataclass(frozen=True)
class Window:
    """How a row-major array lies inside a wider one: in runs of so many elements that lie next to each other,
    the first elements of neighbouring runs `stride` elements apart."""

    run: int
    stride: int


@dataclass(frozen=True)
class Buffer:
    """A run of memory.

    space: "global" is a parameter of the function; "scratch" is memory private to the executing
    thread (any size, taken from the arena); "stack" is a small local array; "register" is a local
    array which is only indexed by constants, and so lives in registers; "shared" is memory that the
    threads of a block have in common, on targets that have blocks. An element of a local buffer may be a
    vector of `lanes`.
    size: elements (of `lanes` scalars each); 0 for "global".
    used: of "scratch", where a call for few samples uses the first elements alone: as (fixed, for each
    sample), None where all are.
    align: bytes guaranteed for the start.
    window: of an array that lies inside a wider one. Indices say where elements are, so only those who make
    them look at it (`indexing.place`).
    """

    name: str
    dtype: str
    space: Space = "global"
    size: int = 0
    lanes: int = 1
    align: int = ALIGNMENT
    window: Window | None = None
    used: tuple[int, int] | None = None


# ---------------------------------------------------------------- expressions


class Expr:
    """What all expressions have: a dtype, a number of lanes, and Python's operators, `i * 4 + j`, `i // 4`,
    `i % 4`. Comparisons are functions."""

    __slots__ = ()
    dtype: str
    lanes: int

    def __add__(self, other: Operand) -> Expr:
        return binary("add", self, other)

    def __radd__(self, other: Operand) -> Expr:
        return binary("add", self, other)

    def __sub__(self, other: Operand) -> Expr:
        return binary("sub", self, other)

    def __rsub__(self, other: Operand) -> Expr:
        return binary("sub", other, self)

    def __mul__(self, other: Operand) -> Expr:
        return binary("mul", self, other)

    def __rmul__(self, other: Operand) -> Expr:
        return binary("mul", self, other)

    def __floordiv__(self, other: Operand) -> Expr:
        return binary("div", self, other)

    def __truediv__(self, other: Operand) -> Expr:
        return binary("div", self, other)

    def __mod__(self, other: Operand) -> Expr:
        return binary("mod", self, other)

    def __neg__(self) -> Expr:
        return unary("neg", self)


@dataclass(frozen=True, eq=False, slots=True)
class Const(Expr):
    """A literal. Floats are written exactly (as bits) by the emitter; NaN and infinities allowed."""

    value: float | int | bool
    dtype: str
    lanes: int = field(default=1, init=False)


@dataclass(frozen=True, eq=False, slots=True)
class Var(Expr):
    """A loop variable, or a name bound by `Let`."""

    name: str
    dtype: str = INDEX
    lanes: int = 1


@dataclass(frozen=True, eq=False, slots=True)
class Binary(Expr):
    """`a op b`. Integer `div` and `mod` truncate and are used on non-negative values only (index
    arithmetic) or with C's meaning; float `mod` is C's fmod and not available in vectors.
    `min`/`max` propagate NaN. Comparisons give bool and are ordered (`ne` is unordered)."""

    op: str
    a: Expr
    b: Expr
    dtype: str
    lanes: int


@dataclass(frozen=True, eq=False, slots=True)
class Unary(Expr):
    """neg, abs, sqrt (correctly rounded), floor, not (of bool or integer bits)."""

    op: str
    a: Expr
    dtype: str
    lanes: int


@dataclass(frozen=True, eq=False, slots=True)
class Fma(Expr):
    """`a * b + c`, rounded once: on every target, or, unless `exact`, where that is an instruction
    (elsewhere the product is rounded too)."""

    a: Expr
    b: Expr
    c: Expr
    dtype: str
    lanes: int
    exact: bool = True


@dataclass(frozen=True, eq=False, slots=True)
class DotBytes(Expr):
    """`c` plus the sum of the four products of the unsigned bytes of `a` with the signed bytes of `b`, all
    int32, lane by lane: exact, but that sums wrap."""

    a: Expr
    b: Expr
    c: Expr
    lanes: int
    dtype: str = field(default="int32", init=False)


@dataclass(frozen=True, eq=False, slots=True)
class DotHalves(Expr):
    """`c` plus the products of the upper halves of `a` and `b`, then of the lower ones, each addition
    rounded: words of uint32 with a number of bfloat16 in each half, c of float32. Denormal numbers may count
    as zero."""

    a: Expr
    b: Expr
    c: Expr
    lanes: int
    dtype: str = field(default="float32", init=False)


@dataclass(frozen=True, eq=False, slots=True)
class Halves(Expr):
    """`a` and `b` of float32, rounded to bfloat16 (`ir.ops.halves`), as the lower and the upper half of a
    word of uint32."""

    a: Expr
    b: Expr
    lanes: int
    dtype: str = field(default="uint32", init=False)


@dataclass(frozen=True, eq=False, slots=True)
class Select(Expr):
    """`condition ? a : b`, lane by lane; both sides are evaluated."""

    condition: Expr
    a: Expr
    b: Expr
    dtype: str
    lanes: int


@dataclass(frozen=True, eq=False, slots=True)
class Cast(Expr):
    """Conversion of value (truncation towards zero; bool is 0 or 1), or of bits when `bits`."""

    a: Expr
    dtype: str
    lanes: int
    bits: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Load(Expr):
    """Element(s) of a buffer. A scalar index loads one element; a `Ramp` of stride 1 is a vector
    load, any other vector index a gather. Where `mask` (bool lanes) is false nothing is read and
    the lane is zero. From a buffer whose elements are vectors, a scalar index loads a vector."""

    buffer: Buffer
    index: Expr
    dtype: str
    lanes: int
    mask: Expr | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Ramp(Expr):
    """(base, base + stride, base + 2 stride, ...): an index in vector form. base is a scalar."""

    base: Expr
    stride: int
    lanes: int
    dtype: str = field(default=INDEX, init=False)


@dataclass(frozen=True, eq=False, slots=True)
class Broadcast(Expr):
    """A scalar in every lane."""

    a: Expr
    lanes: int
    dtype: str


@dataclass(frozen=True, eq=False, slots=True)
class ReduceLanes(Expr):
    """A horizontal reduction: the lanes of a vector combined into one scalar by `op` (add, mul, min, max,
    and, or), as a fixed balanced tree: lane i with lane i + lanes/2, and so on."""

    op: str
    a: Expr
    dtype: str
    lanes: int = field(default=1, init=False)


@dataclass(frozen=True, eq=False, slots=True)
class Shuffle(Expr):
    """A vector of the lanes of `a`, and of `b`, which are numbered from `a.lanes` on: those of `order`."""

    a: Expr
    b: Expr
    order: tuple[int, ...]
    dtype: str
    lanes: int


_WORDS = (DotBytes, DotHalves, Halves)
_LANES = (Ramp, Broadcast, ReduceLanes, Shuffle)
EXPRESSIONS = (Const, Var, Binary, Unary, Fma, *_WORDS, Select, Cast, Load, *_LANES)
Operand = Union[Expr, int, float, bool]

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


def binary(op: str, a: Operand, b: Operand) -> Expr:
    """`a op b`. Index arithmetic and bools are simplified by rules (see the end of the file): constants fold,
    x + 0, x * 1, x / 1 and the like disappear, a `Ramp` plus or times a scalar stays a `Ramp`."""
    a, b = _pair(a, b)
    dtype = "bool" if op in COMPARISONS else a.dtype
    if a.dtype in RULES:
        if type(a) is Const and type(b) is Const:
            known = fold(op, a.value, b.value)
            if known is not None:
                return const(known, dtype)
        left, right = (b, a) if type(a) is Const and op in ("add", "mul", "and", "or") else (a, b)
        rules = OF_CONSTANTS if type(right) is Const else RULES
        for rule in rules[a.dtype].get(op, ()):
            simpler = rule(op, left, right)
            if simpler is not None:
                return simpler
    lanes = max(a.lanes, b.lanes)
    return Binary(op, broadcast(a, lanes), broadcast(b, lanes), dtype, lanes)


def unary(op: str, a: Expr) -> Expr:
    if isinstance(a, Const) and op == "neg":
        return const(-a.value, a.dtype)
    return Unary(op, a, a.dtype, a.lanes)


def fma(a: Expr, b: Operand, c: Operand, exact: bool = True) -> Expr:
    b, c = wrap(b, a.dtype), wrap(c, a.dtype)
    lanes = max(a.lanes, b.lanes, c.lanes)
    return Fma(broadcast(a, lanes), broadcast(b, lanes), broadcast(c, lanes), a.dtype, lanes, exact)


def dot_bytes(a: Expr, b: Expr, c: Expr) -> Expr:
    if {a.dtype, b.dtype, c.dtype} != {"int32"}:
        raise TypeError(f"words of four bytes are int32. Received: {a.dtype}, {b.dtype}, {c.dtype}")
    lanes = max(a.lanes, b.lanes, c.lanes)
    return DotBytes(broadcast(a, lanes), broadcast(b, lanes), broadcast(c, lanes), lanes)


def dot_halves(a: Expr, b: Expr, c: Expr) -> Expr:
    if (a.dtype, b.dtype, c.dtype) != ("uint32", "uint32", "float32"):
        raise TypeError(f"words of two halves are uint32. Received: {a.dtype}, {b.dtype}, {c.dtype}")
    lanes = max(a.lanes, b.lanes, c.lanes)
    return DotHalves(broadcast(a, lanes), broadcast(b, lanes), broadcast(c, lanes), lanes)


def halves(a: Expr, b: Expr) -> Expr:
    if {a.dtype, b.dtype} != {"float32"}:
        raise TypeError(f"halves are rounded float32. Received: {a.dtype}, {b.dtype}")
    lanes = max(a.lanes, b.lanes)
    return Halves(broadcast(a, lanes), broadcast(b, lanes), lanes)


def multiply_add(a: Expr, b: Expr, c: Expr, exact: bool = True) -> Expr:
    """A term of a contraction added to its sum: `fma`, or of words `dot_bytes` or `dot_halves`."""
    if c.dtype == "int32":
        return dot_bytes(a, b, c)
    return dot_halves(a, b, c) if a.dtype == "uint32" else fma(a, b, c, exact)


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


def ramp(base: Operand, lanes: int, stride: int = 1) -> Expr:
    return wrap(base, INDEX) if lanes == 1 else Ramp(wrap(base, INDEX), stride, lanes)


def reduce_lanes(op: str, a: Expr) -> Expr:
    return a if a.lanes == 1 else ReduceLanes(op, a, a.dtype)


def shuffle(a: Expr, b: Expr, order: Sequence[int]) -> Expr:
    if a.dtype != b.dtype or a.lanes != b.lanes:
        raise TypeError(f"vectors differ: {a.lanes} lanes of {a.dtype}, {b.lanes} of {b.dtype}")
    return Shuffle(a, b, tuple(order), a.dtype, len(order))


_PARTS: dict[type, tuple[str, ...]] = {
    kind: tuple(f.name for f in fields(kind) if f.type in ("Expr", "Expr | None")) for kind in EXPRESSIONS
}


def children(e: Expr) -> list[Expr]:
    """The operands of an expression, in the order in which its text names them."""
    parts = [getattr(e, name) for name in _PARTS[type(e)]]
    return [part for part in parts if part is not None]


def map_children(e: Expr, change: Callable[[Expr], Expr]) -> Expr:
    """The expression with each operand replaced by change(operand), of the same type; the same object where
    no operand changes."""
    parts = {name: getattr(e, name) for name in _PARTS[type(e)]}
    made: dict[str, Any] = {name: change(part) for name, part in parts.items() if part is not None}
    if all(made[name] is parts[name] for name in made):
        return e
    assert isinstance(e, EXPRESSIONS)
    return replace(e, **made)


N = Var("n")
ZERO = const(0)
TRUE = const(True, "bool")


# ---------------------------------------------------------------- index arithmetic
#
# A rule takes (op, a, b) and gives a shorter expression equal to `a op b`, or None. The emitter, which knows
# more constants (the variable of a loop that runs once), has `fold` and `stride_of` from here.

Rule = Callable[[str, Expr, Any], "Expr | None"]


def _plus_zero(op: str, a: Expr, c: Const) -> Expr | None:
    """x + 0, x - 0: x."""
    return a if c.value == 0 else None


def _times_one(op: str, a: Expr, c: Const) -> Expr | None:
    """x * 1, x / 1: x."""
    return a if c.value == 1 else None


def _times_zero(op: str, a: Expr, c: Const) -> Expr | None:
    """x * 0: 0."""
    return broadcast(ZERO, a.lanes) if c.value == 0 else None


def _modulo_one(op: str, a: Expr, c: Const) -> Expr | None:
    """x % 1: 0."""
    return broadcast(ZERO, a.lanes) if c.value == 1 else None


def _constants_together(op: str, a: Expr, c: Const) -> Expr | None:
    """(x + b) + c: x + (b + c), and (x * b) * c: x * (b * c)."""
    if type(a) is Binary and a.op == op and type(a.b) is Const:
        return binary(op, a.a, binary(op, a.b, c))
    return None


def _product_of_sum(op: str, a: Expr, c: Const) -> Expr | None:
    """(x + b) * c: x * c + b * c."""
    if type(a) is Binary and a.op == "add" and type(a.b) is Const:
        return binary("add", binary("mul", a.a, c), binary("mul", a.b, c))
    return None


def _quotient_of_product(op: str, a: Expr, c: Const) -> Expr | None:
    """(x * b) / c: x * (b / c), where c divides b."""
    if type(a) is Binary and a.op == "mul" and type(a.b) is Const and c.value and a.b.value % c.value == 0:
        return binary("mul", a.a, binary("div", a.b, c))
    return None


def _rest_of_product(op: str, a: Expr, c: Const) -> Expr | None:
    """(x * b) % c: 0, where c divides b."""
    if type(a) is Binary and a.op == "mul" and type(a.b) is Const and c.value and a.b.value % c.value == 0:
        return ZERO
    return None


def _and_or(op: str, a: Expr, c: Const) -> Expr | None:
    """x and true, x or false: x. x and false: false. x or true: true."""
    return a if (op == "and") == bool(c.value) else broadcast(c, a.lanes)


def _quotient_and_rest(op: str, a: Expr, b: Expr) -> Expr | None:
    """(x / d) * d + x % d: x."""
    if not (type(b) is Binary and type(a) is Binary and (a.op, b.op) == ("mul", "mod")):
        return None
    quotient = a.a
    if not (type(quotient) is Binary and quotient.op == "div" and quotient.a is b.a):
        return None
    divisors = {d.value if type(d) is Const else None for d in map(_in_lanes, (quotient.b, a.b, b.b))}
    return b.a if len(divisors) == 1 and None not in divisors else None


def _strided(op: str, a: Expr, b: Expr) -> Expr | None:
    """(x, x + s, ...) + (y, y + t, ...): (x + y, x + y + s + t, ...), and so on, where t may be 0."""
    if not (type(a) is Ramp or type(b) is Ramp):
        return None
    (x, s), (y, t) = _steps(a), _steps(b)
    if x is None or y is None or len({a.lanes, b.lanes} - {1}) > 1:
        return None
    known = [int(e.value) if type(e) is Const else None for e in (x, y)]
    step = stride_of(op, s, t, *known)
    return None if step is None else Ramp(binary(op, x, y), step, max(a.lanes, b.lanes))


OF_CONSTANTS: dict[str, dict[str, tuple[Rule, ...]]] = {  # with one on the right
    INDEX: {
        "add": (_plus_zero, _constants_together, _strided),
        "sub": (_plus_zero, _strided),
        "mul": (_times_one, _times_zero, _constants_together, _product_of_sum, _strided),
        "div": (_times_one, _quotient_of_product),
        "mod": (_modulo_one, _rest_of_product),
    },
    "bool": {"and": (_and_or,), "or": (_and_or,)},
}
RULES: dict[str, dict[str, tuple[Rule, ...]]] = {
    INDEX: {"add": (_quotient_and_rest, _strided), "sub": (_strided,), "mul": (_strided,)},
    "bool": {},
}


def _in_lanes(e: Expr) -> Expr:
    """The scalar that all lanes have, where there is one; else the expression."""
    return e.a if type(e) is Broadcast else e


def _steps(e: Expr) -> tuple[Expr | None, int]:
    """(first lane, stride) of a scalar or a `Ramp`; (None, 0) of another vector."""
    if type(e) is Ramp:
        return e.base, e.stride
    return (e if e.lanes == 1 else None), 0
