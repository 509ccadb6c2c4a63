"""Inputs of unknown size: models that leave None in a shape are those built for each size that comes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile import keras as front
from kcompile.interpreted import InterpreterEngine
from kcompile.keras import backend as K
from kcompile.keras import layers as L
from kcompile.keras.models import Input, Model, Sequential, clone_model, model_from_json
from kcompile_runtime.errors import InputError, KcompileError, ModelError

WIDTH = 3


def chain(*layers: Any, **options: Any) -> Any:
    return lambda *length: Sequential([Input((*length, WIDTH)), *layers_of(layers)], **options)


def layers_of(makers: Any) -> list[Any]:
    return [make() for make in makers]


def two_inputs(*length: Any) -> Any:
    a, b = Input((*length, WIDTH), name="a"), Input((*length, WIDTH), name="b")
    both = L.Concatenate()([L.Conv1D(4, 3, padding="same", name="conv")(a), b])
    return Model(
        [a, b],
        [
            L.LSTM(4, return_sequences=True, name="one")(both),
            L.Dense(2, name="two")(L.GlobalAveragePooling1D()(both)),
        ],
    )


def embedded(*length: Any) -> Any:
    x = Input(length, dtype="int32")
    y = L.LSTM(4, return_sequences=True)(L.Embedding(9, 5, mask_zero=True)(x))
    return Model(x, L.TimeDistributed(L.Dense(2))(y))


def attention(*length: Any) -> Any:
    x = Input((*length, WIDTH))
    weights = L.Softmax(axis=1)(L.Dense(1)(x))
    return Model(x, L.Dense(2)(L.Flatten()(L.Dot(1)([weights, x]))))


def nested(*length: Any) -> Any:
    inner = Sequential([L.Conv1D(4, 3, strides=2, padding="same", input_shape=(*length, WIDTH))])
    x = Input((*length, WIDTH))
    return Model(x, L.Dense(1)(L.GlobalMaxPooling1D()(L.Add()([inner(x), inner(x)]))))


ONE_AXIS = {
    "lstm": chain(lambda: L.LSTM(4), lambda: L.Dense(2)),
    "steps": chain(lambda: L.GRU(4, return_sequences=True), lambda: L.Dense(2, activation="tanh")),
    "masked": chain(
        lambda: L.Masking(),
        lambda: L.SimpleRNN(4, return_sequences=True),
        lambda: L.LSTM(3, go_backwards=True),
    ),
    "both ways": chain(
        lambda: L.Bidirectional(L.LSTM(3, return_sequences=True)),
        lambda: L.Bidirectional(L.GRU(2), merge_mode="sum"),
    ),
    "conv": chain(
        lambda: L.Conv1D(4, 3, activation="relu"),
        lambda: L.MaxPooling1D(2),
        lambda: L.BatchNormalization(),
        lambda: L.GlobalMaxPooling1D(),
        lambda: L.Dense(1),
    ),
    "causal": chain(
        lambda: L.Conv1D(4, 3, padding="causal", dilation_rate=2), lambda: L.TimeDistributed(L.Dense(2))
    ),
    "lambda": chain(
        lambda: L.Lambda(lambda x: x - K.mean(x, axis=1, keepdims=True)),
        lambda: L.Reshape((-1, 1)),
        lambda: L.AveragePooling1D(3),
        lambda: L.LSTM(2),
    ),
    "two inputs": two_inputs,
    "embedding": embedded,
    "attention": attention,
    "nested": nested,
}


def twin_of(make: Any, model: Any, *length: int) -> Any:
    twin = make(*length)
    for mine, other in zip(model.weights, twin.weights, strict=True):
        other.assign(mine.value)
    return twin


def data(model: Any, n: int, *length: int) -> tuple[Any, Any]:
    """Inputs and labels, for a model built with this length."""
    rng = np.random.default_rng(sum(length))
    x = [
        rng.integers(0, 9, (n, *t.shape[1:])).astype(np.int32)
        if t.dtype == "int32"
        else rng.normal(size=(n, *t.shape[1:])).astype(np.float32)
        for t in model.inputs
    ]
    y = [rng.normal(size=(n, *t.shape[1:])).astype(np.float32) for t in model.outputs]
    return (x, y) if len(x) > 1 else (x[0], y[0])


def same(got: Any, expected: Any) -> None:
    """Up to float32's rounding in another order."""
    lists = [a if isinstance(a, list) else [a] for a in (got, expected)]
    for a, b in zip(*lists, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-6)


NATIVE = ("masked", "conv", "two inputs", "embedding")  # compiling takes seconds for each


@pytest.mark.parametrize(
    ("name", "engine"),
    [*((name, "interpreter") for name in ONE_AXIS), *((name, "native") for name in NATIVE)],
)
def test_predicts_and_trains_as_a_model_of_that_length(name: str, engine: str) -> None:
    make = ONE_AXIS[name]
    model = make(None)
    if engine == "interpreter":
        model.use_engine(InterpreterEngine(model))
    model.compile(front.optimizers.SGD(0.01), "mse", metrics=["mae"])
    for length in (7, 12, 7):
        twin = twin_of(make, model, length)
        twin.use_engine(InterpreterEngine(twin))
        twin.compile(front.optimizers.SGD(0.01), "mse", metrics=["mae"])
        x, y = data(twin, 5, length)
        same(model.predict(x, batch_size=2), twin.predict(x, batch_size=2))
        same(model.predict_on_batch(x), twin.predict_on_batch(x))
        got, expected = (
            m.fit(x, y, batch_size=2, epochs=2, shuffle=False, verbose=0).history for m in (model, twin)
        )
        assert list(got) == list(expected)
        for key in got:
            np.testing.assert_allclose(got[key], expected[key], rtol=1e-4)
        same(model.evaluate(x, y, verbose=0), twin.evaluate(x, y, verbose=0))
        same(model.get_weights(), twin.get_weights())


def image(*size: Any) -> Any:
    x = Input((*size, 3))
    y = L.Conv2D(4, 3, strides=2, padding="same", activation="relu")(x)
    y = L.MaxPooling2D(2)(L.PReLU(shared_axes=[1, 2])(y))
    return Model(x, [L.Conv2D(2, 1)(y), L.Dense(3, activation="softmax")(L.GlobalAveragePooling2D()(y))])


def test_images_of_any_size() -> None:
    model = image(None, None)
    assert [y.shape for y in model.outputs] == [(None, None, None, 2), (None, 3)]
    for size in ((8, 12), (21, 9)):
        twin = twin_of(image, model, *size)
        x = np.random.default_rng(0).random((3, *size, 3)).astype(np.float32)
        same(model.predict(x), twin.predict(x))
    assert kcompile.compile(model, verify=True).verify(x).ok


def test_new_weights_reach_the_code_of_every_length() -> None:
    model = ONE_AXIS["conv"](None)
    xs = [np.random.default_rng(0).random((2, k, WIDTH)).astype(np.float32) for k in (7, 9)]
    before = [model.predict(x) for x in xs]
    model.set_weights([2 * w for w in model.get_weights()])
    for x, old in zip(xs, before):
        new = model.predict(x)
        assert np.abs(new - old).max() > 1e-3
        same(new, twin_of(ONE_AXIS["conv"], model, x.shape[1]).predict(x))


def test_shapes_say_none_for_what_is_unknown() -> None:
    model = Sequential([L.Conv1D(4, 3, batch_input_shape=(2, None, WIDTH)), L.LSTM(5)])
    assert model.input_shape == (2, None, WIDTH)
    assert [layer.output_shape for layer in model.layers] == [(2, None, 4), (2, 5)]
    assert L.Conv1D(4, 3).compute_output_shape((None, None, WIDTH)) == (None, None, 4)
    assert L.Flatten().compute_output_shape((None, None, WIDTH)) == (None, None)
    lines: list[str] = []
    model.summary(print_fn=lines.append)
    assert any("(2, None, 4)" in line for line in lines)


def test_configurations_and_files_keep_the_none(tmp_path: Any) -> None:
    model = ONE_AXIS["both ways"](None)
    x = np.random.default_rng(0).random((2, 6, WIDTH)).astype(np.float32)
    for copy in (clone_model(model), model_from_json(model.to_json())):
        assert copy.input_shape == (None, None, WIDTH)
        copy.set_weights(model.get_weights())
        same(copy.predict(x), model.predict(x))
    for name in ("model.h5", "model.keras"):
        model.save(tmp_path / name)
        loaded = kcompile.load(tmp_path / name)
        assert loaded.input_shape == (None, None, WIDTH)
        same(loaded.predict(x), model.predict(x))


def test_validation_data_may_have_another_length() -> None:
    model = ONE_AXIS["steps"](None)
    model.compile("sgd", "mse")
    (x, y), (other_x, other_y) = (data(ONE_AXIS["steps"](k), 4, k) for k in (5, 8))
    history = model.fit(x, y, validation_data=(other_x, other_y), verbose=0).history
    same(history["val_loss"][-1], model.evaluate(other_x, other_y, verbose=0))


def test_class_numbers_at_every_step() -> None:
    model = chain(lambda: L.LSTM(4, return_sequences=True), lambda: L.Dense(5, activation="softmax"))(None)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    for length in (4, 6):
        x = np.ones((3, length, WIDTH), np.float32)
        assert np.isfinite(model.train_on_batch(x, np.ones((3, length, 1)))).all()
        with pytest.raises(InputError, match="class numbers from 0 to 4"):
            model.train_on_batch(x, np.full((3, length, 1), 5))


def test_k_function_takes_any_length() -> None:
    model = ONE_AXIS["steps"](None)
    function = K.function([model.input], [model.output, K.sum(model.output, axis=1)])
    for length in (4, 6):
        x = np.random.default_rng(0).random((2, length, WIDTH)).astype(np.float32)
        y, total = function([x])
        same(y, model.predict(x))
        same(total, y.sum(1))


def test_inspecting_and_exporting_needs_lengths(tmp_path: Any) -> None:
    model = ONE_AXIS["conv"](None)
    cm = kcompile.compile(model)
    for call in (cm.graph, lambda: cm.show("loops"), lambda: kcompile.export(cm, tmp_path / "m.so")):
        with pytest.raises(InputError, match=r"lengths=1 positive sizes.*input .*Received: none"):
            call()
    with pytest.raises(InputError, match="verify: expected x"):
        cm.verify()
    graph = cm.graph(lengths=11)
    assert [graph.type(v).shape[1:] for v in graph.inputs.values()] == [(11, WIDTH)]
    assert cm.show("graph", lengths=[(11,)]) == graph.text()
    with pytest.raises(InputError, match="as all sizes are known"):
        kcompile.compile(ONE_AXIS["conv"](9)).graph(lengths=9)


def test_lengths_are_by_default_those_seen_last(tmp_path: Any) -> None:
    compiled = kcompile.compile(ONE_AXIS["lstm"](None))
    with pytest.raises(InputError, match="lengths=1"):
        compiled.graph()
    for steps in (4, 6):
        compiled.predict(np.zeros((2, steps, WIDTH), "f"), verbose=0)
        (x,) = [compiled.graph().type(v) for v in compiled.graph().inputs.values()]
        assert x.shape[1:] == (steps, WIDTH)
    compiled.predict(np.zeros((2, 4, WIDTH), "f"), verbose=0)  # its code is there already
    assert compiled.graph().inputs and compiled.show("graph") == compiled.show("graph", lengths=4)


def test_a_sequential_that_begins_with_an_embedding_takes_any_length() -> None:
    """As in Keras 2, at once: before there are data it can be summed up, saved and trained."""
    model = Sequential([L.Embedding(9, 5, mask_zero=True), L.LSTM(4), L.Dense(2)])
    assert model.built and model.input_shape == (None, None) and model.output_shape == (None, 2)
    compiled = kcompile.compile(model)
    assert [compiled.predict(np.ones((3, k), "i4")).shape for k in (4, 7)] == [(3, 2)] * 2
    again = Sequential.from_config(model.get_config())
    assert again.built and again.input_shape == (None, None)


def test_where_layers_need_its_length_the_data_say_it() -> None:
    model = Sequential([L.Embedding(9, 5), L.Conv1D(3, 2)])
    assert model.built
    model.add(L.Flatten())
    model.add(L.Dense(2))
    assert not model.built
    assert model.predict(np.ones((3, 4), "i4")).shape == (3, 2)
    assert model.input_shape == (None, 4) and model.layers[0].output_shape == (None, 4, 5)
    again = Sequential.from_config(model.get_config())
    assert again.built and again.input_shape == (None, 4)
    model.pop()
    assert model.output_shape == (None, 9)
    fixed = Sequential([L.Embedding(9, 5), L.LSTM(4)])
    fixed.build((None, 6))
    fixed.build((None, 7))  # is built
    copy = Sequential.from_config(fixed.get_config())
    assert copy.input_shape == (None, 6) and copy.layers[0].output_shape == (None, 6, 5)


def test_an_export_has_fixed_lengths(tmp_path: Any) -> None:
    from kcompile_runtime.loading import load

    model = ONE_AXIS["conv"](None)
    x = np.random.default_rng(0).random((2, 9, WIDTH)).astype(np.float32)
    made = load(kcompile.export(model, tmp_path / "model.so", lengths=9))
    assert made.inputs[0].shape == ("n", 9, WIDTH)
    same(made.predict(x), model.predict(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: L.Dense(2, name="d")(L.Flatten()(x)), r"'d' \(Dense\): weights 'kernel'.*Give the Input"),
        (lambda x: L.PReLU(name="p")(x), r"'p' \(PReLU\): weights .*\(None, 3\)"),
        (
            lambda x: L.Conv1D(2, 3, name="c", data_format="channels_first")(x),
            r"'c' .*shape \(None, None, 3\)",
        ),
        (lambda x: L.Add(name="a")([x, Input((5, WIDTH))]), r"'a' \(Add\).*tried as 960 and 1920"),
        (lambda x: L.Reshape((-1, 7))(x), r"tried as 960 and 1920"),
    ],
)
def test_layers_that_need_a_size_say_so(make: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        make(Input((None, WIDTH)))


def test_data_that_do_not_fit() -> None:
    model = ONE_AXIS["conv"](None)
    model.compile("sgd", "mse")
    with pytest.raises(InputError, match=r"of shape \(n, None, 3\). Received: shape \(2, 7, 4\)"):
        model.predict(np.zeros((2, 7, 4)))
    with pytest.raises(InputError, match="of one shape"):
        model.predict([[[0.0] * WIDTH] * 7, [[0.0] * WIDTH] * 8])
    with pytest.raises(InputError, match="no size 0"):
        model.predict(np.zeros((2, 0, WIDTH)))
    with pytest.raises(InputError, match=r"cannot take inputs of these sizes.*n, 2, 3.*conv1d"):
        model.predict(np.zeros((2, 2, WIDTH)))
    steps = ONE_AXIS["steps"](None)
    steps.compile("sgd", "mse")
    with pytest.raises(InputError, match=r"\(n, 5, 2\). Received: shape \(4, 6, 2\)"):
        steps.fit(np.zeros((4, 5, WIDTH)), np.zeros((4, 6, 2)), verbose=0)
    pair = two_inputs(None)
    with pytest.raises(KcompileError, match="concatenate"):
        pair.predict([np.zeros((2, 4, WIDTH)), np.zeros((2, 5, WIDTH))])


@pytest.mark.keras
def test_as_keras_3_has_it() -> None:
    keras = pytest.importorskip("keras")
    live = keras.Sequential(
        [
            keras.Input((None, WIDTH)),
            keras.layers.Conv1D(4, 3, padding="same"),
            keras.layers.Bidirectional(keras.layers.LSTM(3, return_sequences=True)),
            keras.layers.TimeDistributed(keras.layers.Dense(2)),
        ]
    )
    live.compile(keras.optimizers.SGD(0.1), "mse")
    compiled = kcompile.compile(live)
    assert compiled.model.output_shape == live.output_shape == (None, None, 2)
    before = live.get_weights()
    rng = np.random.default_rng(0)
    batches = [(rng.normal(size=(4, k, WIDTH)), rng.normal(size=(4, k, 2))) for k in (6, 9, 6)]
    losses = []
    for x, y in batches:
        np.testing.assert_allclose(compiled.predict(x), live.predict(x, verbose=0), rtol=1e-4, atol=1e-5)
        losses.append(compiled.train_on_batch(x, y))
    after = compiled.get_weights()
    live.set_weights(before)
    for (x, y), loss in zip(batches, losses):
        live.reset_metrics()
        np.testing.assert_allclose(loss, live.train_on_batch(x, y), rtol=1e-4)
    for a, b in zip(after, live.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
