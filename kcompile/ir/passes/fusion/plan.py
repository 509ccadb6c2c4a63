"""The plan of fusion: which nodes become one kernel, as data that nothing changes.

Each stage of fusion takes a plan and gives another. Its text says for every group, in the order in which they
run, what it computes, what of this is rematerialised (`again`, as others may do too), and what it stores.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from kcompile.ir.domain import Domain
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.passes.fusion.facts import Facts, is_anchor, is_scalar_constant
from kcompile_runtime.texts import printable


@dataclass(frozen=True)
class FusedGroup:
    """A kernel to be; nodes are named by their ids.

    root: the node that the group was made for. place: of the group in the order of execution, the id of a
    node. members: nodes that are computed here, in order, the root among them. rematerialised: nodes that are
    computed here and, it may be, in other groups that read them. domain: what the kernel runs over, None
    where no other node can join. operands, outputs: what it reads and stores, once all groups are there
    (`boundary`).
    """

    root: int
    place: int
    members: tuple[int, ...]
    rematerialised: tuple[int, ...] = ()
    domain: Domain | None = None
    operands: tuple[Value, ...] = ()
    outputs: tuple[Value, ...] = ()

    @property
    def nodes(self) -> list[int]:
        """All that is computed here, in order."""
        return sorted({*self.members, *self.rematerialised})


@dataclass(frozen=True)
class FusionPlan:
    """The groups that a graph becomes."""

    facts: Facts = field(repr=False)
    groups: tuple[FusedGroup, ...] = ()

    @property
    def graph(self) -> Graph:
        return self.facts.graph

    def anchor(self, group: FusedGroup) -> Node | None:
        """The contraction or scan that a group is made around."""
        root = self.graph.nodes[group.root]
        return root if is_anchor(root) else None

    def epilogue(self, group: FusedGroup) -> tuple[int, ...]:
        """The members after the anchor; empty where there is none."""
        return tuple(id for id in group.members if id != group.root) if self.anchor(group) else ()

    def __str__(self) -> str:
        return "\n".join([f"fusion plan of {printable(self.graph.name)}", *self._lines()])

    def _lines(self) -> Iterator[str]:
        for node in self.facts.nodes:
            if node.op.in_memory and not is_scalar_constant(node):
                yield f"  {_line(node)}"
        for number, group in enumerate(self.groups):
            root = self.graph.nodes[group.root]
            over = ""
            if group.domain is not None:
                over = f" over {list(group.domain.shape)}"
                over += f" reducing axes {list(group.domain.axes)}" if group.domain.axes else ""
            yield f"  group {number}: {root.op.name} %{root.id}{over}"
            for id in group.nodes:
                again = "  again" if id not in group.members else ""
                yield f"    {_line(self.graph.nodes[id])}{again}"
            if group.outputs:
                yield f"    -> {', '.join(map(_name, group.outputs))}"


def _line(node: Node) -> str:
    """A node with its operands; a source with its name, or with the value of a constant."""
    named = node.attrs.get("name", node.attrs.get("value"))
    inside = [printable(str(named))] if node.op.in_memory else map(_name, node.inputs)
    return f"%{node.id} = {node.op.name}({', '.join(inside)})"


def _name(value: Value) -> str:
    return f"%{value.node}.{value.output}" if value.output else f"%{value.node}"
