"""The calls between a model's inputs and its outputs, in the order that Keras gives them.

Enters: input and output tensors. Leaves: nodes, each after those it needs, and layers. Depth is the
longest way to an output; a layer is as deep as its deepest node. Nodes and layers go from the deepest
to the outputs. Among layers of equal depth, the order is that of a walk back from the outputs; among nodes
of equal depth, that of their consumers. (A layer called twice that counts or averages over calls shows it.)
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from kcompile_runtime.errors import ModelError, describe

if TYPE_CHECKING:
    from kcompile.keras.engine import Layer
    from kcompile.keras.tensors import KerasTensor, Node

trainers: weakref.WeakSet[Any] = weakref.WeakSet()  # of all models that there are
MAX_RUNS = 16_384  # layers that run when a model does: those of a model inside run in each of its calls


def tell_models(layer: Layer) -> None:
    """Their graphs are out of date where the layer is among theirs: it has other weights now."""
    mine = {id(v) for v in layer.weights}
    for trainer in list(trainers):
        if any(id(v) in mine for v in trainer.model.weights):
            trainer.changed(("predict", "test", "train"))


def count_runs(owner: str, nodes: Sequence[Node]) -> int:
    """How many layers run when a model of these nodes does, itself included. A model that calls the one
    inside twice, and so on, doubles it at each level. Raises ModelError beyond MAX_RUNS."""
    runs = 1 + sum(node.layer.runs for node in nodes)
    if runs > MAX_RUNS:
        raise ModelError(
            describe(
                owner,
                f"at most {MAX_RUNS} layers to run, those of models inside in each of their calls",
                "more",
            )
        )
    return runs


def sort_nodes(
    owner: str, inputs: Sequence[KerasTensor], outputs: Sequence[KerasTensor]
) -> tuple[list[Node], list[Layer]]:
    """Raises ModelError when an output needs a tensor that does not follow from the inputs."""
    nodes, met = back_from(outputs)
    entries = {id(x.node) for x in inputs}
    for node in nodes:
        if node.layer.is_input and id(node) not in entries:
            raise ModelError(
                f"{owner}: graph disconnected: an output needs {node.layer.label}, which "
                "is not among the inputs. Received: inputs " + ", ".join(x.name for x in inputs)
            )
    depth: dict[int, int] = {}
    layer_depth: dict[int, int] = {}
    for node in reversed(nodes):
        deep = max(depth.get(id(node), 0), layer_depth.get(id(node.layer), 0))
        depth[id(node)] = layer_depth[id(node.layer)] = deep
        for x in node.inputs:
            depth[id(x.node)] = max(deep + 1, depth.get(id(x.node), 0))
    order = {id(layer): place for place, layer in enumerate(met)}
    for x in inputs:  # an input that no output needs is still one
        if id(x.node) not in depth:
            nodes.append(x.node)
            met.append(x.layer)
            depth[id(x.node)] = layer_depth[id(x.layer)] = 0
            order[id(x.layer)] = -1
    layers = sorted(met, key=lambda layer: (-layer_depth[id(layer)], order[id(layer)]))
    known = {id(node): node for node in nodes}
    return sorted((known[key] for key in depth), key=lambda node: -depth[id(node)]), layers


def back_from(
    outputs: Sequence[KerasTensor], known: Collection[KerasTensor] = ()
) -> tuple[list[Node], list[Layer]]:
    """The nodes that make the outputs, each after those it needs, but for what makes `known` tensors;
    and their layers as they are first met. Depth first, without recursion: models may have thousands
    of layers in a row."""
    done: list[Node] = []
    met: dict[int, Layer] = {}
    seen: set[int] = set()
    for y in outputs:
        stack = [] if y in known else [(y.node, False)]
        while stack:
            node, finished = stack.pop()
            if finished:
                done.append(node)
            elif id(node) not in seen:
                seen.add(id(node))
                met.setdefault(id(node.layer), node.layer)
                stack.append((node, True))
                stack.extend((x.node, False) for x in reversed(node.inputs) if x not in known)
    return done, list(met.values())
