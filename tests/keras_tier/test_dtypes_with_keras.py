"""Dtype policies, and inputs of whole numbers, against Keras 3 and tf_keras: predictions within the rounding
of a half, training, files both ways, live models by configuration and by tracing."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparing import as_list

import kcompile
from kcompile_runtime.errors import UnsupportedError

SLOW = pytest.mark.slow
HALVES = (
    "mixed_float16",
    pytest.param("mixed_bfloat16", marks=SLOW),
    pytest.param("float16", marks=SLOW),
    "bfloat16",
)
ROUNDING = {"float16": 2.0**-10, "bfloat16": 2.0**-7}
WIDTHS = (
    "uint8",
    "int16",
    *(pytest.param(d, marks=SLOW) for d in ("int8", "uint16", "int32", "uint32", "bool")),
)


def library_of(name: str) -> Any:
    return pytest.importorskip(name)


@pytest.fixture(autouse=True)
def ordinary() -> Any:
    yield
    for name in ("keras", "tf_keras"):
        if (found := importlib.sys.modules.get(name)) is not None:
            found.mixed_precision.set_global_policy("float32")


def small(library: Any, policy: str) -> Any:
    """Layers of a policy, and one of float32 after them."""
    layers = library.layers
    library.mixed_precision.set_global_policy(policy)
    x = library.Input((7, 5))
    y = layers.Conv1D(4, 3, activation="relu")(x)
    y = layers.LayerNormalization()(y)
    y = layers.GlobalAveragePooling1D()(y) if policy in ROUNDING else layers.GRU(3)(y)
    model = library.Model(x, layers.Dense(2, dtype="float32")(layers.BatchNormalization()(y)))
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.1, 0.6, w.shape) for w in model.get_weights()])
    return model


def near(got: Any, right: Any, rounding: float) -> None:
    for a, b in zip(as_list(got), as_list(right), strict=True):
        b = np.asarray(b, np.float32)
        np.testing.assert_allclose(a, b, atol=30 * rounding * max(1.0, np.abs(b).max()))


@pytest.mark.parametrize("policy", HALVES)
@pytest.mark.filterwarnings("ignore")
def test_policies_live_and_in_files_both_ways(policy: str, tmp_path: Path) -> None:
    keras = library_of("keras")
    model, half = small(keras, policy), policy.removeprefix("mixed_")
    model.compile(keras.optimizers.SGD(0.01), "mse")
    x = np.random.default_rng(1).normal(size=(4, 7, 5)).astype("float32")
    y = np.ones((4, 2), "float32")
    right = model.predict(x, verbose=0)
    model.save(tmp_path / "m.keras")
    model.save_weights(tmp_path / "m.weights.h5")
    live, traced, loaded = (
        kcompile.compile(model),
        kcompile.compile(model, examples=[x]),
        kcompile.load(tmp_path / "m.keras"),
    )
    for ours in (live, traced, loaded):
        near(ours.predict(x), right, ROUNDING[half])
    assert [w.dtype.name for w in loaded.get_weights()] == ["float32"] * len(model.weights)
    assert [layer.dtype_policy.name for layer in loaded.layers][1:] == [policy] * 4 + ["float32"]
    assert type(loaded.optimizer).__name__ == type(model.optimizer).__name__
    loaded.save(tmp_path / "back.keras")
    loaded.save_weights(tmp_path / "back.weights.h5")
    back = keras.models.load_model(tmp_path / "back.keras")
    assert [layer.dtype_policy.name for layer in back.layers] == [
        layer.dtype_policy.name for layer in model.layers
    ]
    assert type(back.optimizer) is type(model.optimizer)
    near(loaded.predict(x), back.predict(x, verbose=0), ROUNDING[half])
    model.load_weights(tmp_path / "back.weights.h5")
    loaded.load_weights(tmp_path / "m.weights.h5")
    for _ in range(3):
        model.reset_metrics()
        wanted = np.ravel(model.train_on_batch(x, y))[0]
        assert np.ravel(loaded.train_on_batch(x, y))[0] == pytest.approx(wanted, rel=60 * ROUNDING[half])


@pytest.mark.parametrize("suffix", ["h5", "keras"])
@pytest.mark.filterwarnings("ignore")
def test_mixed_float16_of_tf_keras_goes_on_training(suffix: str, tmp_path: Path) -> None:
    tf_keras = library_of("tf_keras")
    model = small(tf_keras, "mixed_float16")
    model.compile(tf_keras.optimizers.Adam(0.01), "mse")
    x, y = np.random.default_rng(1).normal(size=(4, 7, 5)).astype("float32"), np.ones((4, 2), "float32")
    for _ in range(2):
        model.train_on_batch(x, y)
    model.save(tmp_path / f"m.{suffix}")
    ours = kcompile.load(tmp_path / f"m.{suffix}")
    ours.save(tmp_path / "back.h5")
    back = tf_keras.models.load_model(tmp_path / "back.h5")
    assert type(back.optimizer).__name__ == type(model.optimizer).__name__
    assert int(ours.optimizer.iterations.value) == 2  # in an .h5, tf_keras does not find its own state again
    near(ours.predict(x), back.predict(x, verbose=0), ROUNDING["float16"])
    for _ in range(3):
        model.reset_metrics()
        losses = [np.ravel(m.train_on_batch(x, y))[0] for m in (model, ours)]
        np.testing.assert_allclose(*losses, rtol=0.02)


@pytest.mark.filterwarnings("ignore")
def test_files_of_quantized_models_are_refused_and_live_ones_compute(tmp_path: Path) -> None:
    keras = library_of("keras")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.quantize("int8")
    model.save(tmp_path / "m.keras")
    with pytest.raises(UnsupportedError, match=r"int8_from_float32[^-]*before quantize"):
        kcompile.load(tmp_path / "m.keras")
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    found = kcompile.compile(model).predict(x)
    np.testing.assert_allclose(found, model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)


def whole(library: Any, dtype: str) -> Any:
    """What models do to whole numbers: a table of rows, products, comparisons, pooling, calls."""
    layers = library.layers
    x = library.Input((6, 3), dtype=dtype)
    rows = library.Input((5,), dtype=dtype)
    made = [
        layers.Dense(2)(layers.Flatten()(x)),
        layers.Conv1D(2, 3)(x),
        layers.LSTM(2)(x),
        layers.MaxPooling1D(2)(x),
        layers.GlobalAveragePooling1D()(x),
        layers.AveragePooling1D(3)(x),
        layers.Activation("relu")(x),
        layers.ELU()(x),
        layers.Concatenate()([x, x]),
        layers.GRU(2)(layers.Embedding(100, 3, mask_zero=True)(rows)),
    ]
    if dtype == "bool":
        del made[5]
    if dtype != "bool":
        ops = library.ops
        made += [x + 1, x * 2.5, x // 2, x + ops.cast(x, "int8"), ops.sum(x, axis=1), ops.cumsum(x, axis=1)]
        made += [ops.abs(x), ops.cast(x, "uint8"), ops.where(x > 3, x, ops.cast(x, "uint16"))]
    return library.Model([x, rows], made)


@pytest.mark.parametrize("dtype", WIDTHS)
@pytest.mark.filterwarnings("ignore")
def test_whole_numbers_live_and_in_files(dtype: str, tmp_path: Path) -> None:
    keras = library_of("keras")
    model = whole(keras, dtype)
    rng = np.random.default_rng(0)
    high = 2 if dtype == "bool" else 40  # Keras adds three of int8 up to an int8 for their mean
    x = rng.integers(0, high, (4, 6, 3)).astype(dtype)
    x = -x if dtype[0] == "i" else x
    rows = rng.integers(0, high, (4, 5)).astype(dtype)
    right = model.predict([x, rows], verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = kcompile.load(tmp_path / "m.keras")
    assert [t.dtype for t in loaded.inputs] == [dtype] * 2
    runs = [kcompile.compile(model), loaded]
    if dtype in ("uint8", "int16"):
        runs.append(kcompile.compile(model, examples=[x, rows]))
        loaded.save(tmp_path / "back.keras")
        again = keras.models.load_model(tmp_path / "back.keras").predict([x, rows], verbose=0)
        for a, b in zip(again, right):
            np.testing.assert_array_equal(a, b)
    for run in runs:
        for number, (a, b) in enumerate(zip(run.predict([x, rows]), right, strict=True)):
            assert a.dtype == b.dtype or b.dtype == np.int32, number
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4, err_msg=str(number))
