import sys

import numpy as np
from noting import done, note, settle

rng = np.random.RandomState(0)
import tensorflow as tf
from tensorflow.keras import layers, models, optimizers

D = models.Sequential([layers.Dense(16, input_shape=(6,)), layers.LeakyReLU(), layers.Dense(1)])
G = models.Sequential(
    [layers.Dense(16, activation="relu", input_shape=(3,)), layers.BatchNormalization(), layers.Dense(6)]
)
settle(D)
settle(G)
do = optimizers.Adam(2e-3, beta_1=0.5)
go = optimizers.Adam(2e-3, beta_1=0.5)


def gp(real, fake, a):
    inter = real + a * (fake - real)
    with tf.GradientTape() as t:
        t.watch(inter)
        p = D(inter, training=True)
    g = t.gradient(p, [inter])[0]
    return tf.reduce_mean((tf.sqrt(tf.reduce_sum(tf.square(g), axis=[1])) - 1.0) ** 2)


for step in range(4):
    for k in range(2):
        real = tf.constant(rng.normal(size=(8, 6)).astype("float32"))
        z = tf.constant(rng.normal(size=(8, 3)).astype("float32"))
        a = tf.constant(rng.rand(8, 1).astype("float32"))
        with tf.GradientTape() as tape:
            fake = G(z, training=True)
            cost = tf.reduce_mean(D(fake, training=True)) - tf.reduce_mean(D(real, training=True))
            pen = gp(real, fake, a)
            loss = cost + 10 * pen
        do.apply_gradients(zip(tape.gradient(loss, D.trainable_variables), D.trainable_variables))
        note(cost, pen)
    with tf.GradientTape() as tape:
        gl = -tf.reduce_mean(D(G(z, training=True), training=True))
    go.apply_gradients(zip(tape.gradient(gl, G.trainable_variables), G.trainable_variables))
    note(gl)
    p = G.predict(z, verbose=0)
    note(p[0])
    note(D(p)[0], D(G(z))[0])
done()
