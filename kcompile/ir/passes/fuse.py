"""fuse: ops become groups, each of them one kernel that writes memory once.

Two kinds of group:
- a contraction takes the elementwise ops that follow it as its epilogue (bias, activation, residual
  addition, an optimizer's update of the weights whose gradient it is). Such a group runs at the place
  of the contraction, so everything else it reads must come earlier in the order of the graph;
- any other op that must be in memory is the root of a group with a `Domain`, and takes in what computes
  over the same domain: elementwise ops, reductions of it, and where these go along rows also what
  depends on them (softmax and its gradient are one group). What others read too is a further result.

Nodes are placed from last to first, each with its readers known. A node joins the earliest of them, so
the order of groups holds by construction. Comparisons, broadcasts, scalars and the like cost nothing,
and an elementwise op over one large operand costs little: they are repeated in every group that wants
them. Reshapes of values in memory are views and stay outside.

A group is bounded: of a chain it takes `cost.GROUP_DEPTH` nodes, altogether `cost.GROUP_NODES`, and the
rest begins another group. Code is made of a group by walking down its chains, and registers are few.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from kcompile.ir import cost
from kcompile.ir.domain import Domain, only_ones
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.passes.arrange import arrange, materialise
from kcompile.ir.rewrite import copy
from kcompile.ir.types import Batch, Shape, numel


def fuse(graph: Graph, sweeps: bool = True) -> Graph:
    """See the module. In the result every node that computes is a `group`.

    sweeps: whether a kernel can go over its space several times, and store results of the space's
    shape beside reduced ones. Without it all results of a group have one shape, and no element
    depends on a reduction of others.
    """
    return _Fusion(arrange(materialise(graph)), sweeps).run()


def is_column(shape: Shape, columns: Shape) -> bool:
    """Whether an operand of this shape, broadcast to [rows..., columns...], varies only by column."""
    stripped = shape[-len(columns) :] if columns else ()
    lead = shape[: len(shape) - len(stripped)]
    return stripped == columns and all(d == 1 for d in lead)


def is_row(shape: Shape, rows: Shape, columns: Shape) -> bool:
    """Whether it varies only by row."""
    return shape == rows + (1,) * len(columns)


@dataclass(eq=False)
class _Group:
    """A kernel to be. members: nodes that move here. repeats: cheap nodes that are computed here again.
    displaced: members, repeats or operands that some reader in the group reads at an index other than its own
    (a shifted window, a transpose). place: order of execution, the id of a node. space: None where no
    other op can join. heights: for each node that it has or reads, the length of the longest chain from there
    to a result."""

    place: int
    space: Domain | None = None
    members: set[int] = field(default_factory=set)
    repeats: set[int] = field(default_factory=set)
    displaced: set[int] = field(default_factory=set)
    heights: dict[int, int] = field(default_factory=dict)
    outputs: list[Value] = field(default_factory=list)


class _Fusion:
    def __init__(self, graph: Graph, sweeps: bool) -> None:
        self.graph = graph
        self.sweeps = sweeps
        self.nodes = graph.live()
        self.users = graph.users()
        self.results = set(graph.results())
        self.group_of: dict[int, _Group] = {}
        self.groups: list[_Group] = []
        self.readers: dict[int, dict[int, _Group]] = {}  # node -> groups that compute with it
        self.viewers: dict[int, list[_Group]] = {}  # node -> groups that read a view of it in memory
        self.depth: dict[int, int] = {}  # of cheap nodes that are repeated
        self.rows = self.after_rows()
        self.free = self.costing_nothing()

    # ---- what a node is

    def is_source(self, node: Node) -> bool:
        return node.op.in_memory

    def is_scalar_constant(self, node: Node) -> bool:
        return node.op.origin == "constant" and node.types[0].shape == ()

    def is_view(self, node: Node) -> bool:
        return node.op.view

    def is_loop(self, node: Node) -> bool:
        """A scan: its operands are in memory, its body is fused by itself."""
        return node.op.loop

    def is_free(self, node: Node) -> bool:
        return node.id in self.free

    def costing_nothing(self) -> set[int]:
        """Nodes that are repeated wherever they are read: comparisons, broadcasts, constants, and
        scalars made of such. Of a long chain of them some are computed once."""
        free: dict[int, int] = {}  # and how many in a chain
        for node in self.nodes:
            chain = 1 + max((free.get(v.node, 0) for v in node.inputs), default=0)
            if chain > cost.FREE_CHAIN:
                continue
            cheap = node.op.kind == "elementwise" and not node.op.expensive
            scalar = cheap and node.types[0].shape == () and all(v.node in free for v in node.inputs)
            if (
                node.op.inlined
                or self.is_scalar_constant(node)
                or scalar
                or (cheap and node.types[0].dtype == "bool")
            ):
                free[node.id] = chain
        return set(free)

    def after_rows(self) -> dict[int, Domain]:
        """Nodes that depend on a reduction of rows, with its space: they want to be computed row by
        row, and not in a group that goes down the columns."""
        rows: dict[int, Domain] = {}
        for node in self.nodes:
            if node.op.kind == "reduction":
                space = Domain(self.graph.type(node.inputs[0]).shape, node.attrs["axes"])
                if space.is_row_reduction:
                    rows[node.id] = space
            elif node.op.kind == "elementwise" or node.op.view:
                found = [rows[v.node] for v in node.inputs if v.node in rows]
                if found:
                    rows[node.id] = found[0]
        return rows

    def is_cheap(self, node: Node) -> bool:
        """Whether computing a node again costs no more memory traffic than reading it: one operand
        of its size, the others small."""
        if node.op.kind != "elementwise" or node.op.expensive:
            return False
        size = numel(node.types[0].shape)
        large = [v for v in node.inputs if numel(self.graph.type(v).shape) == size]
        return len(set(large)) <= 1 and size != 1

    def values(self, node: Node) -> list[Value]:
        return [Value(node.id, i) for i in range(len(node.types))]

    def base(self, value: Value) -> Value:
        """The value in memory that a view shows."""
        while self.is_view(self.graph.nodes[value.node]):
            value = self.graph.nodes[value.node].inputs[0]
        return value

    def operands(self, ids: Iterable[int]) -> list[Value]:
        """The values that these nodes read from outside, in a fixed order."""
        inside = set(ids)
        seen: dict[Value, None] = {}
        for id in sorted(inside):
            for value in self.graph.nodes[id].inputs:
                if value.node not in inside:
                    seen[value] = None
        return list(seen)

    # ---- groups around contractions

    def grow(self, anchor: Node) -> None:
        """Take what follows a contraction, as far as its operands are there already."""
        group = _Group(anchor.id, members={anchor.id})
        depth = {anchor.id: 1}
        frontier = [anchor]
        while frontier:
            node = frontier.pop(0)
            for user, _ in self.users.get(Value(node.id), []):
                if user.id in group.members or user.id in self.group_of:
                    continue
                chain = 1 + max(depth.get(v.node, 0) for v in user.inputs)
                if chain > cost.GROUP_DEPTH or len(group.members) + len(group.repeats) > cost.GROUP_NODES:
                    continue
                helpers = self.epilogue(user, anchor, group)
                if helpers is not None:
                    depth[user.id] = chain
                    group.members.add(user.id)
                    group.repeats |= helpers
                    frontier.append(user)
        self.trim(group)
        self.groups.append(group)
        for id in group.members | group.repeats:
            self.take(group, self.graph.nodes[id], again=id in group.repeats)

    def trim(self, group: _Group) -> None:
        """Give up members that cost memory: further results made of results, which the elementwise
        ops and reductions that read them can compute as well."""

        def leaves(id: int) -> bool:
            return any(
                v in self.results or any(u.id not in group.members for u, _ in self.users.get(v, []))
                for v in self.values(self.graph.nodes[id])
            )

        for id in sorted(group.members - {group.place}, reverse=True):
            node = self.graph.nodes[id]
            readers = [u for u, _ in self.users.get(Value(id), [])]
            if (
                not node.op.expensive
                and Value(id) not in self.results
                and all(
                    u.op.kind in ("elementwise", "reduction") and u.id not in group.members | group.repeats
                    for u in readers
                )
                and all(leaves(v.node) for v in node.inputs if v.node in group.members)
            ):
                group.members.discard(id)

    def epilogue(self, user: Node, anchor: Node, group: _Group) -> set[int] | None:
        """The free nodes to repeat when `user` joins the epilogue, or None when it cannot."""
        if (
            user.op.kind != "elementwise"
            or user.types[0].shape != anchor.types[0].shape
            or user.types[0].dtype == "bool"
        ):
            return None
        helpers: set[int] = set()
        for value in user.inputs:
            if value.node in group.members:
                continue
            needed = self.available(value, anchor, 3, group)
            if needed is None:
                return None
            helpers |= needed
        return helpers

    def available(self, value: Value, anchor: Node, depth: int, group: _Group) -> set[int] | None:
        """How an epilogue gets an operand: from memory (nothing to repeat), or by repeating cheap
        elementwise nodes over such operands."""
        node = self.graph.nodes[value.node]
        spec = anchor.attrs["spec"]
        rows, columns = spec.rows, spec.j
        shape = node.types[value.output].shape
        fits = (
            numel(shape) == 1
            or shape == rows + columns
            or is_column(shape, columns)
            or is_row(shape, rows, columns)
        )
        if not fits:
            return None
        cheap = self.is_free(node) or (
            node.op.kind == "elementwise"
            and not node.op.expensive
            and len(self.users[value]) == 1
            and value not in self.results
            and node.id > anchor.id
        )
        if (
            cheap
            and depth
            and node.id not in self.group_of
            and node.op.kind in ("elementwise", "source", "movement")
            and node.op.origin != "index"
        ):
            repeats = {node.id}
            for operand in node.inputs:
                if operand.node in group.members:
                    continue
                needed = self.available(operand, anchor, depth - 1, group)
                if needed is None:
                    break
                repeats |= needed
            else:
                return repeats
        in_memory = not self.is_free(node) or self.is_source(node)
        there = node.id < anchor.id or self.is_source(node)
        return set() if there and in_memory else None

    # ---- other groups

    def place(self, node: Node) -> None:
        """Decide on one node, all of whose readers are decided."""
        if node.id in self.group_of or self.is_source(node):
            return
        wanting = [g for g in self.readers.get(node.id, {}).values() if node.id not in g.repeats]
        if self.is_view(node):
            self.view(node, wanting)
            return
        viewers = self.viewers.get(node.id, [])
        needed = min((g.place for g in (*viewers, *filter(self.is_anchored, wanting))), default=math.inf)
        leaves = needed < math.inf or any(v in self.results for v in self.values(node))
        if not wanting and not leaves:
            return
        if self.is_loop(node):
            self.start(node)
            return
        if (
            not leaves
            and all(self.has_room(g, node) for g in wanting)
            and (self.is_free(node) or self.repeats_cheaply(node, wanting))
        ):
            for group in wanting:
                self.take(group, node, again=True)
        elif not (
            self.pair(node)
            or self.join(node, wanting, needed, leaves)
            or self.stand_beside(node, wanting, needed)
        ):
            self.start(node)

    def view(self, node: Node, wanting: Sequence[_Group]) -> None:
        """A reshape that only moves ones is no more than an index; another is read from memory."""
        operand = node.inputs[0]
        ones = only_ones(node, self.graph.type(operand).shape)
        for group in wanting:
            if ones and not self.is_anchored(group) and self.has_room(group, node):
                self.take(group, node, again=True)
        viewers = [*self.viewers.get(node.id, []), *(g for g in wanting if node.id not in g.repeats)]
        self.viewers.setdefault(operand.node, []).extend(viewers)
        if Value(node.id) in self.results:
            self.results.add(operand)

    def is_anchored(self, group: _Group) -> bool:
        """Whether a group reads its operands from memory."""
        root = self.graph.nodes[group.place]
        return root.op.kind == "contraction" or self.is_loop(root)

    def take(self, group: _Group, node: Node, again: bool = False) -> None:
        """Compute a node in a group; `again` when others do so too."""
        displaces = (
            node.id in group.displaced
            or node.op.kind == "window"
            or (node.op.kind == "movement" and not (node.op.view or node.op.broadcasts))
        )
        (group.repeats if again else group.members).add(node.id)
        height = group.heights.setdefault(node.id, 1)
        if not again:
            self.group_of[node.id] = group
        for value in node.inputs:
            self.readers.setdefault(value.node, {})[id(group)] = group
            group.heights[value.node] = max(group.heights.get(value.node, 0), height + 1)
            if displaces:
                group.displaced.add(value.node)

    def has_room(self, group: _Group, node: Node) -> bool:
        """Whether a group may take a node, by its budget."""
        return len(group.heights) < cost.GROUP_NODES and group.heights.get(node.id, 1) <= cost.GROUP_DEPTH

    def start(self, node: Node) -> None:
        """A group of a node's own."""
        space: Domain | None = None
        if node.op.kind == "reduction":
            space = Domain(self.graph.type(node.inputs[0]).shape, node.attrs["axes"])
        elif node.op.kind == "scatter":
            space = Domain(self.graph.type(node.inputs[-2:][0]).shape)  # its (last) values
        elif node.op.kind not in ("window", "composite") and node.op.name != "pack_panels":
            space = Domain(node.types[0].shape)
        group = _Group(node.id, space)
        self.groups.append(group)
        self.take(group, node)

    def repeats_cheaply(self, node: Node, wanting: Sequence[_Group]) -> bool:
        """Whether several groups each compute a node for themselves."""
        depth = 1 + max(
            (self.depth.get(user.id, 0) for v in self.values(node) for user, _ in self.users.get(v, [])),
            default=0,
        )
        if (
            len(wanting) < 2
            or not self.is_cheap(node)
            or depth > cost.REPEATED_CHAIN
            or any(g.space is None or self.under_window(node, g) for g in wanting)
        ):
            return False
        self.depth[node.id] = depth
        return True

    def join(self, node: Node, wanting: Sequence[_Group], needed: float, leaves: bool) -> bool:
        """Move a node into the first group that reads it, or into one that can run this early."""
        others = leaves or len(wanting) > 1
        for group in sorted(wanting, key=lambda g: g.place):
            space = self.fits(node, group, others)
            if group in self.viewers.get(node.id, []):  # it reads the node from memory
                continue
            if space is None or (space.axes and not space.is_row_reduction and self.is_in_rows(node)):
                continue
            first = min([needed, *(g.place for g in wanting if g is not group)])
            if group.place > first:
                if not self.could_run(group, node):
                    continue
                group.place = node.id
            group.space = space
            self.take(group, node)
            return True
        return False

    def is_in_rows(self, node: Node) -> bool:
        return node.id in self.rows and self.rows[node.id].shape == node.types[0].shape

    def could_run(self, group: _Group, node: Node) -> bool:
        """Whether everything else that a group reads is there when the node is."""
        return all(
            v.node <= node.id or self.is_source(self.graph.nodes[v.node])
            for v in self.operands(group.members | group.repeats)
        )

    def pair(self, node: Node) -> bool:
        """Move a window beside another one on the same operand: a maximum, and where it is."""
        if node.op.kind != "window" or not self.sweeps:
            return False
        for group in self.readers.get(node.inputs[0].node, {}).values():
            root = self.graph.nodes[group.place]
            if (
                group.members == {root.id}
                and root.op.kind == "window"
                and root.inputs == node.inputs
                and root.attrs == node.attrs
                and root.types[0].shape == node.types[0].shape
            ):
                group.place = node.id
                self.take(group, node)
                return True
        return False

    def stand_beside(self, node: Node, wanting: Sequence[_Group], needed: float) -> bool:
        """Move a node into a group that does not read it, but reads what it reads."""
        if node.op.kind not in ("elementwise", "reduction"):
            return False
        first = min([needed, *(g.place for g in wanting)])
        shape = (node.types[0] if node.op.kind == "elementwise" else self.graph.type(node.inputs[0])).shape
        if numel(shape) == 1:
            return False
        for id in self.large_operands(node, shape):
            for group in self.readers.get(id, {}).values():
                if group.place >= first or group.space is None or node.id in group.members:
                    continue
                space = self.fits(node, group, True)
                if space is not None and space.shape == shape:
                    group.space = space
                    self.take(group, node)
                    return True
        return False

    def large_operands(self, node: Node, shape: Shape) -> list[int]:
        """Nodes of this shape that a node reads, itself or by way of one other elementwise op."""
        near = [v for v in node.inputs if self.graph.type(v).shape == shape]
        far = [
            w
            for v in near
            if self.graph.nodes[v.node].op.kind == "elementwise"
            for w in self.graph.nodes[v.node].inputs
            if self.graph.type(w).shape == shape
        ]
        return [v.node for v in dict.fromkeys([*near, *far])]

    # ---- what fits together

    def fits(self, node: Node, group: _Group, leaves: bool) -> Domain | None:
        """The space of a group when a node joins it, None where it cannot. `leaves`: the node's
        value is a result of the group, too."""
        space, shape = group.space, node.types[0].shape
        if not self.has_room(group, node):
            return None
        if space is not None and self.root(group).op.kind == "scatter":  # it reads each element once
            alike = node.op.kind in ("elementwise", "random") and numel(shape) == numel(space.shape)
            along = node.op.kind == "movement" and self.moves_along(node, space)
            return space if not leaves and (alike or along) else None
        if (
            space is None
            or (leaves and not self.could_leave(node, group))
            or (node.op.kind != "movement" and node.id in group.displaced)
        ):
            return None
        if node.op.kind in ("elementwise", "random", "window"):
            if shape == space.shape:
                return space
            wider = space if space.axes else self.rows.get(node.id, space)
            return (
                wider
                if (space.axes or self.widens(group, space, wider)) and (self.is_outer(node, group, wider))
                else None
            )
        if node.op.kind == "movement":
            return space if not leaves and self.moves_along(node, space) else None
        if node.op.kind != "reduction":
            return None
        wider = Domain(self.graph.type(node.inputs[0]).shape, node.attrs["axes"])
        if space.axes:
            return wider if space == wider and self.is_outer(node, group, wider) else None
        return wider if self.widens(group, space, wider) and (self.is_outer(node, group, wider)) else None

    def under_window(self, node: Node, group: _Group) -> bool:
        """Whether a window in the group sees a node's elements, each many times."""
        return any(
            user.op.kind == "window" and user.id in group.members
            for user, _ in self.users.get(Value(node.id), [])
        )

    def root(self, group: _Group) -> Node:
        """The node that a group was started for."""
        return self.graph.nodes[max(group.members)]

    def could_leave(self, node: Node, group: _Group) -> bool:
        """Whether a node's value can be a further result of a group."""
        root = self.root(group)
        alike = self.sweeps or node.types[0].shape == root.types[0].shape
        return alike and root.op.kind != "movement"

    def widens(self, group: _Group, space: Domain, wider: Domain) -> bool:
        """Whether a group without reductions can run over the space of one."""
        if space.shape == wider.shape:  # what it computes goes on beside the reduction or depends on it
            if not self.sweeps:
                return False
            row = numel([wider.shape[a] for a in wider.axes])
            by_rows = wider.is_row_reduction and isinstance(row, int) and row <= cost.NEAR_ROW
            return by_rows or any(isinstance(d, Batch) for d in wider.reduced_shape)
        return space.shape in (wider.reduced_shape, wider.keepdims_shape) and all(
            self.graph.nodes[m].op.kind == "elementwise" for m in group.members
        )

    def is_outer(self, node: Node, group: _Group, space: Domain) -> bool:
        """Whether a value is one number for each index that is kept, and all that read it in the
        group take it as that."""
        shape = node.types[0].shape
        if not space.axes or shape not in (space.reduced_shape, space.keepdims_shape):
            return False
        return all(
            space.reads_per_row(shape, user)
            and (
                user.id not in group.repeats
                or self.is_outer(user, group, space)
                or user.types[0].shape == space.shape
            )
            for user, _ in self.users.get(Value(node.id), [])
            if user.id in group.members or user.id in group.repeats
        )

    def moves_along(self, node: Node, space: Domain) -> bool:
        """Whether a movement can be read through: it repeats no work."""
        return (
            not node.op.expensive
            and node.op.name != "concatenate"
            and (numel(node.types[0].shape) == numel(space.shape))
            and not any(
                self.graph.nodes[v.node].op.expensive and not self.is_source(self.graph.nodes[v.node])
                for v in node.inputs
            )
        )

    # ---- the new graph

    def run(self) -> Graph:
        for node in self.nodes:
            if node.op.kind == "contraction":
                self.grow(node)
        for node in reversed(self.nodes):
            self.place(node)
        inside = [group.members | self.closure(group) for group in self.groups]
        wanted = {self.base(v) for ids in inside for v in self.operands(ids)} | {
            self.base(v) for v in self.results
        }
        for group in self.groups:
            group.outputs = [
                value
                for id in sorted(group.members)
                for value in self.values(self.graph.nodes[id])
                if value in wanted
            ]
        return self.build()

    def build(self) -> Graph:
        new = Graph(self.graph.name)
        table: dict[Value, Value] = {}
        for node in self.nodes:
            if self.is_source(node) and not self.is_scalar_constant(node):
                with new.source(*node.sources):
                    table[Value(node.id)] = copy(new, node, [])[0]
        for group in sorted(self.groups, key=lambda group: group.place):
            self.build_group(new, group, table)
        new.outputs = {k: self.external(new, v, table) for k, v in self.graph.outputs.items()}
        new.updates = {k: self.external(new, v, table) for k, v in self.graph.updates.items()}
        return new

    def external(self, new: Graph, value: Value, table: dict[Value, Value]) -> Value:
        """A value outside groups; scalar constants and views are made when something reads them."""
        if value not in table:
            node = self.graph.nodes[value.node]
            inputs = [self.external(new, v, table) for v in node.inputs]
            with new.source(*node.sources):
                table[value] = copy(new, node, inputs)[value.output]
        return table[value]

    def build_group(self, new: Graph, group: _Group, table: dict[Value, Value]) -> None:
        root = self.graph.nodes[group.place]
        if self.is_loop(root):
            with new.source(*root.sources):
                made = copy(new, root, [self.external(new, v, table) for v in root.inputs])
            table.update(zip(self.values(root), made))
            return
        inside = group.members | self.closure(group)
        body = Graph(root.op.name)
        inner: dict[Value, Value] = {}
        operands = self.operands(inside)
        for number, value in enumerate(operands):
            inner[value] = body.input(str(number), self.graph.type(value))
        sources: dict[object, None] = {}
        for id in sorted(inside):
            node = self.graph.nodes[id]
            if id in group.members:
                sources.update(dict.fromkeys(node.sources))
            with body.source(*node.sources):
                made = copy(body, node, [inner[v] for v in node.inputs])
            inner.update(zip(self.values(node), made))
        body.outputs = {str(i): inner[v] for i, v in enumerate(group.outputs)}
        with new.source(*sources):  # type: ignore[arg-type]
            made_group = new.add("group", [self.external(new, v, table) for v in operands], regions=(body,))
        for number, value in enumerate(group.outputs):
            table[value] = Value(made_group.id, number)

    def closure(self, group: _Group) -> set[int]:
        """The repeated nodes that members, or such nodes, read."""
        needed: set[int] = set()
        stack = list(group.members)
        while stack:
            for value in self.graph.nodes[stack.pop()].inputs:
                id = value.node
                if id in group.members or id in needed:
                    continue
                if id in group.repeats or self.is_scalar_constant(self.graph.nodes[id]):
                    needed.add(id)
                    stack.append(id)
        return needed
