"""The LLVM IR text of one function under construction: values, their scopes, index arithmetic.

What enters: expressions (`loops.Expr`), and for each kind of expression the function that emits it
(`arithmetic.EMITTERS`). What leaves: lines of LLVM IR in `Block.lines`, and for each expression a
value, which is one of
- `ScalarIndex`: an int64 scalar `base + offset`, so that addresses in unrolled code share their base;
- `VectorIndex`: an int64 vector `base + (0, stride, ...)`, so that loads see what is contiguous;
- text: the operand as LLVM writes it, for everything else.
Common subexpressions are eliminated as the text is written: of two pure instructions of equal text in one
scope, the second is not emitted. Loop invariants are hoisted: an instruction is placed before the outermost
loop that does not change its operands, and so is a load from a buffer that the loop does not write. LLVM
receives code without common subexpressions or loop invariants, and need not look for them.
"""

from __future__ import annotations

import ctypes
import math
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Union, final

from kcompile.codegen.loops import COMPARISONS, FLOATS, Buffer, Expr, children, fold, stride_of
from kcompile.codegen.targets import Target
from kcompile_runtime.layout import ELEMENTS

BITS = {name: 1 if e.kind == "b" else 8 * e.bytes for name, e in ELEMENTS.items()}  # in a register
MANGLED = {name: f"{'f' if e.kind == 'f' else 'i'}{BITS[name]}" for name, e in ELEMENTS.items()}
SCALAR = {**MANGLED, "float32": "float", "float64": "double"}
_DEEP = 60  # nested expressions that Python may call itself for
_NAMES = re.compile(r"%[\w.]+")
_TRAPS = re.compile(r"[su](div|rem) \S+ \S+, %")  # division by what may be zero


@final
class ScalarIndex(NamedTuple):
    """An int64 scalar: the SSA value `base` (None stands for zero) plus the constant `offset`."""

    base: str | None
    offset: int


@final
class VectorIndex(NamedTuple):
    """An int64 vector: lane i is `base + i * stride`."""

    base: ScalarIndex
    stride: int
    width: int


class Place(NamedTuple):
    """Where a buffer in scope lives: a pointer and the alignment of its start in bytes."""

    pointer: str
    align: int


@dataclass
class Scope:
    """Code whose values are not visible after it: a function, the body of a loop, a branch.

    level: the number of loops around it. before: for the body of a loop, the lines in front of the loop,
    where invariants go. stores: the buffers that the loop writes. entered: whether the body surely runs when
    the lines in front of it do. log: the texts of the pure instructions that are visible in this scope only.
    """

    level: int = 0
    before: list[str] | None = None
    stores: frozenset[Buffer] = frozenset()
    entered: bool = True
    log: list[str] = field(default_factory=list)


Value = Union[str, ScalarIndex, VectorIndex]
Emitters = Mapping[type, Callable[["Block", Any], Value]]


def type_name(dtype: str, lanes: int) -> str:
    """The LLVM type of a value in a register."""
    return SCALAR[dtype] if lanes == 1 else f"<{lanes} x {SCALAR[dtype]}>"


def memory_type(dtype: str, lanes: int) -> str:
    """The LLVM type of a value in memory, where a bool is a byte."""
    return type_name("uint8" if dtype == "bool" else dtype, lanes)


def mangled(dtype: str, lanes: int) -> str:
    return MANGLED[dtype] if lanes == 1 else f"v{lanes}{MANGLED[dtype]}"


def literal(value: float | int | bool, dtype: str) -> str:
    """A constant as LLVM reads it back exactly (floats as the bits of the double)."""
    if dtype == "bool":
        return "true" if value else "false"
    if dtype not in FLOATS:
        return str(int(value))
    if dtype == "float32" and value == value:
        value = ctypes.c_float(value).value
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


def splat(text: str, dtype: str, lanes: int) -> str:
    """A constant operand in every lane."""
    return text if lanes == 1 else f"splat ({SCALAR[dtype]} {text})"


class Block:
    """The code of one function under construction: its lines, the names in scope, the values computed so
    far. emitters: for each kind of expression, the function that emits it."""

    def __init__(self, target: Target, function: str, emitters: Emitters) -> None:
        self.emitters = emitters
        self.target = target
        self.function = function
        self.lines: list[str | list[str]] = []
        self.scopes = [Scope()]
        self.levels: dict[str, int] = {}  # of each value: the loops around it; 0 where it is missing
        self.count = 0
        self.depth = 0
        self.variables: dict[str, Value] = {}
        self.buffers: dict[Buffer, Place] = {}
        self.memo: dict[int, Value] = {}
        self.pure: dict[str, str] = {}
        self.multiples: dict[str, int] = {}

    def error(self, message: str) -> ValueError:
        return ValueError(f"{self.function}: {message}")

    # ------------------------------------------------------------ lines

    def code(self) -> Iterator[str]:
        """All lines in order, hoisted ones in their places."""
        for line in self.lines:
            if isinstance(line, str):
                yield line
            else:
                yield from line

    def put(self, text: str, before: Scope | None = None) -> str:
        """Emit an instruction, here or (before) in front of the loop whose scope that is. Gives the name of
        its result."""
        name = f"%v{self.count}"
        self.count += 1
        lines = None if before is None else before.before
        (self.lines if lines is None else lines).append(f"  {name} = {text}")
        level = self.scopes[-1].level if before is None else before.level - 1
        if level:
            self.levels[name] = level
        return name

    def level(self, text: str) -> int:
        """The level of an instruction: that of the innermost loop that changes one of its operands."""
        levels = self.levels
        return max([levels.get(name, 0) for name in _NAMES.findall(text)], default=0)

    def op(self, text: str) -> str:
        """Emit a pure instruction, hoisted as far as its operands allow. One of the same text whose result is
        visible here is used instead."""
        name = self.pure.get(text)
        if name is None:
            known, loop = self.scopes[-1], None
            if known.level and not _TRAPS.match(text):
                level = self.level(text)
                for inner, outer in zip(self.scopes[::-1], self.scopes[-2::-1]):
                    if inner.level <= level:
                        break
                    if inner.before is not None:
                        loop, known = inner, outer if inner.entered else inner
            name = self.pure[text] = self.put(text, loop)
            known.log.append(text)
        return name

    def read(self, text: str, buffer: Buffer) -> str:
        """Emit a load, hoisted out of loops that do not write the buffer. It stays inside branches and
        loops that may not run: elsewhere the address may be invalid."""
        level, loop = -1, None
        for scope in reversed(self.scopes):
            if scope.before is None or buffer in scope.stores:
                break
            if level < 0:
                level = self.level(text)
            if level >= scope.level:
                break
            loop = scope
            if not scope.entered:
                break
        return self.put(text, loop)

    @contextmanager
    def scope(self, scope: Scope) -> Iterator[None]:
        """Pure instructions emitted inside the `with` do not dominate what follows, and are forgotten."""
        self.scopes.append(scope)
        yield
        self.scopes.pop()
        for text in scope.log:
            del self.pure[text]

    def call(self, name: str, dtype: str, lanes: int, *operands: str, extra: str = "") -> str:
        """A pure intrinsic whose operands and result have one type."""
        kind = type_name(dtype, lanes)
        arguments = ", ".join(f"{kind} {x}" for x in operands)
        return self.op(f"call {kind} @llvm.{name}.{mangled(dtype, lanes)}({arguments}{extra})")

    # ------------------------------------------------------------ values

    def value(self, e: Expr) -> Value:
        v = self.memo.get(id(e))
        if v is None:
            self.depth += 1
            if self.depth > _DEEP:
                self.prepare(e)
            v = self.memo[id(e)] = self.emitters[type(e)](self, e)
            self.depth -= 1
        return v

    def prepare(self, e: Expr) -> None:
        """Emit the parts of a deep expression, from the leaves up, without recursion."""
        stack: list[tuple[Any, bool]] = [(e, False)]
        while stack:
            node, ready = stack.pop()
            if id(node) in self.memo:
                continue
            if ready and node is not e:
                self.memo[id(node)] = self.emitters[type(node)](self, node)
            elif not ready:
                stack.append((node, True))
                stack += [(part, False) for part in reversed(children(node))]

    def operand(self, e: Expr) -> str:
        """The value of an expression as one LLVM operand."""
        return self.text(self.value(e))

    def text(self, v: Value) -> str:
        """A value as one LLVM operand."""
        if type(v) is ScalarIndex:
            return self.scalar(v)
        return self.vector(v) if type(v) is VectorIndex else v

    def index(self, e: Expr) -> ScalarIndex:
        """The value of an int64 scalar expression, as base and offset."""
        v = self.value(e)
        if type(v) is VectorIndex:
            raise self.error("an index is one number, and this one is a vector")
        return v if type(v) is ScalarIndex else ScalarIndex(v, 0)

    def scalar(self, v: ScalarIndex) -> str:
        if v.base is None:
            return str(v.offset)
        return self.op(f"add i64 {v.base}, {v.offset}") if v.offset else v.base

    def vector(self, v: VectorIndex) -> str:
        steps = [i * v.stride for i in range(v.width)]
        if v.base.base is None:
            return "<" + ", ".join(f"i64 {v.base.offset + s}" for s in steps) + ">"
        base = self.spread(self.scalar(v.base), "int64", v.width)
        if not v.stride:
            return base
        ramp = "<" + ", ".join(f"i64 {s}" for s in steps) + ">"
        return self.op(f"add <{v.width} x i64> {base}, {ramp}")

    def spread(self, text: str, dtype: str, lanes: int) -> str:
        """A scalar operand in every lane."""
        if text[0] != "%":
            return splat(text, dtype, lanes)
        kind = type_name(dtype, lanes)
        one = self.op(f"insertelement {kind} poison, {SCALAR[dtype]} {text}, i64 0")
        return self.op(f"shufflevector {kind} {one}, {kind} poison, <{lanes} x i32> zeroinitializer")

    def multiple(self, v: ScalarIndex) -> int:
        """A number that is known to divide an index: for the alignment of addresses."""
        known = 0 if v.base is None else self.multiples.get(v.base, 1)
        return math.gcd(known, v.offset)

    # ------------------------------------------------------------ index arithmetic

    def add(self, a: ScalarIndex, b: ScalarIndex) -> ScalarIndex:
        if a.base is None or b.base is None:
            return ScalarIndex(a.base or b.base, a.offset + b.offset)
        base = self.op(f"add i64 {a.base}, {b.base}")
        self.multiples[base] = math.gcd(self.multiples.get(a.base, 1), self.multiples.get(b.base, 1))
        return ScalarIndex(base, a.offset + b.offset)

    def scale(self, a: ScalarIndex, factor: int) -> ScalarIndex:
        if a.base is None or factor in (0, 1):
            return ScalarIndex(a.base if factor else None, a.offset * factor)
        base = self.op(f"mul i64 {a.base}, {factor}")
        self.multiples[base] = abs(factor) * self.multiples.get(a.base, 1)
        return ScalarIndex(base, a.offset * factor)

    def affine(self, op: str, a: Value, b: Value) -> Value | None:
        """`a op b` on int64 as an affine index, where the result is one: that takes one instruction at most.
        None elsewhere."""
        if type(a) is ScalarIndex and type(b) is ScalarIndex:
            return self.affine_index(op, a, b)
        if type(a) is VectorIndex and type(b) is VectorIndex:
            x, y = (None if v.base.base else v.base.offset for v in (a, b))
            stride = stride_of(op, a.stride, b.stride, x, y)
            first = None if stride is None else self.affine_index(op, a.base, b.base)
            if type(first) is ScalarIndex:
                return VectorIndex(first, stride or 0, a.width)
            if type(first) is str:
                return self.spread(first, "bool", a.width)
        return None

    def affine_index(self, op: str, a: ScalarIndex, b: ScalarIndex) -> Value | None:
        """As `affine`, for scalars."""
        if op == "add":
            return self.add(a, b)
        if b.base is None and op == "sub":
            return ScalarIndex(a.base, a.offset - b.offset)
        if op == "mul" and (a.base is None or b.base is None):
            return self.scale(a, b.offset) if b.base is None else self.scale(b, a.offset)
        if a.base == b.base and (a.base is None or op == "sub" or op in COMPARISONS):
            known = fold(op, a.offset, b.offset)
            return ScalarIndex(None, known) if op not in COMPARISONS and known is not None else text_of(known)
        return None

    def place(self, buffer: Buffer) -> Place:
        place = self.buffers.get(buffer)
        if place is None:
            raise self.error(
                f"buffer {buffer.name!r} is used outside the scope of its Alloc, or is not a parameter"
            )
        return place


def text_of(known: int | None) -> str | None:
    """A known bool as an LLVM operand; None where it is not known."""
    return None if known is None else ("true" if known else "false")


def typed(text: str, dtype: str, lanes: int) -> Value:
    """An LLVM operand as a value: a `ScalarIndex` for an int64 scalar, else text."""
    if dtype != "int64" or lanes != 1:
        return text
    return ScalarIndex(text, 0) if text[0] == "%" else ScalarIndex(None, int(text))
