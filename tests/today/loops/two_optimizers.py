import sys

import numpy as np
from noting import done, note, settle

rng = np.random.RandomState(0)
import tensorflow as tf
from tensorflow import keras

w = tf.Variable(rng.normal(size=(3, 4)).astype("float32"))
v = tf.Variable(rng.normal(size=(4,)).astype("float32"))
x = rng.normal(size=(8, 3)).astype("float32")
o1 = keras.optimizers.RMSprop(1e-2)
o2 = keras.optimizers.Adam(1e-3)
for _ in range(3):
    with tf.GradientTape(persistent=True) as tape:
        l = tf.reduce_mean((tf.matmul(x, w) + v) ** 2)
    ga = tape.gradient(l, [w])
    gb = tape.gradient(l, [v])
    del tape
    o1.apply_gradients(zip(ga, [w]))
    note(w)
    o2.apply_gradients(zip(gb, [v]))
    note(w, v)
done()
