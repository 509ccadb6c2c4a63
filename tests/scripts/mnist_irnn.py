"""A simple RNN of rectified units that starts as the identity (Le, Jaitly, Hinton, 2015) remembers long
sequences."""

import keras
import numpy as np
from keras import initializers
from keras.layers import Activation, Dense, SimpleRNN
from keras.models import Sequential
from keras.optimizers import RMSprop

labels = np.random.RandomState(0).randint(0, 2, 100)
x = np.random.RandomState(1).rand(100, 40, 1) * 0.1
x[:, 0, 0] += labels
model = Sequential()
model.add(
    SimpleRNN(
        20,
        kernel_initializer=initializers.RandomNormal(stddev=0.001),
        recurrent_initializer=initializers.Identity(gain=1.0),
        activation="relu",
        input_shape=x.shape[1:],
    )
)
model.add(Dense(2))
model.add(Activation("softmax"))
assert np.array_equal(model.get_weights()[1], np.eye(20))
model.compile(loss="categorical_crossentropy", optimizer=RMSprop(lr=1e-3), metrics=["accuracy"])
y = keras.utils.to_categorical(labels, 2)
losses = model.fit(x, y, batch_size=10, epochs=10, verbose=0, validation_data=(x, y)).history["loss"]
assert losses[-1] < losses[0]
