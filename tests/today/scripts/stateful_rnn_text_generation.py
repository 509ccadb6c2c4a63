"""A stateful LSTM over characters, whose states are reset between epochs by a callback; sampling at the end."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np

import keras
from keras import layers

text = "the quick brown fox jumps over the lazy dog. " * 12
chars = sorted(set(text))
char_to_id = {c: i for i, c in enumerate(chars)}
ids = np.array([char_to_id[c] for c in text])
batch_size, steps = 4, 10
length = (len(ids) - 1) // batch_size
x = ids[: length * batch_size].reshape(batch_size, length)
y = ids[1 : length * batch_size + 1].reshape(batch_size, length)


class Stretches(keras.utils.PyDataset):
    def __len__(self):
        return length // steps

    def __getitem__(self, i):
        part = slice(i * steps, (i + 1) * steps)
        return x[:, part], y[:, part]


class ResetStatesCallback(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        for layer in self.model.layers:
            if hasattr(layer, "reset_state"):
                layer.reset_state()


def build(batch_size, steps, stateful=True):
    return keras.Sequential(
        [
            keras.Input(batch_shape=(batch_size, steps), dtype="int32"),
            layers.Embedding(len(chars), 8),
            layers.LSTM(16, return_sequences=True, stateful=stateful),
            layers.Dense(len(chars), activation="softmax"),
        ]
    )


model = build(batch_size, steps)
model.compile(loss="sparse_categorical_crossentropy", optimizer=keras.optimizers.SGD(0.5))
model.fit(Stretches(), epochs=3, callbacks=[ResetStatesCallback()], shuffle=False)

single = build(1, None, stateful=False)
single.set_weights(model.get_weights())
sample = [char_to_id["t"]]
for _ in range(12):
    probabilities = single.predict(np.array([sample]), verbose=0)[0, -1]
    sample.append(int(np.argmax(probabilities)))
print("".join(chars[i] for i in sample))
