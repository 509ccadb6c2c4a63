"""Whether tensors of a model differ between training and inference.

Enters: a tensor of a model, with the calls behind it. Leaves: a bool, found by tracing each call in both
modes: what custom layers and functions of K do counts as what ours do.
"""

from __future__ import annotations

from typing import Any

from kcompile.ir.digest import fingerprint
from kcompile.keras.settings import fixed_phase, samples_of
from kcompile.keras.topology import back_from
from kcompile.keras.tracing import Trace, tracing


def uses_phase(x: Any) -> bool:
    """Whether a tensor depends on the learning phase. On none, once `set_learning_phase` fixed it."""
    return fixed_phase() is None and any(map(differs, back_from([x])[0]))


def differs(node: Any) -> bool:
    """Whether a call is another graph in training."""
    plain = node.layer.is_input or (node.layer.runs_on_arrays and _fed(node) is None)
    return not plain and _digest(node, True) != _digest(node, False)


def _fed(node: Any) -> Any:
    """The inputs of the graphs of a model that begins with texts; None of any other layer."""
    return node.layer.fed if getattr(node.layer, "prelude", None) is not None else None


def _digest(node: Any, training: bool) -> str:
    trace = Trace("phases", training)
    inputs = [trace.input(f"x{i}", x.type) for i, x in enumerate(_fed(node) or node.inputs)]
    if _fed(node) is not None:
        trace.fed.add(id(node.layer))
    with tracing(trace.graph), samples_of(node.inputs):
        made = node.layer.emit(trace.graph, node, inputs)
    trace.graph.outputs = {f"y{i}": y.value for i, y in enumerate(made)}
    return fingerprint(trace.graph)
