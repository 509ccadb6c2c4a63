"""Customizing what happens in fit(): a CustomModel with its own metrics, sample weights and test_step (tf.keras)."""

import numpy as np
import tensorflow as tf
from tensorflow import keras

loss_fn = keras.losses.MeanSquaredError(reduction="none")
loss_tracker = keras.metrics.Mean(name="loss")
mae_metric = keras.metrics.MeanAbsoluteError(name="mae")


class CustomModel(keras.Model):
    def train_step(self, data):
        # Unpack the data. Its structure depends on your model and on what you pass to `fit()`.
        if len(data) == 3:
            x, y, sample_weight = data
        else:
            sample_weight = None
            x, y = data

        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)  # Forward pass
            per_sample = loss_fn(y, y_pred, sample_weight=sample_weight)
            loss = tf.reduce_mean(per_sample) + tf.add_n(self.losses)

        trainable_vars = self.trainable_variables
        gradients = tape.gradient(loss, trainable_vars)
        gradients, _ = tf.clip_by_global_norm(gradients, 1.0)
        self.optimizer.apply_gradients(zip(gradients, trainable_vars))

        loss_tracker.update_state(loss)
        mae_metric.update_state(y, y_pred, sample_weight=sample_weight)
        return {"loss": loss_tracker.result(), "mae": mae_metric.result()}

    def test_step(self, data):
        x, y = data
        y_pred = self(x, training=False)
        loss_tracker.update_state(tf.reduce_mean(loss_fn(y, y_pred)))
        mae_metric.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}

    @property
    def metrics(self):
        return [loss_tracker, mae_metric]


inputs = keras.Input(shape=(32,))
x = keras.layers.Dense(8, activation="relu", kernel_regularizer=keras.regularizers.l2(1e-3))(inputs)
outputs = keras.layers.Dense(1)(x)
model = CustomModel(inputs, outputs)
model.compile(optimizer=keras.optimizers.Adam(1e-2))

rng = np.random.RandomState(0)
x = rng.random_sample((160, 32)).astype("float32")
y = rng.random_sample((160, 1)).astype("float32")
sw = rng.random_sample((160, 1)).astype("float32")
model.fit(x, y, epochs=3, batch_size=32)
model.fit(x, y, sample_weight=sw, epochs=2, batch_size=32)
model.evaluate(x, y, batch_size=32)
