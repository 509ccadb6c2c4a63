"""A variational autoencoder of dense layers: its loss is made of tensors of the model; the model is drawn
and saved."""

import numpy as np
from keras import backend as K
from keras.layers import Dense, Input, Lambda
from keras.losses import mse
from keras.models import Model


def sampling(args):
    z_mean, z_log_var = args
    batch, dim = K.shape(z_mean)[0], K.int_shape(z_mean)[1]
    return z_mean + K.exp(0.5 * z_log_var) * K.random_normal(shape=(batch, dim))


x = np.random.RandomState(0).rand(4, 30)[np.arange(200) % 4] + 0.05 * np.random.RandomState(1).rand(200, 30)
inputs = Input(shape=(30,), name="encoder_input")
h = Dense(16, activation="relu")(inputs)
z_mean, z_log_var = Dense(2, name="z_mean")(h), Dense(2, name="z_log_var")(h)
z = Lambda(sampling, output_shape=(2,), name="z")([z_mean, z_log_var])
encoder = Model(inputs, [z_mean, z_log_var, z], name="encoder")
latent_inputs = Input(shape=(2,), name="z_sampling")
decoded = Dense(30, activation="sigmoid")(Dense(16, activation="relu")(latent_inputs))
decoder = Model(latent_inputs, decoded, name="decoder")
outputs = decoder(encoder(inputs)[2])
vae = Model(inputs, outputs, name="vae_mlp")
reconstruction_loss = mse(inputs, outputs) * 30
kl_loss = -0.5 * K.sum(1 + z_log_var - K.square(z_mean) - K.exp(z_log_var), axis=-1)
vae.add_loss(K.mean(reconstruction_loss + kl_loss))
vae.compile(optimizer="adam")
losses = vae.fit(x, epochs=15, batch_size=20, validation_data=(x, None), verbose=0).history
vae.save_weights("vae_mlp.h5")
vae.load_weights("vae_mlp.h5")
assert losses["loss"][-1] < losses["loss"][0] and set(losses) == {"loss", "val_loss"}
z, again = (encoder.predict(x, batch_size=20)[2] for _ in range(2))
assert not np.array_equal(z, again)
