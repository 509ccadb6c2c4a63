"""A convolutional autoencoder for image denoising, trained twice."""

import numpy as np

from keras import layers
from keras.models import Model

rng = np.random.RandomState(0)


def preprocess(array):
    array = array.astype("float32") / 255.0
    array = np.reshape(array, (len(array), 14, 14, 1))
    return array


def noise(array):
    noise_factor = 0.4
    noisy_array = array + noise_factor * rng.normal(loc=0.0, scale=1.0, size=array.shape)
    return np.clip(noisy_array, 0.0, 1.0)


train_data = rng.randint(0, 2, (96, 7, 7)).repeat(2, 1).repeat(2, 2) * 255
train_data = preprocess(train_data)
test_data = train_data[64:]
train_data = train_data[:64]
noisy_train_data = noise(train_data)
noisy_test_data = noise(test_data)

input = layers.Input(shape=(14, 14, 1))

# Encoder
x = layers.Conv2D(8, (3, 3), activation="relu", padding="same")(input)
x = layers.MaxPooling2D((2, 2), padding="same")(x)
x = layers.Conv2D(8, (3, 3), activation="relu", padding="same")(x)
x = layers.MaxPooling2D((2, 2), padding="same")(x)

# Decoder
x = layers.Conv2DTranspose(8, (3, 3), strides=2, activation="relu", padding="same")(x)
x = layers.Conv2DTranspose(8, (3, 3), strides=2, activation="relu", padding="same")(x)
x = layers.Cropping2D(((1, 1), (1, 1)))(x)
x = layers.Conv2D(1, (3, 3), activation="sigmoid", padding="same")(x)

autoencoder = Model(input, x)
autoencoder.compile(optimizer="adam", loss="binary_crossentropy")
autoencoder.summary()
autoencoder.fit(
    x=train_data, y=train_data, epochs=3, batch_size=16, shuffle=True, validation_data=(test_data, test_data)
)
predictions = autoencoder.predict(test_data)

autoencoder.fit(
    x=noisy_train_data,
    y=train_data,
    epochs=3,
    batch_size=16,
    shuffle=True,
    validation_data=(noisy_test_data, test_data),
)
predictions = autoencoder.predict(noisy_test_data)
