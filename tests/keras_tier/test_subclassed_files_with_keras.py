"""Weights of models by subclassing: files .weights.h5 of Keras 3 are read, and ours are read by Keras 3."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kcompile import keras3

pytestmark = pytest.mark.keras
X = (np.arange(6).reshape(2, 3) % 4).astype("float32")


def mixed(keras: Any) -> Any:
    """Attributes before and behind "layers" in the order of names, one that two names share, lists, dicts,
    lists in lists, models of layers, a model by subclassing inside."""
    L = keras.layers

    class Inner(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.beyond = L.Dense(3), L.Dense(3)

        def call(self, x: Any) -> Any:
            return self.beyond(self.first(x))

    class Mixed(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.zeta, self.alpha = L.Dense(3), L.Dense(4, name="a_name")
            self.blocks = [L.Dense(2), L.Dense(2), L.BatchNormalization()]
            self.by = {"b": L.Dense(2), "a": L.Dense(1)}
            self.again = self.zeta
            self.inner, self._hidden = Inner(), L.Dense(3)
            self.seq = keras.Sequential([keras.Input((3,)), L.Dense(3), L.Dense(3)])
            self.emb, self.rnn = L.Embedding(4, 3), L.Bidirectional(L.LSTM(2))
            self.drop = L.Dropout(0.5)
            self.nested = [[L.Dense(2)], (L.Dense(2),)]

        def call(self, x: Any) -> Any:
            y = self.seq(self._hidden(self.inner(self.zeta(x))))
            y = self.alpha(y)
            for block in self.blocks:
                y = block(y)
            y = self.by["a"](self.by["b"](y)) + self.rnn(self.emb(x))[:, :1]
            return self.nested[0][0](self.nested[1][0](self.drop(y)))

    model = Mixed()
    model.predict(X, verbose=0)
    return model


def randomized(model: Any) -> Any:
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.1, 1, w.shape) for w in model.get_weights()])
    return model


def carried(source: Any, target: Any, path: Any) -> Any:
    """A model of another Keras with the weights of the file that one writes. They predict alike."""
    written, read = randomized(mixed(source)), mixed(target)
    written.save_weights(path)
    read.load_weights(path)
    np.testing.assert_allclose(read.predict(X, verbose=0), written.predict(X, verbose=0), rtol=2e-5)
    return written


def test_files_of_keras_are_read(tmp_path) -> None:
    import keras

    carried(keras, keras3, tmp_path / "m.weights.h5")


def test_our_files_are_read_by_keras(tmp_path) -> None:
    import keras

    ours = carried(keras3, keras, tmp_path / "m.weights.h5")
    again = mixed(keras3)
    again.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(again.predict(X), ours.predict(X))


def configured(keras: Any) -> Any:
    """A class with a configuration of its own."""

    class Configured(keras.Model):
        def __init__(self, units: int = 3, **options: Any) -> None:
            super().__init__(**options)
            self.units = units
            self.hidden, self.out = keras.layers.Dense(units, activation="tanh"), keras.layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.out(self.hidden(x))

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "units": self.units}

    return Configured


def trained(cls: Any) -> Any:
    model = cls(4)
    model.compile("adam", "mse")
    model.fit(X, X[:, :2], verbose=0)
    return model


def test_archives_go_both_ways(tmp_path) -> None:
    import keras

    classes = {"theirs": configured(keras), "ours": configured(keras3)}
    load = {"theirs": keras.models.load_model, "ours": keras3.models.load_model}
    for writer, cls in classes.items():
        model = trained(cls)
        model.save(tmp_path / f"{writer}.keras")
        for reader, own in classes.items():
            loaded = load[reader](tmp_path / f"{writer}.keras", custom_objects={"Configured": own})
            assert type(loaded) is own and loaded.units == 4
            np.testing.assert_allclose(
                loaded.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-5, atol=1e-6
            )
            assert int(loaded.optimizer.iterations.numpy()) == 1
            loaded.fit(X, X[:, :2], verbose=0)


def test_configurations_as_text_go_both_ways() -> None:
    import keras

    theirs, ours = configured(keras), configured(keras3)
    made = keras3.models.model_from_json(trained(theirs).to_json(), custom_objects={"Configured": ours})
    assert type(made) is ours and made.units == 4
    back = keras.models.model_from_json(trained(ours).to_json(), custom_objects={"Configured": theirs})
    assert type(back) is theirs and back.units == 4


@pytest.mark.parametrize("ours_first", [True, False], ids=["ours", "theirs"])
def test_classes_that_say_themselves_what_is_kept(tmp_path: Any, ours_first: bool) -> None:
    import keras
    from files.own_layers import chain, classes

    first, second = (keras3, keras) if ours_first else (keras, keras3)
    model, path = chain(first), tmp_path / "model.keras"
    model.save(path)
    found = second.models.load_model(path, custom_objects=vars(classes(second)))
    np.testing.assert_allclose(found.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-5)
    losses = [one.fit(X, np.ones((2, 2)), epochs=3, verbose=0).history["loss"] for one in (model, found)]
    np.testing.assert_allclose(*losses, rtol=1e-4)
