"""A moving average is learnt by an LSTM that keeps its state between batches, and not by one that forgets."""

import numpy as np
from keras.layers import LSTM, Dense
from keras.models import Sequential

x = np.random.RandomState(0).uniform(-0.1, 0.1, 160)
y = np.convolve(x, [0.5, 0.5])[: len(x)]
data, target = x.reshape(-1, 1, 1), y.reshape(-1, 1)


def create_model(stateful):
    model = Sequential()
    model.add(LSTM(10, input_shape=(1, 1), batch_size=1, stateful=stateful))
    model.add(Dense(1))
    model.compile(loss="mse", optimizer="adam")
    return model


found = {}
for stateful in (True, False):
    model = create_model(stateful)
    for _ in range(12):
        model.fit(data, target, batch_size=1, epochs=1, verbose=0, shuffle=False)
        model.reset_states()
    found[stateful] = np.mean((model.predict(data, batch_size=1) - target) ** 2)
print(found)
assert found[True] < found[False]
