import sys

import numpy as np
from noting import done, note, settle

rng = np.random.RandomState(0)
import tensorflow as tf

x = tf.Variable(rng.rand(4, 3).astype("float32"))
w = tf.Variable(rng.rand(3).astype("float32"))
with tf.GradientTape() as tape:
    z = tf.exp(w)
    y = tf.map_fn(lambda r: r * z, x)
    loss = tf.reduce_sum(y**2)
g = tape.gradient(loss, [x, w])
note(loss, *g)
with tf.GradientTape() as tape:
    z = tf.exp(w)
    y = tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a * z), (tf.constant(0), z))[1]
    loss = tf.reduce_sum(y**2)
note(loss, *tape.gradient(loss, [w]))
with tf.GradientTape() as tape:
    z = tf.exp(w)
    y = tf.cond(tf.reduce_sum(z) > 0, lambda: z * 2, lambda: z * 3)
    s = tf.scan(lambda a, b: a * z + b, x) if hasattr(tf, "scan") else tf.zeros(3)
    loss = tf.reduce_sum(y**2)
note(loss, *tape.gradient(loss, [w]))
done()
