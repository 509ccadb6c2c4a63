"""Texts are classified by an LSTM, by LSTMs of both directions, by convolutions, by both, and by averaged
n-grams."""

from itertools import pairwise

import numpy as np
from keras.layers import (
    LSTM,
    Activation,
    Bidirectional,
    Conv1D,
    Dense,
    Dropout,
    Embedding,
    GlobalAveragePooling1D,
    GlobalMaxPooling1D,
    MaxPooling1D,
)
from keras.models import Sequential
from keras.preprocessing import sequence

WORDS, MAXLEN = 40, 12
rng = np.random.RandomState(0)
y = rng.randint(0, 2, 200)
texts = [(rng.randint(1, WORDS // 2, rng.randint(5, 20)) + WORDS // 2 * label).tolist() for label in y]


def ngrams(texts, n=2):
    """The texts, with the index of every pair of words that follow each other."""
    pairs = sorted({pair for text in texts for pair in zip(*[text[i:] for i in range(n)])})
    index = {pair: WORDS + i for i, pair in enumerate(pairs)}
    return [text + [index[pair] for pair in pairwise(text)] for text in texts], WORDS + len(pairs)


def after_embedding(name):
    if name == "lstm":
        return [LSTM(16, dropout=0.2, recurrent_dropout=0.2)]
    if name == "bidirectional":
        return [Bidirectional(LSTM(8)), Dropout(0.5)]
    if name == "cnn":
        return [
            Conv1D(16, 3, padding="valid", activation="relu", strides=1),
            GlobalMaxPooling1D(),
            Dense(8),
            Activation("relu"),
        ]
    if name == "cnn_lstm":
        return [Conv1D(16, 5, activation="relu"), MaxPooling1D(pool_size=4), LSTM(8)]
    return [GlobalAveragePooling1D()]


for name in ("lstm", "bidirectional", "cnn", "cnn_lstm", "fasttext"):
    data, features = ngrams(texts) if name == "fasttext" else (texts, WORDS)
    x = sequence.pad_sequences(data, maxlen=MAXLEN)
    model = Sequential([Embedding(features, 16, input_length=MAXLEN), *after_embedding(name)])
    model.add(Dense(1, activation="sigmoid"))
    model.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])
    model.fit(x, y, batch_size=20, epochs=8, validation_data=(x, y), verbose=0)
    score, acc = model.evaluate(x, y, batch_size=20, verbose=0)
    print(name, score, acc)
    assert acc > 0.8, name
