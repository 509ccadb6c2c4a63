import sys

import numpy as np
from noting import done, note, settle

rng = np.random.RandomState(0)
import tensorflow as tf

x = tf.Variable([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
m = tf.keras.layers.Dense(4, activation="tanh")
m(x)
m.set_weights([rng.normal(size=(2, 4)).astype("float32"), rng.normal(size=4).astype("float32")])
with tf.GradientTape(persistent=True) as t:
    y = m(x)
    s = tf.reduce_sum(y**2)
j = t.jacobian(y, [x, m.kernel])
note(*j)
note(j[0].shape, j[1].shape)
note(t.batch_jacobian(y, x))
note(t.gradient(s, x))
note(t.gradient({"a": y, "b": s}, {"k": m.kernel, "b": m.bias})["k"])
del t
w = tf.Variable(2.0)
c = tf.constant(3.0)
with tf.GradientTape() as t:
    y = w * c
g = t.gradient(y, [w, c])
note(g[0])
assert g[1] is None
with tf.GradientTape() as t:
    y = w * c
assert t.gradient(y, tf.Variable(1.0)) is None
with tf.GradientTape(watch_accessed_variables=False) as t:
    t.watch(w)
    v = tf.Variable(4.0)
    y = w * v
g = t.gradient(y, [w, v])
note(g[0])
assert g[1] is None
with tf.GradientTape() as t:
    t.watch(c)
    y = c**2
    t.reset()
    t.watch(c)
    y = c * 5
note(t.gradient(y, c))
with tf.GradientTape() as t:
    y = w**2
    with t.stop_recording():
        z = y * 3
    q = y + z
note(t.gradient(q, w))
x0 = tf.constant(np.array([1.0, 2.0, 3.0], "float32"))
with tf.GradientTape() as t2:
    t2.watch(x0)
    with tf.GradientTape() as t1:
        t1.watch(x0)
        y = x0**3
    g = t1.gradient(y, x0)
note(t2.jacobian(g, x0))


@tf.custom_gradient
def clipg(x):
    def grad(dy):
        return tf.clip_by_value(dy, -0.5, 0.5)

    return tf.identity(x), grad


with tf.GradientTape() as t:
    y = clipg(w * 3) * 7
note(t.gradient(y, w))
with tf.GradientTape() as t:
    y = tf.where(x0 > 1.5, x0, 0.0) if False else w * 2
    if y > 3:
        y = y * 10
note(t.gradient(y, w, output_gradients=tf.constant(2.0)))

opt = tf.keras.optimizers.SGD(0.1, momentum=0.9)
v = tf.Variable([1.0, 2.0])
for _ in range(3):
    opt.minimize(lambda: tf.reduce_sum(v**2), [v])
note(v.numpy())
v = tf.Variable(2.0)
with tf.GradientTape() as t:
    y = v * v
v.assign(5.0)
note(t.gradient(y, v), y)
with tf.GradientTape() as t:
    v.assign(3.0)
    y = v * v
    v.assign_add(1.0)
    z = v * 1
note(y, z, v.numpy(), t.gradient(y + z, v) is None)
losses = []
for i in range(40):
    with tf.GradientTape() as t:
        loss = (v - i) ** 2
    v.assign_sub(0.1 * t.gradient(loss, v))
    losses.append(loss)
note(losses[0], losses[-1], tf.reduce_mean(losses), sum(losses), v.numpy())
done()
