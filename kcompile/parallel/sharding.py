"""What each value of a graph is where the batch is spread over processes ("ranks"), sample by sample.

Enters: a graph of a training step or an evaluation, for a batch of n samples. Leaves: a `Sharding`, which
says of every value whether a rank has its rows of it, the same number as all, or a part of a sum over all
samples, and which operands have to be summed over all ranks before they are read. Whatever mixes samples in
another way than a sum is refused by name. What is computed after these sums is then what one process
computes of the whole batch: means, penalties, weighted and masked losses, statistics of batches, norms.

A part of a sum goes through what is linear as it is, so that gradients that are added up, and losses that are
divided, are summed over ranks once.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from kcompile.ir.contraction import Access, Contraction
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.types import Batch, Dim, TensorType, numel, static
from kcompile_runtime.errors import UnsupportedError, describe

# rows: those of the rank's samples. same: equal on all ranks. part: the sum over ranks is the value. own: of
# the rank's samples alone, and meant so (statistics of a batch normalisation that are not shared).
Way = Literal["rows", "same", "part", "own"]


@dataclass(frozen=True)
class Kind:
    """What a value is. outer: of rows, how many times the batch is run through within its dim, in memory
    order (3 where a dim 3n is three times n samples, 1 where it is n times three); None: any, as the rows are
    all alike or chance. place: they tell of the place of a sample in the rank's batch."""

    way: Way
    outer: int | None = None
    place: bool = False


SAME, PART, OWN = Kind("same"), Kind("part"), Kind("own")


@dataclass(frozen=True)
class Sharding:
    """kinds: of the values of live nodes. summed: the operands, as (node, slot), that are read only after
    a sum over all ranks. results: the names of outputs that are. updates: the same of updates, with "sum" or,
    of what is each rank's own, "mean"."""

    kinds: dict[Value, Kind]
    summed: frozenset[tuple[int, int]]
    results: frozenset[str]
    updates: dict[str, str]


def sharding(graph: Graph, own: Collection[str] = ()) -> Sharding:
    """The sharding of a graph whose inputs have the batch. own: layers whose sums over the batch are each
    rank's own. Raises UnsupportedError, which names the layer, for what mixes samples."""
    known: frozenset[Value] = frozenset()
    while True:  # what somebody needs the sum of is summed for all who read it
        analysis = _Analysis(graph, frozenset(own), known=known)
        found = analysis.sharding()
        wanted = known | {graph.nodes[id].inputs[slot] for id, slot in found.summed}
        if wanted == known:
            return found
        known = wanted


def has_batch(type: TensorType) -> bool:
    """Whether the batch is among the dims."""
    return batch_axis(type) is not None


def batch_axis(type: TensorType) -> int | None:
    """Which axis the batch is; None where it is none."""
    return next((i for i, d in enumerate(type.shape) if isinstance(d, Batch)), None)


class _Mixed(Exception):
    """Samples are mixed in a way that is no sum."""


class _Analysis:
    def __init__(
        self,
        graph: Graph,
        own: frozenset[str],
        given: Sequence[Kind] | None = None,
        known: frozenset[Value] = frozenset(),
    ) -> None:
        self.graph, self.own, self.given, self.known = graph, own, given, known
        self.kinds: dict[Value, Kind] = {}
        self.summed: set[tuple[int, int]] = set()
        self.nodes = graph.live()

    def sharding(self) -> Sharding:
        for node in self.nodes:
            try:
                self.visit(node)
            except _Mixed as reason:
                layer = f"layer {node.label!r}" if node.sources else self.graph.name
                raise UnsupportedError(
                    describe(
                        f"{layer} in data-parallel training",
                        "operations that treat samples alike, or sum over them",
                        f"{node.op.name}, {reason}",
                    )
                ) from None
        results = {name for name, v in self.graph.outputs.items() if self._is_sum(v, name)}
        updates = {}
        for name, value in self.graph.updates.items():
            kind = self.kinds[value]
            if kind.way == "rows":
                raise UnsupportedError(
                    describe("data-parallel training", "states that are the same for all samples", repr(name))
                )
            if kind.way != "same":
                updates[name] = "sum" if kind.way == "part" else "mean"
        return Sharding(self.kinds, frozenset(self.summed), frozenset(results), updates)

    def _is_sum(self, value: Value, name: str) -> bool:
        if self.kinds[value].way == "rows":
            raise UnsupportedError(
                describe("data-parallel training", "results over all samples", f"{name!r}, of each sample")
            )
        return self.kinds[value].way in ("part", "own")

    # ---- one node

    def visit(self, node: Node) -> None:
        kinds = [self.kinds[v] for v in node.inputs]
        self._set(node, self.of(node, kinds))

    def _set(self, node: Node, kinds: Sequence[Kind]) -> None:
        for number, kind in enumerate(kinds):
            self.kinds[Value(node.id, number)] = kind

    def of(self, node: Node, kinds: list[Kind]) -> list[Kind]:
        """The kinds of a node's results; operands that have to be summed before are noted."""
        if node.op.origin == "input":
            return [self._of_input(node)]
        local = self._is_own(node)
        rows_out = any(map(has_batch, node.types))
        for slot, value in enumerate(node.inputs):
            if value in self.known and kinds[slot].way == "part":
                self.summed.add((node.id, slot))
                kinds[slot] = SAME
        if any(k.way == "part" for k in kinds) and not self._keeps(node, kinds):
            kinds = self._sum(node, kinds, "part")
        if any(k.way == "own" for k in kinds) and not local and not rows_out:
            kinds = self._sum_own(node, kinds)
        if node.regions:
            return self._of_loop(node, kinds)
        rows = [k for k in kinds if k.way == "rows"]
        if not rows and not rows_out:
            return [self._without_rows(node, kinds, local)] * len(node.types)
        if not rows:
            return [self._made_rows(node)] * len(node.types)
        if not rows_out:
            return [self._sum_of_rows(node, kinds, local)]
        outer, place = self._rows(node, kinds)
        return [Kind("rows", outer, place)] * len(node.types)

    def _of_input(self, node: Node) -> Kind:
        if self.given is not None:
            return self.given[list(self.graph.inputs).index(node.attrs["name"])]
        if not has_batch(node.types[0]):
            raise UnsupportedError(
                describe(
                    "data-parallel training",
                    "inputs with the batch as an axis",
                    f"{node.attrs['name']!r} of {node.types[0]}",
                    "Build the model without a fixed batch size",
                )
            )
        return Kind("rows", 1)

    def _is_own(self, node: Node) -> bool:
        return any(source.layer in self.own for source in node.sources)

    def _sum(self, node: Node, kinds: Sequence[Kind], way: str) -> list[Kind]:
        """The kinds of operands after sums over ranks of those of a way."""
        for slot, kind in enumerate(kinds):
            if kind.way == way:
                self.summed.add((node.id, slot))
        return [SAME if k.way == way else k for k in kinds]

    def _sum_own(self, node: Node, kinds: list[Kind]) -> list[Kind]:
        """The same of what a layer computed of a rank's samples and another layer reads: a gradient, which is
        a part of the whole one, but for terms that are the same on all ranks."""
        for slot, kind in enumerate(kinds):
            if kind.way == "own":
                self._split(node.inputs[slot])
                kinds[slot] = self.kinds[node.inputs[slot]]
        return self._sum(node, kinds, "own")

    def _split(self, value: Value) -> None:
        """Sum the operands of a sum that has a term which is the same on all ranks, and not the sum."""
        node = self.graph.nodes[value.node]
        operands = [self.kinds[v] for v in node.inputs]
        if not node.op.signs or all(k.way == "own" for k in operands):
            return
        for slot, kind in enumerate(operands):
            if kind.way == "own":
                self._split(node.inputs[slot])
                if self.kinds[node.inputs[slot]].way == "own":
                    self.summed.add((node.id, slot))
        self.kinds[value] = SAME

    # ---- parts of sums

    def _keeps(self, node: Node, kinds: Sequence[Kind]) -> bool:
        """Whether the result is the sum over ranks of what the node gives for the parts."""
        if any(map(has_batch, node.types)) or node.regions or len(node.types) > 1:
            return False
        parts = [i for i, k in enumerate(kinds) if k.way == "part"]
        types = [self.graph.type(v) for v in node.inputs]
        if node.types[0].dtype != types[parts[0]].dtype:
            return False
        if node.op.signs or node.op.joins:
            return len(parts) == len(kinds)
        small = numel(node.types[0].shape) == numel(types[parts[0]].shape) or node.op.kind == "reduction"
        others = all(k.way == "same" for i, k in enumerate(kinds) if i not in parts)
        return len(parts) == 1 and parts[0] in node.op.linear and others and small

    def _without_rows(self, node: Node, kinds: Sequence[Kind], local: bool) -> Kind:
        if node.op.origin == "size" and isinstance(node.attrs["dim"], Batch) and local:
            return OWN  # others are told how many samples all ranks have
        if any(k.way == "own" for k in kinds):
            return OWN
        return PART if any(k.way == "part" for k in kinds) else SAME

    def _sum_of_rows(self, node: Node, kinds: Sequence[Kind], local: bool) -> Kind:
        """Of a node that reads rows and gives none."""
        if any(k.place for k in kinds):
            raise _Mixed("which reads the place of a sample in its batch")
        types = [self.graph.type(v) for v in node.inputs]
        if node.op.contraction is not None:
            spec = node.op.contraction(*types, **node.attrs)
            self._check_operands(spec, types, kinds)
        elif node.op.kind == "scatter":
            if kinds[0].way != "rows" or 0 not in node.op.linear:
                raise _Mixed("which is no sum")
        elif node.op.kind != "reduction" or not node.op.linear:
            raise _Mixed("which combines samples otherwise")
        return OWN if local else PART

    # ---- rows

    def _made_rows(self, node: Node) -> Kind:
        """Of a node that gives rows and reads none: numbers of chance, places, copies of what is the same."""
        axis = batch_axis(node.types[0])
        if node.op.origin == "index" and node.attrs["axis"] == axis:
            return Kind("rows", 1, place=True)
        if node.op.origin == "index" or node.op.kind == "random" or node.op.broadcasts:
            return Kind("rows")
        raise _Mixed("which gives rows of none")

    def _rows(self, node: Node, kinds: list[Kind]) -> tuple[int | None, bool]:
        """The order of rows in the result of a node that reads rows, and whether they tell of places."""
        types = [self.graph.type(v) for v in node.inputs]
        place = any(k.place for k in kinds)
        if node.op.contraction is not None:
            if place:
                raise _Mixed("which reads the place of a sample in its batch")
            return self._of_contraction(node, types, kinds), False
        if node.op.numbered is not None:
            return self._of_numbered(node, types, kinds)
        if node.op.kind == "scatter":
            if not kinds[1].place or kinds[0].place:
                raise _Mixed("which adds up rows of different samples")
            return 1, False
        outer = _agreed(kinds)
        if node.op.kind == "elementwise":
            return outer, place
        if node.op.view:
            return _of_view(types[0], node.types[0], outer), place
        axis, result = batch_axis(types[0]), batch_axis(node.types[0])
        if node.op.permutes or (node.op.kind == "reduction" and axis not in node.attrs["axes"]):
            return outer, place
        if node.op.broadcasts:
            if result is None or axis is None or types[0].shape[axis] != node.types[0].shape[result]:
                raise _Mixed("which repeats samples")
            return outer, place
        if _leaves(node, types, result):
            return outer, place
        raise _Mixed("which moves samples")

    def _of_numbered(
        self, node: Node, types: Sequence[TensorType], kinds: Sequence[Kind]
    ) -> tuple[int | None, bool]:
        """Of rows of a table by numbers: one table for all, or one of each sample."""
        table, numbers = kinds[0], kinds[1]
        if node.op.numbered == 0 and table.way == "rows":
            raise _Mixed("which reads rows of other samples")
        if table.place or numbers.place:
            raise _Mixed("which reads the place of a sample in its batch")
        if node.op.numbered == 0:
            return numbers.outer, False
        if table.way != "rows":
            raise _Mixed("which reads tables of samples that have none")
        return 1, False

    # ---- contractions

    def _of_contraction(self, node: Node, types: Sequence[TensorType], kinds: Sequence[Kind]) -> int | None:
        assert node.op.contraction is not None
        spec = node.op.contraction(*types, **node.attrs)
        if any(isinstance(d, Batch) for d in spec.k):
            raise _Mixed("which sums over samples and keeps them")
        outer, plain = self._check_operands(spec, types, kinds)
        rows = spec.g + spec.m
        merged = spec.merged and not any(isinstance(d, Batch) and d in spec.merged for d in rows)
        if (merged or not plain) and outer not in (None, 1):
            raise _Mixed("which runs over samples in another order")
        if merged:
            first = next((d for d in rows if d != 1), None)
            if not isinstance(first, Batch):
                raise _Mixed("whose rows are not samples first")
        return outer

    def _check_operands(
        self, spec: Contraction, types: Sequence[TensorType], kinds: Sequence[Kind]
    ) -> tuple[int | None, bool]:
        """How operands run through the batch, and whether it is a variable of its own in each."""
        found, plain = [], True
        for access in (spec.a, spec.b):
            kind = kinds[access.operand]
            if kind.way == "rows":
                found.append(kind)
                plain = plain and self._runs_alone(spec, access, types[access.operand])
        outer = _agreed(found)
        if not plain and outer not in (None, 1):
            raise _Mixed("which runs over samples in another order")
        return outer, plain

    def _runs_alone(self, spec: Contraction, access: Access, type: TensorType) -> bool:
        """Whether the coordinate of an operand's batch is one index variable. Raises _Mixed where it is not
        that of a sample at all."""
        axis = batch_axis(type)
        assert axis is not None
        at, sizes = access.index[axis], spec.variables
        batch = [(v, c) for v, c in at.terms if isinstance(sizes[v], Batch)]
        if len(batch) != 1 or at.divisor != 1 or at.offset or access.guarded[axis]:
            raise _Mixed("whose windows reach over samples")
        rest = sum(c * (static([sizes[v]])[0] - 1) for v, c in at.terms if (v, c) not in batch)
        if rest >= batch[0][1] and len(at.terms) > 1:
            raise _Mixed("whose windows reach over samples")
        others = [x for i, x in enumerate(access.index) if i != axis]
        if any(v == batch[0][0] for x in others for v, _ in x.terms):
            raise _Mixed("which reads samples at their places")
        return len(at.terms) == 1

    # ---- loops

    def _of_loop(self, node: Node, kinds: Sequence[Kind]) -> list[Kind]:
        """Of a scan. States that begin with zeros may add up parts of sums."""
        if not node.op.loop:
            raise _Mixed("whose parts are not looked into")
        states, steps = node.attrs["states"], node.attrs["steps"]
        types = [self.graph.type(v) for v in node.inputs]
        for number in range(states, states + steps):
            if batch_axis(types[number]) == 0:
                raise _Mixed("which loops over samples")
        zeros = [i for i in range(states) if not has_batch(types[i]) and self._is_zero(node.inputs[i])]
        for added in ([PART], [SAME]):
            given = [added[0] if i in zeros else k for i, k in enumerate(kinds)]
            made = self._step(node.body, given, states)
            if made is not None:
                return made
        raise _Mixed("whose steps need sums over all samples")

    def _step(self, body: Graph, given: list[Kind], states: int) -> list[Kind] | None:
        """The kinds of what a body gives; None where new states differ from what they were taken for, or the
        body needs sums over all ranks."""
        inside = _Analysis(body, self.own, given)
        for node in inside.nodes:
            inside.visit(node)
        results = [inside.kinds[v] for v in body.outputs.values()]
        if inside.summed or any(k.place for k in results):
            return None
        for number in range(states):
            before, after = given[number], results[number]
            if before.way != after.way or (after.way == "rows" and _agreed([before, after]) is None):
                if before.way == after.way:
                    continue
                if before.way == "same" and after.way == "own":
                    given = [replace(after) if i == number else k for i, k in enumerate(given)]
                    return self._step(body, given, states)
                return None
        return results

    def _is_zero(self, value: Value) -> bool:
        node = self.graph.nodes[value.node]
        while node.op.broadcasts or node.op.view:
            node = self.graph.nodes[node.inputs[0].node]
        return node.op.origin == "constant" and not node.attrs["value"].array.any()


def _agreed(kinds: Sequence[Kind]) -> int | None:
    """How several operands run through the batch."""
    found = {k.outer for k in kinds if k.way == "rows" and k.outer is not None}
    if len(found) > 1:
        raise _Mixed("which meets samples in different orders")
    return found.pop() if found else None


def _of_view(x: TensorType, y: TensorType, outer: int | None) -> int | None:
    """The order after a reshape, which leaves the elements where they are."""
    before, after = batch_axis(x), batch_axis(y)
    assert before is not None and after is not None
    outer = 1 if outer is None else outer
    found = Fraction(outer * _product(x.shape[:before]), _product(y.shape[:after]))
    multiple = y.shape[after].multiple  # type: ignore[union-attr]
    if found.denominator != 1 or multiple % found.numerator:
        raise _Mixed("which takes samples apart")
    return found.numerator


def _product(dims: Sequence[Dim]) -> int:
    made = numel(dims)
    assert isinstance(made, int)
    return made


def _leaves(node: Node, types: Sequence[TensorType], axis: int | None) -> bool:
    """Whether each sample stays where it is, of a node that moves elements or looks through windows."""
    if axis is None or any(has_batch(t) and batch_axis(t) != axis for t in types):
        return False
    if any(t.shape[axis] != node.types[0].shape[axis] for t in types if has_batch(t)):
        return False
    if node.op.joins:
        return bool(node.attrs["axis"] != axis)
    if axis == 0:
        return node.op.row_by_row(**node.attrs)
    # Lists for each axis (slices, pads): as they would be, were the batch the first
    lists = {k: v for k, v in node.attrs.items() if isinstance(v, tuple)}
    if node.op.kind != "movement" or any(v and len(v) != types[0].rank for v in lists.values()):
        axes = node.attrs.get("axes")
        return node.op.kind == "movement" and axes is not None and axis not in axes
    turned = {k: (v[axis], *v[:axis], *v[axis + 1 :]) if v else v for k, v in lists.items()}
    return node.op.row_by_row(**{**node.attrs, **turned})
