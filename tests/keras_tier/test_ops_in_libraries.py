"""Functions of keras.ops in exported libraries, which give what compiled models and the interpreter give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ops_cases import CASES, IMAGE_CASES

import kcompile
import kcompile_runtime
from kcompile import keras3
from kcompile.interpreted import InterpreterEngine
from kcompile.ir.tensor import Tensor
from kcompile.keras import keras3_ops as ops
from kcompile.keras.operands import leaves, map_leaves

ALL = {**CASES, **IMAGE_CASES}
# Of values alone, or with an argument that is numbers known now
VALUES = {"bincount", "eig", "nonzero", "polar", "unique", "view_as_complex", "view_as_real"}
NO_TENSOR = {"convert_to_numpy", "dtype", "is_tensor", "ndim", "shape", "size"}
KEPT = ("float32", "int32", "uint32")  # dtypes of weights; other arrays are constants
QUICK = (
    *("solve", "left_shift", "stft", "gaussian_blur", "segment_sum", "histogram", "scatter_update"),
    *("rearrange", "searchsorted"),
)
TOGETHER = 25  # calls in one model


class Call(keras3.layers.Layer):
    """The results of a call, in a row of floats, of arrays that are weights: so they are computed in the
    library, and, as the input is among what they depend on, in every call."""

    def __init__(self, function: str, args: Any, kwargs: Any) -> None:
        super().__init__()
        self.function, self.given = function, (list(args), dict(kwargs))

    def build(self, shape: Any) -> None:
        self.kept: list[Any] = []

        def weight(x: Any) -> Any:
            if not isinstance(x, np.ndarray) or not x.size or not x.ndim or x.dtype.name not in KEPT:
                return x
            self.kept.append(self.add_weight(shape=x.shape, dtype=x.dtype.name, trainable=False))
            self.kept[-1].assign(x)
            return self.kept[-1]

        args, kwargs = self.given
        held = 1 if self.function in ("stft", "istft") else len(args)  # windows are numbers that are known
        self.arguments = [*map_leaves(weight, args[:held]), *args[held:]], kwargs
        if held == len(args):
            self.arguments = self.arguments[0], map_leaves(weight, kwargs)

    def call(self, x: Any) -> Any:
        nothing = ops.sum(x) * 0

        def operand(v: Any) -> Any:
            if not any(v is kept for kept in self.kept):
                return v
            return v + nothing if v.dtype == "float32" else ops.convert_to_tensor(v)

        args, kwargs = map_leaves(operand, self.arguments)
        functions = ops.SUBMODULES["image"] if self.function in IMAGE_CASES else vars(ops)
        made = functions[self.function](*args, **kwargs)
        parts = leaves([tuple(made) if isinstance(made, tuple) else made])
        flat = [ops.reshape(ops.cast(y, "float32"), (1, -1)) for y in parts if isinstance(y, Tensor)]
        return ops.concatenate(flat, 1) + 0 * x


def _check(names: list[str], folder: Path, each: int | None = None) -> None:
    x = keras3.Input((1,))
    calls = [(name, args, kwargs) for name in names for args, kwargs in ALL[name][:each]]
    refused = "beam_search"  # in models, with the remedy
    calls = [call for call in calls if not any(isinstance(a, str) and a == refused for a in call[1])]
    for start in range(0, len(calls), TOGETHER):
        some = calls[start : start + TOGETHER]
        model = keras3.Model(x, [Call(*call)(x) for call in some])
        compiled = kcompile.compile(model)
        library = kcompile_runtime.load(kcompile.export(compiled, folder / f"model{start}.so"))
        data = np.ones((2, 1), np.float32)
        found, native = (leaves(list(p.predict(data)) if len(some) > 1 else [p.predict(data)])
                         for p in (library, compiled))  # fmt: skip
        model.use_engine(InterpreterEngine(model))
        right = leaves(model.predict(data, verbose=0))
        for call, mine, other, wanted in zip(some, found, native, right, strict=True):
            np.testing.assert_allclose(mine, other, 1e-6, 1e-6, err_msg=str(call))
            np.testing.assert_allclose(mine, wanted, 3e-5, 3e-6, err_msg=str(call))


def test_functions_of_each_family_in_a_library(tmp_path: Path) -> None:
    _check(list(QUICK), tmp_path, each=1)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_every_function_in_a_library(part: int, tmp_path: Path) -> None:
    _check(sorted(set(ALL) - VALUES - NO_TENSOR)[part::8], tmp_path)
