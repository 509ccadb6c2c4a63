"""The gradient of a scan: a scan the other way, over the gradient of its body.

Enters: a scan as its gradient rule sees it. Leaves: a gradient for each state, sequence and invariant.
"""

from __future__ import annotations

from collections.abc import Sequence

from kcompile.ir.gradient import pull_back
from kcompile.ir.graph import Graph, Value
from kcompile.ir.op import Call
from kcompile.ir.ops.movement import broadcast_to, reshape
from kcompile.ir.ops.scan_build import ancestors, build, copied_body, copy_node, merge_time
from kcompile.ir.tensor import Tensor, constant, emit
from kcompile.ir.types import Batch, TensorType


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
        self.inner, table = copied_body(body)
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
            return reshape(self.over_time(node.inputs[0], stacks), node.types[0].shape)
        operands = [reshape(stacks[v], merge_time(stacks[v].shape)) for v in node.inputs]
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
            d if d is not None else broadcast_to(constant(inner, 0, x.dtype), x.shape)
            for d, x in zip(states, seeds)
        ]
        totals = [(i, d) for i, d in enumerate(sums) if d is not None]
        carried = [Tensor(inner, inner.input(f"sum{i}", d.type)) for i, d in totals]
        added = [c + d for c, (_, d) in zip(carried, totals)]
        new, outs = [d.value for d in (*zero_states, *added)], list(self.outs)
        _, read = self.cone([*new, *outs], set(self.forward_values()))
        saved = self.residuals(read)
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
                copy_node(body, inner.nodes[id], table)
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
        needed = ancestors(self.inner, results, known)
        return needed, {v for id in needed for v in self.inner.nodes[id].inputs} | {*results}

    def residuals(self, read: set[Value]) -> list[Value]:
        """The forward values to save, of those that the gradient reads: what can be recomputed from the
        others is, as memory is dearer than cheap operations."""
        nodes, fixed = self.inner.nodes, self.inputs[self.s :]
        saved = {
            v
            for v in read | self.kept
            if v.node < self.border and nodes[v.node].op.origin != "constant" and v not in fixed
        }
        given = {*fixed, *self.kept, *(saved & {*self.inputs})}
        for value in sorted(saved - given, reverse=True):
            if self.is_recomputable(value, given | (saved - {value})):
                saved.remove(value)
        return sorted(saved)

    def is_recomputable(self, value: Value, known: set[Value]) -> bool:
        """Whether cheap operations give a forward value from known ones."""
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
        again, _ = copied_body(body)  # `inner` began as the same copy: its values are numbered alike
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
        return broadcast_to(constant(self.graph, 0, type.dtype), type.shape)

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
