"""Operands in words of two numbers of bfloat16, which processors multiply and add two at once.

Enters: a contraction of float32 operands, and how these are read. Leaves: the contraction of words
(`Contraction.in_halves`), with operands whose element is a word, made of two elements of the one before.
Nobody has such an array: blocks are copied to where the register tile reads them, as in any contraction whose
operand does not lie as it is read, or B is packed ahead.
"""

from __future__ import annotations

from kcompile.codegen import loops
from kcompile.codegen.groups.operands import Source
from kcompile.codegen.loops import ZERO, Expr
from kcompile.codegen.loops.builder import Builder
from kcompile.codegen.loops.indexing import extent
from kcompile.ir.contraction import Access, Contraction, halved
from kcompile.ir.types import Batch


def of_words(
    spec: Contraction, a: Source, b: Source, packed: bool, out: Builder
) -> tuple[Contraction, Source, Source]:
    """See the module. packed: B is in panels of words already. Raises ValueError for a contraction that has
    no form in words."""
    made = spec.in_halves
    if made is None:
        raise ValueError(f"the last dim of k is no coordinate of its own in both operands: {spec}")
    return made, _words(spec, spec.a, a, out), b if packed else _words(spec, spec.b, b, out)


def _words(spec: Contraction, access: Access, source: Source, out: Builder) -> Source:
    axis = spec.halved_axis(access)
    assert axis is not None
    size = source.shape[axis]
    half = halved(size)

    def at(index: tuple[Expr, ...], mask: Expr | None) -> Expr:
        lanes = index[-1].lanes
        if source.shape[-1] == 1 and lanes > 1:  # its one element, whichever lanes are asked for
            return loops.broadcast(at((*index[:-1], ZERO), None), lanes)
        if isinstance(size, Batch):
            first, second, odd = index[axis] * 2, index[axis] * 2 + 1, size.multiple % 2
        else:
            first, second, odd = index[axis], index[axis] + half, size % 2
        there = mask
        if odd:  # the last word may have one element
            there = loops.binary("lt", second, extent(size))
            there = there if mask is None else loops.binary("and", there, mask)
        low, high = (
            source.at((*index[:axis], i, *index[axis + 1 :]), m) for i, m in ((first, mask), (second, there))
        )
        return out.halves(low, high)

    return Source(at, None, (*source.shape[:axis], half, *source.shape[axis + 1 :]), dtype="uint32")
