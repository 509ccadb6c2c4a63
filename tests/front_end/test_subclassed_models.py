"""Models by subclassing: the same numbers as a functional model of the same layers."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile import keras, keras3, tf_keras
from kcompile.keras import backend as K
from kcompile_runtime.errors import InputError, ModelError, UnsupportedError

EDITIONS = {"keras2": keras, "tf_keras": tf_keras, "keras3": keras3}
X = np.random.RandomState(0).rand(12, 5).astype("float32")
Y = np.random.RandomState(1).rand(12, 2).astype("float32")


def tower(edition: Any) -> Any:
    layers = edition.layers

    class Tower(edition.models.Model):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = [layers.Dense(4, activation="tanh"), layers.Dense(4)]
            self.named = {"norm": layers.BatchNormalization()}
            self.out = layers.Dense(2)

        def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
            x = inputs
            for block in self.blocks:
                x = block(x)
            if x.shape[-1] == 4:
                x = self.named["norm"](x, training=training)
            return self.out(x)

    return Tower()


def as_functional(edition: Any, model: Any) -> Any:
    """A functional model of equal layers, with equal weights."""
    layers = edition.layers
    start = edition.layers.Input((5,))
    x = layers.Dense(4, activation="tanh")(start)
    x = layers.BatchNormalization()(layers.Dense(4)(x))
    made = edition.models.Model(start, layers.Dense(2)(x))
    made.set_weights(model.get_weights())
    return made


@pytest.mark.parametrize("name", list(EDITIONS))
def test_training_is_that_of_a_functional_model(name: str) -> None:
    edition = EDITIONS[name]
    model = tower(edition)
    model.build((None, 5))
    other = as_functional(edition, model)
    for m in (model, other):
        m.compile("adam", "mse", metrics=["mae"])
    ours, theirs = (
        m.fit(X, Y, batch_size=4, epochs=3, shuffle=False, verbose=0, validation_data=(X, Y)).history
        for m in (model, other)
    )
    assert ours.keys() == theirs.keys()
    for key in ours:
        np.testing.assert_array_equal(ours[key], theirs[key])
    for a, b in zip(model.get_weights(), other.get_weights()):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(model.predict(X), other.predict(X))
    assert model.evaluate(X, Y, verbose=0) == other.evaluate(X, Y, verbose=0)


# What Keras 2.2.4 and 2.3.1 report for this model, from these weights
LOSSES_OF_KERAS2 = {
    "sgd": [1.2937880754470825, 1.2039432525634766, 1.1228569746017456, 1.0494595766067505],
    "adam": [1.2937880754470825, 1.2811018228530884, 1.26851224899292, 1.2560211420059204],
}


@pytest.mark.parametrize("optimizer", list(LOSSES_OF_KERAS2))
def test_losses_are_those_of_keras2(optimizer: str) -> None:
    class Plain(keras.models.Model):
        def __init__(self) -> None:
            super().__init__()
            self.a = keras.layers.Dense(4, activation="tanh")
            self.bn = keras.layers.BatchNormalization()
            self.b = keras.layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.b(self.bn(self.a(x)))

    model, rng = Plain(), np.random.RandomState(0)
    x, y = rng.rand(8, 5), rng.rand(8, 2)
    model.compile(optimizer, "mse")
    model.predict(x)
    model.set_weights([np.random.RandomState(k).rand(*w.shape) for k, w in enumerate(model.get_weights())])
    found = [model.train_on_batch(x, y) for _ in range(4)]
    np.testing.assert_allclose(found, LOSSES_OF_KERAS2[optimizer], rtol=3e-6)


def test_the_first_data_say_the_inputs() -> None:
    model = tower(keras)
    model.compile("sgd", "mse")
    assert not model.built and not model.weights
    model.train_on_batch(X, Y)
    assert (model.input_shape, model.output_shape) == ((None, 5), (None, 2))
    assert [layer.built for layer in model.layers] == [True] * 4
    with pytest.raises(InputError, match="input_1"):
        model.predict(X[:, :4])


def test_layers_are_those_of_attributes_lists_and_dicts() -> None:
    model = tower(tf_keras)
    assert model.layers == [*model.blocks, model.named["norm"], model.out]
    assert model.get_layer(model.out.name) is model.out
    model.blocks.append(tf_keras.layers.Dense(4))
    assert model.layers[2] is model.blocks[2]


def test_training_is_what_python_asks_for() -> None:
    """A phase of Python's since tf.keras; in Keras 2 it is None, and layers know theirs."""

    def met(edition: Any) -> list[Any]:
        seen: list[Any] = []

        class Seeing(edition.models.Model):
            def __init__(self) -> None:
                super().__init__()
                self.out = edition.layers.Dense(2)

            def call(self, inputs: Any, training: Any = None) -> Any:
                seen.append(training)
                y = self.out(inputs)
                return y * 2.0 if training else y

        model = Seeing()
        model.compile("sgd", "mse")
        model.build((None, 5))
        before = model.predict(X)
        trained, tested = model.test_on_batch(X, Y), model.train_on_batch(X, Y)
        assert trained == pytest.approx(float(np.mean((before - Y) ** 2)), rel=1e-5)
        factor = 1.0 if edition is keras else 2.0
        assert tested == pytest.approx(float(np.mean((factor * before - Y) ** 2)), rel=1e-5)
        return seen

    assert set(met(keras)) == {None}
    assert True in met(tf_keras) and True in met(keras3)


class Pair(keras.models.Model):
    """Two inputs, two outputs."""

    def __init__(self, form: type) -> None:
        super().__init__()
        self.form = form
        self.first = keras.layers.Dense(3)
        self.second = keras.layers.Dense(2)

    def call(self, inputs: Any) -> Any:
        a, b = (inputs["a"], inputs["b"]) if isinstance(inputs, dict) else inputs
        made = {"sum": self.second(self.first(a) + self.first(b)), "first": self.first(a)}
        return made if self.form is dict else self.form(made.values())


@pytest.mark.parametrize("form", [list, tuple, dict])
def test_several_inputs_and_outputs(form: type) -> None:
    model = Pair(form)
    given: Any = {"b": X, "a": X + 1} if form is dict else form([X + 1, X])
    found = model.predict(given)
    summed, first = (found["sum"], found["first"]) if form is dict else found
    w, b, v, c = model.get_weights()
    expected = (X + 1) @ w + b
    np.testing.assert_allclose(first, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(summed, (expected + X @ w + b) @ v + c, rtol=1e-5, atol=1e-5)
    labels: Any = {"sum": Y, "first": Y[:, [0, 1, 1]]} if form is dict else [Y, Y[:, [0, 1, 1]]]
    model.compile("sgd", "mse")
    losses = [model.train_on_batch(given, labels)[0] for _ in range(3)]
    assert losses[0] > losses[1] > losses[2]


class Doubled(keras.models.Model):
    """A model by subclassing inside another, with a model of each other kind."""

    def __init__(self) -> None:
        super().__init__(name="doubled")
        self.inner = Pair(list)
        start = keras.layers.Input((2,))
        self.graph = keras.models.Model(start, keras.layers.Dense(3)(start))
        self.chain = keras.models.Sequential([keras.layers.Dense(2, kernel_regularizer="l2")])

    def call(self, inputs: Any) -> Any:
        first, _ = self.inner([inputs, K.square(inputs)])
        return self.chain(self.graph(first))


def test_models_inside_models_of_each_kind() -> None:
    start = keras.layers.Input((5,))
    inside = Doubled()
    model = keras.models.Model(start, keras.layers.Dense(2)(inside(start)))
    assert len(model.weights) == 10 and len(inside.weights) == 8
    model.compile("sgd", "mse")
    first = model.train_on_batch(X, Y)
    kernel = inside.chain.get_weights()[0]
    assert model.train_on_batch(X, Y) < first
    assert np.abs(inside.chain.get_weights()[0] - kernel).max() > 0
    inside.trainable = False
    assert len(model.trainable_weights) == 2


@pytest.mark.parametrize("suffix", ["h5", "weights.h5", "npz"])
def test_weights_in_files(tmp_path: Any, suffix: str) -> None:
    model, other = Doubled(), Doubled()
    for m in (model, other):
        m.build((None, 5))
    model.save_weights(tmp_path / f"w.{suffix}")
    other.load_weights(tmp_path / f"w.{suffix}")
    np.testing.assert_array_equal(model.predict(X), other.predict(X))


def test_compiled_models_and_pickles_compute_the_same() -> None:
    model = Doubled()
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    expected = model.predict(X)
    np.testing.assert_array_equal(kcompile.compile(model).predict(X), expected)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict(X), expected)
    assert copy.train_on_batch(X, Y) == model.train_on_batch(X, Y)


def test_configurations_are_the_users() -> None:
    model = Doubled()
    model.build((None, 5))
    for ask in (model.get_config, model.to_json, lambda: model.save("m.h5")):
        with pytest.raises(NotImplementedError):
            ask()

    class Sized(keras3.Model):
        def __init__(self, units: int) -> None:
            super().__init__()
            self.units = units
            self.out = keras3.layers.Dense(units)

        def call(self, inputs: Any) -> Any:
            return self.out(inputs)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "units": self.units}

    assert keras3.models.clone_model(Sized(3)).units == 3
    assert '"units": 3' in Sized(3).to_json()


def test_a_build_of_ones_own_runs_once() -> None:
    class Scaled(tf_keras.Model):
        def build(self, input_shape: Any) -> None:
            self.scale = self.add_weight("scale", (input_shape[-1],), initializer="ones")
            self.out = tf_keras.layers.Dense(2)
            self.built = True

        def call(self, inputs: Any) -> Any:
            self.add_loss(K.sum(K.square(self.scale)))
            return self.out(inputs * self.scale)

    model = Scaled()
    model.compile("sgd", "mse")
    prediction = model.predict(X)
    assert len(model.weights) == 3
    mse = float(np.mean((prediction - Y) ** 2))
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(mse + 5.0, rel=1e-5)
    model.train_on_batch(X, Y)
    assert (model.scale.numpy() < 1).all()


def test_summary_says_multiple(capsys: Any) -> None:
    model = tower(keras)
    with pytest.raises(ModelError, match="not built"):
        model.summary()
    model.blocks.append(keras.layers.Flatten())
    model.spare = keras.layers.Dense(2)
    model.build((None, 5))
    model.summary()
    shown = capsys.readouterr().out
    assert shown.count("multiple") == 6 and "0 (unused)" in shown and "Total params: 70" in shown


def test_what_is_refused() -> None:
    class Early(keras.models.Model):
        def __init__(self) -> None:
            self.out = keras.layers.Dense(2)
            super().__init__()

        def call(self, inputs: Any) -> Any:
            return self.out(inputs)

    with pytest.raises(ModelError, match="super"):
        Early()

    class Plain(keras.models.Model):
        pass

    with pytest.raises(ModelError, match="defines no call"):
        Plain().predict(np.ones((2, 3)))


def test_archives_of_classes_with_a_configuration(tmp_path):
    class Scaled(keras3.Model):
        def __init__(self, units, **options):
            super().__init__(**options)
            self.units, self.out = units, keras3.layers.Dense(units)

        def call(self, x):
            return self.out(x)

        def get_config(self):
            return {"units": self.units}

    model, x = Scaled(3), np.ones((2, 4), np.float32)
    model.compile("adam", "mse")
    model.fit(x, np.zeros((2, 3)), verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = keras3.models.load_model(tmp_path / "m.keras", custom_objects={"Scaled": Scaled})
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
    assert loaded.train_on_batch(x, np.zeros((2, 3))) == model.train_on_batch(x, np.zeros((2, 3)))
    made = keras3.models.model_from_json(model.to_json(), custom_objects={"Scaled": Scaled})
    assert type(made) is Scaled and made.units == 3
    with pytest.raises(UnsupportedError, match="Scaled"):
        keras3.models.load_model(tmp_path / "m.keras")
    with pytest.raises(NotImplementedError, match="code"):
        model.save(tmp_path / "m.h5")


def test_outputs_of_a_class_in_a_functional_model_are_those_of_its_call() -> None:
    class Inner(keras3.Model):
        def __init__(self) -> None:
            super().__init__()
            self.out = keras3.layers.Dense(3)

        def call(self, x: Any) -> Any:
            return self.out(x)

    inner, start = Inner(), keras3.Input((2,))
    outer = keras3.Model(start, keras3.layers.Dense(1)(inner(start)))
    part = keras3.Model(outer.input, outer.layers[1].output)
    x = np.ones((4, 2), np.float32)
    np.testing.assert_array_equal(part.predict(x), inner.predict(x))
    assert inner.input is start
