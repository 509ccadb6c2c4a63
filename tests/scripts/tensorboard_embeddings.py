"""TensorBoard gets losses, and the vectors that a layer gives test images with their labels."""

import os

import keras
import numpy as np
from keras.callbacks import TensorBoard
from keras.layers import Conv2D, Dense, Flatten
from keras.models import Sequential

labels = np.random.RandomState(0).randint(0, 3, 60)
x = np.random.RandomState(1).rand(60, 8, 8, 1)
y = keras.utils.to_categorical(labels, 3)
os.makedirs("logs", exist_ok=True)
with open(os.path.join("logs", "metadata.tsv"), "w") as file:
    np.savetxt(file, labels, fmt="%d")
tensorboard = TensorBoard(
    log_dir="logs",
    batch_size=20,
    embeddings_freq=1,
    embeddings_layer_names=["features"],
    embeddings_metadata="metadata.tsv",
    embeddings_data=x,
)
model = Sequential()
model.add(Conv2D(4, (3, 3), activation="relu", input_shape=(8, 8, 1)))
model.add(Flatten())
model.add(Dense(16, activation="relu", name="features"))
model.add(Dense(3, activation="softmax"))
model.compile(loss="categorical_crossentropy", optimizer="adadelta", metrics=["accuracy"])
model.fit(x, y, batch_size=20, callbacks=[tensorboard], epochs=2, verbose=0, validation_data=(x, y))
files = [name for _, _, names in os.walk("logs") for name in names]
print(files)
assert any("tfevents" in name for name in files) and any("projector" in name for name in files)
