"""Quantile regression with pinball losses, one model for three quantiles by a dict of outputs."""

import numpy as np

import keras
from keras import layers, ops

rng = np.random.RandomState(0)
x = rng.uniform(-1, 1, (256, 3)).astype("float32")
y = (x[:, :1] ** 2 + 0.3 * rng.normal(size=(256, 1)) * (1 + x[:, 1:2])).astype("float32")


class QuantileLoss(keras.losses.Loss):
    def __init__(self, quantile, name="quantile_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        self.quantile = quantile

    def call(self, y_true, y_pred):
        error = y_true - y_pred
        return ops.mean(ops.maximum(self.quantile * error, (self.quantile - 1) * error), axis=-1)

    def get_config(self):
        return {**super().get_config(), "quantile": self.quantile}


@keras.saving.register_keras_serializable()
def coverage(y_true, y_pred):
    return ops.mean(ops.cast(y_true < y_pred, "float32"))


quantiles = {"low": 0.1, "median": 0.5, "high": 0.9}
inputs = keras.Input((3,))
h = layers.Dense(16, activation="swish", kernel_initializer="he_normal")(inputs)
h = layers.Dense(16, activation="swish", kernel_initializer="he_normal")(h)
outputs = {name: layers.Dense(1, name=name)(h) for name in quantiles}
model = keras.Model(inputs, outputs)
model.compile(
    optimizer=keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(1e-2, 40, warmup_target=2e-2, warmup_steps=4)
    ),
    loss={name: QuantileLoss(q) for name, q in quantiles.items()},
    loss_weights={"low": 1.0, "median": 0.5, "high": 1.0},
    metrics={name: [coverage] for name in quantiles},
)
targets = {name: y for name in quantiles}
model.fit(x, targets, epochs=4, batch_size=64, verbose=2)
results = model.evaluate(x, targets, return_dict=True, verbose=0)
predictions = model.predict(x[:5])
print({name: p.shape for name, p in predictions.items()})
