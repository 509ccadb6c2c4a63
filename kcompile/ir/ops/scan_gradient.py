"""The gradient of a scan: a scan the other way, over the gradient of its body.

Enters: a scan as its gradient rule sees it. Leaves: a gradient for each state, sequence and invariant.
"""

from __future__ import annotations

from collections.abc import Sequence

from kcompile.ir.gradient import pull_back
from kcompile.ir.graph import Value
from kcompile.ir.op import Call
from kcompile.ir.ops.movement import broadcast_to, reshape
from kcompile.ir.ops.scan_build import ancestors, body_between, build, copied_body, merge_time
from kcompile.ir.tensor import Tensor, constant, emit
from kcompile.ir.types import Batch, TensorType


def gradient_of_scan(call: Call, gradients: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
    """The gradients for the states, sequences and invariants of a scan, by a scan in the other direction over
    the gradient of its body. Values of the forward body that the gradient reads are kept as sequences;
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
        self.first_backward = len(self.inner.nodes)  # nodes before are forward, inputs included
        self.inputs = list(self.inner.inputs.values())
        self.results = [table[v] for v in body.outputs.values()]
        self.cotangents = list(gradients)
        self.requested: dict[Value, int] = {}  # values of the gradient's body that are outputs
        self.requested_forward: set[Value] = set()  # values of the forward body that are needed at all steps

    def make(self) -> Sequence[Tensor | None]:
        inner = self.inner
        seeds = [Tensor(inner, inner.input(f"d{i}", inner.type(v))) for i, v in enumerate(self.results)]
        found = self.pulled_back(seeds)
        states, steps = found[: self.k], found[self.k : self.s]
        parts = [self.terms(d) for d in found[self.s :]]
        hoisted = [[term for term in terms if self.row_sum_operands(term) is not None] for terms in parts]
        summed = [[term for term in terms if self.row_sum_operands(term) is None] for terms in parts]
        for d in steps:
            if d is not None:
                self.request(d.value)
        for value in (v for terms in hoisted for term in terms for v in self.row_sum_operands(term) or ()):
            self.request(value)
        sums = [self.sum_of(terms) for terms in summed]
        finals, stacks = self.run(seeds, states, sums)
        return self.collect(finals, stacks, steps, hoisted, sums)

    def pulled_back(self, seeds: Sequence[Tensor]) -> Sequence[Tensor | None]:
        """The gradients of one step for the inputs of the body, where `seeds` are those of its results."""
        used = [i for i in range(len(self.results)) if i < self.k or self.cotangents[i] is not None]
        targets = [Tensor(self.inner, self.results[i]) for i in used]
        return pull_back(targets, [seeds[i] for i in used], [Tensor(self.inner, v) for v in self.inputs])

    # ---- gradients of invariants

    def terms(self, d: Tensor | None) -> list[Value]:
        """The terms of a gradient that is a sum."""
        if d is None:
            return []
        stack, terms = [d.value], []
        while stack:
            value = stack.pop()
            node = self.inner.nodes[value.node]
            if (
                node.op.signs == (1, 1)
                and node.id >= self.first_backward
                and all(self.inner.type(v) == node.types[0] for v in node.inputs)
            ):
                stack.extend(node.inputs)
            else:
                terms.append(value)
        return terms

    def row_sum_operands(self, term: Value) -> tuple[Value, ...] | None:
        """The operands of a term that is a sum over the batch (then one sum can run over the batch and all
        steps); None for another term."""
        node = self.inner.nodes[term.node]
        if node.op.view and node.id >= self.first_backward:
            return self.row_sum_operands(node.inputs[0])
        first = self.inner.type(node.inputs[0]).shape[:1] if node.inputs else ()
        batched = bool(first) and isinstance(first[0], Batch)
        return node.inputs if batched and node.op.sums_rows(**node.attrs) else None

    def over_time(self, term: Value, stacks: dict[Value, Tensor]) -> Tensor:
        node = self.inner.nodes[term.node]
        if node.op.view:
            return reshape(self.over_time(node.inputs[0], stacks), node.types[0].shape)
        operands = [reshape(stacks[v], merge_time(stacks[v].shape)) for v in node.inputs]
        return emit(node.op, operands, **node.attrs)

    def sum_of(self, terms: list[Value]) -> Tensor | None:
        """The sum of the terms that have to be added up step by step; None for no terms."""
        total: Tensor | None = None
        for term in terms:
            x = Tensor(self.inner, term)
            total = x if total is None else total + x
        return total

    # ---- the two scans

    def request(self, value: Value) -> None:
        """Have a value at all steps: as an output of the gradient's body, or from the forward pass."""
        if value.node >= self.first_backward:
            self.requested.setdefault(value, len(self.requested))
        else:
            self.requested_forward.add(value)

    def run(
        self, seeds: list[Tensor], states: Sequence[Tensor | None], sums: Sequence[Tensor | None]
    ) -> tuple[list[Tensor], dict[Value, Tensor]]:
        """Make the backward scan. Gives its final states, and sequences by the value of `inner`."""
        inner = self.inner
        zero_states = [
            d if d is not None else broadcast_to(constant(inner, 0, x.dtype), x.shape)
            for d, x in zip(states, seeds)
        ]
        totals = [(i, d) for i, d in enumerate(sums) if d is not None]
        carried = [Tensor(inner, inner.input(f"sum{i}", d.type)) for i, d in totals]
        added = [c + d for c, (_, d) in zip(carried, totals)]
        new, outs = [d.value for d in (*zero_states, *added)], list(self.requested)
        _, read = self.backward_slice([*new, *outs], set(self.forward_values()))
        saved = self.residuals(read)
        needed, operands = self.backward_slice([*new, *outs], {*saved, *self.inputs})
        stacks = self.save_residuals(saved)
        used_seeds = [i for i in range(self.k, len(seeds)) if self.cotangents[i] is not None]
        sequences = {
            **{v: stacks[v] for v in saved if v in operands},
            **{seeds[i].value: self.cotangents[i] for i in used_seeds},
        }
        invariants = {
            v: x for v, x in zip(self.inputs[self.s :], self.call.inputs[self.s :]) if v in operands
        }
        starts = [x.value for x in seeds[: self.k]] + [c.value for c in carried]
        body = body_between(inner, [*starts, *sequences, *invariants], needed, [*new, *outs])
        finals, made = build(
            self.graph,
            body,
            [*map(self.state_cotangent, range(self.k)), *(self.zeros(d.type) for _, d in totals)],
            [x for x in sequences.values() if x is not None],
            list(invariants.values()),
            self.length,
            not self.reverse,
        )
        return finals, {**stacks, **dict(zip(outs, made))}

    def backward_slice(self, results: Sequence[Value], known: set[Value]) -> tuple[set[int], set[Value]]:
        """The nodes that compute the results from known values, and the operands of all of them."""
        needed = ancestors(self.inner, results, known)
        return needed, {v for id in needed for v in self.inner.nodes[id].inputs} | {*results}

    def residuals(self, read: set[Value]) -> list[Value]:
        """The forward values to save, of those that the gradient reads. What is recomputable from the others
        is left out, as memory is dearer than cheap operations."""
        nodes, fixed = self.inner.nodes, self.inputs[self.s :]
        saved = {
            v
            for v in read | self.requested_forward
            if v.node < self.first_backward and nodes[v.node].op.origin != "constant" and v not in fixed
        }
        known_values = {*fixed, *self.requested_forward, *(saved & {*self.inputs})}
        for value in sorted(saved - known_values, reverse=True):
            if self.is_recomputable(value, known_values | (saved - {value})):
                saved.remove(value)
        return sorted(saved)

    def is_recomputable(self, value: Value, known: set[Value]) -> bool:
        """Whether cheap operations compute a forward value from known ones."""
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
        """What the gradient can take from the forward pass; constants are made again."""
        return [
            Value(node.id, i)
            for node in self.inner.nodes.values()
            if node.id < self.first_backward and node.op.origin != "constant"
            for i in range(len(node.types))
        ]

    def save_residuals(self, values: Sequence[Value]) -> dict[Value, Tensor]:
        """The sequences of forward values. Elements of the scan's sequences are there; the rest are outputs
        of a second scan, like the one that is differentiated (`simplify` merges the two)."""
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

    def state_cotangent(self, state: int) -> Tensor:
        known_values = self.cotangents[state]
        return known_values if known_values is not None else self.zeros(self.call.inputs[state].type)

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
        for terms, d in zip(hoisted, sums):
            total = next(totals) if d is not None else None
            for term in terms:
                x = self.over_time(term, stacks)
                total = x if total is None else total + x
            result.append(total)
        return result
