"""Post-training quantisation: numbers of 8 bits as documented, bit for bit, and what users are told."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile import keras
from kcompile.codegen import targets
from kcompile.compiler import compile_graph
from kcompile.ir import interpreter
from kcompile.keras import layers as L
from kcompile.keras.lengths import lengths_of
from kcompile.keras.models import Model, Sequential
from kcompile.native import load_program
from kcompile.testing.models import sample
from kcompile_runtime.errors import InputError, UnsupportedError

RNG = np.random.default_rng(4)


def uniform(*shape: int) -> np.ndarray:
    return RNG.uniform(-1, 1, shape).astype("float32")


def quantize(model: Any, x: Any, **options: Any) -> Any:
    return kcompile.quantize(model, x, verbose=0, **options)


def interpreted(quantized: Any, *inputs: np.ndarray) -> list[np.ndarray]:
    """What the interpreter makes of the same graph in float32."""
    traced = quantized.engine.traced("predict")
    named = dict(zip(traced.graph.inputs, inputs))
    return list(interpreter.run(traced.graph, len(inputs[0]), named, traced.state).outputs.values())


# ---------------------------------------------------------------- as docs/design/numerics.md defines it


def in_bytes(x: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.float32, int]:
    """q of x for samples from `low` to `high`, the rate, and the byte of 0.0."""
    low, high = min(low, 0.0), max(high, 0.0)
    rate = np.float32(255 / (np.float64(high) - low))
    zero = round(-low * float(rate))
    return np.clip(np.rint(x * rate) + zero, 0, 255).astype(np.int64), rate, zero


def kernel_in_bytes(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    largest = np.abs(kernel).reshape(-1, kernel.shape[-1]).max(0).astype(np.float64)
    scales = np.where(largest > 0, largest / 127, 1)
    return np.rint(kernel / scales).astype(np.int64), scales


def sums(q: np.ndarray, w: np.ndarray, strides: Any, dilation: Any, pads: Any, zero: int) -> np.ndarray:
    """A convolution of whole numbers, tap by tap; 0.0 where there is padding."""
    taps = w.shape[:-2]
    wide = np.pad(q - zero, [(0, 0), *pads, (0, 0)])
    sizes = [
        (size - (t - 1) * d - 1) // s + 1 for size, t, s, d in zip(wide.shape[1:-1], taps, strides, dilation)
    ]
    total = np.zeros((len(q), *sizes, w.shape[-1]), np.int64)
    for tap in itertools.product(*map(range, taps)):
        part = tuple(
            slice(t * d, t * d + (size - 1) * s + 1, s)
            for t, d, s, size in zip(tap, dilation, strides, sizes)
        )
        total += wide[(slice(None), *part)] @ w[tap]
    assert np.abs(total).max() < 2**31
    return total


def expected(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, **window: Any) -> np.ndarray:
    """The layer without its activation, of samples that are x."""
    q, rate, zero = in_bytes(x, float(x.min()), float(x.max()))
    columns_last = kernel.swapaxes(-1, -2) if "transposed" in window else kernel
    w, scales = kernel_in_bytes(columns_last)
    rank = kernel.ndim - 2
    plain = {"strides": (1,) * rank, "dilation": (1,) * rank, "pads": [(0, 0)] * rank}
    window = {**plain, **window, "zero": zero}
    groups, spaced = window.pop("groups", 1), window.pop("transposed", None)
    if spaced:  # every tap of the turned kernel over elements with nothing between them
        w = np.flip(w, range(rank))
        sizes = [(size - 1) * s + 1 for size, s in zip(q.shape[1:-1], spaced)]
        wide = np.full((len(q), *sizes, q.shape[-1]), zero)
        wide[(slice(None), *(slice(None, None, s) for s in spaced))] = q
        q, window["pads"] = wide, [(t - 1, max(s, t) - 1) for t, s in zip(w.shape, spaced)]
    parts = zip(np.split(q, groups, -1), np.split(w, groups, -1))
    whole = np.concatenate([sums(*part, **window) for part in parts], -1)
    return whole.astype(np.float32) * (scales / np.float64(rate)).astype(np.float32) + bias


def same(size: int, taps: int, stride: int = 1, dilation: int = 1) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + (taps - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


LAYERS: list[tuple[Any, tuple[int, ...], dict[str, Any]]] = [
    (lambda: L.Dense(21), (30,), {}),
    (
        lambda: L.Conv1D(5, 4, padding="causal", dilation_rate=2),
        (19, 6),
        {"dilation": (2,), "pads": [(6, 0)]},
    ),
    (lambda: L.Conv2D(33, 3, padding="same"), (9, 7, 3), {"pads": [same(9, 3), same(7, 3)]}),
    (
        lambda: L.Conv2D(16, (3, 2), strides=2, padding="same"),
        (10, 9, 8),
        {"strides": (2, 2), "pads": [same(10, 3, 2), same(9, 2, 2)]},
    ),
    (
        lambda: L.Conv2D(7, 3, padding="same", dilation_rate=2),
        (8, 8, 5),
        {"dilation": (2, 2), "pads": [same(8, 3, 1, 2)] * 2},
    ),
    (lambda: L.Conv2D(20, 1), (5, 5, 12), {}),
    (lambda: L.Conv2D(12, 3, groups=3, padding="same"), (6, 5, 24), {"pads": [(1, 1), (1, 1)], "groups": 3}),
    (
        lambda: L.Conv2D(2, (2, 1), groups=2, padding="same"),
        (6, 2, 8),
        {"pads": [(0, 1), (0, 0)], "groups": 2},
    ),
    (lambda: L.Conv2DTranspose(5, 3), (4, 6, 7), {"transposed": (1, 1)}),
    (lambda: L.Conv2DTranspose(5, (3, 2), strides=(2, 3)), (4, 3, 6), {"transposed": (2, 3)}),
    (lambda: L.Conv3D(6, 2, padding="same"), (4, 5, 3, 4), {"pads": [(0, 1)] * 3}),
]


@pytest.mark.parametrize(("layer", "shape", "window"), LAYERS)
def test_a_layer_is_the_documented_whole_numbers(
    layer: Callable[[], Any], shape: tuple[int, ...], window: dict[str, Any]
) -> None:
    made = layer()
    model = Sequential([L.InputLayer(input_shape=shape), made])
    made.set_weights([uniform(*w.shape) for w in made.get_weights()])
    x = uniform(6, *shape) + np.float32(0.25)
    if max(window.get("transposed", (1,))) > 1:
        x = np.abs(x)
    quantized = quantize(model, x)
    assert [each.quantized for each in quantized.report.layers] == [True]
    right = expected(x, *made.get_weights(), **window)
    np.testing.assert_array_equal(quantized.predict(x), right)
    np.testing.assert_array_equal(quantized.predict_on_batch(x[:1]), right[:1])
    np.testing.assert_allclose(model.predict(x), right, atol=0.12)  # no more than it is about


def network() -> Model:
    """Everything that is moved in bytes: maxima, padding, parts and their joining, views."""
    image = L.Input((8, 8, 3))
    x = L.MaxPooling2D(2)(L.Conv2D(12, 3, padding="same", activation="relu", use_bias=False)(image))
    y = L.LeakyReLU(0.3)(L.BatchNormalization()(L.Conv2D(10, 3, use_bias=False)(L.ZeroPadding2D(1)(x))))
    y = L.UpSampling2D(2)(L.Concatenate()([L.MaxPooling2D(2, strides=1, padding="same")(y), x]))
    y = L.Conv2D(6, 2, strides=2)(L.Cropping2D(1)(L.Permute((2, 1, 3))(y)))
    return Model(image, L.Dense(5, name="last")(L.Flatten()(y)), name="net")


def test_every_processor_and_the_interpreter_have_the_same_bits() -> None:
    model, x = network(), uniform(7, 8, 8, 3)
    quantized = quantize(model, x)
    assert all(each.quantized for each in quantized.report.layers)
    found = quantized.predict(x)
    np.testing.assert_array_equal(interpreted(quantized, x)[0], found)
    lines = quantized.show("passes").splitlines()
    moved = [
        line for line in lines if any(f" = {op}(" in line for op in ("window_max", "pad", "concatenate"))
    ]
    assert len(moved) >= 4 and all(" : uint8" in line or "float32[n, 8, 8, 4]" in line for line in moved)
    has = {name[1:] for name in targets.native().features.split(",") if name.startswith("+")}
    for level in targets.LEVELS:
        if has.issuperset(targets.named(level).architecture.levels.get(level, ("none",))):
            traced = quantized.engine.traced("predict")  # whose ranges are those of one processor
            made = compile_graph(traced.graph, "predict", targets.host_as(level), frozen=True)
            np.testing.assert_array_equal(
                load_program(made, traced.captured).run("predict", 7, [x])[0], found
            )
            assert quantize(model, x, target=level).report.accuracy.outputs[0].largest < 0.1


def test_samples_decide_and_later_weights_do_not() -> None:
    model, x = Sequential([L.Dense(4, input_shape=(8,))]), np.abs(uniform(40, 8))
    quantized = quantize(model, x)
    before = quantized.predict(-x)
    np.testing.assert_array_equal(before, np.broadcast_to(model.get_weights()[1], (40, 4)))  # below the range
    layer = quantized.report.layers[0]
    assert (layer.layer, layer.zero, layer.low) == (model.layers[0].name, 0, 0.0)
    assert layer.high == pytest.approx(x.max(), rel=1e-6)
    after = quantized.predict(x)
    model.set_weights([w + 1 for w in model.get_weights()])
    np.testing.assert_array_equal(quantized.predict(x), after)
    nan = np.full((1, 8), np.nan, "float32")
    np.testing.assert_array_equal(quantized.predict(nan), before[:1])  # the lowest level


def test_each_call_of_a_shared_layer_has_its_range_and_outputs_their_labels() -> None:
    a, b = L.Input((6,), name="a"), L.Input((6,), name="b")
    shared = L.Dense(5, name="shared")
    both = L.Concatenate()([shared(a), shared(b)])
    model = Model([a, b], [L.Dense(3, "softmax", name="kinds")(both), L.Dense(1, name="size")(both)])
    x = {"a": uniform(50, 6), "b": 10 * uniform(50, 6)}
    kinds, size = (y.copy() for y in model.predict(x))
    quantized = quantize(model, x, labels={"kinds": kinds.argmax(1), "size": size + 1})
    calls = [each for each in quantized.report.layers if each.layer.startswith("shared")]
    assert [each.layer for each in calls] == ["shared", "shared:1"]
    assert calls[1].high > 5 * calls[0].high
    of_kinds, of_size = quantized.report.accuracy.outputs
    assert of_kinds.of_float32 == 1 and of_kinds.of_labels == of_kinds.same_class > 0.9
    assert of_size.of_float32 == pytest.approx(1) and of_size.of_labels == pytest.approx(1, abs=0.1)
    assert "accuracy" in quantized.report.text() and "mean absolute error" in quantized.report.text()
    again = quantized.accuracy(list(x.values()))
    assert again.precision == "int8" and again.outputs[0].largest == of_kinds.largest
    for found, right in zip(quantized.predict(x), model.predict(x)):
        np.testing.assert_allclose(found, right, atol=0.2)


def test_one_column_beyond_vectors() -> None:
    model, x = Sequential([L.Dense(33, "relu", input_shape=(17,)), L.Dense(17), L.Dense(3)]), uniform(9, 17)
    quantized = quantize(model, x)
    np.testing.assert_array_equal(quantized.predict(x), interpreted(quantized, x)[0])


def test_what_stays_float32_says_why(capsys: Any) -> None:
    given = L.Input((6, 6, 4))
    x = L.DepthwiseConv2D(3, name="depth")(L.Conv2D(4, 1, name="first")(given))
    x = L.Conv2DTranspose(3, 2, name="up", strides=2, padding="same")(x)
    x = L.LSTM(4, name="steps")(L.Reshape((8, 24))(x))
    dead = L.Activation("relu")(L.Lambda(lambda t: t * 0 - 1.0)(x))
    model = Model(given, L.Add()([L.Dense(2, name="last")(x), L.Dense(2, name="dead")(dead)]))
    samples = uniform(9, 6, 6, 4)
    quantized = kcompile.quantize(model, samples, skip=["first"])
    told = capsys.readouterr().out
    reasons = {each.layer: each.reason for each in quantized.report.layers if each.reason}
    assert told.strip() == quantized.report.text()
    assert reasons["first"] == "skipped" and "depthwise" in reasons["depth"]
    assert "below zero" in reasons["up"] and "zeros" in reasons["dead"]
    assert any("loop" in reason for reason in reasons.values())
    assert [each.layer for each in quantized.report.layers if each.quantized] == ["steps", "last"]
    np.testing.assert_allclose(quantized.predict(samples), model.predict(samples), atol=0.05)


def test_zero_columns_and_percentiles() -> None:
    model = Sequential([L.Dense(3, input_shape=(5,))])
    kernel, bias = uniform(5, 3), uniform(3)
    kernel[:, 1] = 0
    model.set_weights([kernel, bias])
    x = uniform(2000, 5)
    x[0, 0] = 1000.0
    wide, fine = quantize(model, x), quantize(model, x, percentile=99.0)
    assert wide.report.layers[0].high == pytest.approx(1000, rel=0.01) and fine.report.layers[0].high < 1.5
    np.testing.assert_array_equal(fine.predict(x)[:, 1], np.full(2000, bias[1]))
    right = model.predict(x)[1:]
    errors = [np.abs(q.predict(x)[1:] - right).mean() for q in (wide, fine)]
    assert errors[1] < 0.05 < errors[0]


def test_batches_of_a_generator_and_of_a_sequence() -> None:
    model, x, y = Sequential([L.Dense(3, "softmax", input_shape=(5,))]), uniform(24, 5), np.arange(24) % 3

    def endless() -> Any:
        while True:
            for i in range(0, 24, 8):
                yield x[i : i + 8], y[i : i + 8]

    class Stored(keras.utils.Sequence):
        def __len__(self) -> int:
            return 3

        def __getitem__(self, i: int) -> np.ndarray:
            return x[8 * i : 8 * i + 8]

    whole = quantize(model, x, labels=y)
    drawn = quantize(model, endless(), steps=3)
    assert drawn.report == whole.report and drawn.report.accuracy.outputs[0].of_labels is not None
    assert quantize(model, Stored()).report.layers == whole.report.layers
    with pytest.raises(InputError, match="steps"):
        quantize(model, endless())
    with pytest.raises(InputError, match="batch_size"):
        quantize(model, Stored(), batch_size=4)


def test_the_model_itself_runs_as_before() -> None:
    model, x = dense(), uniform(6, 8)
    compiled = kcompile.compile(model, verify=True)
    quantized = quantize(model, x)
    assert model.trainer.engines.found() is compiled.engine
    right = compiled.predict(x)
    assert np.abs(quantized.predict(x) - right).max() > 0
    np.testing.assert_array_equal(model.predict(x), right)
    unbuilt = Sequential([L.Dense(3)])
    assert quantize(unbuilt, x).predict(x).shape == (6, 3)


def test_sizes_that_samples_have() -> None:
    model = Sequential([L.Conv1D(3, 2, input_shape=(None, 4)), L.GlobalMaxPooling1D()])
    quantized = quantize(model, uniform(5, 9, 4))
    assert quantized.predict(uniform(2, 9, 4)).shape == (2, 3)
    with pytest.raises(InputError, match="sizes of its samples"):
        quantized.predict(uniform(2, 8, 4))


def test_digits_stay_right() -> None:
    (x, y), (x_test, y_test) = keras.datasets.digits.load_data()
    x, x_test = (a.reshape(len(a), -1).astype("float32") / 16 for a in (x, x_test))
    np.random.seed(3)
    model = Sequential([L.Dense(48, "relu", input_shape=(64,)), L.Dense(10, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=12, verbose=0)
    quantized = quantize(model, x[:200], labels=y[:200])
    (row,) = quantized.report.accuracy.outputs
    assert row.largest < 0.1 and row.same_class > 0.97
    right, found = (np.mean(m.predict(x_test).argmax(1) == y_test) for m in (model, quantized))
    assert right > 0.88 and found > right - 0.01


# ---------------------------------------------------------------- what is refused


def dense() -> Sequential:
    return Sequential([L.Dense(4, "relu", name="one", input_shape=(8,)), L.Dense(2, name="two")])


@pytest.mark.parametrize(
    ("x", "options", "told"),
    [
        (uniform(0, 8), {}, "at least one"),
        (uniform(3, 7), {}, "8"),
        (np.full((3, 8), np.inf, "float32"), {}, "NaN or infinity in what 'one' reads"),
        (np.full((3, 8), np.nan, "float32"), {"skip": ["one"]}, "NaN or infinity in what 'two' reads"),
        (np.zeros((3, 8), "float32"), {"skip": "two"}, "zeros alone"),
        (uniform(3, 8), {"skip": ["three"]}, "one, two"),
        (uniform(3, 8), {"skip": ["one", "two"]}, "skipped"),
        (uniform(3, 8), {"percentile": 101}, "percentile"),
        (uniform(3, 8), {"batch_size": 0}, "batch_size"),
        (uniform(3, 8), {"steps": 2}, "steps"),
        (uniform(3, 8), {"target": "cuda"}, "target"),
        (uniform(3, 8), {"labels": [1, 2]}, "labels"),
        (uniform(3, 8), {"labels": {"three": [1, 2, 3]}}, "labels"),
        ([], {}, "quantize|input"),
    ],
)
def test_samples_and_arguments_that_are_wrong(x: Any, options: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        quantize(dense(), x, **options)


def test_models_that_are_wrong() -> None:
    x = uniform(4, 8)
    model = dense()
    model.set_weights([w * np.nan for w in model.get_weights()])
    with pytest.raises(InputError, match=r"what 'two' reads|weights of 'one'"):
        quantize(model, x)
    with pytest.raises(InputError, match="no dense layers"):
        quantize(Sequential([L.Activation("relu", input_shape=(8,))]), x)
    stateful = Sequential([L.LSTM(3, stateful=True, batch_input_shape=(4, 2, 8))])
    with pytest.raises(UnsupportedError, match="stateful=False"):
        quantize(stateful, uniform(4, 2, 8))
    huge = Sequential([L.Dense(1, input_shape=(66312,))])
    with pytest.raises(InputError, match="66311 products"):
        quantize(huge, uniform(1, 66312))


def test_it_predicts_and_nothing_else() -> None:
    x = uniform(4, 8)
    quantized = quantize(kcompile.compile(dense(), precision="bfloat16"), x)
    assert quantized.report.accuracy.outputs[0].largest > 0
    for refused in (
        lambda: quantized.fit(x, x),
        lambda: quantized.train_on_batch(x, x),
        lambda: quantized.evaluate(x, x),
        lambda: quantized.test_on_batch(x, x),
        lambda: quantized.verify(x),
        lambda: quantized.save("model.keras"),
        lambda: quantized.get_weights(),
        lambda: quantized.set_weights([]),
        lambda: quantized.graph("train"),
        lambda: quantized.planned_memory(4),
        lambda: pickle.dumps(quantized),
        lambda: kcompile.compile(quantized),
        lambda: quantize(quantized, x),
    ):
        with pytest.raises(UnsupportedError, match="a quantized model predicts, and nothing else"):
            refused()
    assert quantized.planned_memory(4, "predict") > 0
    assert "int8" in quantized.profile(x, rounds=1).text()
    np.testing.assert_array_equal(quantized(x), quantized.predict(x))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_random_models_are_the_interpreters(seed: int) -> None:
    drawn = sample(seed)
    x = drawn.inputs(9)
    try:
        quantized = quantize(drawn.model, x)
    except (InputError, UnsupportedError):
        return  # nothing to quantise, or numbers that are not finite
    arrays = drawn.model.standardize_inputs(x)
    traced = quantized.engine.traced("predict", lengths_of(drawn.model, arrays) or None)
    if traced.graph.updates:
        return  # numbers drawn anew
    named = dict(zip(traced.graph.inputs, arrays))
    right = interpreter.run(traced.graph, 9, named, traced.state).outputs.values()
    for found, wanted in zip(quantized.engine.run("predict", 9, arrays), right):
        scale = float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0))
        np.testing.assert_allclose(found, wanted, rtol=0.01, atol=0.01 * scale + 1e-6)
