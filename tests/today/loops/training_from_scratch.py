import sys

import numpy as np
from noting import done, note, settle

rng = np.random.RandomState(0)
import tensorflow as tf
from tensorflow import keras

layers = keras.layers


class Act(layers.Layer):
    def call(self, inputs):
        self.add_loss(1e-2 * tf.reduce_sum(inputs))
        return inputs


def get():
    i = keras.Input(shape=(20,), name="digits")
    x = layers.Dense(16, activation="relu")(i)
    x = Act()(x)
    x = layers.Dense(16, activation="relu", kernel_regularizer=keras.regularizers.L2(1e-3))(x)
    return keras.Model(inputs=i, outputs=layers.Dense(5, name="predictions")(x))


model = get()
settle(model)
opt = keras.optimizers.SGD(learning_rate=1e-2)
lf = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
ta = keras.metrics.SparseCategoricalAccuracy()
va = keras.metrics.SparseCategoricalAccuracy()
x = rng.normal(size=(100, 20)).astype("float32")
y = rng.randint(0, 5, 100)
tr = tf.data.Dataset.from_tensor_slices((x[:80], y[:80])).batch(16)
vd = tf.data.Dataset.from_tensor_slices((x[80:], y[80:])).batch(16)


@tf.function
def train_step(x, y):
    with tf.GradientTape() as tape:
        logits = model(x, training=True)
        loss_value = lf(y, logits)
        loss_value += sum(model.losses)
    grads = tape.gradient(loss_value, model.trainable_weights)
    opt.apply_gradients(zip(grads, model.trainable_weights))
    ta.update_state(y, logits)
    return loss_value


@tf.function
def test_step(x, y):
    v = model(x, training=False)
    va.update_state(y, v)


for e in range(3):
    for step, (xb, yb) in enumerate(tr):
        loss = train_step(xb, yb)
        if step % 2 == 0:
            print("Training loss (for one batch) at step %d: %.4f" % (step, float(loss)))
            note(loss)
    note(ta.result())
    (ta.reset_state if hasattr(ta, "reset_state") else ta.reset_states)()
    for xb, yb in vd:
        test_step(xb, yb)
    note(float(va.result()))
    va.reset_state()
# RMSprop with schedule, clipping, several groups
m2 = get()
settle(m2)
o1 = keras.optimizers.RMSprop(keras.optimizers.schedules.ExponentialDecay(1e-2, 2, 0.9))
o2 = keras.optimizers.Adam(1e-3)
for step, (xb, yb) in enumerate(tr):
    with tf.GradientTape(persistent=True) as tape:
        p = m2(xb, training=True)
        l1 = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(yb, p, from_logits=True))
        l2 = tf.add_n([tf.nn.l2_loss(w) for w in m2.trainable_variables]) * 1e-3
        total = l1 + l2
    a, b = m2.trainable_variables[:2], m2.trainable_variables[2:]
    ga = tape.gradient(total, a)
    gb = tape.gradient(total, b)
    del tape
    ga, _ = tf.clip_by_global_norm(ga, 0.5)
    gb = [tf.clip_by_norm(g, 0.3) for g in gb]
    o1.apply_gradients(zip(ga, a))
    o2.apply_gradients(zip(gb, b))
    note(l1, l2, *[tf.norm(g) for g in ga])
# accumulation of gradients
acc = [tf.Variable(tf.zeros_like(v), trainable=False) for v in model.trainable_variables]
for step, (xb, yb) in enumerate(tr):
    with tf.GradientTape() as tape:
        loss = lf(yb, model(xb, training=True))
    for a, g in zip(acc, tape.gradient(loss, model.trainable_variables)):
        a.assign_add(g / 2)
    if step % 2:
        opt.apply_gradients([(a, v) for a, v in zip(acc, model.trainable_variables)])
        [a.assign(tf.zeros_like(a)) for a in acc]
for w in model.get_weights() + m2.get_weights():
    note(w)
model.compile(opt, lf, metrics=["accuracy"])
h = model.fit(x, y, batch_size=20, epochs=2, shuffle=False, verbose=0)
note(h.history["loss"], h.history["accuracy"])
done()
