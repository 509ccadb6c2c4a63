"""A network that learns from pairs of views of images without labels, and a probe from a few that have some."""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"

import numpy as np
import tensorflow as tf

import keras
from keras import layers, ops

rng = np.random.RandomState(0)
many, few = rng.rand(60, 12, 12, 3).astype("float32"), rng.rand(20, 12, 12, 3).astype("float32")
classes = rng.randint(0, 4, 20)
unlabelled = tf.data.Dataset.from_tensor_slices((many, np.zeros(60, "int64"))).shuffle(60).batch(15)
labelled = tf.data.Dataset.from_tensor_slices((few, classes)).batch(5)
both = tf.data.Dataset.zip((unlabelled, labelled)).prefetch(tf.data.AUTOTUNE)
brightness = layers.Rescaling(0.9)  # of no model: it is read, and belongs to nobody


def cross_entropy(names, scores):
    return keras.losses.sparse_categorical_crossentropy(names, scores, from_logits=True)


class Contrastive(keras.Model):
    def __init__(self):
        super().__init__()
        self.encoder = keras.Sequential(
            [
                keras.Input((12, 12, 3)),
                layers.Conv2D(8, 3, strides=2, activation="relu", padding="SAME"),
                layers.Flatten(),
                layers.Dense(8, activation="relu"),
            ]
        )
        self.head = keras.Sequential([keras.Input((8,)), layers.Dense(8)])
        self.probe = keras.Sequential([keras.Input((8,)), layers.Dense(4)])
        self.tint = self.add_weight(shape=(3, 3), initializer="identity", trainable=False, name="tint")

    def compile(self, optimizer, probe_optimizer, **kwargs):
        super().compile(optimizer=optimizer, **kwargs)
        self.probe_optimizer = probe_optimizer
        self.apart = keras.metrics.Mean(name="apart")
        self.found = keras.metrics.SparseCategoricalAccuracy(name="found")
        self.named = keras.metrics.Mean(name="named")

    @property
    def metrics(self):
        return [self.apart, self.found, self.named]

    def contrast(self, one, other):
        one, other = ops.normalize(one, axis=1), ops.normalize(other, axis=1)
        scores = one @ ops.transpose(other) / 0.1
        names = ops.arange(ops.shape(one)[0])
        self.found.update_state(names, scores)
        return (cross_entropy(names, scores) + cross_entropy(names, ops.transpose(scores))) / 2

    def train_step(self, data):
        (unlabelled, _), (x, y) = data
        every = ops.concatenate((unlabelled, x), axis=0)
        tinted = brightness(every) @ self.tint
        with tf.GradientTape() as tape:
            views = [self.head(self.encoder(v, training=True)) for v in (every[:, :, ::-1], tinted)]
            loss = ops.mean(self.contrast(*views))
        trained = self.encoder.trainable_weights + self.head.trainable_weights
        self.optimizer.apply_gradients(zip(tape.gradient(loss, trained), trained))
        self.apart.update_state(loss)
        with tf.GradientTape() as tape:
            loss = self.loss(y, self.probe(self.encoder(x, training=False)))
        trained = self.probe.trainable_weights
        self.probe_optimizer.apply_gradients(zip(tape.gradient(loss, trained), trained))
        self.named.update_state(loss)
        return {metric.name: metric.result() for metric in self.metrics}

    def test_step(self, data):
        x, y = data
        self.named.update_state(self.loss(y, self.probe(self.encoder(x, training=False))))
        return {"named": self.named.result()}


model = Contrastive()
model.compile(
    keras.optimizers.Adam(1e-3),
    keras.optimizers.SGD(0.1),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)
history = model.fit(both, epochs=5, validation_data=labelled, verbose=0)
print(list(history.history))
model.save_weights("contrastive.weights.h5")
model.load_weights("contrastive.weights.h5")
tuned = keras.Sequential([model.encoder, layers.Dense(4)])
tuned.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
tuned.fit(labelled, epochs=3, verbose=0)
