"""Loads and stores of the loop language as LLVM instructions.

What enters: a `loops.Load` or `loops.Store`, and the `Block` that it belongs to. What leaves: the cheapest
access that the form of the index allows: one element, contiguous elements, the same element in every lane,
elements at a constant stride, or a gather or scatter.
"""

from __future__ import annotations

import re

from kcompile.codegen import loops
from kcompile.codegen.llvm.values import (
    Block,
    ScalarIndex,
    Value,
    VectorIndex,
    literal,
    mangled,
    memory_type,
    splat,
    type_name,
    typed,
)
from kcompile.codegen.loops import BYTES, Buffer, Expr

ALL_ON = ("true", "splat (i1 true)")
_COMPARED = re.compile(r"icmp slt <\d+ x i64> <([^>]*)>, <([^>]*)>")
ALL_OFF = ("false", "splat (i1 false)")


def address(b: Block, buffer: Buffer, at: ScalarIndex) -> tuple[str, int]:
    """The pointer to an element, and the alignment that it is known to have."""
    if buffer.space == "register" and at.base is not None:
        raise b.error(
            f"register buffer {buffer.name!r} is indexed by a variable; only constants may index it"
        )
    place, size = b.place(buffer), BYTES[buffer.dtype]
    at = b.scale(at, buffer.lanes)
    kind, pointer = memory_type(buffer.dtype, 1), place.pointer
    if at.base is not None:
        pointer = b.op(f"getelementptr {kind}, ptr {pointer}, i64 {at.base}")
    if at.offset:
        pointer = b.op(f"getelementptr {kind}, ptr {pointer}, i64 {at.offset}")
    offset = b.multiple(at) * size
    known = offset & -offset if offset else place.align
    return pointer, min(place.align, max(known, size))


def pointers(b: Block, buffer: Buffer, at: str, lanes: int) -> str:
    kind = memory_type(buffer.dtype, 1)
    return b.op(f"getelementptr {kind}, ptr {b.place(buffer).pointer}, <{lanes} x i64> {at}")


def condition(b: Block, e: Expr | None) -> str | None:
    """The operand of a mask; None where it is known to be true in all lanes."""
    text = None if e is None else b.operand(e)
    return None if text in ALL_ON else text


def from_memory(b: Block, text: str, dtype: str, lanes: int) -> str:
    if dtype != "bool":
        return text
    return b.op(
        f"icmp ne {memory_type(dtype, lanes)} {text}, zeroinitializer"
        if lanes > 1
        else f"icmp ne i8 {text}, 0"
    )


def to_memory(b: Block, text: str, dtype: str, lanes: int) -> str:
    if dtype != "bool":
        return text
    return b.op(f"zext {type_name(dtype, lanes)} {text} to {memory_type(dtype, lanes)}")


def load(b: Block, e: loops.Load) -> Value:
    at, mask = b.value(e.index), condition(b, e.mask)
    zero = literal(0, e.dtype)
    if mask in ALL_OFF:
        return typed(splat(zero, e.dtype, e.lanes), e.dtype, e.lanes)
    kind = memory_type(e.dtype, e.lanes)
    if e.index.lanes > 1 and not (type(at) is VectorIndex and at.stride in (0, 1)):
        return gather(b, e, at, mask)
    if type(at) is VectorIndex and at.stride == 0:
        return repeat(b, e, at.base, mask)
    start = at.base if type(at) is VectorIndex else b.index(e.index)
    pointer, align = address(b, e.buffer, start)
    if mask is None:
        text = b.read(f"load {kind}, ptr {pointer}, align {align}", e.buffer)
    elif e.lanes == 1:
        pointer = b.op(f"select i1 {mask}, ptr {pointer}, ptr @kc_zero")
        text = b.read(f"load {kind}, ptr {pointer}, align {BYTES[e.dtype]}", e.buffer)
    else:
        text = b.put(
            f"call {kind} @llvm.masked.load.{_mangled_memory(e.dtype, e.lanes)}.p0("
            f"ptr align {align} {pointer}, <{e.lanes} x i1> {mask}, {kind} zeroinitializer)"
        )
    return typed(from_memory(b, text, e.dtype, e.lanes), e.dtype, e.lanes)


def repeat(b: Block, e: loops.Load, at: ScalarIndex, mask: str | None) -> Value:
    """The same element in every lane: one scalar load, unless lanes are masked one by one."""
    if mask is not None:
        return gather(b, e, VectorIndex(at, 0, e.lanes), mask)
    pointer, _ = address(b, e.buffer, at)
    one = b.read(f"load {memory_type(e.dtype, 1)}, ptr {pointer}, align {BYTES[e.dtype]}", e.buffer)
    return b.spread(from_memory(b, one, e.dtype, 1), e.dtype, e.lanes)


def gather(b: Block, e: loops.Load, at: Value, mask: str | None) -> str:
    kind = memory_type(e.dtype, e.lanes)
    if type(at) is VectorIndex and mask is None:
        return from_memory(b, _strided(b, e, at, kind), e.dtype, e.lanes)
    where = pointers(b, e.buffer, b.text(at), e.lanes)
    text = b.put(
        f"call {kind} @llvm.masked.gather.{_mangled_memory(e.dtype, e.lanes)}.v{e.lanes}p0("
        f"<{e.lanes} x ptr> align {BYTES[e.dtype]} {where}, "
        f"<{e.lanes} x i1> {mask or 'splat (i1 true)'}, {kind} zeroinitializer)"
    )
    return from_memory(b, text, e.dtype, e.lanes)


def _strided(b: Block, e: loops.Load, at: VectorIndex, kind: str) -> str:
    """Lanes a constant stride apart: scalar loads off one address beat a gather."""
    scalar, text = memory_type(e.dtype, 1), "poison"
    for i in range(e.lanes):
        pointer, _ = address(b, e.buffer, ScalarIndex(at.base.base, at.base.offset + i * at.stride))
        one = b.read(f"load {scalar}, ptr {pointer}, align {BYTES[e.dtype]}", e.buffer)
        text = b.op(f"insertelement {kind} {text}, {scalar} {one}, i64 {i}")
    return text


def store(b: Block, s: loops.Store) -> None:
    dtype, lanes = s.buffer.dtype, s.value.lanes
    at, mask = b.value(s.index), condition(b, s.mask)
    if mask in ALL_OFF:
        return
    kind = memory_type(dtype, lanes)
    text = to_memory(b, b.operand(s.value), dtype, lanes)
    if s.index.lanes > 1 and not (type(at) is VectorIndex and at.stride == 1):
        where = pointers(b, s.buffer, b.text(at), lanes)
        b.lines.append(
            f"  call void @llvm.masked.scatter.{_mangled_memory(dtype, lanes)}.v{lanes}p0("
            f"{kind} {text}, <{lanes} x ptr> align {BYTES[dtype]} {where}, "
            f"<{lanes} x i1> {mask or 'splat (i1 true)'})"
        )
        return
    start = at.base if type(at) is VectorIndex else b.index(s.index)
    pointer, align = address(b, s.buffer, start)
    if mask is None:
        b.lines.append(f"  store {kind} {text}, ptr {pointer}, align {align}")
    elif lanes == 1:
        _store_if(b, mask, f"store {kind} {text}, ptr {pointer}, align {align}")
    elif BYTES[dtype] < 4 and (lane := only_lane(b, mask)) is not None:
        one, element = b.op(f"extractelement {kind} {text}, i64 {lane}"), memory_type(dtype, 1)
        at_lane = b.op(f"getelementptr {element}, ptr {pointer}, i64 {lane}")
        b.lines.append(f"  store {element} {one}, ptr {at_lane}, align {BYTES[dtype]}")
    else:
        b.lines.append(
            f"  call void @llvm.masked.store.{_mangled_memory(dtype, lanes)}.p0({kind} {text}, "
            f"ptr align {align} {pointer}, <{lanes} x i1> {mask})"
        )


def only_lane(b: Block, mask: str) -> int | None:
    """The lane that a mask is known to have, where that is one. LLVM 22 stores the whole lane of a register
    there, of integers that it cuts to 8 or 16 bits for a masked store (x86)."""
    text = next((text for text, name in b.pure.items() if name == mask), "")
    known = _COMPARED.fullmatch(text)
    if known is None:
        return None
    left, right = ([int(number) for number in re.findall(r"i64 (-?\d+)", part)] for part in known.groups())
    lanes = [i for i, pair in enumerate(zip(left, right)) if pair[0] < pair[1]]
    return lanes[0] if len(lanes) == 1 else None


def _store_if(b: Block, flag: str, instruction: str) -> None:
    label = f"store{len(b.lines)}"
    b.lines += [
        f"  br i1 {flag}, label %{label}, label %{label}.end",
        f"{label}:",
        f"  {instruction}",
        f"  br label %{label}.end",
        f"{label}.end:",
    ]


def _mangled_memory(dtype: str, lanes: int) -> str:
    return mangled("uint8" if dtype == "bool" else dtype, lanes)
