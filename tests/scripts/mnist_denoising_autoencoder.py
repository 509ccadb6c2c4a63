"""An autoencoder takes noise from images: convolutions with strides, and their transposes."""

import numpy as np
from keras import backend as K
from keras.layers import Activation, Conv2D, Conv2DTranspose, Dense, Flatten, Input, Reshape
from keras.models import Model

rng = np.random.RandomState(0)
clean = np.zeros((128, 12, 12, 1))
for i, image in enumerate(clean):
    image[i % 10 : i % 10 + 2] = 1
noisy = np.clip(clean + rng.normal(0.5, 0.5, clean.shape), 0.0, 1.0)

inputs = Input(shape=(12, 12, 1), name="encoder_input")
x = inputs
for filters in (8, 16):
    x = Conv2D(filters=filters, kernel_size=3, strides=2, activation="relu", padding="same")(x)
shape = K.int_shape(x)
encoder = Model(inputs, Dense(8, name="latent_vector")(Flatten()(x)), name="encoder")
latent_inputs = Input(shape=(8,), name="decoder_input")
x = Dense(shape[1] * shape[2] * shape[3])(latent_inputs)
x = Reshape((shape[1], shape[2], shape[3]))(x)
for filters in (16, 8):
    x = Conv2DTranspose(filters=filters, kernel_size=3, strides=2, activation="relu", padding="same")(x)
x = Conv2DTranspose(filters=1, kernel_size=3, padding="same")(x)
decoder = Model(latent_inputs, Activation("sigmoid", name="decoder_output")(x), name="decoder")
autoencoder = Model(inputs, decoder(encoder(inputs)), name="autoencoder")
autoencoder.compile(loss="mse", optimizer="adam")
losses = autoencoder.fit(noisy, clean, validation_data=(noisy, clean), epochs=12, batch_size=16, verbose=0)
assert autoencoder.predict(noisy).shape == clean.shape
assert losses.history["loss"][-1] < 0.8 * losses.history["loss"][0]
