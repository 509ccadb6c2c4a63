"""A CNN on images that are augmented while it trains, saved and scored."""

import os

import keras
import numpy as np
from keras.layers import Activation, Conv2D, Dense, Dropout, Flatten, MaxPooling2D
from keras.models import Sequential, load_model
from keras.preprocessing.image import ImageDataGenerator

labels = np.random.RandomState(0).randint(0, 3, 120)
x = np.random.RandomState(1).rand(120, 16, 16, 3).astype("float32") * 0.2
x[np.arange(120), :, :, labels] += 0.7
y = keras.utils.to_categorical(labels, 3)

model = Sequential()
model.add(Conv2D(8, (3, 3), padding="same", input_shape=x.shape[1:]))
model.add(Activation("relu"))
model.add(Conv2D(8, (3, 3)))
model.add(Activation("relu"))
model.add(MaxPooling2D(pool_size=(2, 2)))
model.add(Dropout(0.25))
model.add(Flatten())
model.add(Dense(3))
model.add(Activation("softmax"))
opt = keras.optimizers.rmsprop(lr=0.001, decay=1e-6)
model.compile(loss="categorical_crossentropy", optimizer=opt, metrics=["accuracy"])
datagen = ImageDataGenerator(
    featurewise_center=False,
    zca_whitening=False,
    rotation_range=10,
    width_shift_range=0.1,
    height_shift_range=0.1,
    shear_range=0.0,
    zoom_range=0.0,
    channel_shift_range=0.0,
    fill_mode="nearest",
    horizontal_flip=True,
    rescale=None,
    preprocessing_function=None,
    data_format=None,
    validation_split=0.0,
)
datagen.fit(x)
flow = datagen.flow(x, y, batch_size=20)
model.fit_generator(flow, steps_per_epoch=6, epochs=6, validation_data=(x, y), workers=2, verbose=2)
path = os.path.join(os.getcwd(), "keras_cifar10_trained_model.h5")
model.save(path)
scores = load_model(path).evaluate(x, y, verbose=1)
print("Test accuracy:", scores[1])
assert scores[1] > 0.6
