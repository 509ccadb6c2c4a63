"""Dtype policies in scripts: their names and objects, what they change (names, optimizers, files) and what
not (numbers, which are float32's); and inputs of whole numbers of every width."""

from __future__ import annotations

import ctypes
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile
import kcompile_runtime
from kcompile import keras, keras3, tf_keras
from kcompile.keras import policies, settings
from kcompile_runtime.errors import InputError, InputTypeError, ModelError, UnsupportedError

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


@pytest.fixture(autouse=True)
def ordinary() -> Any:
    yield
    settings.set_dtype_policy(None)


def small(library: Any, **options: Any) -> Any:
    layers = library.layers
    model = library.Sequential(
        [layers.Input((5,)), layers.Dense(3, activation="tanh", **options), layers.Dense(2, **options)]
    )
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


def test_a_policy_has_the_dtypes_that_its_name_says() -> None:
    policy = keras3.DTypePolicy("mixed_bfloat16")
    assert (policy.name, policy.compute_dtype, policy.variable_dtype) == (
        "mixed_bfloat16",
        "bfloat16",
        "float32",
    )
    assert keras3.dtype_policies.deserialize(keras3.dtype_policies.serialize(policy)) == policy
    assert repr(policy) == '<DTypePolicy "mixed_bfloat16">'
    assert keras3.dtype_policies.get(np.float64).variable_dtype == "float64"
    assert len({policy, keras3.DTypePolicy("mixed_bfloat16"), keras3.mixed_precision.Policy("float16")}) == 2
    assert keras3.dtype_policies.get(None).name == "float32"


def test_layers_take_the_policy_that_was_set_and_inputs_do_not() -> None:
    for library, set_policy in (
        (keras3, keras3.config.set_dtype_policy),
        (tf_keras, tf_keras.mixed_precision.set_global_policy),
    ):
        set_policy("mixed_float16")
        assert library.mixed_precision.global_policy().name == "mixed_float16"
        x = library.Input((3,))
        layer = library.layers.Dense(2)
        y = library.layers.Dense(2, dtype="float32")(layer(x))
        assert (layer.compute_dtype, layer.variable_dtype, layer.dtype) == ("float16", "float32", "float32")
        assert x.dtype == "float32" and y.node.layer.dtype_policy.name == "float32"
        assert library.Model(x, y).dtype_policy.name == "mixed_float16"
        set_policy(keras3.DTypePolicy("float64"))
        assert library.layers.Dense(2).dtype == "float64"
        settings.set_dtype_policy(None)


@pytest.mark.parametrize(
    "spelled",
    [
        "mixed_float16",
        keras3.DTypePolicy("mixed_float16"),
        {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "mixed_float16"}},
        {"class_name": "Policy", "config": {"name": "mixed_float16"}},
        {"class_name": "DTypePolicyMap", "config": {"default_policy": {"config": {"name": "mixed_float16"}}}},
    ],
)
def test_a_policy_is_spelled_in_many_ways(spelled: Any) -> None:
    assert keras3.layers.Dense(2, dtype=spelled).get_config()["dtype"] == "mixed_float16"


@pytest.mark.parametrize(
    ("policy", "error", "said"),
    [
        ("int8_from_float32", UnsupportedError, "before quantize"),
        ("float8_from_mixed_bfloat16", UnsupportedError, "before quantize"),
        ("gptq/4/128_from_float32", UnsupportedError, "before quantize"),
        ("int32", ModelError, "a policy of floats"),
        ("float128", ModelError, "'mixed_bfloat16'"),
        (3, InputTypeError, "a DTypePolicy, or its name"),
    ],
)
def test_policies_that_cannot_be_set(policy: Any, error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        keras3.config.set_dtype_policy(policy)
    assert keras3.config.dtype_policy().name == "float32"


def test_quantized_policies_are_refused_as_objects_too() -> None:
    for make in (keras3.dtype_policies.QuantizedDTypePolicy, small(keras3).quantize):
        with pytest.raises(UnsupportedError, match="before quantize"):
            make("int8")


def test_the_log_says_once_that_halves_are_computed_as_float32(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policies, "_said", set())
    with caplog.at_level(logging.WARNING, "kcompile.keras"):
        keras3.layers.Dense(2)
        assert caplog.records == []
        for policy in ("mixed_float16", "bfloat16", "float16"):
            keras3.layers.Dense(2, dtype=policy)
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "float16 is computed in float32, and weights and results are of float32"
    ]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16", "bfloat16"])
def test_numbers_are_those_of_float32(policy: str) -> None:
    x = np.random.default_rng(1).normal(size=(7, 5))
    right, half = (kcompile.compile(small(keras3, **o)).predict(x) for o in ({}, {"dtype": policy}))
    assert half.dtype == np.float32
    np.testing.assert_array_equal(half, right)


def test_mixed_float16_scales_the_loss_as_in_keras() -> None:
    x, y = np.ones((4, 5)), np.ones((4, 2))
    plain = small(keras3)
    plain.compile("adam", "mse")
    for library in (keras3, tf_keras):
        library.mixed_precision.set_global_policy("mixed_float16")
        scaled, as_told = small(library), small(library)
        scaled.compile("adam", "mse")
        as_told.compile("adam", "mse", auto_scale_loss=False)
        assert isinstance(scaled.optimizer, library.mixed_precision.LossScaleOptimizer)
        assert type(as_told.optimizer).__name__ == type(scaled.optimizer.inner_optimizer).__name__ == "Adam"
        settings.set_dtype_policy(None)
    losses = [[m.train_on_batch(x, y) for _ in range(3)] for m in (plain, scaled)]
    np.testing.assert_allclose(*losses, rtol=1e-6)
    assert int(scaled.optimizer.counter.value) == 3
    around = scaled.optimizer
    scaled.compile(around, "mse")
    assert scaled.optimizer is around


@pytest.mark.parametrize("suffix", ["keras", "h5", "json"])
@pytest.mark.parametrize("library", [keras3, tf_keras])
def test_files_keep_policies(library: Any, suffix: str, tmp_path: Path) -> None:
    library.mixed_precision.set_global_policy("mixed_float16")
    layers = library.layers
    model = library.Sequential(
        [layers.Input((3,), dtype="uint16"), layers.Dense(3), layers.Dense(2, dtype="float16")]
    )
    model.add(layers.Dense(1, dtype="float64"))
    model.compile("adam", "mse")
    data = np.full((4, 3), 300, "uint16"), np.ones((4, 1))
    model.train_on_batch(*data)
    settings.set_dtype_policy(None)
    path = tmp_path / f"m.{suffix}"
    if suffix == "json":
        path.write_text(model.to_json())
    else:
        model.save(path)
    back = kcompile.load(path)
    assert back.inputs[0].dtype == "uint16"
    assert [layer.dtype_policy.name for layer in back.layers][-3:] == ["mixed_float16", "float16", "float64"]
    if suffix != "json":
        assert type(back.optimizer).__name__ == "LossScaleOptimizer"
        np.testing.assert_allclose(back.predict(data[0]), model.predict(data[0]), rtol=1e-12)
        assert back.train_on_batch(*data) == pytest.approx(model.train_on_batch(*data), rel=1e-6)


def test_keras_2_is_said_to_know_no_mixed_policies(tmp_path: Path) -> None:
    model = keras.Sequential([keras.layers.Dense(2, input_shape=(3,), dtype="mixed_float16")])
    with pytest.warns(UserWarning, match="does not have the policy mixed_float16"):
        model.save(tmp_path / "m.h5")


@pytest.mark.parametrize("dtype", [*INTEGERS, "bool"])
def test_whole_numbers_of_every_width_enter_as_they_are(dtype: str) -> None:
    layers, k = keras3.layers, keras3.ops
    x, places = keras3.Input((6,), dtype=dtype), keras3.Input((4,), dtype=dtype)
    table = layers.Embedding(2 if dtype == "bool" else 120, 3)
    model = keras3.Model([x, places], [layers.Dense(2, name="dense")(x), k.cast(x, "float32"), table(places)])
    high = 2 if dtype == "bool" else np.iinfo(dtype).max
    rng = np.random.default_rng(0)
    top = rng.integers(0, high, (5, 6), np.uint64 if dtype == "uint64" else np.int64).astype(dtype)
    top[0, 0] = high - (dtype == "bool")
    rows = rng.integers(0, 2 if dtype == "bool" else 120, (5, 4)).astype(dtype)
    compiled = kcompile.compile(model)
    for given in (top, np.asfortranarray(top), top.astype(np.dtype(dtype).newbyteorder(">"))):
        product, cast, found = compiled.predict([given, rows])
        np.testing.assert_array_equal(cast, top.astype("float32"))
        np.testing.assert_allclose(
            product, top.astype("float32") @ model.get_layer("dense").get_weights()[0], rtol=1e-4
        )
        np.testing.assert_array_equal(found, table.get_weights()[0][rows.astype(int)])
    if dtype != "bool":
        for beyond in (float(high) * 4, -(2.0**70), 1.5, np.nan):
            with pytest.raises(InputError, match=f"{dtype}|whole numbers"):
                compiled.predict([np.where(top == high, beyond, 1.0), rows])


@pytest.mark.parametrize(
    "pair", [("int8", "uint8"), ("uint16", "int16"), ("bool", "int16"), ("uint8", "uint32")]
)
def test_operands_of_two_widths_meet_in_one_that_holds_both(pair: tuple[str, str]) -> None:
    values = [np.array([[0, 1, 100]]).astype(dtype) for dtype in pair]
    x, y = (keras3.Input((3,), dtype=dtype) for dtype in pair)
    made = kcompile.compile(keras3.Model([x, y], [x + y, keras3.layers.Maximum()([x, y])])).predict(values)
    for got, right in zip(made, (np.add(*values), np.maximum(*values))):
        assert got.dtype == right.dtype
        np.testing.assert_array_equal(got, right)


def test_narrow_whole_numbers_wrap_and_sums_of_them_are_wide() -> None:
    x = keras3.Input((4,), dtype="int8")
    model = kcompile.compile(keras3.Model(x, [x + x, keras3.ops.sum(x, axis=-1), x * 3]))
    twice, total, thrice = model.predict(np.full((2, 4), 100, "int8"))
    assert (twice[0, 0], total[0], thrice[0, 0]) == (-56, 400, 44)
    assert (twice.dtype, total.dtype, thrice.dtype) == (np.int8, np.int32, np.int8)


@pytest.mark.parametrize("dtype", ["uint8", "int16"])
def test_a_library_takes_bytes_of_narrow_inputs(dtype: str, tmp_path: Path) -> None:
    x = keras3.Input((3, 3, 2), dtype=dtype)
    y = keras3.layers.Dense(2)(keras3.layers.Flatten()(keras3.layers.MaxPooling2D(2)(x)))
    model = kcompile.compile(keras3.Model(x, [y, x]))
    kcompile.export(model, tmp_path / "m.so")
    data = np.random.default_rng(0).integers(0, 100, (4, 3, 3, 2)).astype(dtype)
    loaded = kcompile_runtime.load(tmp_path / "m.so")
    for got, right in zip(loaded.predict(data), model.predict(data)):
        assert got.dtype == right.dtype
        np.testing.assert_array_equal(got, right)
    assert ctypes.sizeof({"uint8": ctypes.c_uint8, "int16": ctypes.c_int16}[dtype]) == data.itemsize
    assert f"KC_{dtype.upper()} = " in (tmp_path / "m.h").read_text()
