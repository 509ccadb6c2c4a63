"""An RNN adds numbers that are written as texts: RepeatVector between an encoder and a decoder."""

import numpy as np
from keras.layers import LSTM, Activation, Dense, RepeatVector, TimeDistributed
from keras.models import Sequential

characters = "0123456789+ "
rng = np.random.RandomState(0)
sums = rng.randint(0, 10, (300, 2))
questions = [f"{a}+{b}".ljust(3) for a, b in sums]
answers = [str(a + b).ljust(2) for a, b in sums]
x = np.array([[[c == k for k in characters] for c in text] for text in questions], dtype=bool)
y = np.array([[[c == k for k in characters] for c in text] for text in answers], dtype=bool)

model = Sequential()
model.add(LSTM(48, input_shape=(3, len(characters))))
model.add(RepeatVector(2))
model.add(LSTM(48, return_sequences=True))
model.add(TimeDistributed(Dense(len(characters))))
model.add(Activation("softmax"))
model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
model.summary()
losses = []
for _ in range(3):
    losses += model.fit(x, y, batch_size=32, epochs=8, validation_data=(x[:30], y[:30]), verbose=0).history[
        "loss"
    ]
    row = rng.randint(0, len(x))
    guess = model.predict_classes(x[row : row + 1], verbose=0)
    print(questions[row], answers[row], "".join(characters[i] for i in guess[0]))
assert losses[-1] < 0.75 * losses[0]
