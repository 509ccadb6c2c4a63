"""The first CNN of everybody, in either order of channels."""

import keras
import numpy as np
from keras import backend as K
from keras.layers import Conv2D, Dense, Dropout, Flatten, MaxPooling2D
from keras.models import Sequential

labels = np.random.RandomState(0).randint(0, 4, 160)
x = np.random.RandomState(1).rand(160, 14, 14) * 0.3
for image, label in zip(x, labels):
    image[3 * label : 3 * label + 3] += 0.7
if K.image_data_format() == "channels_first":
    x, input_shape = x.reshape(len(x), 1, 14, 14), (1, 14, 14)
else:
    x, input_shape = x.reshape(len(x), 14, 14, 1), (14, 14, 1)
y = keras.utils.to_categorical(labels, 4)
model = Sequential()
model.add(Conv2D(16, kernel_size=(3, 3), activation="relu", input_shape=input_shape))
model.add(Conv2D(16, (3, 3), activation="relu"))
model.add(MaxPooling2D(pool_size=(2, 2)))
model.add(Dropout(0.25))
model.add(Flatten())
model.add(Dense(32, activation="relu"))
model.add(Dropout(0.5))
model.add(Dense(4, activation="softmax"))
model.compile(
    loss=keras.losses.categorical_crossentropy, optimizer=keras.optimizers.Adadelta(), metrics=["accuracy"]
)
model.fit(x, y, batch_size=16, epochs=6, verbose=1, validation_data=(x, y))
score = model.evaluate(x, y, verbose=0)
assert score[1] > 0.8
