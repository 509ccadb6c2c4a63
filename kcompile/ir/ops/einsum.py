"""Sums of products over named axes: Einstein's notation, and the product of two tensors that it is made of.

`dot_general` pairs axes of two tensors, as samples of a product of matrices or as what is summed; `einsum`
brings any number of operands down to such products. Both are made of transposes, reshapes and the ops of
`contraction`, from which gradients and code follow.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from kcompile.ir.ops.contraction import batch_matmul, conv, matmul
from kcompile.ir.ops.elementwise import cast, not_equal
from kcompile.ir.ops.movement import broadcast_to, reshape, slice_, transpose
from kcompile.ir.ops.reduction import reduce_sum
from kcompile.ir.tensor import Tensor, emit, operator_of, promote
from kcompile.ir.types import FLOATS, Batch, Dim, axis_of, numel, static

__all__ = ["diagonal", "dot_general", "einsum", "product"]

Pairs = tuple[Sequence[int], Sequence[int]]
_SAMPLES = 8  # for the order of products, where the number of samples is not known


def diagonal(x: Tensor, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The elements of x whose places along two axes of one size are the same: the last axis of the result.
    Raises ValueError for axes of different sizes, or of the batch."""
    a, b = axis_of(axis1, x.rank), axis_of(axis2, x.rank)
    if a == b or x.shape[a] != x.shape[b] or isinstance(x.shape[a], Batch):
        raise ValueError(f"diagonal: expected two axes of one known size. Received: {axis1}, {axis2} of {x}")
    rest = [i for i in range(x.rank) if i not in (a, b)]
    (size,) = static([x.shape[a]])
    flat = reshape(transpose(x, (*rest, a, b)), (*(x.shape[i] for i in rest), size * size))
    steps = [1] * len(rest) + [size + 1]
    return slice_(flat, [0] * flat.rank, flat.shape, steps)


def dot_general(x: Tensor, y: Tensor, contracting: Pairs, batch: Pairs = ((), ())) -> Tensor:
    """The sum over the `contracting` axes of x * y, for each place along the `batch` axes.

    Both give the axes of x and those of y, pair by pair. The axes of the result are those of `batch`, then
    the other axes of x, then those of y. Operands are of one dtype, any; products of bools are `and`, their
    sums `or`. Raises ValueError for pairs whose sizes differ, or that name an axis twice.
    """
    if x.dtype == y.dtype == "bool":
        return not_equal(dot_general(_number(x), _number(y), contracting, batch), 0)
    (k, k_y), (g, g_y) = (
        tuple([axis_of(a, t.rank) for a in axes] for axes, t in zip(pairs, (x, y)))
        for pairs in (contracting, batch)
    )
    sizes = [[t.shape[a] for a in (*of_g, *of_k)] for t, of_g, of_k in ((x, g, k), (y, g_y, k_y))]
    if sizes[0] != sizes[1] or len(g) != len(g_y) or any(len(set(a)) < len(a) for a in (g + k, g_y + k_y)):
        raise ValueError(
            f"dot_general: axes {contracting} and {batch} of {x.type} and {y.type} are no pairs of one size"
        )
    m = [i for i in range(x.rank) if i not in (*g, *k)]
    j = [i for i in range(y.rank) if i not in (*g_y, *k_y)]
    shared, rows = [x.shape[a] for a in g], [x.shape[a] for a in m]
    columns, shape = [y.shape[a] for a in j], sizes[0][len(g) :]
    if not shape or x.dtype not in FLOATS:
        left = _spread(transpose(x, (*g, *m, *k)), len(g) + len(m), len(j))
        right = _spread(transpose(y, (*g_y, *j, *k_y)), len(g), len(m))
        return reduce_sum(left * right, range(left.rank - len(k), left.rank))
    depth, height, width = numel(shape), numel(rows), numel(columns)
    if g and isinstance(numel([depth, height, width]), Batch):  # and none among the samples
        left = reshape(transpose(x, (*m, *k, *g)), (height, depth, *shared))
        right = reshape(transpose(y, (*k_y, *j, *g_y)), (depth, width, *shared))
        return reshape(_grouped(left, right), (*shared, *rows, *columns))
    first = g + k + m == list(range(x.rank))
    last = g_y + j + k_y == list(range(y.rank))
    samples = [numel(shared)] if g else []
    a = transpose(x, (*g, *k, *m) if first else (*g, *m, *k))
    a = reshape(a, (*samples, *((depth, height) if first else (height, depth))))
    b = transpose(y, (*g_y, *j, *k_y) if last else (*g_y, *k_y, *j))
    b = reshape(b, (*samples, *((width, depth) if last else (depth, width))))
    product = (batch_matmul if g else matmul)(a, b, first, last)
    return reshape(product, (*shared, *rows, *columns))


def _grouped(x: Tensor, y: Tensor) -> Tensor:
    """x [m, k, g...] and y [k, j, g...] -> [g, m, j], where the samples of a batch are along m, k or j: a
    convolution of one place, with g groups of channels."""
    (height, depth), width, groups = x.shape[:2], y.shape[1], prod(static(x.shape[2:]))
    if isinstance(width, Batch):
        return transpose(_grouped(*(transpose(t, (1, 0, *range(2, t.rank))) for t in (y, x))), (0, 2, 1))

    def side_by_side(t: Tensor, first: Dim, second: Dim) -> Tensor:
        return reshape(transpose(reshape(t, (first, second, groups)), (0, 2, 1)), (first, 1, groups * second))

    one: dict[str, Any] = {"strides": (1,), "padding": ((0, 0),), "dilation": (1,), "groups": groups}
    if isinstance(depth, Batch):
        left = side_by_side(transpose(x, (1, 0, *range(2, x.rank))), depth, height)
        made = emit("conv_filter_gradient", [left, side_by_side(y, depth, width)], taps=(1,), **one)
    else:
        kernel = reshape(side_by_side(y, depth, width), (1, depth, groups * width))
        made = conv(side_by_side(x, height, depth), kernel, **one)
    return transpose(reshape(made, (height, groups, width)), (1, 0, 2))


def _spread(x: Tensor, axis: int, count: int) -> Tensor:
    """x with `count` axes of size 1 before an axis."""
    return reshape(x, (*x.shape[:axis], *(1,) * count, *x.shape[axis:]))


def _number(x: Tensor) -> Tensor:
    """x, of bools as numbers."""
    return cast(x, "int32") if x.dtype == "bool" else x


# ---------------------------------------------------------------- Einstein's notation


def einsum(equation: str, *operands: Tensor) -> Tensor:
    """The sum of products that an equation as numpy's says: "bij,bjk->bik", with or without an output, with
    `...` for any axes, with a letter twice in one operand for its diagonal. Axes of size 1 are those of any
    size, repeated. Operands of one dtype. Raises ValueError for another equation."""
    terms, output = parse_equation(equation, [x.rank for x in operands])
    sizes = _sizes_of(equation, terms, operands)
    of_bools = operands[0].dtype == "bool"
    parts = [_plain(_number(x), term, sizes) for x, term in zip(promote(*operands), terms)]
    for first, second in _order(parts, output, sizes):
        (x, names), (y, others) = parts[first], parts[second]
        parts = [part for i, part in enumerate(parts) if i not in (first, second)]
        kept = {name for _, term in parts for name in term} | set(output)
        ordered = [name for name in output if (name in names) != (name in others)]
        if ordered and ordered[0] in others and ordered[-1] in names:  # rows are those of the result
            x, names, y, others = y, others, x, names
        parts.append(_product(x, names, y, others, kept))
    ((x, names),) = parts
    x, names = _without(x, names, [name for name in names if name not in output])
    result = transpose(x, [names.index(name) for name in output])
    return not_equal(result, 0) if of_bools else result


def parse_equation(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """A letter for each axis of each operand, and for each of the result. The axes of `...` get letters
    that the equation has not, the same from the right."""
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    letters = {c for c in equation if c.isalpha()}
    others = [c for c in string.ascii_letters if c not in letters]
    plain = [term.replace("...", "", 1) for term in (*terms, output)]
    if not all(set(term) <= set(string.ascii_letters) for term in plain) or len(terms) != len(ranks):
        raise ValueError(
            f'einsum: expected an equation for {len(ranks)} operands, as "bij,bjk->bik". '
            f"Received: {equation!r}"
        )
    widths = [rank - len(term) if "..." in given else 0 for rank, term, given in zip(ranks, plain, terms)]
    if any(w < 0 or len(term) + w != rank for w, term, rank in zip(widths, plain, ranks)) or max(
        widths, default=0
    ) > len(others):
        raise ValueError(f"einsum: {equation!r} does not fit operands of {', '.join(map(str, ranks))} axes")
    wide = "".join(others[: max(widths, default=0)])
    made = [term.replace("...", wide[len(wide) - w :]) for term, w in zip(terms, widths)]
    if not arrow:
        every = "".join(plain[:-1])
        output = wide + "".join(sorted(c for c in set(every) if every.count(c) == 1))
    else:
        output = output.replace("...", wide)
    if len(set(output)) < len(output) or not set(output) <= set("".join(made)):
        raise ValueError(f"einsum: the output of {equation!r} has an axis twice, or one of no operand")
    return made, output


def _sizes_of(equation: str, terms: Sequence[str], operands: Sequence[Tensor]) -> dict[str, Dim]:
    """The size of each letter. Raises ValueError where two differ."""
    sizes: dict[str, Dim] = {}
    for term, x in zip(terms, operands):
        for name, size in zip(term, x.shape):
            known = sizes.get(name, 1)
            if size not in (1, known) and known != 1:
                raise ValueError(
                    f"einsum: the sizes of an axis differ in {equation!r}. Received: "
                    + ", ".join(str(y.type) for y in operands)
                )
            sizes[name] = size if known == 1 else known
    return sizes


def _plain(x: Tensor, names: str, sizes: Mapping[str, Dim]) -> tuple[Tensor, str]:
    """An operand with each letter once, and without those that only stand for repetition here."""
    while twice := next((name for name in names if names.count(name) > 1), ""):
        a = names.index(twice)
        b = names.index(twice, a + 1)
        if 1 in (x.shape[a], x.shape[b]):  # the other axis is the diagonal
            gone = a if x.shape[a] == 1 else b
            x = reshape(x, [d for i, d in enumerate(x.shape) if i != gone])
            names = names[:gone] + names[gone + 1 :]
            continue
        x = diagonal(x, a, b)
        names = names[:a] + names[a + 1 : b] + names[b + 1 :] + twice
    ones = [name for name, size in zip(names, x.shape) if size == 1 and sizes[name] != 1]
    kept = [name not in ones for name in names]
    return (
        reshape(x, [d for d, keep in zip(x.shape, kept) if keep]),
        "".join(name for name, keep in zip(names, kept) if keep),
    )


def _order(
    parts: Sequence[tuple[Tensor, str]], output: str, sizes: Mapping[str, Dim]
) -> list[tuple[int, int]]:
    """Which two operands to multiply next, the product of which becomes the last: numpy's choice, by the
    number of products."""
    if len(parts) < 3:
        return [(0, 1)] * (len(parts) - 1)
    arrays = [
        np.broadcast_to(0.0, [d if isinstance(d, int) else d.multiple * _SAMPLES for d in x.shape])
        for x, _ in parts
    ]
    known = {name for _, names in parts for name in names}
    equation = ",".join(names for _, names in parts) + "->" + "".join(n for n in output if n in known)
    steps: list[tuple[int, ...]] = np.einsum_path(equation, *arrays, optimize="greedy")[0][1:]
    pairs = []
    left = len(parts)
    for step in steps:
        chosen = list(step)
        while len(chosen) > 1:  # more than two at once are taken from the front
            first, second = chosen[:2]
            pairs.append((first, second))
            left -= 1
            chosen = [i - (i > first) - (i > second) for i in chosen[2:]] + [left - 1]
    return pairs


def _without(x: Tensor, names: str, gone: Sequence[str]) -> tuple[Tensor, str]:
    """x summed over axes."""
    made = reduce_sum(x, [names.index(name) for name in gone])
    return made, "".join(name for name in names if name not in gone)


def _product(x: Tensor, names: str, y: Tensor, others: str, kept: set[str]) -> tuple[Tensor, str]:
    """x * y summed over the axes that are not to be kept."""
    x, names = _without(x, names, [n for n in names if n not in others and n not in kept])
    y, others = _without(y, others, [n for n in others if n not in names and n not in kept])
    summed = [n for n in names if n in others and n not in kept]
    shared = [n for n in names if n in others and n in kept]
    made = dot_general(
        x,
        y,
        ([names.index(n) for n in summed], [others.index(n) for n in summed]),
        ([names.index(n) for n in shared], [others.index(n) for n in shared]),
    )
    rest = [n for n in names + others if n not in summed and n not in shared]
    return made, "".join((*shared, *rest))


@operator_of
def product(x: Tensor, y: Tensor) -> Tensor:
    """The product of matrices x [..., n, k] and y [..., k, m], where axes before broadcast; of vectors too.
    Raises ValueError for scalars."""
    if not x.rank or not y.rank:
        raise ValueError(f"matmul: expected tensors of rank 1 or more. Received: {x.type}, {y.type}")
    if y.rank <= 2:
        return dot_general(x, y, ([x.rank - 1], [max(y.rank - 2, 0)]))
    if x.rank == 1:
        return dot_general(x, y, ([0], [y.rank - 2]))
    lead = max(x.rank, y.rank) - 2
    letters = string.ascii_lowercase[:lead]
    a, b = (reshape(t, (*(1,) * (lead + 2 - t.rank), *t.shape)) for t in (x, y))
    shape = [q if p == 1 else p for p, q in zip(a.shape[:lead], b.shape[:lead])]
    a, b = (broadcast_to(t, (*shape, *t.shape[lead:])) for t in (a, b))
    return einsum(f"{letters}YK,{letters}KZ->{letters}YZ", a, b)
