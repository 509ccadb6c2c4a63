"""From a fused group to a kernel: enters a `group` node, leaves a `Kernel` of the target's back end.

The two back ends (`cpu`, `gpu`) are equals and do not know of each other. Both inline the ops of a group
by the same rules (`groups`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kcompile.codegen.groups.elements import Windows
from kcompile.codegen.program import Kernel, Launch, Ref
from kcompile.codegen.targets import Target
from kcompile.ir.graph import Graph, Node


class Backend(Protocol):
    """The functions that a back end, which is a module, offers."""

    def lower_group(
        self, name: str, node: Node, target: Target, aliased: bool = False, windows: Windows = ()
    ) -> Kernel:
        """The kernel of a group. Its buffers are the group's operands, then its results. `aliased`: a
        result may be written over an operand. windows: of the buffers, where some have them (on processors
        only). Raises ValueError for a group that it cannot compute."""

    def lower_persistent(
        self, name: str, groups: Sequence[tuple[Node, Sequence[Ref]]], count: int, target: Target
    ) -> Launch | None:
        """One launch of a persistent kernel, which runs `groups`, each with the places of its buffers,
        `count` times in order; each sample depends on itself alone. None where a launch for each group and
        step is better."""


def backend(target: Target) -> Backend:
    """The back end of a target. Its module is loaded when the first target needs it: most processes compile
    for one kind of processor."""
    if target.is_gpu:
        from kcompile.codegen.gpu import backend as gpu

        return gpu
    from kcompile.codegen.cpu import backend as cpu

    return cpu


class Kernels:
    """The kernels of an entry. Groups that compute the same have one kernel: deep models are made of equal
    layers, whose code is generated once."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.backend = backend(target)
        self.made: dict[object, Kernel] = {}

    def of(self, node: Node, name: str, aliased: bool = False, windows: Windows = ()) -> Kernel:
        """The kernel of a group; see `Backend.lower_group`. name: begins the name of a new kernel."""
        body = node.body
        windows = tuple(windows) if any(windows) else ()
        key = (signature(body), aliased, windows)
        if key not in self.made:
            self.made[key] = self.backend.lower_group(
                f"{name}_{body.name}", node, self.target, aliased, windows
            )
        return self.made[key]

    def persistent(
        self, name: str, groups: Sequence[tuple[Node, Sequence[Ref]]], count: int
    ) -> Launch | None:
        """All steps of a scan; see `Backend.lower_persistent`."""
        return self.backend.lower_persistent(name, groups, count, self.target)


def signature(body: Graph) -> object:
    """The structure of a group's body, as a key: equal for bodies that need the same code, whatever layer
    they are from. (`ir.digest.fingerprint` tells the same apart, and takes ten times as long.)"""
    return (
        tuple(
            (m.op.name, m.inputs, tuple(sorted(m.attrs.items())), m.types, tuple(map(signature, m.regions)))
            for m in body.nodes.values()
        ),
        tuple(body.outputs.values()),
    )
