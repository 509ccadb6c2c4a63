"""The record of an operation: everything the compiler knows of it, in one place.

A family file under `ir/ops/` makes one `Op` for each operation, with its shape rule, its meaning in
numpy, its gradient written in operations, its lowering, its traits, and the cases its property tests
draw. Passes and code generators ask the traits; `tests/ir/test_op_names.py` has the few places that are
about one op and name it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from kcompile.ir.contraction import Contraction
from kcompile.ir.types import TensorType

if TYPE_CHECKING:
    from kcompile.ir.graph import Graph
    from kcompile.ir.tensor import Tensor

Kind = Literal[
    "source",
    "elementwise",
    "movement",
    "reduction",
    "window",
    "random",
    "contraction",
    "scatter",
    "composite",
]

# Where the value of a source comes from: the caller; a variable, or the node itself, which are in memory
# too; the place of an element; the size of the batch.
Origin = Literal["input", "variable", "constant", "index", "size"]


class Draw(Protocol):
    """The choices of a property test. `shape(rank)` may put the batch first; `size(name)` is one of the
    range that this kind of size has in real use ("kernel", "channels", ...), up to `most`."""

    def integer(self, low: int, high: int) -> int: ...
    def size(self, name: str, most: int | None = None) -> int: ...
    def choice(self, options: Sequence[Any]) -> Any: ...
    def shape(self, low: int = 0, high: int = 3) -> tuple[Any, ...]: ...


@dataclass(frozen=True)
class Case:
    """One drawn use of an op: operand types, attributes, and where the values may lie.

    low, high: range of values (per operand when tuples). spaced: values are distinct and apart, for
    ops with kinks (max, abs), so that finite differences make sense.
    """

    types: tuple[TensorType, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    low: float | tuple[float, ...] = -2.0
    high: float | tuple[float, ...] = 2.0
    spaced: bool = False


@dataclass(frozen=True)
class Call:
    """One use of an op in a graph, as its gradient rule sees it."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    attrs: Mapping[str, Any]
    regions: tuple[Graph, ...] = ()

    @property
    def output(self) -> Tensor:
        return self.outputs[0]


@dataclass(frozen=True)
class Op:
    """One operation.

    infer(*types, **attrs): the type of the result, or a tuple of types; raises ValueError.
    numpy(*arrays, **attrs): the meaning. Batch dims in attributes arrive as ints.
    Of an op with regions (graphs that it applies), `infer` has them as `regions=`, and `numpy` has there a
        function for each, from arrays to the list of its results.
    gradient(call, *output_gradients): a gradient or None for each input; None for the whole: no
        gradient flows (integers, comparisons).
    scalar(b, *elements, **attrs): for elementwise ops, the result of one element; `b` offers the
        arithmetic of the loop language and its maths.
    lower(b, call, index, *operands): for other ops computed element by element: the element of the
        result at `index`, where an operand is a function from index to element. `call` has `.types`
        (of operands), `.type` (of the result) and `.attrs`.
    contraction(*types, **attrs): the index maps, for the contraction family.
    cases(draw): what property tests use. tolerance: relative error allowed in float32.
    expensive: computing an element twice costs more than storing it.
    exact: of an elementwise op, that numpy gives the same bits on every processor: each element is one
        operation of IEEE 754 (or two). Not so functions, which numpy computes by the instructions that
        it finds, and the larger of two zeros.
    in_place: the operand whose buffer may be reused for the result; the op must read it only at the
        element that is being written.

    Traits, each of which `tests/ir/test_traits.py` compares with the op's meaning:

    commutative: f(a, b) = f(b, a).
    neutral: f(a, neutral) = a, but for the sign of a zero; of a commutative op also f(neutral, a) = a.
    involution: f(f(a)) = a, for the same attributes.
    signs: where the result is a sum of the operands, each times 1 or -1: these.
    linear: the operands in each of which the result is linear while the others are held; so it is 0
        where one of them is.
    rounds: each element is the operand's in fewer bits, which a factor that is put in front would change.
    columnwise(**attrs): the operand whose last axis is that of the result, each of whose columns gives one
        of the result's; None where there is none. Of contractions, which are linear in it.
    rowwise(**attrs): the operands whose first axis is that of the result, each of whose rows gives one of
        the result's. Of contractions; elementwise ops are so by their shape rule.
    row_by_row(**attrs): whether row i of the result depends on the rows i of the operands alone, where the
        first axes are equally long. Of movements, reductions and windows.
    sums_rows(**attrs): whether the result is the sum, over the first axis of all operands, of what the op
        gives for each row.

    permutes: axis i of the result is axis `axes[i]` of the operand.
    joins: the result has the operands' elements side by side, along the axis `axis`.
    type_only: where the types of operand and result are equal, so are the values.
    view: the result is the operand's memory, in row-major order, under another shape.
    broadcasts: each element is the operand's at the same place, by numpy's broadcasting to the result's
        shape.
    order_only: elements of the result are elements of the operands, each the one at some place or the
        largest of some, or the attribute `value`. So a function that does not decrease may be applied before
        or after.
    numbered: the axis of the first operand whose places the second operand names.
    inlined: an element costs nothing that a kernel would notice, and is made wherever it is read.
    origin: of a source, where its value comes from; None for other ops.
    loop: the op's body runs many times, with values that one time hands to the next.
    """

    name: str
    kind: Kind
    infer: Callable[..., TensorType | tuple[TensorType, ...]]
    numpy: Callable[..., Any]
    gradient: Callable[..., Sequence[Tensor | None]] | None = None
    scalar: Callable[..., Any] | None = None
    lower: Callable[..., Any] | None = None
    contraction: Callable[..., Contraction] | None = None
    cases: Callable[[Draw], Case] | None = None
    tolerance: float = 1e-6
    expensive: bool = False
    exact: bool = False
    in_place: int | None = None
    commutative: bool = False
    neutral: float | None = None
    involution: bool = False
    signs: tuple[int, ...] = ()
    linear: tuple[int, ...] = ()
    rounds: bool = False
    columnwise: Callable[..., int | None] = lambda **_: None
    rowwise: Callable[..., tuple[int, ...]] = lambda **_: ()
    row_by_row: Callable[..., bool] = lambda **_: False
    sums_rows: Callable[..., bool] = lambda **_: False
    permutes: bool = False
    joins: bool = False
    type_only: bool = False
    view: bool = False
    broadcasts: bool = False
    order_only: bool = False
    numbered: int | None = None
    inlined: bool = False
    origin: Origin | None = None
    loop: bool = False

    @property
    def in_memory(self) -> bool:
        """Whether the result of this op is in memory before a graph runs."""
        return self.origin in ("input", "variable", "constant")

    @property
    def is_product(self) -> bool:
        """Whether elements are products of the operands' elements."""
        return self.kind == "elementwise" and self.commutative and self.linear == (0, 1)

    def types(
        self, types: Sequence[TensorType], attrs: Mapping[str, Any], regions: tuple[Graph, ...] = ()
    ) -> tuple[TensorType, ...]:
        result = self.infer(*types, **attrs, regions=regions) if regions else self.infer(*types, **attrs)
        return result if isinstance(result, tuple) else (result,)


OPS: dict[str, Op] = {}


def register(op: Op) -> Op:
    if op.name in OPS:
        raise ValueError(f"op {op.name!r} is registered twice")
    OPS[op.name] = op
    return op
