"""The builder that ops' `scalar` and `lower` rules receive: from elements to expressions and loops.

An element is an expression of the loop language, of one lane or of a vector of neighbouring elements
along the last axis of the result. A rule never sees the difference. Where a rule needs statements
(a reduction, a value bound by `let`), they go to the block under construction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import zip_longest

from kcompile.codegen import cost, loops
from kcompile.codegen.loops import ZERO, Buffer, Expr, Stmt, Var, indexing, maths
from kcompile.codegen.loops.indexing import Index as Index
from kcompile.codegen.targets import Target
from kcompile.ir.ops.halves import bits_of
from kcompile.ir.types import Dim, matched


class Builder:
    """Expressions by name, and a stack of blocks.

    lanes: elements in a vector for this kernel, which may fill several registers. vector: lanes of
    the index that is being computed now (1 in scalar code). mask: where loads may read, None for
    everywhere. uniform: names of per-row values, which are equal for all elements of a row.
    """

    def __init__(self, target: Target, lanes: int) -> None:
        self.target = target
        self.lanes = lanes
        self.vector = 1
        self.mask: Expr | None = None
        self.uniform: set[str] = set()
        self.blocks: list[list[Stmt]] = [[]]
        self._memo: list[dict[object, tuple[object, Expr]]] = [{}]
        self._names = 0

    # ---- statements

    def fresh(self, stem: str) -> str:
        self._names += 1
        return f"{stem}{self._names}"

    def emit(self, statement: Stmt) -> None:
        self.blocks[-1].append(statement)

    @contextmanager
    def block(self) -> Iterator[list[Stmt]]:
        """Statements emitted inside go to the list. What was memoised inside is forgotten at the end: the
        names that it refers to are out of scope."""
        self.blocks.append([])
        self._memo.append({})
        yield self.blocks[-1]
        self.blocks.pop()
        self._memo.pop()

    @contextmanager
    def loop(
        self, stem: str, start: loops.Operand, stop: loops.Operand, step: int = 1, parallel: bool = False
    ) -> Iterator[Var]:
        var = Var(self.fresh(stem))
        with self.block() as body:
            yield var
        self.emit(loops.loop(var, start, stop, body, step, "parallel" if parallel else "serial"))

    @contextmanager
    def nest(
        self, stem: str, stops: Sequence[loops.Operand], steps: Sequence[int] = ()
    ) -> Iterator[tuple[Var, ...]]:
        """Loops from 0 to each of `stops`, the first outside, by `steps` (default: by one)."""
        with ExitStack() as stack:
            pairs = zip_longest(stops, steps, fillvalue=1)
            yield tuple([stack.enter_context(self.loop(stem, 0, stop, step)) for stop, step in pairs])

    @contextmanager
    def when(self, condition: Expr) -> Iterator[None]:
        """Statements emitted inside run where the condition holds."""
        with self.block() as body:
            yield
        self.emit(loops.If(condition, tuple(body)))

    def either(self, condition: Expr, then: Callable[[], None], otherwise: Callable[[], None]) -> None:
        """A branch: the statements that `then` emits where the condition holds, else those of `otherwise`."""
        with self.block() as first:
            then()
        with self.block() as second:
            otherwise()
        self.emit(loops.If(condition, tuple(first), tuple(second)))

    def alloc(self, buffer: Buffer) -> Buffer:
        self.emit(loops.Alloc(buffer))
        return buffer

    def store(
        self, buffer: Buffer, index: loops.Operand, value: loops.Operand, mask: Expr | None = None
    ) -> None:
        self.emit(loops.store(buffer, index, value, mask))

    @contextmanager
    def lanes_of(self, lanes: int) -> Iterator[None]:
        outer, self.vector = self.vector, lanes
        yield
        self.vector = outer

    @contextmanager
    def where(self, mask: Expr | None) -> Iterator[None]:
        """Loads inside read only where `mask` holds (and where the outer mask does)."""
        outer = self.mask
        if mask is not None:
            self.mask = mask if outer is None else self.logical_and(outer, mask)
        yield
        self.mask = outer

    def let(self, x: Expr, stem: str = "t") -> Expr:
        """Bind x to a new name by a `Let`, and give the name; x itself where it is a name or a constant."""
        if isinstance(x, (loops.Const, loops.Var)):
            return x
        statement, var = loops.let(self.fresh(stem), x)
        self.emit(statement)
        return var

    def memoise(self, key: object, alive: object, make: Callable[[], Expr]) -> Expr:
        """The expression that make() gave for this key in this block or one around it; else make() now.

        Keys may contain the `id` of an object: `alive` is kept, so that no other object gets that id."""
        for layer in self._memo:
            if key in layer:
                return layer[key][1]
        value = make()
        self._memo[-1][key] = (alive, value)
        return value

    def load(self, buffer: Buffer, index: Expr) -> Expr:
        """An element of a buffer, which is zero or arbitrary where the mask does not hold."""
        if self.mask is None:
            return loops.load(buffer, index)
        if self.mask.lanes == 1:
            if isinstance(index, loops.Ramp):
                base = loops.select(self.mask, index.base, self.safe(buffer))
                return loops.load(buffer, loops.Ramp(base, index.stride, index.lanes))
            return loops.load(buffer, loops.select(self.mask, index, self.safe(buffer)))
        if index.lanes == 1:
            return loops.load(buffer, index)
        return loops.load(buffer, index, self.mask)

    def safe(self, buffer: Buffer) -> Expr:
        """The index of an element that surely exists, to read where the mask does not hold: the first."""
        return ZERO

    # ---- indices

    extent = staticmethod(indexing.extent)
    flatten = staticmethod(indexing.flatten)
    place = staticmethod(indexing.place)
    unflatten = staticmethod(indexing.unflatten)

    def reindex(self, index: Sequence[Expr], shape: Sequence[Dim], other: Sequence[Dim]) -> Index:
        """An index into `shape` as one into `other`, which has as many elements. Axes that agree keep their
        index; the others are flattened in the smallest groups of equal size."""
        out: list[Expr] = []
        for here, there in matched(shape, other):
            if here.stop - here.start == there.stop - there.start == 1:
                out.append(index[here.start])
            else:
                out.extend(self.unflatten(self.flatten(index[here], shape[here]), other[there]))
        return tuple(out)

    def narrow(self, index: Sequence[Expr], shape: Sequence[Dim]) -> Index:
        """The index into an operand of `shape` that was broadcast to a result of this index."""
        tail = index[len(index) - len(shape) :]
        return tuple(ZERO if d == 1 else i for i, d in zip(tail, shape))

    def within(self, position: Expr, divisor: int, size: Dim) -> tuple[Expr, Expr]:
        """(position / divisor, whether that is exact and in [0, size))."""
        inside = loops.binary("ge", position, 0)
        if divisor > 1:
            inside = self.logical_and(inside, loops.binary("eq", position % divisor, 0))
            position = position // divisor
        return position, self.logical_and(inside, loops.binary("lt", position, self.extent(size)))

    def guard(self, condition: Expr, element: Callable[[], Expr], otherwise: Expr) -> Expr:
        """condition ? element() : otherwise, reading nothing for element() where it is false."""
        if isinstance(condition, loops.Const):
            return element() if condition.value else otherwise
        condition = self.let(condition)
        with self.where(condition):
            value = element()
        return loops.select(condition, value, otherwise)

    # ---- reductions

    def combine(self, op: str, a: Expr, b: Expr) -> Expr:
        return (
            self.maximum(a, b)
            if op == "max"
            else (self.minimum(a, b) if op == "min" else loops.binary(op, a, b))
        )

    def reduce(self, op: str, extents: Sequence[Dim], body: Callable[[Index], Expr], first: Expr) -> Expr:
        """Combine body(i) over all indices i, from `first` (the neutral element), one after the
        other in each lane."""
        total = 1
        for d in extents:
            total = total * d if isinstance(d, int) else cost.REDUCTION_UNROLLED + 1
        if 0 < total <= cost.REDUCTION_UNROLLED:
            return self._write_out(op, extents, body)
        accumulator = self.accumulator(first, self.vector)
        with self.nest("r", [self.extent(d) for d in extents]) as index:
            self.update(op, accumulator, body(index))
        return self.let(loops.load(accumulator, 0))

    def _write_out(self, op: str, extents: Sequence[Dim], body: Callable[[Index], Expr]) -> Expr:
        taps: list[Index] = [()]
        for d in extents:
            taps = [(*t, loops.const(i)) for t in taps for i in range(d)]
        value = self.let(body(taps[0]))
        for tap in taps[1:]:
            value = self.let(self.combine(op, value, body(tap)))
        return value

    def accumulator(self, first: Expr, lanes: int) -> Buffer:
        """A register buffer of so many lanes, which starts as `first`."""
        buffer = Buffer(self.fresh("acc"), first.dtype, "register", 1, lanes)
        self.alloc(buffer)
        self.store(buffer, 0, first)
        return buffer

    def update(self, op: str, accumulator: Buffer, value: Expr) -> None:
        """Combine a value into an accumulator."""
        self.store(accumulator, 0, self.combine(op, loops.load(accumulator, 0), value))

    # ---- elements

    const = staticmethod(loops.const)
    cast = staticmethod(loops.cast)
    bitcast = staticmethod(loops.bitcast)
    select = staticmethod(loops.select)

    def add(self, a: Expr, b: Expr) -> Expr:
        return loops.binary("add", a, b)

    def sub(self, a: Expr, b: Expr) -> Expr:
        return loops.binary("sub", a, b)

    def mul(self, a: Expr, b: Expr) -> Expr:
        return loops.binary("mul", a, b)

    def div(self, a: Expr, b: Expr) -> Expr:
        """a / b. Many divisions by one number are products with its reciprocal."""
        if isinstance(b, Var) and b.name in self.uniform:
            one = loops.const(1, b.dtype)
            return self.mul(
                a, self.memoise(("reciprocal", b.name), b, lambda: self.let(loops.binary("div", one, b)))
            )
        return loops.binary("div", a, b)

    def maximum(self, a: Expr, b: Expr) -> Expr:
        return loops.binary("max", a, b)

    def minimum(self, a: Expr, b: Expr) -> Expr:
        return loops.binary("min", a, b)

    def equal(self, a: Expr, b: Expr) -> Expr:
        return loops.binary("eq", a, b)

    def not_equal(self, a: Expr, b: Expr) -> Expr:
        return loops.binary("ne", a, b)

    def less(self, a: Expr, b: Expr) -> Expr:
        return loops.binary("lt", a, b)

    def less_equal(self, a: Expr, b: Expr) -> Expr:
        return loops.binary("le", a, b)

    def greater(self, a: Expr, b: Expr) -> Expr:
        return loops.binary("gt", a, b)

    def greater_equal(self, a: Expr, b: Expr) -> Expr:
        return loops.binary("ge", a, b)

    def logical_and(self, a: Expr, b: Expr) -> Expr:
        return loops.binary("and", a, b)

    def logical_or(self, a: Expr, b: Expr) -> Expr:
        return loops.binary("or", a, b)

    def logical_not(self, a: Expr) -> Expr:
        return loops.unary("not", a)

    def halves(self, low: Expr, high: Expr) -> Expr:
        """Two float32 rounded to bfloat16, as the halves of a word: by the instruction for whole vectors,
        else by arithmetic on bits."""
        lanes = max(low.lanes, high.lanes)
        if self.target.bfloat16_dots and lanes == self.target.lanes("float32"):
            return loops.halves(low, high)
        lower = self.shift_right(bits_of(self, low), loops.const(16, "uint32"))
        return self.logical_or(lower, bits_of(self, high))

    def bitwise_xor(self, a: Expr, b: Expr) -> Expr:
        return loops.binary("xor", a, b)

    def shift_left(self, a: Expr, b: Expr) -> Expr:
        return loops.binary("shl", a, b)

    def shift_right(self, a: Expr, b: Expr) -> Expr:
        return loops.binary("shr", a, b)

    def neg(self, x: Expr) -> Expr:
        return loops.unary("neg", x)

    def abs(self, x: Expr) -> Expr:
        return loops.unary("abs", x)

    def floor(self, x: Expr) -> Expr:
        return loops.unary("floor", x)

    def sqrt(self, x: Expr) -> Expr:
        return loops.unary("sqrt", x)

    polynomial = staticmethod(maths.horner)
    exp = staticmethod(maths.exp)
    expm1 = staticmethod(maths.expm1)
    log = staticmethod(maths.log)
    log1p = staticmethod(maths.log1p)
    tanh = staticmethod(maths.tanh)
    sigmoid = staticmethod(maths.sigmoid)
    softplus = staticmethod(maths.softplus)
    erf = staticmethod(maths.erf)
    sin = staticmethod(maths.sin)
    cos = staticmethod(maths.cos)
    rsqrt = staticmethod(maths.rsqrt)
    pow = staticmethod(maths.pow)

    def random_uniform(self, seed: Expr, stream: int, step: Expr, element: Expr) -> Expr:
        counter = loops.cast(element, "uint32")
        key = loops.const(stream, "uint32")
        word, _ = maths.threefry(seed, key, counter, step)
        return maths.uniform(word)

    def random_normal(self, seed: Expr, stream: int, step: Expr, element: Expr) -> Expr:
        counter = loops.cast(element, "uint32")
        return maths.normal(*maths.threefry(seed, loops.const(stream, "uint32"), counter, step))
