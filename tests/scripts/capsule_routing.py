"""Capsules with routing by agreement, as a script of Keras 2.2 writes it: K.batch_dot multiplies matrices for
each capsule, of tensors of three and four axes. Keras 2.3 would sum over other pairs.
"""

import keras
import numpy as np
from keras import backend as K
from keras.layers import Activation, BatchNormalization, Conv2D, Input, Lambda, Layer, Reshape
from keras.models import Model

assert keras.__version__ == "2.2.4"
np.random.seed(0)


def squash(x, axis=-1):
    size = K.sum(K.square(x), axis, keepdims=True) + K.epsilon()
    return K.sqrt(size) / (0.5 + size) * x


class Capsules(Layer):
    """Capsules [number, dim] that agree on what the capsules below say."""

    def __init__(self, number, dim, rounds=3, **kwargs):
        super().__init__(**kwargs)
        self.number, self.dim, self.rounds = number, dim, rounds

    def build(self, input_shape):
        shape = (1, input_shape[-1], self.number * self.dim)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer="glorot_uniform")
        super().build(input_shape)

    def call(self, inputs):
        below = K.int_shape(inputs)[1]
        said = K.reshape(K.conv1d(inputs, self.kernel), (-1, below, self.number, self.dim))
        said = K.permute_dimensions(said, (0, 2, 1, 3))  # [n, number, below, dim]
        trust = K.zeros_like(said[:, :, :, 0])
        for k in range(self.rounds):
            share = K.softmax(trust, 1)
            agreed = squash(K.batch_dot(share, said, [2, 2]))  # [n, number, dim]
            if k < self.rounds - 1:
                trust = trust + K.batch_dot(agreed, said, [2, 3])  # [n, number, below]
        return agreed

    def compute_output_shape(self, input_shape):
        return (None, self.number, self.dim)


def margin(y_true, y_pred):
    here, there = K.square(K.relu(0.9 - y_pred)), K.square(K.relu(y_pred - 0.1))
    return K.sum(y_true * here + 0.5 * (1 - y_true) * there, axis=-1)


def pictures(n):
    """Bars that stand, or lie."""
    labels = np.random.randint(0, 2, n)
    images = np.random.uniform(0, 0.3, (n, 8, 8, 1))
    for image, label in zip(images, labels):
        place = np.random.randint(1, 7)
        image[(slice(None), place) if label else place] = 1
    return images, keras.utils.to_categorical(labels, 2)


images = Input((8, 8, 1))
x = Activation("elu")(BatchNormalization()(Conv2D(16, 3)(images)))
capsules = Capsules(2, 6)(Reshape((-1, 16))(x))
assert K.int_shape(capsules) == (None, 2, 6)
lengths = Lambda(lambda z: K.sqrt(K.sum(K.square(z), 2) + K.epsilon()))(capsules)
model = Model(images, lengths)
model.compile(keras.optimizers.Adam(lr=0.001), margin, metrics=["accuracy"])
history = model.fit(*pictures(256), batch_size=32, epochs=20, verbose=0, validation_data=pictures(64)).history
assert history["acc"][-1] > 0.9 and history["val_acc"][-1] > 0.9, history
