"""`group`: several ops as one, which becomes one kernel. Its meaning is its body's."""

from __future__ import annotations

from typing import Any

import numpy as np

from kcompile.ir.op import Op, register
from kcompile.ir.types import TensorType


def _infer(*types: TensorType, body: Any) -> tuple[TensorType, ...]:
    declared = tuple(body.type(v) for v in body.inputs.values())
    if declared != types:
        raise ValueError(f"group: operands {types} do not fit its body's inputs {declared}")
    return tuple(body.type(v) for v in body.outputs.values())


def _meaning(*arrays: np.ndarray, body: Any, n: int, precision: str) -> tuple[np.ndarray, ...]:
    from kcompile.ir.interpreter import run

    result = run(body, n, dict(zip(body.inputs, arrays)), {}, precision)
    return tuple(result.outputs.values())


register(
    Op(
        "group",
        "composite",
        lambda *types, body, n, precision: _infer(*types, body=body),
        _meaning,
        expensive=True,
    )
)
