"""A variational autoencoder with transposed convolutions.

Shows sampling in a Lambda (the reparameterisation trick), losses of Keras between tensors of the model,
a KL term, `add_loss`, and compilation without a loss. The images are made: discs of several sizes.

    kcompile run examples/keras2/variational_autoencoder_deconv.py
"""

import numpy as np
from keras import backend as K
from keras.layers import Conv2D, Conv2DTranspose, Dense, Flatten, Input, Lambda, Reshape
from keras.losses import binary_crossentropy
from keras.models import Model

SIZE, LATENT = 16, 2


def sampling(args):
    z_mean, z_log_var = args
    epsilon = K.random_normal(shape=(K.shape(z_mean)[0], K.int_shape(z_mean)[1]))
    return z_mean + K.exp(0.5 * z_log_var) * epsilon


grid = np.stack(np.meshgrid(*[np.arange(SIZE)] * 2), -1) - SIZE / 2 + 0.5
radii = np.random.RandomState(0).uniform(2, 7, 256)
images = (np.linalg.norm(grid, axis=-1)[None] < radii[:, None, None]).astype("float32")[..., None]

inputs = Input(shape=(SIZE, SIZE, 1), name="encoder_input")
x = inputs
for filters in (8, 16):
    x = Conv2D(filters, 3, activation="relu", strides=2, padding="same")(x)
shape = K.int_shape(x)
x = Dense(16, activation="relu")(Flatten()(x))
z_mean = Dense(LATENT, name="z_mean")(x)
z_log_var = Dense(LATENT, name="z_log_var")(x)
z = Lambda(sampling, output_shape=(LATENT,), name="z")([z_mean, z_log_var])
encoder = Model(inputs, [z_mean, z_log_var, z], name="encoder")

latent_inputs = Input(shape=(LATENT,), name="z_sampling")
x = Dense(shape[1] * shape[2] * shape[3], activation="relu")(latent_inputs)
x = Reshape((shape[1], shape[2], shape[3]))(x)
for filters in (16, 8):
    x = Conv2DTranspose(filters, 3, activation="relu", strides=2, padding="same")(x)
outputs = Conv2DTranspose(1, 3, activation="sigmoid", padding="same", name="decoder_output")(x)
decoder = Model(latent_inputs, outputs, name="decoder")

outputs = decoder(encoder(inputs)[2])
vae = Model(inputs, outputs, name="vae")
reconstruction_loss = binary_crossentropy(K.flatten(inputs), K.flatten(outputs)) * SIZE * SIZE
kl_loss = -0.5 * K.sum(1 + z_log_var - K.square(z_mean) - K.exp(z_log_var), axis=-1)
vae.add_loss(K.mean(reconstruction_loss + kl_loss))
vae.compile(optimizer="rmsprop")
vae.summary()
losses = vae.fit(images, epochs=10, batch_size=32, validation_data=(images[:64], None), verbose=2).history
drawn = decoder.predict(np.array([[-1.0, 0.0], [1.0, 0.0]]))
print("loss", losses["loss"][0], "->", losses["loss"][-1], "; drawn", drawn.shape)
assert losses["loss"][-1] < losses["loss"][0]
