"""What a graph computes, as a name: a digest of its content.

Enters: a graph. Leaves: a text that is equal for graphs that compute the same, in any process, and that
differs when an op, an attribute, a type, a constant, the boundary or a region does. Names of
inputs, variables and outputs, names of layers and numbers of nodes are labels: their places count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from kcompile.ir.described import DType, StaticShape
from kcompile.ir.graph import Graph, Value
from kcompile.ir.types import TensorType

_PLAIN = {type(None), bool, int, float, str}  # whose repr says type and value


def fingerprint(graph: Graph) -> str:
    """The digest of a graph. Raises TypeError for an attribute that has no content defined here."""
    places: dict[int, int] = {}
    types: dict[TensorType, str] = {}
    declared = {
        value.node: f"{kind} {place}"
        for kind, table in (("input", graph.inputs), ("variable", graph.variables))
        for place, value in enumerate(table.values())
    }

    def name(value: Value) -> tuple[int, int]:
        return places[value.node], value.output

    def text(type: TensorType) -> str:
        return types.get(type) or types.setdefault(type, content(type))

    lines = []
    for node in graph.live():
        places[node.id] = len(places)
        attrs = dict(node.attrs)
        if node.id in declared:
            attrs["name"] = declared[node.id]
        lines.append(
            f"{node.op.name} {[name(v) for v in node.inputs]} {[text(t) for t in node.types]} "
            f"{content(attrs)} {[fingerprint(region) for region in node.regions]}"
        )
    numbers = {variable: number for number, variable in enumerate(graph.variables)}
    lines.append(
        repr(
            (
                len(graph.inputs),
                len(graph.variables),
                [name(v) for v in graph.outputs.values()],
                [(numbers[k], name(v)) for k, v in graph.updates.items()],
            )
        )
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def content(value: Any) -> str:
    """The type and the value of an attribute, as a text that no other has. Raises TypeError for a type
    that is not known: what Python prints of it may be an address, or leave something out."""
    kind = type(value)
    if kind in _PLAIN:
        return repr(value)
    if kind in (DType, StaticShape):  # what operands say of themselves
        return content(str(value) if kind is DType else tuple(value))
    if kind is bytes:
        return f"bytes {hashlib.sha256(value).hexdigest()}"
    if kind in (tuple, list) and _PLAIN.issuperset(map(type, value)):
        return repr(value)
    if isinstance(value, (tuple, list)):
        return f"{kind.__name__}[{','.join(map(content, value))}]"
    if kind is dict or isinstance(value, Mapping):
        return f"{{{','.join(f'{k!r}:{content(v)}' for k, v in sorted(value.items()))}}}"
    if isinstance(value, np.generic):
        return f"{value.dtype.name} {value.tobytes().hex()}"
    names = _fields(kind)
    if names is not None:
        parts = ",".join([f"{name}={content(getattr(value, name))}" for name in names])
        return f"{kind.__name__}({parts})"
    raise TypeError(f"the content of an attribute of type {kind.__name__} is not defined: {value!r}")


_names: dict[type, tuple[str, ...] | None] = {}


def _fields(kind: type) -> tuple[str, ...] | None:
    """The names of a dataclass' fields."""
    if kind not in _names:
        _names[kind] = tuple(f.name for f in fields(kind)) if is_dataclass(kind) else None
    return _names[kind]
