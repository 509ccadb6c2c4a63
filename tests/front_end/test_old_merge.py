"""Merge and merge of Keras 1, in functional models and as the first layer of a Sequential."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile.keras import backend as K
from kcompile.keras import layers as L
from kcompile.keras.layers import Dense, Dropout, Embedding, Merge, merge
from kcompile.keras.models import Model, Sequential, clone_model, model_from_json
from kcompile_runtime.errors import ModelError

N = 6
rng = np.random.default_rng(1)
A, B = rng.normal(size=(N, 4)).astype("f"), rng.normal(size=(N, 4)).astype("f")
CUBES = rng.normal(size=(2, N, 5, 4)).astype("f")


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (
        (a * b).sum(-1, keepdims=True)
        / np.linalg.norm(a, axis=-1, keepdims=True)
        / np.linalg.norm(b, axis=-1, keepdims=True)
    )


MODES: dict[str, tuple[dict[str, Any], Any]] = {
    "sum": ({}, lambda a, b: a + b),
    "mul": ({}, lambda a, b: a * b),
    "ave": ({}, lambda a, b: (a + b) / 2),
    "max": ({}, np.maximum),
    "concat": ({}, lambda a, b: np.concatenate([a, b], -1)),
    "dot": ({"dot_axes": 1}, lambda a, b: (a * b).sum(-1, keepdims=True)),
    "cos": ({"dot_axes": [[1], [1]]}, cosine),
}


@pytest.mark.parametrize("mode", MODES)
def test_modes(mode: str) -> None:
    options, right = MODES[mode]
    a, b = L.Input((4,)), L.Input((4,))
    one = Model(input=[a, b], output=merge([a, b], mode=mode, **options))
    np.testing.assert_allclose(one.predict([A, B]), right(A, B), rtol=1e-5)
    two = Sequential([Merge([Sequential([Dense(4, input_dim=4)]) for _ in range(2)], mode=mode, **options)])
    (w, _), (v, _) = (branch.get_weights() for branch in two.layers[:2])
    np.testing.assert_allclose(two.predict([A, B]), right(A @ w, B @ v), rtol=1e-4, atol=1e-6)


def test_axes() -> None:
    a, b = L.Input((5, 4)), L.Input((5, 4))
    made = [
        merge([a, b], mode="concat", concat_axis=1),
        merge([a, b], mode="dot", dot_axes=2),
        merge([a, b], "dot", dot_axes=[1, 1]),
    ]
    x, y = CUBES
    found = Model([a, b], made).predict([x, y])
    for got, right in zip(
        found, (np.concatenate([x, y], 1), np.einsum("nik,njk->nij", x, y), np.einsum("nki,nkj->nij", x, y))
    ):
        np.testing.assert_allclose(got, right, rtol=1e-5, atol=1e-6)


def test_functions() -> None:
    """With output_shape, as Keras 1 wants it, and arguments."""

    def weigh(tensors: Any, share: float = 1.0) -> Any:
        return K.abs(tensors[0] - tensors[1]) * share

    left, right = (Sequential([Dense(3, input_dim=4, bias_initializer="ones")]) for _ in range(2))
    model = Sequential()
    model.add(
        Merge([left, right], mode=weigh, output_shape=lambda shapes: shapes[0], arguments={"share": 0.5})
    )
    model.add(Dense(1))
    values = np.abs(left.predict(A) - right.predict(B)) * 0.5
    w, b = model.layers[-1].get_weights()
    np.testing.assert_allclose(model.predict([A, B]), values @ w + b, rtol=1e-5, atol=1e-6)
    a, c = L.Input((4,)), L.Input((4,))
    difference = merge([a, c], mode=lambda xs: xs[0] - xs[1], output_shape=(4,))
    np.testing.assert_array_equal(Model([a, c], difference).predict([A, B]), A - B)


def two_branches() -> Any:
    """What the scripts of those days look like."""
    left, right = Sequential(), Sequential()
    left.add(Embedding(10, 3, input_length=5))
    left.add(L.LSTM(4, recurrent_activation="sigmoid"))
    right.add(Dense(4, input_shape=(4,), activation="tanh"))
    right.add(Dropout(0.0))
    model = Sequential()
    model.add(Merge([left, right], mode="concat", concat_axis=-1))
    model.add(Dense(2, activation="softmax"))
    return model


def test_a_model_of_branches_trains_and_is_saved(tmp_path: Any) -> None:
    model = two_branches()
    words = rng.integers(0, 10, (N, 5))
    labels = np.eye(2, dtype="f")[rng.integers(0, 2, N)]
    assert [x.name for x in model.inputs] == [f"{model.layers[k].name}_input" for k in (0, 2)]
    assert len(model.get_weights()) == 8 and model.output_shape == (None, 2)
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    losses = model.fit([words, A], labels, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    start = model.get_weights()
    assert any((a != b).any() for a, b in zip(start, two_branches().get_weights()))
    right = model.predict([words, A])
    for copy in (clone_model(model), model_from_json(model.to_json())):
        copy.set_weights(start)
        np.testing.assert_array_equal(copy.predict([words, A]), right)
    for name in ("model.h5", "model.keras"):
        model.save(tmp_path / name)
        again = kcompile.load(tmp_path / name)
        np.testing.assert_array_equal(again.predict([words, A]), right)
        assert again.train_on_batch([words, A], labels) == pytest.approx(
            model.train_on_batch([words, A], labels), rel=1e-5
        )
        model.set_weights(start)


def test_branches_within_branches_and_shared_ones() -> None:
    inner = Sequential([Merge([Sequential([Dense(3, input_dim=4)]) for _ in range(2)], "sum")])
    third = Sequential([Dense(3, input_dim=4)])
    model = Sequential([Merge([inner, third], "mul"), Dense(1)])
    assert len(model.inputs) == 3
    np.testing.assert_allclose(
        model.predict([A, B, A + B]),
        (inner.predict([A, B]) * third.predict(A + B)) @ model.get_weights()[-2] + model.get_weights()[-1],
        rtol=1e-5,
    )
    outer = L.Input((4,)), L.Input((4,)), L.Input((4,))
    around = Model(list(outer), L.Activation("relu")(model(list(outer))))
    np.testing.assert_allclose(
        around.predict([A, B, A + B]), np.maximum(model.predict([A, B, A + B]), 0), rtol=1e-5
    )
    x = L.Input((4,), name="shared_input")
    layer = Dense(2)
    once, twice = layer(x), layer(L.Input((4,)))
    ends = Sequential([Merge([layer, layer], "sum", node_indices=[0, 1])])
    assert once.node_index == 0 and twice.node_index == 1
    np.testing.assert_allclose(ends.predict([A, B]), (A + B) @ layer.get_weights()[0], rtol=1e-5, atol=1e-6)


def test_the_layers_of_branches_are_found_and_popped() -> None:
    model = two_branches()
    assert model.get_layer(model.layers[1].name) is model.layers[1]
    model.pop()
    assert model.output_shape == (None, 8)
    model.pop()
    assert model.layers == [] and not model.built
    model.add(Dense(2, input_dim=3))
    assert model.predict(np.ones((1, 3))).shape == (1, 2)


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (lambda: Merge(mode="join"), "mode"),
        (lambda: Merge([Sequential([Dense(2)]), Sequential([Dense(2, input_dim=1)])]), "input shape"),
        (lambda: Merge([Dense(2), Dense(2)]), "called"),
        (lambda: Merge(mode="sum", output_shape=(3,)), "output_shape"),
        (lambda: merge([L.Input((5, 4)), L.Input((5, 4))], mode="cos", dot_axes=2), "rank 2"),
        (
            lambda: Sequential([Dense(2, input_dim=1), Merge([Sequential([Dense(2, input_dim=1)])] * 2)]),
            "first layer",
        ),
    ],
)
def test_errors(act: Any, text: str) -> None:
    with pytest.raises(ModelError, match=text):
        act()
