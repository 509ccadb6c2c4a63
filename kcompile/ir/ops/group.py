"""`group`: several ops as one, which becomes one kernel. Its meaning is its region's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kcompile.ir.graph import Graph
from kcompile.ir.op import Op, register
from kcompile.ir.types import TensorType


def _infer(*types: TensorType, regions: tuple[Graph]) -> tuple[TensorType, ...]:
    (body,) = regions
    declared = tuple(body.type(v) for v in body.inputs.values())
    if declared != types:
        raise ValueError(f"group: operands {types} do not fit its region's inputs {declared}")
    return tuple(body.type(v) for v in body.outputs.values())


def _meaning(*arrays: np.ndarray, regions: tuple[Callable[..., list[np.ndarray]]]) -> tuple[np.ndarray, ...]:
    return tuple(regions[0](*arrays))


register(Op("group", "composite", _infer, _meaning, expensive=True))
