"""The statements of the loop language, and the kernels that they make.

Enters: expressions (`language`). Leaves: statements and `Function`s, by the constructors below.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Union

from kcompile.codegen.loops.language import INDEX, Buffer, Expr, Operand, Var, broadcast, wrap

Kind = Literal["serial", "parallel", "chunk", "grid", "block"]


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

    kind: "serial"; "parallel", whose iterations threads divide; "chunk", the same, where the body does not
    mention var but does the whole chunk of the thread, [begin, end), by loops of its own; "grid" (outermost,
    from 0), each iteration of which is a block of threads; "block" (directly inside, from 0 to a constant),
    each iteration of which is a thread of that block."""

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


def store(buffer: Buffer, index: Operand, value: Operand, mask: Expr | None = None) -> Store:
    index, value = wrap(index, INDEX), wrap(value, buffer.dtype)
    if value.dtype != buffer.dtype:
        raise TypeError(f"{buffer.name}: store of {value.dtype} into {buffer.dtype}")
    lanes = max(buffer.lanes, index.lanes)
    return Store(buffer, index, broadcast(value, lanes), None if mask is None else broadcast(mask, lanes))


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
