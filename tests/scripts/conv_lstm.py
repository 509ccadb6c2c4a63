"""A network of ConvLSTM2D predicts the next frame of a film with moving squares."""

import numpy as np
from keras.layers import BatchNormalization, Conv3D, ConvLSTM2D
from keras.models import Sequential

seq = Sequential()
seq.add(
    ConvLSTM2D(
        filters=6, kernel_size=(3, 3), input_shape=(None, 12, 12, 1), padding="same", return_sequences=True
    )
)
seq.add(BatchNormalization())
seq.add(ConvLSTM2D(filters=6, kernel_size=(3, 3), padding="same", return_sequences=True))
seq.add(
    Conv3D(
        filters=1, kernel_size=(3, 3, 3), activation="sigmoid", padding="same", data_format="channels_last"
    )
)
seq.compile(loss="binary_crossentropy", optimizer="adadelta")

films = np.zeros((16, 6, 12, 12, 1))
for n, film in enumerate(films):
    for t, frame in enumerate(film):
        frame[t + n % 3 : t + n % 3 + 3, 4:7] = 1
losses = seq.fit(films[:, :-1], films[:, 1:], batch_size=8, epochs=5, validation_split=0.25, verbose=0)
track = films[0][:3]
for _ in range(2):
    new = seq.predict(track[np.newaxis])[0, -1:]
    track = np.concatenate((track, new), axis=0)
assert track.shape == (5, 12, 12, 1) and losses.history["loss"][-1] < losses.history["loss"][0]
