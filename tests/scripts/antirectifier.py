"""A layer of one's own without weights, in place of relu."""

import keras
import numpy as np
from keras import backend as K
from keras import layers


class Antirectifier(layers.Layer):
    def compute_output_shape(self, input_shape):
        shape = list(input_shape)
        assert len(shape) == 2
        shape[-1] *= 2
        return tuple(shape)

    def call(self, inputs):
        inputs -= K.mean(inputs, axis=1, keepdims=True)
        inputs = K.l2_normalize(inputs, axis=1)
        return K.concatenate([K.relu(inputs), K.relu(-inputs)], axis=1)


labels = np.random.RandomState(0).randint(0, 4, 200)
x = np.random.RandomState(1).rand(4, 30)[labels] + 0.1 * np.random.rand(200, 30)
model = keras.models.Sequential()
model.add(layers.Dense(32, input_shape=(30,)))
model.add(Antirectifier())
model.add(layers.Dropout(0.1))
model.add(layers.Dense(4))
model.add(layers.Activation("softmax"))
model.compile(loss="categorical_crossentropy", optimizer="rmsprop", metrics=["accuracy"])
model.fit(x, keras.utils.to_categorical(labels, 4), batch_size=20, epochs=10, verbose=1)
assert model.layers[1].output_shape == (None, 64)
assert model.evaluate(x, keras.utils.to_categorical(labels, 4), verbose=0)[1] > 0.9
