"""Live models with code of their own are taken by tracing: they predict, train, and are exported."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile_runtime.errors import ModelError, UnsupportedError

keras = pytest.importorskip("keras")
pytest.importorskip("jax")
if keras.backend.backend() != "jax":
    pytest.skip("models are traced where Keras runs on JAX", allow_module_level=True)
layers, ops = keras.layers, keras.ops
R = np.random.default_rng(1)
ADJACENCY = R.random((7, 7)).astype("float32")


class Patches(layers.Layer):
    """Images as rows of their patches of 2 x 2."""

    def call(self, x: Any) -> Any:
        parts = ops.reshape(x, (ops.shape(x)[0], 4, 2, 4, 2, 3))
        return ops.reshape(ops.transpose(parts, (0, 1, 3, 2, 4, 5)), (ops.shape(x)[0], 16, 12))


class VisionTransformer(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.patches, self.project, self.places = Patches(), layers.Dense(8), layers.Embedding(16, 8)
        self.norm, self.attention = layers.LayerNormalization(), layers.MultiHeadAttention(2, 4)
        self.out = layers.Dense(3, activation="softmax")

    def call(self, x: Any) -> Any:
        y = self.project(self.patches(x)) + self.places(ops.arange(16))
        z = self.norm(y)
        return self.out(ops.mean(y + self.attention(z, z), axis=1))


class Gated(layers.Layer):
    """A gated residual unit of WaveNet."""

    def __init__(self, filters: int, rate: int) -> None:
        super().__init__()
        self.filter, self.gate = (
            layers.Conv1D(filters, 2, padding="causal", dilation_rate=rate) for _ in range(2)
        )
        self.back = layers.Conv1D(filters, 1)

    def call(self, x: Any) -> Any:
        return x + self.back(ops.tanh(self.filter(x)) * ops.sigmoid(self.gate(x)))


class GraphConvolution(layers.Layer):
    def build(self, shape: Any) -> None:
        self.w = self.add_weight(
            shape=(shape[-1], 5), regularizer="l2", constraint=keras.constraints.MaxNorm(1.0)
        )

    def call(self, x: Any) -> Any:
        return ops.relu(ops.convert_to_tensor(ADJACENCY) @ (x @ self.w))


class Waves(layers.Layer):
    """Sequences mixed by Fourier's transform over both axes, then filtered by a number for each wave."""

    def build(self, shape: Any) -> None:
        self.w = self.add_weight(shape=(shape[1] // 2 + 1, 2, shape[2]), initializer="glorot_normal")

    def call(self, x: Any) -> Any:
        x = x + ops.fft2((x, ops.zeros_like(x)))[0] / 8
        a, b = ops.rfft(ops.swapaxes(x, 1, 2))
        z = (a + 1j * b) * ops.transpose(self.w[:, 0] + 1j * self.w[:, 1])
        return (
            ops.swapaxes(ops.irfft((ops.real(z), ops.imag(z)), ops.shape(x)[1]), 1, 2) + ops.angle(z)[..., :1]
        )


class Statistics(keras.Model):
    """Batch normalisation, a mask, a loss and a counter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.norm = layers.Embedding(9, 4, mask_zero=True), layers.BatchNormalization()
        self.read, self.out = layers.GRU(5), layers.Dense(2)
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x: Any, training: bool = False) -> Any:
        y = self.norm(self.table(x), training=training)
        if training:
            self.count.assign(self.count + 1.0)
        self.add_loss(0.1 * ops.mean(ops.square(y)))
        return self.out(self.read(y))


class TwoOfEach(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = layers.Dense(2), layers.Dense(1)

    def call(self, inputs: Any) -> Any:
        return {"u": self.a(inputs["x"]), "v": self.b(inputs["y"])}


def wavenet() -> Any:
    x = keras.Input((16, 4))
    y = layers.GlobalAveragePooling1D()(Gated(4, 2)(Gated(4, 1)(x)))
    return keras.Model(x, layers.Dense(1, name="level")(y))


def waves() -> Any:
    return keras.Sequential([keras.Input((6, 6)), layers.Dense(6), Waves(), layers.Dense(2)])


def graph_network() -> Any:
    return keras.Sequential([keras.Input((7, 3)), GraphConvolution(), layers.Flatten(), layers.Dense(2)])


def lengths() -> Any:
    x = keras.Input((None, 3))
    return keras.Model(x, layers.Dense(2)(layers.GlobalMaxPooling1D()(Gated(3, 1)(x))))


def squares(y: Any, p: Any) -> Any:
    return ops.mean(ops.abs(y - p) ** 1.5, axis=-1)


class Cubes(keras.losses.Loss):
    def call(self, y: Any, p: Any) -> Any:
        return ops.mean(ops.abs(y - p) ** 3, axis=-1)


def floats(*shape: int) -> Any:
    return R.random(shape).astype("float32")


CASES: dict[str, Any] = {
    "a transformer of patches": (VisionTransformer, floats(6, 8, 8, 3), R.integers(0, 3, 6),
                                 "sparse_categorical_crossentropy", "adam"),
    "WaveNet": (wavenet, floats(6, 16, 4), floats(6, 1), {"level": "mse"}, "sgd"),
    "a convolution of graphs": (graph_network, floats(6, 7, 3), floats(6, 2), squares, "rmsprop"),
    "waves": (waves, floats(6, 6, 6), floats(6, 6, 2), "mse", "adam"),
    "statistics": (Statistics, R.integers(0, 9, (6, 5)).astype("int32"), floats(6, 2), Cubes(), "adam"),
    "dicts": (TwoOfEach, {"x": floats(6, 3), "y": floats(6, 4)}, {"u": floats(6, 2), "v": floats(6, 1)},
              {"u": "mse", "v": "mae"}, "adam"),
    "unknown lengths": (lengths, floats(6, 9, 3), floats(6, 2), "mse", "sgd"),
}  # fmt: skip


def leaves(tree: Any) -> list[Any]:
    return [np.asarray(x) for x in keras.tree.flatten(tree)]


@pytest.mark.parametrize("name", CASES)
def test_predictions_training_and_the_library(name: str, tmp_path: Path) -> None:
    make, x, y, loss, optimizer = CASES[name]
    keras.utils.set_random_seed(3)
    model = make()
    model(x)
    model.compile(loss=loss, optimizer=optimizer)
    start, wanted = model.get_weights(), leaves(model.predict(x, verbose=0))
    compiled = kcompile.compile(model)
    assert compiled.way == "tracing"
    for ours, theirs in zip(leaves(compiled.predict(x)), wanted):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)

    options = {"epochs": 4, "batch_size": 6, "shuffle": False, "verbose": 0}
    losses = compiled.fit(x, y, **options).history["loss"]
    trained, tested = model.get_weights(), np.ravel(compiled.evaluate(x, y, verbose=0))[0]
    library = kcompile.export(compiled, tmp_path / "model.so")
    assert ctypes.CDLL(str(library)) is not None
    model.set_weights(start)
    model.compile(loss=loss, optimizer=optimizer)
    np.testing.assert_allclose(losses, model.fit(x, y, **options).history["loss"], rtol=2e-4)
    for ours, theirs in zip(trained, model.get_weights()):
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(tested, np.ravel(model.evaluate(x, y, verbose=0))[0], rtol=1e-3)


class Noisy(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.drop, self.seeds = layers.Dropout(0.5), keras.random.SeedGenerator(1)
        self.out = layers.Dense(1, kernel_initializer="ones")

    def call(self, x: Any, training: bool = False) -> Any:
        y = self.drop(x, training=training)
        if training:
            y = y + keras.random.normal(ops.shape(x), seed=self.seeds) * 0.1
            y = y + ops.cast(keras.random.randint(ops.shape(x), 0, 5, seed=self.seeds), "float32")
        return self.out(y)


def test_random_numbers_are_new_in_every_step_and_none_in_predictions() -> None:
    model, x = Noisy(), np.ones((512, 16), "float32")
    model(x)
    model.compile(loss="mse", optimizer=keras.optimizers.SGD(0.0))
    compiled = kcompile.compile(model)
    np.testing.assert_allclose(compiled.predict(x), 16.0, rtol=1e-5)
    y = np.zeros((512, 1), "float32")
    found = [compiled.train_on_batch(x, y) for _ in range(3)]
    assert len(set(map(float, found))) == 3
    # 16 elements each, of dropout (mean 1, variance 1), noise (0.01) and whole numbers (mean 2, variance 2)
    np.testing.assert_allclose(found, 48.0**2 + 16 * 3.01, rtol=0.06)


class NeedsIntegers(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.out = layers.Dense(2)

    def call(self, x: Any, y: Any) -> Any:
        return self.out(ops.one_hot(x, 5)) + y


def test_examples_say_what_a_model_takes() -> None:
    model = NeedsIntegers()
    x, y = R.integers(0, 5, 4).astype("int32"), floats(4, 2)
    wanted = model(x, y)
    compiled = kcompile.compile(model, examples=(x, y))
    np.testing.assert_allclose(compiled.predict([x, y]), wanted, rtol=1e-5, atol=1e-6)


class Sorter(layers.Layer):
    def call(self, x: Any) -> Any:
        return x - ops.sort(x, axis=0)


class Values(layers.Layer):
    def call(self, x: Any) -> Any:
        return ops.real(ops.eig(x[:, None] * x[:, :, None])[0])


def test_what_cannot_be_traced_is_named() -> None:
    model = keras.Sequential([keras.Input((3,)), Values(name="values")])
    with pytest.raises(UnsupportedError, match=r"(?s)Values.*primitive 'eig'.*values"):
        kcompile.compile(model).predict(np.ones((2, 3)))
    with pytest.raises(ModelError, match="no weights yet"):
        kcompile.compile(TwoOfEach())


def test_samples_of_a_batch_are_looked_across() -> None:
    model, x = keras.Sequential([keras.Input((3,)), Sorter()]), floats(7, 3)
    compiled = kcompile.compile(model)
    for n in (7, 4):
        np.testing.assert_array_equal(compiled.predict(x[:n]), model.predict(x[:n], verbose=0))


class Distilled(VisionTransformer):
    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, *_: Any, **__: Any) -> Any:
        return ops.mean(ops.square(y_pred - 2.0 * ops.cast(y, "float32")))


def test_a_loss_of_its_own_counts_where_the_model_trains() -> None:
    model = Distilled()
    x = floats(2, 8, 8, 3)
    wanted = model(x)
    np.testing.assert_allclose(kcompile.compile(model).predict(x), wanted, rtol=1e-4, atol=1e-5)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    y = floats(*wanted.shape)
    found = kcompile.compile(model).fit(x, y, verbose=0).history["loss"]
    np.testing.assert_allclose(found, [np.mean((np.asarray(wanted) - 2.0 * y) ** 2)], rtol=1e-3)


def test_files_are_left_to_the_live_model(tmp_path: Path) -> None:
    model = graph_network()
    with pytest.raises(UnsupportedError, match="Save the live model"):
        kcompile.compile(model).save(tmp_path / "m.keras")


def test_layers_that_are_frozen_later_are_noticed() -> None:
    model = graph_network()
    model.compile("sgd", "mse")
    compiled = kcompile.compile(model)
    model.layers[0].trainable = False
    with pytest.raises(ModelError, match="Compile the changed model again"):
        compiled.train_on_batch(floats(2, 7, 3), floats(2, 2))
    again = kcompile.compile(model)
    before = model.layers[0].get_weights()[0].copy()
    again.train_on_batch(floats(2, 7, 3), floats(2, 2))
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], before)


def test_models_of_known_layers_are_taken_by_configuration() -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    assert kcompile.compile(model).way == "configuration"
