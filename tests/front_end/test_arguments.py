"""Arguments that make no sense are refused when a layer is made, built or called, by an error of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kcompile.keras import constraints, initializers, layers, models
from kcompile.keras import regularizers as penalties
from kcompile_runtime.errors import KcompileError

NAN, INF = float("nan"), float("inf")
FLAT, ROWS, IMAGE = (8,), (5, 3), (8, 8, 2)


def dense(**options: Any) -> Callable[[], Any]:
    return lambda: layers.Dense(2, **options)


CASES: list[tuple[str, tuple[int, ...], Callable[[], Any]]] = [
    *((f"units {v!r}", FLAT, lambda v=v: layers.Dense(v)) for v in (-1, 0, True, 2.5, NAN, "3", None)),
    *((f"rate {v!r}", FLAT, lambda v=v: layers.Dropout(v)) for v in (-0.1, 1.5, NAN, INF, "a", True)),
    *(
        (
            f"{name} {v!r}",
            IMAGE,
            lambda name=name, v=v: layers.Conv2D(**{"filters": 2, "kernel_size": 2, name: v}),
        )
        for name in ("filters", "kernel_size", "strides", "dilation_rate", "padding", "data_format")
        for v in (-1, 0, 2.5, True, (1,), (1, 2, 3), "x")
    ),
    *((f"pool {v!r}", IMAGE, lambda v=v: layers.MaxPooling2D(v)) for v in (-1, 0, 2.5, (1,), 9, "x")),
    ("windows far beyond the image", IMAGE, lambda: layers.MaxPooling2D(10**9, 1, padding="same")),
    (
        "dilation far beyond the image",
        IMAGE,
        lambda: layers.Conv2D(2, 3, dilation_rate=10**15, padding="same"),
    ),
    ("windows that take days", (64, 64, 64, 1), lambda: layers.MaxPooling3D(200, 1, padding="same")),
    *((f"axis {v!r}", FLAT, lambda v=v: layers.BatchNormalization(axis=v)) for v in (0, 3, -4, 1.5, "a")),
    *((f"momentum {v!r}", FLAT, lambda v=v: layers.BatchNormalization(momentum=v)) for v in (-0.1, 1.5, NAN)),
    *((f"softmax {v!r}", FLAT, lambda v=v: layers.Softmax(axis=v)) for v in (0, 3, 99, 1.5)),
    *((f"shared {v!r}", ROWS, lambda v=v: layers.PReLU(shared_axes=[v])) for v in (0, 3, 99, "a")),
    *(
        (
            f"{kind} {v!r}",
            FLAT,
            lambda kind=kind, v=v: layers.Dense(2, kernel_constraint=getattr(constraints, kind)(axis=v)),
        )
        for kind in ("MaxNorm", "UnitNorm", "MinMaxNorm")
        for v in (2, 99, -3, 1.5, "a", None, [0, 9])
    ),
    *(
        (f"norm {v!r}", FLAT, lambda v=v: layers.Dense(2, kernel_constraint=constraints.MaxNorm(v)))
        for v in (-1, NAN, INF, "a")
    ),
    *(
        (f"penalty {v!r}", FLAT, lambda v=v: layers.Dense(2, kernel_regularizer=penalties.L1L2(v, 0.1)))
        for v in (-1, NAN, INF, "a")
    ),
    *(
        (
            f"{kind} {v!r}",
            FLAT,
            lambda kind=kind, v=v: layers.Dense(2, kernel_initializer=getattr(initializers, kind)(v)),
        )
        for kind in (
            "RandomNormal",
            "RandomUniform",
            "TruncatedNormal",
            "VarianceScaling",
            "Orthogonal",
            "Identity",
        )
        for v in (NAN, INF, "a", None)
    ),
    *(
        (
            f"{kind} {name} {v!r}",
            ROWS,
            lambda kind=kind, name=name, v=v: getattr(layers, kind)(**{"units": 2, name: v}),
        )
        for kind in ("LSTM", "GRU", "SimpleRNN")
        for name, v in (("units", 0), ("units", 2.5), ("dropout", -0.1), ("recurrent_dropout", 1.5))
    ),
    ("a length without a size", FLAT, dense(input_length=7)),
    ("a length of another layer", (9,), lambda: layers.Reshape((3, 3), input_length=(16,))),
    ("trainable", FLAT, dense(trainable="no")),
    ("a wrapper that says nothing", FLAT, lambda: layers.Wrapper(layers.Dense(2))),
    ("steps without time", FLAT, lambda: layers.TimeDistributed(layers.Dense(2))),
    ("merge_mode", ROWS, lambda: layers.Bidirectional(layers.LSTM(2), merge_mode="x")),
]


@pytest.mark.parametrize(("shape", "make"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_arguments_out_of_range_are_refused(shape: tuple[int, ...], make: Callable[[], Any]) -> None:
    x = layers.Input(shape)
    with pytest.raises(KcompileError):
        models.Model(x, make()(x))


def test_windows_of_ordinary_use_are_taken() -> None:
    for shape, layer in (
        ((16, 2), layers.AveragePooling1D(1000, 1, padding="same")),
        ((100, 2), layers.Conv1D(2, 2, dilation_rate=2048, padding="causal")),
        ((512, 512, 1), layers.MaxPooling2D(512)),
    ):
        x = layers.Input(shape)
        assert models.Model(x, layer(x)).output_shape[0] is None
