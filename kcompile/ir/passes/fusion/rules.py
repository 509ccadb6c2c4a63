"""Whether a node may join a group that runs over a domain, and over which domain the group runs then.

Every rule is a predicate of the facts, a group and a node. In a group each value is elementwise or per-row
(`ir.domain`), and no element is computed twice unless that costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from kcompile.ir import cost
from kcompile.ir.domain import Domain
from kcompile.ir.graph import Node, Value
from kcompile.ir.passes.fusion.drafts import Draft
from kcompile.ir.passes.fusion.facts import Facts
from kcompile.ir.types import Batch, numel


def domain_with(facts: Facts, draft: Draft, node: Node, stored: bool) -> Domain | None:
    """The domain of a group when a node joins it, None where it cannot. stored: the node's value is a result
    of the group, too."""
    domain = draft.domain
    if domain is None or not draft.has_room(node):
        return None
    if draft.root.op.kind == "scatter":
        return domain if not stored and _feeds_scatter(facts, domain, node) else None
    if stored and not _can_be_result(facts, draft, node):
        return None
    if is_read_at_other_places(draft, node):
        return None
    if node.op.kind == "movement":
        return domain if not stored and _reads_through(facts, domain, node) else None
    rule = _RULES.get(node.op.kind)
    return rule(facts, draft, domain, node) if rule else None


def is_read_at_other_places(draft: Draft, node: Node) -> bool:
    """Whether a reader in the group shifts or spreads the elements of a node: each would be computed many
    times, or a row would want another row's. A movement is only a change of the index."""
    return node.op.kind != "movement" and node.id in draft.shifted


def is_under_window(facts: Facts, draft: Draft, node: Node) -> bool:
    """Whether a window in the group sees a node's elements, each many times."""
    return any(
        user.op.kind == "window" and user.id in draft.members for user in facts.readers(Value(node.id))
    )


def is_in_rows(facts: Facts, node: Node) -> bool:
    """Whether a node is an elementwise value of a row reduction that it depends on."""
    return node.id in facts.rows and facts.rows[node.id].shape == node.types[0].shape


def goes_down_columns(domain: Domain) -> bool:
    """Whether a kernel over this domain reduces axes that are not a row's."""
    return bool(domain.axes) and not domain.is_row_reduction


def could_run_at(facts: Facts, draft: Draft, node: Node) -> bool:
    """Whether everything else that a group reads is there when the node is, so that it can run that early."""
    return all(
        v.node <= node.id or facts.graph.nodes[v.node].op.in_memory
        for v in facts.operands(draft.members | draft.rematerialised)
    )


def is_same_window(root: Node, node: Node) -> bool:
    """Whether two windows go over the same elements and have results of one shape: a maximum, and where it
    is."""
    return (
        root.op.kind == "window"
        and root.inputs == node.inputs
        and root.attrs == node.attrs
        and root.types[0].shape == node.types[0].shape
    )


def _feeds_scatter(facts: Facts, domain: Domain, node: Node) -> bool:
    """Whether a scatter, which reads each element of its values once, can compute a node element by
    element."""
    if node.op.kind == "movement":
        return _reads_through(facts, domain, node)
    return node.op.kind in ("elementwise", "random") and numel(node.types[0].shape) == numel(domain.shape)


def _can_be_result(facts: Facts, draft: Draft, node: Node) -> bool:
    """Whether a kernel can store a node's value beside its root's: of any shape where it makes several passes
    over its domain, else of the root's. What a movement is the root of is written in the movement's order."""
    alike = facts.row_passes or node.types[0].shape == draft.root.types[0].shape
    return alike and draft.root.op.kind != "movement"


def _elementwise_domain(facts: Facts, draft: Draft, domain: Domain, node: Node) -> Domain | None:
    """An elementwise value has the shape of the domain. A per-row value fits where the group is reduced, or
    can be: then the row reduction that it comes from says along which axes."""
    if node.types[0].shape == domain.shape:
        return domain
    wider = domain if domain.axes else facts.rows.get(node.id, domain)
    if not domain.axes and not _widens(facts, draft, domain, wider):
        return None
    return wider if _is_per_row(facts, draft, wider, node) else None


def _reduction_domain(facts: Facts, draft: Draft, domain: Domain, node: Node) -> Domain | None:
    """A reduction joins one over the same domain, or readers that can run over its domain; its result is read
    as a per-row value."""
    wider = Domain.of_reduction(facts.graph, node)
    fits = domain == wider if domain.axes else _widens(facts, draft, domain, wider)
    return wider if fits and _is_per_row(facts, draft, wider, node) else None


_RULES: dict[str, Callable[[Facts, Draft, Domain, Node], Domain | None]] = {
    "elementwise": _elementwise_domain,
    "random": _elementwise_domain,
    "window": _elementwise_domain,
    "reduction": _reduction_domain,
}


def _widens(facts: Facts, draft: Draft, domain: Domain, wider: Domain) -> bool:
    """Whether a group without reductions can run over the domain of one."""
    if (
        domain.shape != wider.shape
    ):  # it computes numbers of rows: beside the reduction, as what depends on it
        return domain.shape in (wider.reduced_shape, wider.keepdims_shape) and all(
            facts.graph.nodes[id].op.kind == "elementwise" for id in draft.members
        )
    return facts.row_passes and (
        _has_near_rows(wider) or any(isinstance(d, Batch) for d in wider.reduced_shape)
    )


def _has_near_rows(domain: Domain) -> bool:
    """Whether a row is still in the nearest cache when the next pass goes over it."""
    row = numel([domain.shape[axis] for axis in domain.axes])
    return domain.is_row_reduction and isinstance(row, int) and row <= cost.NEAR_ROW


def _is_per_row(facts: Facts, draft: Draft, domain: Domain, node: Node) -> bool:
    """Whether a value is one number for each index that is not reduced, and all that read it in the
    group take it as that."""
    shape = node.types[0].shape
    if not domain.axes or shape not in (domain.reduced_shape, domain.keepdims_shape):
        return False
    return all(
        domain.reads_per_row(shape, user)
        and (
            user.id not in draft.rematerialised
            or user.types[0].shape == domain.shape
            or _is_per_row(facts, draft, domain, user)
        )
        for user in facts.readers(Value(node.id))
        if draft.computes(user.id)
    )


def _reads_through(facts: Facts, domain: Domain, node: Node) -> bool:
    """Whether a movement can be an index into its operand: it repeats no work, as its elements are as many as
    the domain's and its operand's cost nothing."""
    operands = [facts.graph.nodes[v.node] for v in node.inputs]
    return (
        not node.op.expensive
        and not node.op.joins  # each element would ask all parts
        and numel(node.types[0].shape) == numel(domain.shape)
        and not any(operand.op.expensive and not operand.op.in_memory for operand in operands)
    )
