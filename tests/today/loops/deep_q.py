import sys

import numpy as np
from noting import done, note, settle

rng = np.random.RandomState(0)
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers


def q():
    i = layers.Input(shape=(6,))
    x = layers.Dense(24, activation="relu")(i)
    x = layers.Dense(24, activation="relu")(x)
    return keras.Model(i, layers.Dense(3, activation="linear")(x))


model = q()
target = q()
settle(model)
target.set_weights(model.get_weights())
opt = keras.optimizers.Adam(learning_rate=0.00025, clipnorm=1.0)
lf = keras.losses.Huber()
for step in range(6):
    states = rng.normal(size=(32, 6)).astype("float32")
    nxt = rng.normal(size=(32, 6)).astype("float32")
    rew = rng.normal(size=32)
    done_s = tf.convert_to_tensor([float(v) for v in rng.rand(32) > 0.8])
    action = rng.randint(0, 3, 32)
    act = tf.argmax(model(tf.expand_dims(tf.convert_to_tensor(states[0]), 0), training=False)[0]).numpy()
    fut = target.predict(nxt, verbose=0)
    upd = rew + 0.99 * tf.reduce_max(fut, axis=1)
    upd = upd * (1 - done_s) - done_s
    masks = tf.one_hot(action, 3)
    with tf.GradientTape() as tape:
        qv = model(states)
        qa = tf.reduce_sum(tf.multiply(qv, masks), axis=1)
        loss = lf(upd, qa)
    grads = tape.gradient(loss, model.trainable_variables)
    opt.apply_gradients(zip(grads, model.trainable_variables))
    note(loss, act)
    if step % 3 == 2:
        target.set_weights(model.get_weights())
for w in model.get_weights():
    note(w)
done()
