"""Topics of news from bags of words: perceptrons of relu with Dropout, and of selu with AlphaDropout."""

import keras
import numpy as np
from keras.layers import Activation, Dense, Dropout
from keras.layers.noise import AlphaDropout
from keras.models import Sequential
from keras.preprocessing.text import Tokenizer

rng = np.random.RandomState(0)
labels = rng.randint(0, 4, 200)
news = [(rng.randint(1, 10, 15) + 10 * label).tolist() for label in labels]
x = Tokenizer(num_words=60).sequences_to_matrix(news, mode="binary")
y = keras.utils.to_categorical(labels, 4)
assert x.shape == (200, 60)


def create_network(n_dense, activation, dropout, rate, kernel_initializer):
    model = Sequential()
    for i in range(n_dense):
        first = {"input_shape": (60,)} if i == 0 else {}
        model.add(Dense(32, kernel_initializer=kernel_initializer, **first))
        model.add(Activation(activation))
        model.add(dropout(rate))
    model.add(Dense(4))
    model.add(Activation("softmax"))
    model.compile(loss="categorical_crossentropy", optimizer="sgd", metrics=["accuracy"])
    return model


for settings in ((3, "relu", Dropout, 0.2, "glorot_uniform"), (3, "selu", AlphaDropout, 0.1, "lecun_normal")):
    network = create_network(*settings)
    history = network.fit(x, y, batch_size=16, epochs=20, verbose=0, validation_split=0.1)
    score = network.evaluate(x, y, batch_size=16, verbose=0)
    print(settings[1], score)
    assert score[1] > 0.8 and len(history.history["val_loss"]) == 20
