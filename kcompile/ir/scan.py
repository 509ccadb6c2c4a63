"""Making scans: from a step written over tensors, and the gradient of one.

Every scan is made by `build`, which moves work out of the loop: what depends on invariants alone, and
what depends on the sequences alone (an input projection becomes one product over all steps), is
computed before; products that only leave as outputs (an input's gradient) after. So the body holds the
recurrence and nothing else, forward and backward.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from kcompile.ir import ops
from kcompile.ir.gradient import pull_back
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.op import Call
from kcompile.ir.rewrite import copy
from kcompile.ir.tensor import Tensor, constant, emit
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
    """The body with the variables it reads as further inputs."""
    if not body.variables:
        return _copied(body)[0], []
    new = Graph(body.name)
    table = {v: new.input(name, body.type(v)) for name, v in body.inputs.items()}
    names = []
    for node in body.live():
        if node.op.origin == "variable":
            names.append((node.attrs["name"], node.types[0]))
            table[Value(node.id)] = new.input(f"in{len(new.inputs)}", node.types[0])
        elif node.op.origin != "input":
            _copy(new, node, table)
    new.outputs = {name: table[v] for name, v in body.outputs.items()}
    return new, names


def _copy(graph: Graph, node: Node, table: dict[Value, Value]) -> None:
    outer, graph.current = graph.current, node.sources
    made = copy(graph, node, [table[v] for v in node.inputs])
    graph.current = outer
    for i, v in enumerate(made):
        table[Value(node.id, i)] = v


def _copied(body: Graph) -> tuple[Graph, dict[Value, Value]]:
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
            _copy(new, node, table)
    new.outputs = {name: table[v] for name, v in body.outputs.items()}
    return new, table


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
        late = {v: self.sinkable(v) if reads[v] == 1 else None for v in outs}
        kept = dict.fromkeys(v for v in outs if late[v] is None and v not in self.outside_values())
        for node in late.values():
            if node is not None and node.inputs[0] not in self.outside_values():
                kept[node.inputs[0]] = None
        finals, made = self.emit(list(self.body.outputs.values())[:k], list(kept))
        stacks = {**self.outside_values(), **dict(zip(kept, made))}
        results = []
        for v in outs:
            node = late[v]
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
        """Compute ahead what depends on invariants alone; and on elements, where that is a product
        or follows one."""
        wanted = self.wanted()
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
            elif node.id in wanted:
                with self.graph.source(*node.sources):
                    self.stacked[value] = self.over_time(
                        node, [self.stacked[v] if v in self.stacked else self.fixed(v) for v in node.inputs]
                    )

    def fixed(self, value: Value) -> Tensor:
        if value not in self.constant:
            node = self.body.nodes[value.node]
            self.constant[value] = Tensor(self.graph, copy(self.graph, node, [])[0])
        return self.constant[value]

    def wanted(self) -> set[int]:
        """Nodes to be computed over all steps at once: products of elements and invariants, what
        they need, and the elementwise ops that follow them."""
        free = {v.node for v in self.constant}
        able = {v.node for v in self.stacked}
        products: set[int] = set()
        for node in self.body.nodes.values():
            known = all(
                v.node in able or v.node in free or self.body.nodes[v.node].op.origin == "constant"
                for v in node.inputs
            )
            if not known or not _movable(node):
                continue
            if all(v.node not in able for v in node.inputs):
                free.add(node.id)
            elif self.liftable(node, free):
                able.add(node.id)
                if node.op.kind == "contraction" or any(v.node in products for v in node.inputs):
                    products.add(node.id)
        for node in reversed(self.body.nodes.values()):
            if node.id in products:
                products.update(v.node for v in node.inputs if v.node in able)
        return products

    def liftable(self, node: Node, free: set[int]) -> bool:
        """Whether `over_time` knows the node for operands that are sequences."""
        if node.op.kind == "elementwise":
            return all(self.body.type(v).rank <= node.types[0].rank for v in node.inputs)
        right = node.inputs[1].node in free if len(node.inputs) == 2 else False
        return right and 0 in node.op.rowwise(**node.attrs)

    def sinkable(self, value: Value) -> Node | None:
        """The product behind an output that nothing else reads, when it is only needed after the loop."""
        node = self.body.nodes[value.node]
        able = 0 in node.op.rowwise(**node.attrs)
        if value in self.stacked or not able or node.inputs[1] not in self.constant:
            return None
        return node

    def over_time(self, node: Node, operands: list[Tensor]) -> Tensor:
        """The node for all steps at once: time and batch are rows together."""
        if node.op.kind == "elementwise":
            rank = node.types[0].rank + 1
            aligned = [self.align(x, self.body.type(v), rank) for x, v in zip(operands, node.inputs)]
            return emit(node.op, aligned, **node.attrs)
        x = operands[0]
        rows = ops.reshape(x, merge(x.shape))
        made = emit(node.op, [rows, operands[1]], **node.attrs)
        return ops.reshape(made, (self.length, *node.types[0].shape))

    def align(self, x: Tensor, type: TensorType, rank: int) -> Tensor:
        """A sequence of lower rank than the result keeps time as the first axis."""
        if x.rank == type.rank or x.rank == rank:
            return x
        return ops.reshape(x, (x.shape[0], *(1,) * (rank - x.rank), *x.shape[1:]))

    def emit(self, new: Sequence[Value], outs: Sequence[Value]) -> tuple[list[Tensor], list[Tensor]]:
        """The scan node of what is left in the body."""
        inputs = list(self.body.inputs.values())
        k = len(self.states)
        needed = _ancestors(self.body, [*new, *outs], {*self.constant, *self.stacked})
        read = {v for id in needed for v in self.body.nodes[id].inputs} | {*new, *outs}
        sequences = [v for v in self.stacked if v in read]
        invariants = [
            v for v in self.constant if v in read and self.body.nodes[v.node].op.origin != "constant"
        ]
        inner = Graph(self.body.name)
        table: dict[Value, Value] = {}
        for number, v in enumerate((*inputs[:k], *sequences, *invariants)):
            table[v] = inner.input(f"in{number}", self.body.type(v))
        for id in sorted(needed):
            if Value(id) not in table:
                _copy(inner, self.body.nodes[id], table)
        for number, v in enumerate((*new, *outs)):
            inner.outputs[f"out{number}"] = table[v]
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


def _ancestors(body: Graph, values: Sequence[Value], known: set[Value]) -> set[int]:
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


def merge(shape: Shape) -> Shape:
    """[time, rows, ...] with the first two axes as one."""
    length, rows = shape[0], shape[1]
    if isinstance(length, Batch) and isinstance(rows, Batch):
        raise ValueError("the batch occurs twice")
    return (rows * length if isinstance(length, int) else length * rows, *shape[2:])  # type: ignore


# ---------------------------------------------------------------- gradient


def gradient_of_scan(call: Call, gradients: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
    """For the states, sequences and invariants of a scan: a scan in the other direction over the
    gradient of its body. Values of the forward body that the gradient reads are kept as sequences;
    gradients of invariants that are products or sums over rows are taken over all steps at once."""
    return _Backward(call, gradients).make()


class _Backward:
    def __init__(self, call: Call, gradients: Sequence[Tensor | None]) -> None:
        attrs = call.attrs
        self.call, self.graph = call, call.inputs[0].graph
        self.length, self.reverse = attrs["length"], attrs["reverse"]
        self.k, self.s = attrs["states"], attrs["states"] + attrs["steps"]
        (body,) = call.regions
        self.inner, table = _copied(body)
        self.inner.name, self.inner.outputs = f"{body.name}.gradient", {}
        self.border = len(self.inner.nodes)  # nodes before are forward, inputs included
        self.inputs = list(self.inner.inputs.values())
        self.results = [table[v] for v in body.outputs.values()]
        self.given = list(gradients)
        self.outs: dict[Value, int] = {}  # values of the gradient's body wanted at all steps
        self.kept: set[Value] = set()  # values of the forward body wanted at all steps

    def make(self) -> Sequence[Tensor | None]:
        inner = self.inner
        seeds = [Tensor(inner, inner.input(f"d{i}", inner.type(v))) for i, v in enumerate(self.results)]
        used = [i for i in range(len(self.results)) if i < self.k or self.given[i] is not None]
        targets = [Tensor(inner, self.results[i]) for i in used]
        found = pull_back(targets, [seeds[i] for i in used], [Tensor(inner, v) for v in self.inputs])
        states, steps = found[: self.k], found[self.k : self.s]
        parts = [self.leaves(d) for d in found[self.s :]]
        hoisted = [[leaf for leaf in leaves if self.rows(leaf) is not None] for leaves in parts]
        summed = [[leaf for leaf in leaves if self.rows(leaf) is None] for leaves in parts]
        for d in steps:
            if d is not None:
                self.want(d.value)
        for leaves in hoisted:
            for leaf in leaves:
                for v in self.rows(leaf) or ():
                    self.want(v)
        sums = [self.total(leaves) for leaves in summed]
        finals, stacks = self.run(seeds, states, sums)
        return self.collect(finals, stacks, steps, hoisted, sums)

    # ---- gradients of invariants

    def leaves(self, d: Tensor | None) -> list[Value]:
        """The terms of a sum."""
        if d is None:
            return []
        stack, terms = [d.value], []
        while stack:
            value = stack.pop()
            node = self.inner.nodes[value.node]
            if (
                node.op.signs == (1, 1)
                and node.id >= self.border
                and all(self.inner.type(v) == node.types[0] for v in node.inputs)
            ):
                stack.extend(node.inputs)
            else:
                terms.append(value)
        return terms

    def rows(self, leaf: Value) -> tuple[Value, ...] | None:
        """The operands of a term that sums over the batch, so that the sum may as well run over all
        steps; None for another term."""
        node = self.inner.nodes[leaf.node]
        if node.op.view and node.id >= self.border:
            return self.rows(node.inputs[0])
        first = self.inner.type(node.inputs[0]).shape[:1] if node.inputs else ()
        batched = bool(first) and isinstance(first[0], Batch)
        return node.inputs if batched and node.op.sums_rows(**node.attrs) else None

    def over_time(self, leaf: Value, stacks: dict[Value, Tensor]) -> Tensor:
        node = self.inner.nodes[leaf.node]
        if node.op.view:
            return ops.reshape(self.over_time(node.inputs[0], stacks), node.types[0].shape)
        operands = [ops.reshape(stacks[v], merge(stacks[v].shape)) for v in node.inputs]
        return emit(node.op, operands, **node.attrs)

    def total(self, leaves: list[Value]) -> Tensor | None:
        """The sum of what has to be added up step by step."""
        total: Tensor | None = None
        for leaf in leaves:
            term = Tensor(self.inner, leaf)
            total = term if total is None else total + term
        return total

    # ---- the two scans

    def want(self, value: Value) -> None:
        """Ask for a value of the gradient's body at all steps, unless the forward pass has it."""
        if value.node >= self.border:
            self.outs.setdefault(value, len(self.outs))
        else:
            self.kept.add(value)

    def run(
        self, seeds: list[Tensor], states: Sequence[Tensor | None], sums: Sequence[Tensor | None]
    ) -> tuple[list[Tensor], dict[Value, Tensor]]:
        """The backward scan. Gives its final states, and sequences by the value of `inner`."""
        inner = self.inner
        zero_states = [
            d if d is not None else ops.broadcast_to(constant(inner, 0, x.dtype), x.shape)
            for d, x in zip(states, seeds)
        ]
        totals = [(i, d) for i, d in enumerate(sums) if d is not None]
        carried = [Tensor(inner, inner.input(f"sum{i}", d.type)) for i, d in totals]
        added = [c + d for c, (_, d) in zip(carried, totals)]
        new, outs = [d.value for d in (*zero_states, *added)], list(self.outs)
        _, read = self.cone([*new, *outs], set(self.forward_values()))
        saved = self.essential(read)
        needed, operands = self.cone([*new, *outs], {*saved, *self.inputs})
        stacks = self.save(saved)
        used_seeds = [i for i in range(self.k, len(seeds)) if self.given[i] is not None]
        sequences = {
            **{v: stacks[v] for v in saved if v in operands},
            **{seeds[i].value: self.given[i] for i in used_seeds},
        }
        invariants = {
            v: x for v, x in zip(self.inputs[self.s :], self.call.inputs[self.s :]) if v in operands
        }
        body = Graph(inner.name)
        table: dict[Value, Value] = {}
        starts = [x.value for x in seeds[: self.k]] + [c.value for c in carried]
        for number, v in enumerate((*starts, *sequences, *invariants)):
            table[v] = body.input(f"in{number}", inner.type(v))
        for id in sorted(needed):
            if Value(id) not in table:
                _copy(body, inner.nodes[id], table)
        for number, v in enumerate((*new, *outs)):
            body.outputs[f"out{number}"] = table[v]
        finals, made = build(
            self.graph,
            body,
            [*map(self.start, range(self.k)), *(self.zeros(d.type) for _, d in totals)],
            [x for x in sequences.values() if x is not None],
            list(invariants.values()),
            self.length,
            not self.reverse,
        )
        return finals, {**stacks, **dict(zip(outs, made))}

    def cone(self, results: Sequence[Value], known: set[Value]) -> tuple[set[int], set[Value]]:
        """The nodes that compute the results from known values, and all operands."""
        needed = _ancestors(self.inner, results, known)
        return needed, {v for id in needed for v in self.inner.nodes[id].inputs} | {*results}

    def essential(self, read: set[Value]) -> list[Value]:
        """The forward values to save, of those that the gradient reads: what follows from the others by
        cheap operations is computed again, as memory is dearer."""
        nodes, fixed = self.inner.nodes, self.inputs[self.s :]
        saved = {
            v
            for v in read | self.kept
            if v.node < self.border and nodes[v.node].op.origin != "constant" and v not in fixed
        }
        given = {*fixed, *self.kept, *(saved & {*self.inputs})}
        for value in sorted(saved - given, reverse=True):
            if self.follows(value, given | (saved - {value})):
                saved.remove(value)
        return sorted(saved)

    def follows(self, value: Value, known: set[Value]) -> bool:
        """Whether a forward value follows from known ones by cheap operations."""
        seen, stack = set(known), [value]
        while stack:
            value = stack.pop()
            if value in seen:
                continue
            seen.add(value)
            node = self.inner.nodes[value.node]
            cheap = node.inputs and node.op.kind in ("elementwise", "movement") and not node.op.expensive
            if not cheap and node.op.origin != "constant":
                return False
            stack.extend(node.inputs)
        return True

    def forward_values(self) -> list[Value]:
        """Everything that the forward pass computed and the gradient takes as given; constants are
        made again."""
        return [
            Value(node.id, i)
            for node in self.inner.nodes.values()
            if node.id < self.border and node.op.origin != "constant"
            for i in range(len(node.types))
        ]

    def save(self, values: Sequence[Value]) -> dict[Value, Tensor]:
        """Sequences of forward values: elements as they came, the rest from a scan like the one that
        is differentiated, with more outputs (`simplify` makes one scan of the two)."""
        stacks = dict(zip(self.inputs[self.k : self.s], self.call.inputs[self.k : self.s]))
        made = [v for v in values if v not in stacks]
        (body,) = self.call.regions
        again, _ = _copied(body)  # `inner` began as the same copy: its values are numbered alike
        for v in made:
            again.outputs[f"out{len(again.outputs)}"] = v
        node = self.graph.add(
            "scan", [x.value for x in self.call.inputs], regions=(again,), **self.call.attrs
        )
        first = len(body.outputs)
        stacks.update((v, Tensor(self.graph, Value(node.id, first + i))) for i, v in enumerate(made))
        return stacks

    def start(self, state: int) -> Tensor:
        given = self.given[state]
        return given if given is not None else self.zeros(self.call.inputs[state].type)

    def zeros(self, type: TensorType) -> Tensor:
        return ops.broadcast_to(constant(self.graph, 0, type.dtype), type.shape)

    def collect(
        self,
        finals: list[Tensor],
        stacks: dict[Value, Tensor],
        steps: Sequence[Tensor | None],
        hoisted: list[list[Value]],
        sums: Sequence[Tensor | None],
    ) -> list[Tensor | None]:
        totals = iter(finals[self.k :])
        result: list[Tensor | None] = list(finals[: self.k])
        result += [None if d is None else stacks[d.value] for d in steps]
        for leaves, d in zip(hoisted, sums):
            total = next(totals) if d is not None else None
            for leaf in leaves:
                term = self.over_time(leaf, stacks)
                total = term if total is None else total + term
            result.append(total)
        return result
