"""Types as the runtime, which knows no IR, writes them.

Enters: the name and the type of an input or an output. Leaves: a `TensorSpec`.
"""

from __future__ import annotations

from kcompile.ir.types import Batch, TensorType
from kcompile_runtime.spec import TensorSpec


def spec_of(name: str, type: TensorType) -> TensorSpec:
    """The batch becomes "n", multiples of it "2n", ..."""
    dims = tuple(str(d) if isinstance(d, Batch) else d for d in type.shape)
    return TensorSpec(name, dims, type.dtype)
