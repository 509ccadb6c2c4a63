"""WaveNet: gated residual units with dilated causal convolutions and skip connections, over series."""

import numpy as np

import keras
from keras import layers

rng = np.random.RandomState(0)
series = np.sin(np.arange(0, 400) / 5.0) + 0.1 * rng.normal(size=400)
length = 32
windows = np.stack([series[i : i + length + 1] for i in range(0, 320, 2)])[..., None].astype("float32")
x, y = windows[:, :-1], windows[:, 1:]


class GatedResidualUnit(layers.Layer):
    def __init__(self, filters, dilation_rate, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.dilation_rate = dilation_rate

    def build(self, input_shape):
        options = {"padding": "causal", "dilation_rate": self.dilation_rate}
        self.filter = layers.Conv1D(self.filters, 2, activation="tanh", **options)
        self.gate = layers.Conv1D(self.filters, 2, activation="sigmoid", **options)
        self.mix = layers.Conv1D(input_shape[-1], 1)
        self.filter.build(input_shape)
        self.gate.build(input_shape)
        self.mix.build((*input_shape[:-1], self.filters))

    def call(self, inputs):
        z = self.filter(inputs) * self.gate(inputs)
        z = self.mix(z)
        return inputs + z, z

    def compute_output_shape(self, input_shape):
        return input_shape, input_shape

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "dilation_rate": self.dilation_rate}


inputs = keras.Input((None, 1))
z = layers.Conv1D(8, 2, padding="causal")(inputs)
skip_to_last = []
for dilation_rate in [2**i for i in range(3)] * 2:
    z, skip = GatedResidualUnit(8, dilation_rate)(z)
    skip_to_last.append(skip)
z = keras.activations.relu(layers.Add()(skip_to_last))
z = layers.Conv1D(8, 1, activation="relu")(z)
outputs = layers.Conv1D(1, 1)(z)
model = keras.Model(inputs, outputs)
model.summary()


def last_time_step_mse(y_true, y_pred):
    return keras.metrics.mean_squared_error(y_true[:, -1], y_pred[:, -1])


model.compile(loss="mse", optimizer=keras.optimizers.Nadam(1e-3), metrics=[last_time_step_mse])
model.fit(x[:128], y[:128], epochs=4, batch_size=32, validation_data=(x[128:], y[128:]))
model.save("wavenet.keras")
again = keras.models.load_model(
    "wavenet.keras",
    custom_objects={"GatedResidualUnit": GatedResidualUnit, "last_time_step_mse": last_time_step_mse},
)
again.predict(x[:4, :20])
