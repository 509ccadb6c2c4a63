"""An RNN reads the rows of an image, and another one reads what the first says of each row."""

import keras
import numpy as np
from keras.layers import LSTM, Dense, Input, TimeDistributed
from keras.models import Model

labels = np.random.RandomState(0).randint(0, 3, 150)
x = np.random.RandomState(1).rand(150, 9, 9, 1) * 0.2
for image, label in zip(x, labels):
    image[3 * label : 3 * label + 3] += 0.8
y = keras.utils.to_categorical(labels, 3)
image = Input(shape=x.shape[1:])
encoded_rows = TimeDistributed(LSTM(16))(image)
encoded_columns = LSTM(16)(encoded_rows)
model = Model(image, Dense(3, activation="softmax")(encoded_columns))
model.compile(loss="categorical_crossentropy", optimizer="rmsprop", metrics=["accuracy"])
model.fit(x, y, batch_size=15, epochs=10, verbose=0, validation_data=(x, y))
assert model.evaluate(x, y, verbose=0)[1] > 0.6
