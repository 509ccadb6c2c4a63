import sys

import numpy as np
from noting import done, note, settle

rng = np.random.RandomState(0)
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers


def make_g():
    m = tf.keras.Sequential()
    m.add(layers.Dense(7 * 7 * 16, use_bias=False, input_shape=(10,)))
    m.add(layers.BatchNormalization())
    m.add(layers.LeakyReLU())
    m.add(layers.Reshape((7, 7, 16)))
    assert m.output_shape == (None, 7, 7, 16)
    m.add(layers.Conv2DTranspose(8, (5, 5), strides=(2, 2), padding="same", use_bias=False))
    m.add(layers.BatchNormalization())
    m.add(layers.LeakyReLU())
    m.add(
        layers.Conv2DTranspose(1, (5, 5), strides=(2, 2), padding="same", use_bias=False, activation="tanh")
    )
    return m


def make_d():
    m = tf.keras.Sequential()
    m.add(layers.Conv2D(8, (5, 5), strides=(2, 2), padding="same", input_shape=[28, 28, 1]))
    m.add(layers.LeakyReLU())
    m.add(layers.Conv2D(16, (5, 5), strides=(2, 2), padding="same"))
    m.add(layers.LeakyReLU())
    m.add(layers.Flatten())
    m.add(layers.Dense(1))
    return m


generator = make_g()
discriminator = make_d()
settle(generator)
settle(discriminator)
bce = tf.keras.losses.BinaryCrossentropy(from_logits=True)


def d_loss(real, fake):
    return bce(tf.ones_like(real), real) + bce(tf.zeros_like(fake), fake)


def g_loss(fake):
    return bce(tf.ones_like(fake), fake)


g_opt = tf.keras.optimizers.Adam(1e-4)
d_opt = tf.keras.optimizers.Adam(1e-4)
images = rng.normal(size=(32, 28, 28, 1)).astype("float32").clip(-1, 1)
ds = tf.data.Dataset.from_tensor_slices(images).batch(16)
noises = [rng.normal(size=(16, 10)).astype("float32") for _ in range(8)]


@tf.function
def train_step(images, noise):
    with tf.GradientTape() as gen_tape, tf.GradientTape() as disc_tape:
        generated = generator(noise, training=True)
        real = discriminator(images, training=True)
        fake = discriminator(generated, training=True)
        gl = g_loss(fake)
        dl = d_loss(real, fake)
    gg = gen_tape.gradient(gl, generator.trainable_variables)
    gd = disc_tape.gradient(dl, discriminator.trainable_variables)
    g_opt.apply_gradients(zip(gg, generator.trainable_variables))
    d_opt.apply_gradients(zip(gd, discriminator.trainable_variables))
    return gl, dl


k = 0
for e in range(2):
    for b in ds:
        gl, dl = train_step(b, tf.constant(noises[k]))
        k += 1
        note(gl, dl)
note(generator(noises[0], training=False)[0])
for w in generator.get_weights() + discriminator.get_weights():
    note(w)
done()
