"""tf.keras: text generation with a stateful GRU, clipped by norm; the same in a loop with clip_by_global_norm; schedules and checkpoints."""

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers

text = "the quick brown fox jumps over the lazy dog and runs away from the angry bear " * 6
chars = sorted(set(text))
ids = np.array([chars.index(c) for c in text], "int32")
L = 12
ds = (
    tf.data.Dataset.from_tensor_slices(ids)
    .batch(L + 1, drop_remainder=True)
    .map(lambda s: (s[:-1], s[1:]))
    .batch(4, drop_remainder=True)
)


def build(batch=None, stateful=False):
    return keras.Sequential(
        [
            layers.Embedding(len(chars), 8, batch_input_shape=[batch, None]),
            layers.GRU(16, return_sequences=True, stateful=stateful, recurrent_initializer="glorot_uniform"),
            layers.Dropout(0.2),
            layers.Dense(len(chars)),
        ]
    )


def loss(labels, logits):
    return keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)


m = build(4, True)
m.compile(optimizer=keras.optimizers.Adam(1e-2, clipnorm=0.5), loss=loss, metrics=["accuracy"])


class Reset(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.model.reset_states()


m.fit(ds, epochs=3, verbose=0, callbacks=[Reset()], shuffle=False)
m.reset_states()
m.evaluate(ds, verbose=0)
m.save_weights("w.h5")
g = build(1, True)
g.build(tf.TensorShape([1, None]))
g.load_weights("w.h5")
g.reset_states()
out, c = [], tf.expand_dims([chars.index("t")], 0)
for _ in range(6):
    p = g(c)[:, -1]
    c = tf.expand_dims(tf.argmax(p, -1), 0)
    out.append(int(c[0, 0]))
print(out)
n = build(4)
n.compile(
    optimizer=keras.optimizers.RMSprop(
        keras.optimizers.schedules.ExponentialDecay(1e-2, 4, 0.9, staircase=True), clipvalue=0.02
    ),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=[keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="xe")],
)
n.fit(ds, epochs=2, verbose=0)
opt = keras.optimizers.Adam(5e-3)
obj = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
mean = keras.metrics.Mean()


@tf.function
def step(a, b):
    with tf.GradientTape() as tape:
        l = obj(b, n(a, training=True))
    grads, norm = tf.clip_by_global_norm(tape.gradient(l, n.trainable_variables), 0.3)
    opt.apply_gradients(zip(grads, n.trainable_variables))
    mean.update_state(l)
    return norm


for epoch in range(3):
    mean.reset_state()
    for a, b in ds:
        norm = step(a, b)
    print(round(float(mean.result()), 3), round(float(norm), 2))
n.evaluate(ds, verbose=0)
