"""What models of today's examples rely on: layers of nobody's, masks that are numbers, batches of labelled
and unlabelled samples, weights before the first call. Losses are those of Keras 3.15 and tf_keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kcompile import keras, keras3, tf_keras
from kcompile.interpreted import InterpreterEngine
from kcompile.keras.gradient_tape import GradientTape
from kcompile.keras.pipelines import Dataset
from kcompile_runtime.errors import InputError, KcompileError

X = np.arange(24).reshape(8, 3).astype("float32") / 10
Y = np.ones((8, 1))
BOTH = pytest.mark.parametrize("edition", [tf_keras, keras3], ids=["tf_keras", "keras3"])


def interpreted(model: Any) -> Any:
    model.use_engine(InterpreterEngine(model))
    return model


@BOTH
def test_layers_that_no_model_has_are_read_and_not_trained(edition: Any) -> None:
    layers = edition.layers
    dense, norm, given = (
        layers.Dense(4, kernel_initializer="ones"),
        layers.BatchNormalization(),
        layers.Normalization(),
    )
    given.adapt(X)
    dense.build((None, 3))
    norm.build((None, 4))
    outside = edition.Sequential([given, dense])

    class Own(edition.Model):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.last = layers.Dense(1, kernel_initializer="ones")

        def call(self, x: Any, training: bool = False) -> Any:
            return self.last(norm(outside(x), training=training))

    model = interpreted(Own())
    model.compile("sgd", "mse")
    found = model.fit(X, Y, epochs=3, batch_size=8, verbose=0, shuffle=False).history["loss"]
    np.testing.assert_allclose(found, [16.9982, 14.5016, 12.3838], rtol=1e-4)
    assert len(model.weights) == 2 and (np.asarray(dense.kernel) == 1).all()
    # tf.keras counts what the layer counts, and Keras 3 has it in no state of the model's
    right = [-12.7668, -9.1024] if edition is tf_keras else [-14.2081, -10.1318]
    np.testing.assert_allclose(model.predict(X, verbose=0)[:2].ravel(), right, rtol=1e-4)


def test_keras_2_has_weights_of_layers_alone() -> None:
    dense = keras.layers.Dense(4)
    dense.build((None, 3))

    class Own(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return dense(x)

    start = keras.layers.Input((3,))
    model = interpreted(keras.models.Model(start, Own()(start)))
    with pytest.raises(KcompileError, match="belongs to no layer"):
        model.predict(X)


@BOTH
def test_a_call_of_ones_own_gets_a_mask_of_numbers_as_it_is(edition: Any) -> None:
    class Shifted(edition.layers.Layer):  # type: ignore[name-defined, misc]
        def call(self, x: Any, mask: Any = None) -> Any:
            return x if mask is None else x + mask

    class Outer(edition.layers.Layer):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.inner = Shifted()
            self.shift = self.add_weight(
                name="shift", shape=(3,), initializer=edition.initializers.Constant(-100.0)
            )

        def call(self, x: Any) -> Any:
            return self.inner(x, mask=self.shift)

    start = edition.Input((3,))
    model = interpreted(edition.Model(start, Outer()(start)))
    np.testing.assert_allclose(model.predict(X, verbose=0), X - 100, rtol=1e-6)


class Pairs(keras3.Model):  # type: ignore[misc]
    """Labelled and unlabelled samples, of which there are several numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = keras3.layers.Dense(1, use_bias=False, kernel_initializer="ones")
        self.dense.build((None, 3))
        self.mean = keras3.metrics.Mean(name="mean")

    def train_step(self, data: Any) -> Any:
        (unlabelled, _), (x, y) = data
        with GradientTape() as tape:
            every = keras3.ops.concatenate((unlabelled, x), axis=0)
            spread = keras3.ops.mean(self.dense(every) ** 2)
            loss = self.loss(y, self.dense(x)) + 0.1 * spread
        weights = self.dense.trainable_weights
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
        self.mean.update_state(loss)
        return {"mean": self.mean.result()}


def test_batches_of_several_numbers_of_samples(tmp_path: Path) -> None:
    model = interpreted(Pairs())
    model.compile(keras3.optimizers.SGD(0.01), keras3.losses.MeanSquaredError())
    unlabelled = Dataset.from_tensor_slices((np.tile(X, (3, 1)), np.zeros(24))).batch(9)  # 9, 9, 6
    labelled = Dataset.from_tensor_slices((X, Y)).batch(3)  # 3, 3, 2
    found = model.fit(Dataset.zip((unlabelled, labelled)), epochs=2, verbose=0).history["mean"]
    weights, means = np.ones(3), []
    for _ in range(2):
        values = []
        for k, (a, b) in enumerate([(9, 3), (9, 3), (6, 2)]):
            every = np.concatenate([np.tile(X, (3, 1))[9 * k : 9 * k + a], X[3 * k : 3 * k + b]])
            x = X[3 * k : 3 * k + b]
            values.append(np.mean((x @ weights - 1) ** 2) + 0.1 * np.mean((every @ weights) ** 2))
            slope = 2 * x.T @ (x @ weights - 1) / b + 0.2 * every.T @ (every @ weights) / len(every)
            weights = weights - 0.01 * slope
        means.append(np.mean(values))
    np.testing.assert_allclose(found, means, rtol=1e-5)
    np.testing.assert_allclose(model.dense.kernel.numpy().ravel(), weights, rtol=1e-5)
    with pytest.raises(InputError, match="same number of samples"):
        model.fit(X, np.ones((7, 1)), verbose=0)

    # Its inputs are known to nobody; its weights and those of the optimizer are there
    kept = model.get_weights()
    model.save_weights(tmp_path / "kept.weights.h5")
    model.set_weights([w * 0 for w in kept])
    model.load_weights(tmp_path / "kept.weights.h5")
    np.testing.assert_array_equal(model.get_weights()[0], kept[0])


@BOTH
def test_training_is_what_a_call_has_for_a_default_where_nobody_says(edition: Any) -> None:
    mean = keras3.ops.mean if edition is keras3 else tf_keras.backend.mean

    class Told(edition.layers.Layer):  # type: ignore[name-defined, misc]
        def call(self, x: Any, training: bool = True) -> Any:
            return x + 10.0 if training else x

    class Own(edition.Model):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.told = Told()
            self.within = edition.Sequential([edition.Input((3,)), Told()])

        def call(self, x: Any, training: bool = True) -> Any:
            return self.told(x) + (100.0 if training else 0.0)

        def test_step(self, data: Any) -> Any:
            calls = [self(data), self(data, training=False), self.told(data), self.within(data)]
            return {f"of_{k}": mean(y - data) for k, y in enumerate(calls)}

    model = interpreted(Own())
    model.compile("sgd", "mse")
    found = model.evaluate(X, verbose=0, return_dict=True)
    assert [round(float(v), 3) for v in found.values()] == [110.0, 0.0, 10.0, 10.0]


def test_parts_that_each_sample_takes_of_its_own() -> None:
    from kcompile.tensorflow.functions import gather

    table = np.arange(40.0, dtype="float32").reshape(2, 5, 4)
    places = np.array([[4, 0, 0], [1, 2, 3]])
    right = np.stack([table[k][places[k]] for k in range(2)])  # as tf.gather(batch_dims=1) gives them
    np.testing.assert_array_equal(np.asarray(gather(table, places, axis=1, batch_dims=1)), right)
    with pytest.raises(KcompileError, match="batch_dims"):
        gather(table, places, axis=2, batch_dims=1)


def test_a_penalty_on_outputs_may_compare_the_samples() -> None:
    """As in PointNet: products of each sample's rows with those of every sample. Losses of Keras 3."""
    ops = keras3.ops

    class Orthogonal(keras3.regularizers.Regularizer):  # type: ignore[misc]
        def __call__(self, x: Any) -> Any:
            x = ops.reshape(x, (-1, 2, 2))
            products = ops.reshape(ops.tensordot(x, x, axes=(2, 2)), (-1, 2, 2))
            return ops.sum(0.1 * ops.square(products - ops.eye(2)))

    start = keras3.Input((3,))
    y = keras3.layers.Dense(4, kernel_initializer="ones", activity_regularizer=Orthogonal())(start)
    model = interpreted(keras3.Model(start, keras3.layers.Dense(1, kernel_initializer="ones")(y)))
    model.compile(keras3.optimizers.SGD(1e-4), "mse")
    found = model.fit(X, Y, batch_size=4, epochs=2, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(found, [2791.0786, 1176.3353], rtol=1e-4)
    assert model.predict(X, verbose=0).shape == (8, 1)


def test_callbacks_say_what_those_of_their_keras_say(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for edition, first, last in ((keras3, "None", "finished saving"), (tf_keras, "inf", "saving")):
        model = interpreted(edition.Sequential([edition.layers.Dense(1, input_shape=(3,))]))
        model.compile(edition.optimizers.SGD(0.5), "mse")
        path = tmp_path / ("m.keras" if edition is keras3 else "m.h5")
        told = [
            edition.callbacks.ModelCheckpoint(str(path), monitor="loss", save_best_only=True, verbose=1),
            edition.callbacks.EarlyStopping("loss", patience=1, verbose=1, restore_best_weights=True),
            edition.callbacks.LearningRateScheduler(lambda epoch: 0.5, verbose=1),
        ]
        model.fit(X, Y, epochs=3, verbose=0, callbacks=told)
        lines = [line for line in capsys.readouterr().out.splitlines() if line]
        assert lines[0] == "Epoch 1: LearningRateScheduler setting learning rate to 0.5."
        assert lines[1].startswith(f"Epoch 1: loss improved from {first} to ")
        assert any(line.startswith(f"Epoch 1: {last}") or f", {last} model to" in line for line in lines[1:3])
        assert lines[-2:] == [
            "Epoch 2: early stopping",
            "Restoring model weights from the end of the best epoch: 1.",
        ]


@BOTH
def test_a_call_on_arrays_is_none_of_a_predict_step_of_ones_own(edition: Any) -> None:
    class Own(edition.Model):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.dense = edition.layers.Dense(2, kernel_initializer="ones")

        def call(self, x: Any, training: Any = None) -> Any:
            return self.dense(x) * (2.0 if training else 1.0)

        def predict_step(self, data: Any) -> Any:
            return self(data)[:, 0] + 100.0

    model, x = Own(), np.ones((3, 2), "float32")
    assert np.asarray(model(x)).tolist() == [[2.0, 2.0]] * 3
    assert np.asarray(model(x, training=True)).tolist() == [[4.0, 4.0]] * 3
    assert model.predict(x, verbose=0).tolist() == [102.0] * 3
    assert np.asarray(model(x[:1])).tolist() == [[2.0, 2.0]]


@BOTH
def test_a_model_of_one_graph_is_called_on_all_of_it_in_each_step(edition: Any) -> None:
    ops = keras3.ops
    nodes = np.arange(15, dtype="float32").reshape(5, 3) / 10
    edges = np.array([[0, 1], [1, 2], [2, 0], [3, 4], [4, 4], [0, 3]], "int32")

    class Graph(edition.Model):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.dense = edition.layers.Dense(2, kernel_initializer="ones")

        def call(self, inputs: Any) -> Any:
            states, pairs = inputs
            sent = ops.take(self.dense(states), pairs[:, 1], axis=0)
            return ops.segment_sum(sent, pairs[:, 0], num_segments=5)

        def predict_step(self, data: Any) -> Any:
            return ops.take(self([nodes, edges]), data, axis=0)

    found = Graph().predict(np.array([0, 3, 4]), verbose=0)
    expected = [nodes[1].sum() + nodes[3].sum(), nodes[4].sum(), nodes[4].sum()]
    np.testing.assert_allclose(found, np.repeat(expected, 2).reshape(3, 2), rtol=1e-6)
