"""What an epoch of steps of a class's own reports: the results of the model's metrics, where the step returns
values of their names, else what it returned for the last batch. The numbers are those of tf_keras 2.21 and
Keras 3.15."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kcompile import keras3, tf_keras
from kcompile.keras.gradient_tape import GradientTape
from kcompile.keras.keras3_ops import mean, square

RNG = np.random.RandomState(0)
X = RNG.normal(size=(8, 3)).astype("f")
Y = RNG.normal(size=(8, 1)).astype("f")
WHOLE = [6.39314, 5.85477]  # the mean of the loss in two epochs
LAST = [9.65217, 8.76168]  # the loss of their last batches
ERROR = [1.65265, 1.58935]


def stepping(keras: Any, loss_of: Any, returned: Any, counts: bool) -> Any:
    """A class whose steps take a loss and return values of model, loss, labels and outputs."""

    class Stepping(keras.Model):  # type: ignore[name-defined, misc]
        def train_step(self, data: Any) -> Any:
            x, y = data
            with GradientTape() as tape:
                y_pred = self(x, training=True)
                loss = loss_of(self, x, y, y_pred)
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
            if counts:
                self.compute_metrics(x, y, y_pred, None)
            return returned(loss)

    return Stepping


def squared(model: Any, x: Any, y: Any, y_pred: Any) -> Any:
    return mean(square(y - y_pred))


def of_compile(model: Any, x: Any, y: Any, y_pred: Any) -> Any:
    return model.compute_loss(x, y, y_pred)


def alone(loss: Any) -> dict[str, Any]:
    return {"loss": loss}


def both(loss: Any) -> dict[str, Any]:
    return {"loss": loss * 2.0, "mae": loss * 0.0 + 7.0}


@pytest.mark.parametrize(
    ("keras", "loss_of", "returned", "counts", "metrics", "expected"),
    [
        (tf_keras, of_compile, alone, False, None, {"loss": WHOLE}),
        (tf_keras, squared, alone, False, None, {"loss": LAST}),  # no metric of this name has counted
        (tf_keras, of_compile, both, True, ["mae"], {"loss": WHOLE, "mae": ERROR}),
        (tf_keras, of_compile, both, True, None, {"loss": [2 * x for x in LAST], "mae": [7.0, 7.0]}),
        (keras3, squared, alone, False, None, {"loss": [0.0, 0.0]}),  # its metric counts nothing
        (keras3, of_compile, both, True, ["mae"], {"loss": [0.0, 0.0], "mae": ERROR}),
        (keras3, of_compile, both, True, None, {"loss": [2 * x for x in LAST], "mae": [7.0, 7.0]}),
    ],
)
def test_logs_of_epochs(
    keras: Any, loss_of: Any, returned: Any, counts: bool, metrics: Any, expected: dict[str, list[float]]
) -> None:
    x = keras.layers.Input((3,))
    model = stepping(keras, loss_of, returned, counts)(x, keras.layers.Dense(1)(x))
    model.set_weights([np.arange(3.0).reshape(3, 1), np.zeros(1)])
    model.compile(keras.optimizers.SGD(0.01), "mse", metrics=metrics)
    found: list[float] = []

    class OfBatches(keras.callbacks.Callback):  # type: ignore[name-defined, misc]
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            found.append(logs["loss"])

    history = model.fit(
        X, Y, batch_size=4, epochs=2, shuffle=False, verbose=0, callbacks=[OfBatches()]
    ).history
    assert history.keys() == expected.keys()
    for name, values in expected.items():
        assert history[name] == pytest.approx(values, rel=1e-4, abs=1e-6), name
    # a batch reports what the step returned
    twice = 2 if returned is both else 1
    assert found[1::2] == pytest.approx([twice * x for x in LAST], rel=1e-4)


def test_lists_have_the_order_of_the_metrics_of_compile() -> None:
    """Of a step of one's own in Keras 3, as executed 3.15 has it; it sorts what is no metric's."""

    class Own(keras3.Model):
        def test_step(self, data: Any) -> Any:
            x, y = data
            predicted = self(x)
            for metric in self.metrics:
                if metric.name == "loss":
                    metric.update_state(self.compute_loss(x=x, y=y, y_pred=predicted))
                else:
                    metric.update_state(y, predicted)
            return self.get_metrics_result()

    x = keras3.layers.Input((2,))
    model = Own(x, keras3.layers.Activation("linear")(x))
    model.compile("sgd", "mse", metrics=["mse", "mae", "cosine_similarity"])
    data = np.array([[1.0, 0.0], [0.0, 2.0]])
    told = model.evaluate(data, np.array([[0.0, 4.0], [0.0, 4.0]]), verbose=0)
    np.testing.assert_allclose(told, [21 / 4, 21 / 4, 7 / 4, 0.5], rtol=1e-5)
