"""An LSTM writes text in the manner of what it has read, at several temperatures, after every epoch."""

import random

import numpy as np
from keras.callbacks import LambdaCallback
from keras.layers import LSTM, Dense
from keras.models import Sequential
from keras.optimizers import RMSprop

with open("nietzsche.txt", "w") as file:
    file.write("the cat sat on the mat and the dog sat on the log. " * 10)
with open("nietzsche.txt", encoding="utf-8") as file:
    text = file.read().lower()
chars = sorted(set(text))
char_indices = {c: i for i, c in enumerate(chars)}
maxlen = 12
starts = range(0, len(text) - maxlen, 3)
x = np.zeros((len(starts), maxlen, len(chars)), dtype=bool)
y = np.zeros((len(starts), len(chars)), dtype=bool)
for i, start in enumerate(starts):
    for t, char in enumerate(text[start : start + maxlen]):
        x[i, t, char_indices[char]] = 1
    y[i, char_indices[text[start + maxlen]]] = 1

model = Sequential()
model.add(LSTM(32, input_shape=(maxlen, len(chars))))
model.add(Dense(len(chars), activation="softmax"))
model.compile(loss="categorical_crossentropy", optimizer=RMSprop(lr=0.01))
written = []


def sample(preds, temperature=1.0):
    preds = np.exp(np.log(np.asarray(preds).astype("float64") + 1e-12) / temperature)
    return np.argmax(np.random.multinomial(1, preds / np.sum(preds), 1))


def on_epoch_end(epoch, _):
    start = random.randint(0, len(text) - maxlen - 1)
    for diversity in (0.2, 1.0):
        sentence = text[start : start + maxlen]
        for _ in range(10):
            x_pred = np.zeros((1, maxlen, len(chars)))
            for t, char in enumerate(sentence[-maxlen:]):
                x_pred[0, t, char_indices[char]] = 1.0
            sentence += chars[sample(model.predict(x_pred, verbose=0)[0], diversity)]
        written.append(sentence)


losses = model.fit(x, y, batch_size=32, epochs=4, callbacks=[LambdaCallback(on_epoch_end=on_epoch_end)])
print(written)
assert len(written) == 8 and losses.history["loss"][-1] < losses.history["loss"][0]
