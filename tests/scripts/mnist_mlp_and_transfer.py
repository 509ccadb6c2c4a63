"""A perceptron; then its features are frozen and its head is trained on other classes."""

import keras
import numpy as np
from keras.layers import Activation, Dense, Dropout
from keras.models import Sequential
from keras.optimizers import RMSprop

labels = np.random.RandomState(0).randint(0, 6, 300)
x = np.random.RandomState(2).rand(6, 40)[labels] + 0.1 * np.random.RandomState(1).rand(300, 40)
feature_layers = [Dense(64, activation="relu", input_shape=(40,)), Dropout(0.2)]
classification_layers = [Dense(32), Activation("relu"), Dropout(0.2), Dense(3), Activation("softmax")]
model = Sequential(feature_layers + classification_layers)


def train(model, chosen, first):
    y = keras.utils.to_categorical(labels[chosen] - first, 3)
    model.compile(loss="categorical_crossentropy", optimizer=RMSprop(), metrics=["accuracy"])
    model.fit(x[chosen], y, batch_size=16, epochs=15, verbose=0)
    return model.evaluate(x[chosen], y, verbose=0)[1]


assert train(model, labels < 3, 0) > 0.9
for layer in feature_layers:
    layer.trainable = False
frozen = feature_layers[0].get_weights()[0]
assert train(model, labels >= 3, 3) > 0.8
assert np.array_equal(feature_layers[0].get_weights()[0], frozen)
