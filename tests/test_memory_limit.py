"""Training within a limit of memory: the same bits, less planned memory, and refusals."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile.codegen import memory_plan, recomputation, targets
from kcompile.compiler import compile_graph
from kcompile.keras.engine import Input
from kcompile.keras.layers import (
    GRU,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePooling2D,
    MaxPooling2D,
    add,
)
from kcompile.keras.models import Model, Sequential
from kcompile_runtime.errors import InputError


def residual() -> Model:
    x = Input((16, 16, 3))
    y = Conv2D(8, 3, padding="same")(x)
    for k in range(6):
        z = Conv2D(8, 3, padding="same", use_bias=False)(y)
        z = BatchNormalization()(z)
        z = Conv2D(8, 3, padding="same", activation="relu")(z)
        y = add([y, Dropout(0.2, seed=k)(z)])
    y = MaxPooling2D()(y)
    return Model(x, Dense(10, activation="softmax")(GlobalAveragePooling2D()(y)))


def chain() -> Model:
    layers = [
        Dense(64, activation="tanh", input_shape=(32,)),
        *(Dense(64, activation="tanh") for _ in range(12)),
    ]
    return Sequential([*layers, Dropout(0.5), Dense(10, activation="softmax")])


def recurrent() -> Model:
    made = [Embedding(40, 16, input_length=9), GRU(12, return_sequences=True), GRU(12, return_sequences=True)]
    return Sequential([*made, Flatten(), Dense(10, activation="softmax")])


def data(model: Model, n: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    shape = (n, *model.inputs[0].shape[1:])
    integers = model.inputs[0].dtype == "int32" or shape[1:] == (9,)
    x = rng.integers(0, 40, shape).astype("float32") if integers else rng.random(shape).astype("float32")
    return x, rng.integers(0, 10, n)


def trained(model: Model, limit: int | None) -> tuple[list[np.ndarray], list[float], int]:
    model.compile("adam", "sparse_categorical_crossentropy")
    compiled = kcompile.compile(model, memory_limit=limit)
    x, y = data(model)
    history = compiled.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0).history["loss"]
    return compiled.get_weights(), history, compiled.planned_memory(4)


@pytest.mark.parametrize(("build", "share"), [(residual, 0.62), (chain, 0.985), (recurrent, 0.95)])
def test_less_memory_and_the_same_bits(build: Any, share: float, caplog: pytest.LogCaptureFixture) -> None:
    model = build()
    start = copy.deepcopy(model.get_weights())
    weights, losses, planned = trained(model, None)
    assert caplog.text == ""
    model.set_weights(start)
    model.random_state.step.assign(np.zeros((), np.uint32))
    limit = int(planned * share)
    found, again, less = trained(model, limit)
    assert less <= limit
    assert "a training step of 4 samples takes" in caplog.text
    assert again == losses
    for one, other in zip(weights, found):
        np.testing.assert_array_equal(one, other)


def test_a_larger_batch_makes_a_new_plan_and_one_too_large_is_refused() -> None:
    model = residual()
    model.compile("sgd", "sparse_categorical_crossentropy")
    limit = kcompile.compile(model).planned_memory(4)
    compiled = kcompile.compile(model, memory_limit=limit)
    x, y = data(model)
    compiled.train_on_batch(x[:4], y[:4])
    whole = compiled.planned_memory(6)
    compiled.train_on_batch(x[:6], y[:6])
    assert compiled.planned_memory(6) <= limit < whole
    before = compiled.get_weights()
    with pytest.raises(InputError, match="computing again what can be"):
        compiled.fit(np.repeat(x, 100, 0), np.repeat(y, 100), batch_size=1200, verbose=0)
    for one, other in zip(before, compiled.get_weights()):
        np.testing.assert_array_equal(one, other)
    compiled.predict(np.repeat(x, 100, 0), batch_size=1200)  # the limit is of training


def test_limits_are_checked() -> None:
    model = chain()
    for wrong in (0, -1, 1.5, "1GB"):
        with pytest.raises((InputError, TypeError), match="memory_limit"):
            kcompile.compile(model, memory_limit=wrong)  # type: ignore[arg-type]


def test_every_plan_computes_what_the_graph_does() -> None:
    """Of each set of kept values: a valid order, and nothing but groups that were there."""
    model = residual()
    model.compile("adam", "sparse_categorical_crossentropy")
    made = kcompile.compile(model).engine.compiled("train")
    plans = list(recomputation._plans(made.run, 8))
    sizes = []
    for kept in plans:
        graph = recomputation.recomputed(made.run, kept)
        graph.verify()
        sizes.append(memory_plan.arena_size(graph, "train", made.layout, made.target).at(8))
    assert min(sizes) < 0.55 * memory_plan.arena_size(made.run, "train", made.layout, made.target).at(8)
    assert compile_graph(made.graph, "train", targets.native(), False).run.text() == made.run.text()


def test_a_gradient_is_held_no_longer_than_it_must() -> None:
    """The update of a layer's weights runs before the layer in front of it is differentiated."""
    model = chain()
    model.compile("sgd", "sparse_categorical_crossentropy")
    run = kcompile.compile(model).engine.compiled("train").run
    order = memory_plan.execution_order(run)
    place = {m.id: k for k, m in enumerate(order)}
    base = memory_plan.bases(run)
    assert all(place[base[v].node] < place[m.id] for m in order for v in m.inputs if base[v].node in place)
    kernels = [place[base[v].node] for name, v in run.updates.items() if "kernel" in name]
    assert len(kernels) == 14 and max(kernels) - min(kernels) > 14  # one after the other, not all at the end
