"""Two tasks without labels under tf.keras: patches that are hidden are drawn again, and what two views of an
image share is told apart from what they do not."""

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers

rng = np.random.RandomState(0)
images = rng.rand(64, 12, 12, 3).astype("float32")
patches, width, kept = 9, 48, 3


def as_patches(x):
    return tf.reshape(
        tf.image.extract_patches(x, [1, 4, 4, 1], [1, 4, 4, 1], [1] * 4, "VALID"), (-1, patches, width)
    )


class Redrawing(keras.Model):
    def __init__(self):
        super().__init__()
        self.embed, self.places = layers.Dense(16), layers.Embedding(patches, 16)
        self.mix = layers.MultiHeadAttention(2, 8)
        self.draw = keras.Sequential(
            [keras.Input((patches - kept, 16)), layers.Dense(32, activation=tf.nn.gelu), layers.Dense(width)]
        )
        self.hidden = self.add_weight(name="hidden", shape=(1, 16), initializer="zeros")

    def train_step(self, x):
        real = as_patches(x)
        count = tf.shape(real)[0]
        order = tf.argsort(tf.random.uniform((count, patches)), axis=-1)
        seen, unseen = order[:, :kept], order[:, kept:]
        with tf.GradientTape() as tape:
            where = tf.tile(self.places(tf.range(patches)[None]), [count, 1, 1])
            every = self.embed(real) + where
            shown = tf.gather(every, seen, axis=1, batch_dims=1)
            asked = tf.repeat(self.hidden, patches - kept, axis=0)[tf.newaxis]
            asked = asked + tf.gather(where, unseen, axis=1, batch_dims=1)
            drawn = self.draw(self.mix(asked, shown) + asked)
            loss = self.compiled_loss(tf.gather(real, unseen, axis=1, batch_dims=1), drawn)
        weights = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
        return {metric.name: metric.result() for metric in self.metrics}


model = Redrawing()
model.compile(keras.optimizers.Adam(2e-3), "mse")
model.fit(tf.data.Dataset.from_tensor_slices(images).batch(16), epochs=4, verbose=0)


class Shared(keras.losses.Loss):
    def call(self, one, other):
        one = (one - tf.reduce_mean(one, axis=0)) / (tf.math.reduce_std(one, axis=0) + 1e-4)
        other = (other - tf.reduce_mean(other, axis=0)) / (tf.math.reduce_std(other, axis=0) + 1e-4)
        shared = tf.transpose(one) @ other / 16
        off = tf.linalg.set_diag(shared, tf.zeros(shared.shape[-1]))
        return tf.reduce_sum((tf.linalg.diag_part(shared) - 1) ** 2) + 5e-3 * tf.reduce_sum(off**2)


class Twins(keras.Model):
    def __init__(self):
        super().__init__()
        self.net = keras.Sequential(
            [
                keras.Input((12, 12, 3)),
                layers.Conv2D(8, 3, strides=2, padding="SAME", use_bias=False),
                layers.BatchNormalization(),
                layers.ReLU(),
                layers.GlobalAvgPool2D(),
                layers.Dense(6, kernel_regularizer=keras.regularizers.l2(1e-4)),
            ]
        )
        self.mean = keras.metrics.Mean(name="loss")

    @property
    def metrics(self):
        return [self.mean]

    def train_step(self, data):
        one, other = data
        with tf.GradientTape() as tape:
            loss = self.loss(self.net(one, training=True), self.net(other, training=True))
        weights = self.net.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
        self.mean.update_state(loss)
        return {"loss": self.mean.result()}


first = tf.data.Dataset.from_tensor_slices(images).map(tf.image.flip_left_right).batch(16)
second = (
    tf.data.Dataset.from_tensor_slices(images).map(lambda x: tf.clip_by_value(x * 1.2, 0.0, 1.0)).batch(16)
)
twins = Twins()
twins.compile(keras.optimizers.Adam(1e-3), Shared())
twins.fit(tf.data.Dataset.zip((first, second)), epochs=4, verbose=0)
