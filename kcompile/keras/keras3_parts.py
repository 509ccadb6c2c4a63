"""Names of Keras 3 that are few in their modules: of `keras` itself, of `keras.backend`, of `keras.legacy`.

`Operation` is `Layer`: an object with a `call` over keras.ops. `Function` is a model. What `remat` marks to
be computed again in the backward pass changes no result: here the compiler chooses what is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kcompile.keras.engine import Layer as Operation
from kcompile.keras.models import Model
from kcompile.keras.policies import common_dtype
from kcompile.keras.settings import floatx
from kcompile.keras.tensors import is_integer
from kcompile.keras.utils.newer import standardize_dtype
from kcompile_runtime.errors import InputTypeError, ModelError, describe

__all__ = ["Function", "Operation", "RematScope", "is_float_dtype", "is_int_dtype", "remat", "result_type"]


def Function(inputs: Any, outputs: Any, name: str | None = None) -> Any:
    """What leads from tensors of a model to others, to be called on arrays and tensors."""
    return Model(inputs, outputs, name=name, vintage="keras3")


MODES = ("full", "activations", "larger_than", "list_of_layers", None)


class RematScope:
    """What is computed again in the backward pass, of the layers that are made inside: the compiler chooses
    by itself, so that this changes neither results nor memory."""

    def __init__(
        self, mode: str | None = "full", output_size_threshold: int = 1024, layer_names: Any = None
    ) -> None:
        if mode not in MODES:
            raise ModelError(describe("RematScope: mode", ", ".join(map(repr, MODES)), repr(mode)))
        if not is_integer(output_size_threshold):
            raise InputTypeError(
                describe("RematScope: output_size_threshold", "an integer", repr(output_size_threshold))
            )
        self.mode, self.output_size_threshold = mode, output_size_threshold
        self.layer_names = [layer_names] if isinstance(layer_names, str) else list(layer_names or [])

    def __enter__(self) -> RematScope:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def remat(f: Callable[..., Any]) -> Callable[..., Any]:
    """The function, see `RematScope`."""
    if not callable(f):
        raise InputTypeError(describe("remat", "a function", repr(f)))
    return f


def is_float_dtype(dtype: Any) -> bool:
    """Whether numbers of this dtype have fractions."""
    return standardize_dtype(dtype).startswith(("float", "bfloat"))


def is_int_dtype(dtype: Any) -> bool:
    """Whether they are whole, with a sign or without."""
    return standardize_dtype(dtype).startswith(("int", "uint"))


def result_type(*dtypes: Any) -> str:
    """The dtype of what is computed of operands of these; Python's int and float ask for no width."""
    if not dtypes:
        return floatx()
    named = [floatx() if d is None else str(getattr(d, "__name__", getattr(d, "name", d))) for d in dtypes]
    weak, strong = ([d for d in named if (d in ("int", "float")) == asked] for asked in (True, False))
    if floats := {d for d in strong if d.startswith(("float", "bfloat"))}:
        wide = {d for d in floats if d in ("float32", "float64")}
        return max(wide) if wide else floats.pop() if len(floats) == 1 else "float32"
    found = common_dtype(strong) if strong else None
    if "float" in weak:
        return floatx()
    return "int32" if found is None or (weak and found == "bool") else found
