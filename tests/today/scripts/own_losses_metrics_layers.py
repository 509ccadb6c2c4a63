"""Losses, metrics, layers and models of one's own, as a book's chapter has them; saving and loading each."""

import os
import tempfile

import numpy as np
import tensorflow as tf
from tensorflow import keras

keras.backend.clear_session()
np.random.seed(42)
tf.random.set_seed(42)
X = np.random.randn(200, 8).astype(np.float32)
y = (X[:, :3].sum(1) + 0.3 * X[:, 4] ** 2).reshape(-1, 1).astype(np.float32)
X_train, y_train, X_valid, y_valid = X[:150], y[:150], X[150:], y[150:]
folder = tempfile.mkdtemp()


def huber_fn(y_true, y_pred):
    error = y_true - y_pred
    is_small_error = tf.abs(error) < 1
    squared_loss = tf.square(error) / 2
    linear_loss = tf.abs(error) - 0.5
    return tf.where(is_small_error, squared_loss, linear_loss)


def create_huber(threshold=1.0):
    def huber_fn(y_true, y_pred):
        error = y_true - y_pred
        is_small_error = tf.abs(error) < threshold
        return tf.where(is_small_error, tf.square(error) / 2, threshold * tf.abs(error) - threshold**2 / 2)

    return huber_fn


class HuberLoss(keras.losses.Loss):
    def __init__(self, threshold=1.0, **kwargs):
        self.threshold = threshold
        super().__init__(**kwargs)

    def call(self, y_true, y_pred):
        error = y_true - y_pred
        is_small_error = tf.abs(error) < self.threshold
        squared_loss = tf.square(error) / 2
        linear_loss = self.threshold * tf.abs(error) - self.threshold**2 / 2
        return tf.where(is_small_error, squared_loss, linear_loss)

    def get_config(self):
        base_config = super().get_config()
        return {**base_config, "threshold": self.threshold}


class HuberMetric(keras.metrics.Metric):
    def __init__(self, threshold=1.0, **kwargs):
        super().__init__(**kwargs)
        self.threshold = threshold
        self.huber_fn = create_huber(threshold)
        self.total = self.add_weight("total", initializer="zeros")
        self.count = self.add_weight("count", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        metric = self.huber_fn(y_true, y_pred)
        self.total.assign_add(tf.reduce_sum(metric))
        self.count.assign_add(tf.cast(tf.size(y_true), tf.float32))

    def result(self):
        return self.total / self.count

    def get_config(self):
        return {**super().get_config(), "threshold": self.threshold}


def my_softplus(z):
    return tf.math.log(tf.exp(z) + 1.0)


class MyL1Regularizer(keras.regularizers.Regularizer):
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, weights):
        return tf.reduce_sum(tf.abs(self.factor * weights))

    def get_config(self):
        return {"factor": self.factor}


class MyDense(keras.layers.Layer):
    def __init__(self, units, activation=None, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.activation = keras.activations.get(activation)

    def build(self, batch_input_shape):
        self.kernel = self.add_weight(
            name="kernel", shape=[batch_input_shape[-1], self.units], initializer="glorot_normal"
        )
        self.bias = self.add_weight(name="bias", shape=[self.units], initializer="zeros")
        super().build(batch_input_shape)

    def call(self, X):
        return self.activation(X @ self.kernel + self.bias)

    def compute_output_shape(self, batch_input_shape):
        return tf.TensorShape(batch_input_shape.as_list()[:-1] + [self.units])

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
        }


def small(**kwargs):
    return keras.models.Sequential(
        [keras.layers.Dense(10, activation="selu", input_shape=[8]), keras.layers.Dense(1, **kwargs)]
    )


model = small()
model.compile(loss=create_huber(2.0), optimizer="adam", metrics=["mae", create_huber(1.0)])
model.fit(X_train, y_train, epochs=2, validation_data=(X_valid, y_valid), verbose=0)
path = os.path.join(folder, "m1.h5")
model.save(path)
model = keras.models.load_model(path, custom_objects={"huber_fn": create_huber(2.0)})
model.fit(X_train, y_train, epochs=1, verbose=0)
model = small(activation="softplus", kernel_regularizer=MyL1Regularizer(0.01))
model.compile(loss=HuberLoss(2.0), optimizer="adam", metrics=[HuberMetric(2.0)])
model.fit(
    X_train, np.abs(y_train), epochs=2, sample_weight=np.linspace(0.5, 1, 150).astype("float32"), verbose=0
)
path = os.path.join(folder, "m2.h5")
model.save(path)
model = keras.models.load_model(
    path,
    custom_objects={"HuberLoss": HuberLoss, "HuberMetric": HuberMetric, "MyL1Regularizer": MyL1Regularizer},
)
model.fit(X_train, np.abs(y_train), epochs=1, verbose=0)
print(model.loss.threshold, model.metrics_names)
m = HuberMetric(2.0)
print(m(tf.constant([[2.0]]), tf.constant([[10.0]])), m.result().numpy(), m.variables[0].numpy())
m.reset_states()
precision = keras.metrics.Precision()
print(precision([0, 1, 1, 1, 0, 1, 0, 1], [1, 1, 0, 1, 0, 1, 0, 1]).numpy(), precision.variables[0].numpy())


class ResidualBlock(keras.layers.Layer):
    def __init__(self, n_layers, n_neurons, **kwargs):
        super().__init__(**kwargs)
        self.hidden = [
            keras.layers.Dense(n_neurons, activation="elu", kernel_initializer="he_normal")
            for _ in range(n_layers)
        ]

    def call(self, inputs):
        Z = inputs
        for layer in self.hidden:
            Z = layer(Z)
        return inputs + Z


class ReconstructingRegressor(keras.Model):
    def __init__(self, output_dim, **kwargs):
        super().__init__(**kwargs)
        self.hidden = [
            keras.layers.Dense(6, activation="selu", kernel_initializer="lecun_normal") for _ in range(3)
        ]
        self.block = ResidualBlock(2, 6)
        self.out = keras.layers.Dense(output_dim)
        self.reconstruct = keras.layers.Dense(8)
        self.reconstruction_mean = keras.metrics.Mean(name="reconstruction_error")

    def call(self, inputs, training=None):
        Z = inputs
        for layer in self.hidden:
            Z = layer(Z)
        Z = self.block(Z)
        reconstruction = self.reconstruct(Z)
        recon_loss = tf.reduce_mean(tf.square(reconstruction - inputs))
        self.add_loss(0.05 * recon_loss)
        if training:
            result = self.reconstruction_mean(recon_loss)
            self.add_metric(result)
        return self.out(Z)


model = ReconstructingRegressor(1)
model.compile(loss="mse", optimizer="adam")
history = model.fit(X_train, y_train, epochs=2, verbose=0)
print(sorted(history.history))
model.predict(X_valid, verbose=0)
model = keras.models.Sequential([MyDense(10, activation="relu", input_shape=[8]), MyDense(1)])
model.compile(
    loss="mse", optimizer=keras.optimizers.SGD(learning_rate=1e-2, clipvalue=1.0, nesterov=True, momentum=0.9)
)
model.fit(X_train, y_train, epochs=2, verbose=0)
path = os.path.join(folder, "m3.h5")
model.save(path)
model = keras.models.load_model(path, custom_objects={"MyDense": MyDense}, compile=False)
model.predict(X_valid, verbose=0)
print(repr(model.layers[0].activation.__name__), model.count_params())
