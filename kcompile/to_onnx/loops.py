"""The rule of a loop over time: ONNX' Scan, whose body reads what does not change from around it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kcompile.ir.graph import Node
from kcompile.ir.types import TensorType
from kcompile.to_onnx.writer import Form, Made, Rule, Writer, known_values

_SCALAR = TensorType((), "float32")


def scan_rule(rules: Mapping[str, Rule]) -> Rule:
    """The rule, whose body is written by these rules."""

    def rule(w: Writer, node: Node) -> Made:
        states, steps = node.attrs["states"], node.attrs["steps"]
        body, file = node.body, w.file
        inside = list(body.inputs.values())
        given = {v: array for v, x in zip(inside[states + steps :], node.inputs[states + steps :])
                 if (array := w.array(x)) is not None}  # fmt: skip
        inner = Writer(body, file, known_values(body, {}, given))
        label = w.label
        for number, value in enumerate(inside):
            if value in inner.forms:
                continue
            if number < states + steps:
                name = file.unused(f"{label}/{'state' if number < states else 'step'}")
                inner.inputs.append((name, body.type(value)))
                inner.forms[value] = Form(plain=name)
            else:
                inner.forms[value] = Form(plain=w.name(node.inputs[number]))
        scanned = [w.name(v) for v in node.inputs[states : states + steps]]
        if not steps:  # what says how often
            scanned.append(w.constant(np.zeros(node.attrs["length"], np.float32)))
            name = file.unused(f"{label}/step")
            inner.inputs.append((name, _SCALAR))
        inner.translate(rules)
        for value in body.outputs.values():
            inner.give(value, "")
        made = len(node.types) - states
        way = int(node.attrs["reverse"])
        names: list[str] = w.op(
            "Scan",
            *(w.name(v) for v in node.inputs[:states]),
            *scanned,
            results=max(len(node.types), 1),
            body=inner,
            num_scan_inputs=len(scanned),
            scan_input_directions=[way] * len(scanned),
            scan_output_directions=[way] * made,
        )
        return names

    return rule
