"""Whoever writes a variable tells all who remember something of it: models that share layers agree, however
one of them is changed, and whatever holds code for the others."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gpu.device import FakeDriver, remembering

import kcompile
from kcompile import model as compiled_models
from kcompile.codegen.gpu import emission
from kcompile.interpreted import InterpreterEngine
from kcompile.keras import backend as K
from kcompile.keras import layers, models, optimizers
from kcompile.keras.listeners import Audience, Listeners
from kcompile.keras.tensors import Variable
from kcompile_runtime import cuda_driver

N = 6


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


# Chains whose code prepares something from weights: packed kernels, folded statistics, tiles.
CHAINS: dict[str, tuple[tuple[int, ...], Callable[[], list[Any]]]] = {
    "dense": ((9,), lambda: [layers.Dense(64, activation="tanh")]),
    "dense and normalisation": ((9,), lambda: [layers.Dense(24), layers.BatchNormalization(momentum=0.5)]),
    "convolution": (
        (8, 8, 3),
        lambda: [
            layers.Conv2D(16, 3, padding="same"),
            layers.BatchNormalization(),
            layers.GlobalMaxPooling2D(),
        ],
    ),
    "many channels": ((12, 12, 16), lambda: [layers.Conv2D(32, 3), layers.GlobalAveragePooling2D()]),
    "recurrent": ((5, 7), lambda: [layers.GRU(40)]),
    "embedding": ((5,), lambda: [layers.Embedding(11, 16), layers.Flatten(), layers.Dense(33)]),
}


class Family:
    """Models that share the layers of a chain: an encoder, the model that is trained, one that holds the
    encoder as a layer, and a function of K."""

    def __init__(self, name: str) -> None:
        shape, make = CHAINS[name]
        x = layers.Input(shape)
        y = x
        for layer in make():
            y = layer(y)
        self.encoder = models.Model(x, y)
        self.trained = models.Model(x, layers.Dense(3)(y))
        z = layers.Input(shape)
        self.around = models.Model(z, layers.Dense(2)(self.encoder(z)))
        self.function = K.function([x], [y])
        self.trained.compile(optimizers.SGD(0.01), "mse")
        self.x = (
            rng().integers(0, 11, (N, *shape)) if name == "embedding" else rng().normal(size=(N, *shape))
        ).astype("float32")
        self.y = rng().normal(size=(N, 3)).astype("float32")

    def agree(self) -> None:
        """Each predicts what an interpreter that remembers nothing says."""
        for model in (self.encoder, self.trained, self.around):
            [right] = InterpreterEngine(model).run("predict", N, [self.x])
            for found in (
                model.predict(self.x),
                model.predict(self.x, batch_size=4),
                model.predict_on_batch(self.x),
            ):
                np.testing.assert_allclose(found, right, rtol=1e-3, atol=1e-4)
            if model is self.encoder:
                np.testing.assert_allclose(self.function([self.x])[0], right, rtol=1e-3, atol=1e-4)


def by_function(f: Family) -> None:
    """K.function with updates."""
    weight = f.encoder.trainable_weights[0]
    K.function([], [], updates=[(weight, weight * 0.25 + 0.125)])([])


def by_other_engine(f: Family) -> None:
    other = kcompile.compile(f.trained)  # the model has a new engine
    other.fit(f.x, f.y, epochs=2, verbose=0)


def by_interpreter(f: Family) -> None:
    f.trained.use_engine(InterpreterEngine(f.trained))
    f.trained.train_on_batch(f.x, f.y)
    f.trained.use_engine(kcompile.compile(f.trained).engine)


class Stops(kcompile.keras.callbacks.Callback):
    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        raise ZeroDivisionError


def by_interrupted_fit(f: Family) -> None:
    with pytest.raises(ZeroDivisionError):
        f.trained.fit(f.x, f.y, verbose=0, callbacks=[Stops()])


def by_part(f: Family) -> None:
    f.encoder.compile("sgd", "mse")
    f.encoder.train_on_batch(f.x, np.zeros_like(f.encoder.predict(f.x)))


CHANGES: dict[str, Callable[[Family], Any]] = {
    "fit": lambda f: f.trained.fit(f.x, f.y, epochs=3, batch_size=4, verbose=0),
    "fit that stops": by_interrupted_fit,
    "train_on_batch": lambda f: [f.trained.train_on_batch(f.x, f.y) for _ in range(3)],
    "set_weights": lambda f: f.around.set_weights([w * 0.5 + 0.25 for w in f.around.get_weights()]),
    "K.set_value": lambda f: K.set_value(
        f.encoder.weights[0], K.get_value(f.encoder.weights[0]) * 0.5 + 0.25
    ),
    "K.function": by_function,
    "another engine": by_other_engine,
    "interpreter": by_interpreter,
    "a part of it": by_part,
}


@pytest.mark.parametrize("chain", CHAINS)
def test_models_that_share_layers_agree(chain: str) -> None:
    family = Family(chain)
    family.agree()
    before = family.encoder.predict(family.x)
    for name, change in CHANGES.items():
        change(family)
        family.agree()
        after = family.encoder.predict(family.x)
        assert np.isfinite(after).all() and np.abs(after - before).max() > 1e-6, name
        before = after


def test_states_that_evaluate_and_predict_write_count_everywhere() -> None:
    x = layers.Input(batch_shape=(2, 3, 4))
    y = layers.LSTM(5, stateful=True)(x)
    first, second = models.Model(x, y), models.Model(x, layers.Dense(2)(y))
    second.compile("sgd", "mse")
    data = rng().normal(size=(2, 3, 4)).astype("float32")
    for change in (
        lambda: first.predict(data, batch_size=2),
        lambda: second.predict_on_batch(data),
        lambda: second.evaluate(data, np.zeros((2, 2)), batch_size=2, verbose=0),
        lambda: second.fit(data, np.zeros((2, 2)), batch_size=2, verbose=0),
    ):
        change()
        for model in (first, second):
            before = [v.numpy() for v in model.state_variables]
            [right] = InterpreterEngine(model).run("predict", 2, [data])
            for variable, value in zip(model.state_variables, before):
                variable.assign(value)
            np.testing.assert_allclose(model.predict(data, batch_size=2), right, rtol=1e-4, atol=1e-5)


def test_an_adversary_trains_against_a_generator() -> None:
    generator = models.Sequential([layers.Dense(20, activation="tanh", input_dim=4), layers.Dense(9)])
    judge = models.Sequential([layers.Dense(32, activation="tanh", input_dim=9), layers.Dense(1)])
    judge.compile("sgd", "mse")
    judge.trainable = False
    both = models.Sequential([generator, judge])
    both.compile("sgd", "mse")
    noise = rng().normal(size=(N, 4)).astype("float32")
    for _ in range(3):
        fake = generator.predict(noise)
        judge.train_on_batch(fake, np.zeros((N, 1)))
        both.train_on_batch(noise, np.ones((N, 1)))
        for model, data in ((generator, noise), (judge, fake), (both, noise)):
            [right] = InterpreterEngine(model).run("predict", N, [data])
            np.testing.assert_allclose(model.predict(data), right, rtol=1e-4, atol=1e-5)


def test_models_that_name_shared_variables_otherwise() -> None:
    """Each model gives variables names that are its own; another that shares them may give others."""
    first, second, third = (layers.Dense(3, name="d", input_shape=(3,)) for _ in range(3))

    def inside(layer: Any) -> Any:
        return models.Sequential([layer])

    pair = models.Sequential([inside(first), second])
    other = models.Sequential([inside(third), first])
    x = np.ones((2, 3), "float32")
    for model in (pair, other):
        model.compile("adam", "mse")
        model.fit(x, x, verbose=0)
    np.testing.assert_allclose(pair.predict(x), InterpreterEngine(pair).run("predict", 2, [x])[0], rtol=1e-5)


# ---------------------------------------------------------------- devices


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    fake = FakeDriver()
    monkeypatch.setenv("KC_CACHE", "off")  # kernels are learnt when they are emitted
    monkeypatch.setattr(emission, "emit_program", remembering(fake))
    driver = cuda_driver.connect(fake)
    monkeypatch.setattr(compiled_models, "connect", lambda: driver)
    return fake


def test_devices_and_processors_share_variables(device: FakeDriver) -> None:
    x = layers.Input((4,))
    hidden = layers.Dense(6, activation="tanh")(x)
    one, two = models.Model(x, layers.Dense(2)(hidden)), models.Model(x, hidden)
    data, labels = rng().normal(size=(5, 4)).astype("float32"), np.ones((5, 2), "float32")
    one.compile("adam", "mse")
    engines = {
        m: [
            kcompile.compile(m).engine,
            kcompile.compile(m, target="cuda").engine,
            kcompile.compile(m, target="cuda").engine,
        ]
        for m in (one, two)
    }
    for turn in (1, 0, 2, 1, 2, 0):
        one.use_engine(engines[one][turn])
        one.train_on_batch(data, labels)
        for model, several in engines.items():
            [right] = InterpreterEngine(model).run("predict", 5, [data])
            for engine in several:
                np.testing.assert_allclose(engine.run("predict", 5, [data])[0], right, rtol=1e-4, atol=1e-5)


def test_one_compiled_for_a_device_stays_there(device: FakeDriver) -> None:
    model = models.Sequential([layers.Dense(6, activation="tanh", input_shape=(4,)), layers.Dense(2)])
    model.compile("adam", "mse")
    data, labels = rng().normal(size=(5, 4)).astype("float32"), np.ones((5, 2), "float32")
    there, here = kcompile.compile(model, target="cuda"), kcompile.compile(model)
    for trains in (there, here, model):
        trains.train_on_batch(data, labels)
        [right] = InterpreterEngine(model).run("predict", 5, [data])
        for predicts in (there, here, model):
            np.testing.assert_allclose(predicts.predict(data), right, rtol=1e-4, atol=1e-5)
    for entry in ("train", "predict"):
        kinds = {type(compiled.engine.program(entry)) for compiled in (there, here)}
        assert len(kinds) == 2


# ---------------------------------------------------------------- verify


def test_verify_looks_at_the_program_that_predicts() -> None:
    """It is right on copies of the variables, so only a look at the live program finds old weights."""
    family = Family("dense")
    compiled = kcompile.compile(family.encoder)
    compiled.predict(family.x)
    assert compiled.verify(family.x).ok
    for variable in family.encoder.weights:
        variable.value[...] = 2 * variable.value + 1  # behind everybody's back
    report = compiled.verify(family.x)
    assert not report.ok and report.first_bad is not None
    assert report.first_bad.layer == f"predict: {family.encoder.output_names[0]}"
    for variable in family.encoder.weights:
        variable.listeners.tell()
    assert compiled.verify(family.x).ok


def test_verify_leaves_states_as_they_are() -> None:
    model = models.Sequential([layers.LSTM(3, stateful=True, batch_input_shape=(2, 4, 5))])
    compiled, x = kcompile.compile(model), np.ones((2, 4, 5), "float32")
    compiled.predict(x, batch_size=2)
    before = [v.numpy() for v in model.state_variables]
    assert compiled.verify(x).ok and compiled.verify().ok
    for variable, value in zip(model.state_variables, before):
        np.testing.assert_array_equal(variable.value, value)


# ---------------------------------------------------------------- who listens


class Ear:
    def __init__(self) -> None:
        self.heard = 0

    def hear(self) -> None:
        self.heard += 1


def test_each_listener_is_told_once_and_the_dead_are_forgotten() -> None:
    a, b, first, second = Variable(0.0, "a"), Variable(0.0, "b"), Ear(), Ear()
    audience = Audience([a, b])
    a.listeners.add(first.hear)
    b.listeners.add(first.hear)
    audience()
    assert first.heard == 1
    b.listeners.add(second.hear)  # later than the audience was asked first
    audience()
    assert (first.heard, second.heard) == (2, 1)
    b.assign(1.0)
    assert (first.heard, second.heard) == (3, 2)
    a.listeners.remove(first.hear)
    a.listeners.remove(first.hear)  # twice does no harm
    a.assign(1.0)
    assert first.heard == 3
    del second
    gc.collect()
    audience()
    assert len(b.listeners) == 1 and len(a.listeners) == 0 and list(b.listeners) == [first.hear]
    for _ in range(10):
        b.listeners.add(Ear().hear)
    assert len(b.listeners._methods) <= 2 and isinstance(b.listeners, Listeners)


def test_models_and_engines_that_are_gone_are_forgotten() -> None:
    x = layers.Input((4,))
    shared, optimizer = layers.Dense(20), optimizers.SGD(0.1)
    y = shared(x)
    gone = []
    for _ in range(3):
        model = models.Model(x, layers.Dense(1)(y))
        model.compile(optimizer, "mse")
        model.fit(np.ones((2, 4)), np.ones((2, 1)), verbose=0)
        for _ in range(2):
            compiled = kcompile.compile(model)
            compiled.predict(np.ones((2, 4)))
        gone += [weakref.ref(thing) for thing in (model, compiled.engine, compiled.engine.program("predict"))]
        del model, compiled
        y.layer.nodes_made[1:] = []
    gc.collect()
    assert [ref() for ref in gone] == [None] * len(gone)
    assert all(not v.listeners for v in shared.weights) and not optimizer.listeners
