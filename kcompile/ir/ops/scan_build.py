"""Making scans, from a step written over tensors.

Every scan is made by `build`, which moves work out of the loop: what depends on invariants alone, and
what depends on the sequences alone (an input projection becomes one product over all steps), is
computed before; products that only leave as outputs (an input's gradient) after. So the body holds the
recurrence and nothing else, forward and backward.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.ops.movement import reshape
from kcompile.ir.rewrite import copy
from kcompile.ir.tensor import Tensor, emit
from kcompile.ir.types import Batch, Shape, TensorType

Tensors = Sequence[Tensor]
Step = Callable[[list[Tensor], list[Tensor], list[Tensor]], tuple[Tensors, Tensors]]


def scan(
    step: Step,
    states: Tensors,
    sequences: Tensors,
    invariants: Tensors = (),
    length: int | None = None,
    reverse: bool = False,
    body: Graph | None = None,
) -> tuple[list[Tensor], list[Tensor]]:
    """Run `step(states, elements, invariants) -> (new states, outputs)` over time.

    sequences: [length, ...], time first. body: the (empty) graph to trace the step into; variables
    that the step reads there become invariants. Gives the final states, and the outputs as
    sequences. Raises ValueError when the step changes the type of a state.
    """
    graph = (*states, *sequences)[0].graph
    steps = length if length is not None else sequences[0].shape[0]
    if not isinstance(steps, int):
        raise ValueError("scan: the number of steps must be known when the model is compiled")
    inner = body if body is not None else Graph("step")
    types = [
        *(x.type for x in states),
        *(x.type.with_shape(x.shape[1:]) for x in sequences),
        *(x.type for x in invariants),
    ]
    inputs = [Tensor(inner, inner.input(f"in{i}", t)) for i, t in enumerate(types)]
    k, s = len(states), len(states) + len(sequences)
    new, outs = step(inputs[:k], inputs[k:s], inputs[s:])
    for i, x in enumerate((*new, *outs)):
        inner.outputs[f"out{i}"] = x.value
    lifted, names = _lift_variables(inner)
    free = [Tensor(graph, _read(graph, name, type)) for name, type in names]
    return build(graph, lifted, states, sequences, [*invariants, *free], steps, reverse)


def _read(graph: Graph, name: str, type: TensorType) -> Value:
    return graph.updates.get(name) or graph.variable(name, type)


def _lift_variables(body: Graph) -> tuple[Graph, list[tuple[str, TensorType]]]:
    """The body in which the variables that it reads are further inputs; and their names and types."""
    if not body.variables:
        return copied_body(body)[0], []
    new = Graph(body.name)
    table = {v: new.input(name, body.type(v)) for name, v in body.inputs.items()}
    names = []
    for node in body.live():
        if node.op.origin == "variable":
            names.append((node.attrs["name"], node.types[0]))
            table[Value(node.id)] = new.input(f"in{len(new.inputs)}", node.types[0])
        elif node.op.origin != "input":
            copy_node(new, node, table)
    new.outputs = {name: table[v] for name, v in body.outputs.items()}
    return new, names


def copy_node(graph: Graph, node: Node, table: dict[Value, Value]) -> None:
    outer, graph.current = graph.current, node.sources
    made = copy(graph, node, [table[v] for v in node.inputs])
    graph.current = outer
    for i, v in enumerate(made):
        table[Value(node.id, i)] = v


def copied_body(body: Graph) -> tuple[Graph, dict[Value, Value]]:
    """A graph that begins as the live part of a body, inputs first; and where the body's values are. Nodes
    do not change, so that graphs may have them together where they are numbered alike."""
    new, live = Graph(body.name), body.live()
    first = [v.node for v in body.inputs.values()]
    if len(live) == len(body.nodes) and first == list(range(len(first))):
        new.nodes, new.inputs, new.outputs = dict(body.nodes), dict(body.inputs), dict(body.outputs)
        values = [Value(node.id, i) for node in live for i in range(len(node.types))]
        return new, dict(zip(values, values))
    table = {v: new.input(name, body.type(v)) for name, v in body.inputs.items()}
    for node in live:
        if node.op.origin != "input":
            copy_node(new, node, table)
    new.outputs = {name: table[v] for name, v in body.outputs.items()}
    return new, table


def body_between(graph: Graph, inputs: Sequence[Value], needed: set[int], results: Sequence[Value]) -> Graph:
    """A body whose inputs and results are these values of `graph`, made of its nodes `needed`."""
    body = Graph(graph.name)
    table = {v: body.input(f"in{number}", graph.type(v)) for number, v in enumerate(inputs)}
    for id in sorted(needed):
        if Value(id) not in table:
            copy_node(body, graph.nodes[id], table)
    for number, v in enumerate(results):
        body.outputs[f"out{number}"] = table[v]
    return body


# ---------------------------------------------------------------- moving work out


def build(
    graph: Graph,
    body: Graph,
    states: Tensors,
    sequences: Tensors,
    invariants: Tensors,
    length: int,
    reverse: bool,
) -> tuple[list[Tensor], list[Tensor]]:
    """The scan of `body` (inputs: states, elements, invariants; outputs: new states, outs) in
    `graph`, after moving what does not belong in the loop out of it."""
    return _Scan(graph, body, list(states), list(sequences), list(invariants), length, reverse).make()


@dataclass
class _Scan:
    graph: Graph
    body: Graph
    states: list[Tensor]
    sequences: list[Tensor]
    invariants: list[Tensor]
    length: int
    reverse: bool
    outside: dict[Value, Tensor] = field(default_factory=dict)  # body value -> over all steps

    def make(self) -> tuple[list[Tensor], list[Tensor]]:
        inputs = list(self.body.inputs.values())
        k, s = len(self.states), len(self.states) + len(self.sequences)
        outs = list(self.body.outputs.values())[k:]
        self.constant: dict[Value, Tensor] = dict(zip(inputs[s:], self.invariants))
        self.stacked: dict[Value, Tensor] = dict(zip(inputs[k:s], self.sequences))
        self.hoist()
        reads = Counter(v for node in self.body.live() for v in node.inputs)
        reads.update(self.body.outputs.values())
        sunk = {v: self.sinkable(v) if reads[v] == 1 else None for v in outs}
        kept = dict.fromkeys(v for v in outs if sunk[v] is None and v not in self.outside_values())
        for node in sunk.values():
            if node is not None and node.inputs[0] not in self.outside_values():
                kept[node.inputs[0]] = None
        finals, made = self.emit(list(self.body.outputs.values())[:k], list(kept))
        stacks = {**self.outside_values(), **dict(zip(kept, made))}
        results = []
        for v in outs:
            node = sunk[v]
            if v in stacks:
                results.append(stacks[v])
            elif node is not None:
                with self.graph.source(*node.sources):
                    results.append(
                        self.over_time(node, [stacks[node.inputs[0]], self.constant[node.inputs[1]]])
                    )
        return finals, results

    def outside_values(self) -> dict[Value, Tensor]:
        """Values of the body that are known for all steps without the loop."""
        return self.stacked

    def hoist(self) -> None:
        """Compute before the loop what depends on invariants alone, and what depends on elements too where
        that is a product or follows one."""
        batched = self.batched_products()
        for node in self.body.nodes.values():
            if not _movable(node):
                continue
            sources = [self.body.nodes[v.node] for v in node.inputs]
            fixed = [v in self.constant or m.op.origin == "constant" for v, m in zip(node.inputs, sources)]
            value = Value(node.id)
            if all(fixed):
                with self.graph.source(*node.sources):
                    made = copy(self.graph, node, [self.fixed(v).value for v in node.inputs])
                self.constant[value] = Tensor(self.graph, made[0])
            elif node.id in batched:
                with self.graph.source(*node.sources):
                    self.stacked[value] = self.over_time(
                        node, [self.stacked[v] if v in self.stacked else self.fixed(v) for v in node.inputs]
                    )

    def fixed(self, value: Value) -> Tensor:
        if value not in self.constant:
            node = self.body.nodes[value.node]
            self.constant[value] = Tensor(self.graph, copy(self.graph, node, [])[0])
        return self.constant[value]

    def batched_products(self) -> set[int]:
        """Nodes to be computed over all steps at once: products of elements and invariants, what
        they need, and the elementwise ops that follow them."""
        invariant = {v.node for v in self.constant}
        stackable = {v.node for v in self.stacked}  # may be computed over all steps
        products: set[int] = set()
        for node in self.body.nodes.values():
            operands = {v.node for v in node.inputs}
            if not _movable(node) or not self.are_known(operands, invariant | stackable):
                continue
            if not operands & stackable:
                invariant.add(node.id)
            elif self.liftable(node, invariant):
                stackable.add(node.id)
                if node.op.kind == "contraction" or operands & products:
                    products.add(node.id)
        for node in reversed(self.body.nodes.values()):
            if node.id in products:
                products.update(v.node for v in node.inputs if v.node in stackable)
        return products

    def are_known(self, nodes: set[int], known: set[int]) -> bool:
        return all(id in known or self.body.nodes[id].op.origin == "constant" for id in nodes)

    def liftable(self, node: Node, invariant: set[int]) -> bool:
        """Whether `over_time` can compute the node for operands that are sequences."""
        if node.op.kind == "elementwise":
            return all(self.body.type(v).rank <= node.types[0].rank for v in node.inputs)
        right = node.inputs[1].node in invariant if len(node.inputs) == 2 else False
        return right and 0 in node.op.rowwise(**node.attrs)

    def sinkable(self, value: Value) -> Node | None:
        """The product behind an output that nothing else reads, when it is only needed after the loop."""
        node = self.body.nodes[value.node]
        able = 0 in node.op.rowwise(**node.attrs)
        if value in self.stacked or not able or node.inputs[1] not in self.constant:
            return None
        return node

    def over_time(self, node: Node, operands: list[Tensor]) -> Tensor:
        """Compute a node for all steps at once: time and batch together are rows."""
        if node.op.kind == "elementwise":
            rank = node.types[0].rank + 1
            aligned = [self.align(x, self.body.type(v), rank) for x, v in zip(operands, node.inputs)]
            return emit(node.op, aligned, **node.attrs)
        x = operands[0]
        rows = reshape(x, merge_time(x.shape))
        made = emit(node.op, [rows, operands[1]], **node.attrs)
        return reshape(made, (self.length, *node.types[0].shape))

    def align(self, x: Tensor, type: TensorType, rank: int) -> Tensor:
        """The sequence with size-1 axes behind time, where its elements have a lower rank than the
        result's."""
        if x.rank == type.rank or x.rank == rank:
            return x
        return reshape(x, (x.shape[0], *(1,) * (rank - x.rank), *x.shape[1:]))

    def emit(self, new: Sequence[Value], outs: Sequence[Value]) -> tuple[list[Tensor], list[Tensor]]:
        """Add the scan of what is left in the body. Gives final states and outputs."""
        inputs = list(self.body.inputs.values())
        k = len(self.states)
        for node in self.body.live():  # arrays lie outside, numbers are part of the code
            if node.op.origin == "constant" and node.types[0].rank:
                self.fixed(Value(node.id))
        fixed = [v for v in self.constant if self.body.nodes[v.node].op.origin != "constant"]
        fixed += [v for v in self.constant if v not in fixed and self.body.type(v).rank]
        needed = ancestors(self.body, [*new, *outs], {*fixed, *self.stacked})
        read = {v for id in needed for v in self.body.nodes[id].inputs} | {*new, *outs}
        sequences = [v for v in self.stacked if v in read]
        invariants = [v for v in fixed if v in read]
        inner = body_between(self.body, [*inputs[:k], *sequences, *invariants], needed, [*new, *outs])
        operands = [
            *self.states,
            *(self.stacked[v] for v in sequences),
            *(self.constant[v] for v in invariants),
        ]
        node = self.graph.add(
            "scan",
            [x.value for x in operands],
            regions=(inner,),
            length=self.length,
            states=k,
            steps=len(sequences),
            reverse=self.reverse,
        )
        made = [Tensor(self.graph, Value(node.id, i)) for i in range(len(node.types))]
        return made[:k], made[k:]


def _movable(node: Node) -> bool:
    """Whether a node may leave the loop: random numbers are made again at every step, not kept."""
    return bool(node.inputs) and len(node.types) == 1 and node.op.kind != "random"


def ancestors(body: Graph, values: Sequence[Value], known: set[Value]) -> set[int]:
    """The nodes that compute these values, up to known ones."""
    found: set[int] = set()
    stack = list(values)
    while stack:
        value = stack.pop()
        if value in known or value.node in found:
            continue
        found.add(value.node)
        stack.extend(body.nodes[value.node].inputs)
    return found


def merge_time(shape: Shape) -> Shape:
    """[time, rows, ...] with the first two axes as one."""
    length, rows = shape[0], shape[1]
    if isinstance(length, int):
        return (rows * length, *shape[2:])
    if isinstance(rows, Batch):
        raise ValueError("the batch occurs twice")
    return (length * rows, *shape[2:])
