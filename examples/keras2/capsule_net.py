"""A capsule network: convolutions, capsules by dynamic routing, and the margin loss.

Shows a layer of one's own in Keras 2: weights from `build`, products that are broadcast, and a loop of
routing that is unrolled when the model is built. The images are made: each class is one bar in one place.

    kcompile run examples/keras2/capsule_net.py
"""

import numpy as np
from keras import backend as K
from keras.layers import Conv2D, Input, Lambda, Layer, Reshape
from keras.models import Model
from keras.optimizers import Adam
from keras.utils import to_categorical

CLASSES, SIZE = 4, 12


def squash(x, axis=-1):
    """Keeps the direction of a capsule and brings its length below one."""
    squared = K.sum(K.square(x), axis, keepdims=True) + K.epsilon()
    return K.sqrt(squared) / (0.5 + squared) * x


def margin_loss(y_true, y_pred):
    present = y_true * K.square(K.relu(0.9 - y_pred))
    absent = 0.25 * (1 - y_true) * K.square(K.relu(y_pred - 0.1))
    return K.sum(present + absent, axis=-1)


class Capsule(Layer):
    """Capsules whose inputs all share one matrix of weights, routed by agreement."""

    def __init__(self, num_capsule, dim_capsule, routings=3, **kwargs):
        super().__init__(**kwargs)
        self.num_capsule, self.dim_capsule, self.routings = num_capsule, dim_capsule, routings

    def build(self, input_shape):
        self.kernel = self.add_weight(
            name="kernel",
            shape=(1, input_shape[-1], self.num_capsule * self.dim_capsule),
            initializer="glorot_uniform",
            trainable=True,
        )
        super().build(input_shape)

    def call(self, inputs):
        votes = K.conv1d(inputs, self.kernel)
        count = K.shape(inputs)[1]
        votes = K.reshape(votes, (-1, count, self.num_capsule, self.dim_capsule))
        votes = K.permute_dimensions(votes, (0, 2, 1, 3))  # (batch, capsules, inputs, dim)
        agreement = K.zeros_like(votes[:, :, :, 0])
        for i in range(self.routings):
            coupling = K.softmax(agreement, 1)
            outputs = squash(K.sum(K.expand_dims(coupling) * votes, axis=2))
            if i < self.routings - 1:
                agreement += K.sum(K.expand_dims(outputs, 2) * votes, axis=-1)
        return outputs

    def compute_output_shape(self, input_shape):
        return (None, self.num_capsule, self.dim_capsule)


labels = np.random.RandomState(0).randint(0, CLASSES, 256)
images = np.random.RandomState(1).rand(256, SIZE, SIZE, 1) * 0.3
for image, label in zip(images, labels):
    image[3 * label : 3 * label + 2, 2:10] += 0.7

image = Input(shape=(SIZE, SIZE, 1))
x = Conv2D(16, (3, 3), strides=2, activation="relu")(image)
x = Reshape((-1, 16))(x)
capsules = Capsule(CLASSES, 8)(x)
lengths = Lambda(lambda z: K.sqrt(K.sum(K.square(z), 2)))(capsules)
model = Model(image, lengths)
model.compile(loss=margin_loss, optimizer=Adam(lr=0.005), metrics=["accuracy"])
model.summary()
model.fit(images, to_categorical(labels, CLASSES), batch_size=16, epochs=15, verbose=2)
accuracy = model.evaluate(images, to_categorical(labels, CLASSES), verbose=0)[1]
print("accuracy", accuracy)
assert accuracy > 0.9
