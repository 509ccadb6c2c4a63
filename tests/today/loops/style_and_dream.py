import sys

import numpy as np
from noting import done, note, settle

rng = np.random.RandomState(0)
import tensorflow as tf
from tensorflow.keras import layers

i = tf.keras.Input((None, None, 3))
x = layers.Conv2D(8, 3, activation="relu", padding="same", name="b1")(i)
x = layers.MaxPooling2D()(x)
x = layers.Conv2D(8, 3, activation="relu", padding="same", name="b2")(x)
vgg = tf.keras.Model(i, x)
vgg.trainable = False
settle(vgg)
ext = tf.keras.Model([vgg.input], [vgg.get_layer(n).output for n in ("b1", "b2")])


def gram(t):
    r = tf.linalg.einsum("bijc,bijd->bcd", t, t)
    s = tf.shape(t)
    n = tf.cast(s[1] * s[2], tf.float32)
    return r / n


content = tf.constant(rng.rand(1, 16, 16, 3).astype("float32"))
style = tf.constant(rng.rand(1, 16, 16, 3).astype("float32"))
st = [gram(t) for t in ext(style)]
ct = ext(content)[-1]
image = tf.Variable(content)
opt = tf.keras.optimizers.Adam(learning_rate=0.02, beta_1=0.99, epsilon=1e-1)


def clip(im):
    return tf.clip_by_value(im, clip_value_min=0.0, clip_value_max=1.0)


@tf.function()
def step(image):
    with tf.GradientTape() as tape:
        o = ext(image)
        sl = tf.add_n([tf.reduce_mean((gram(a) - b) ** 2) for a, b in zip(o, st)])
        cl = tf.add_n([tf.reduce_mean((o[-1] - ct) ** 2)])
        loss = sl * 1e-2 + cl * 1e4
        loss += 30 * tf.image.total_variation(image)[0] * 1e-3 if hasattr(tf.image, "total_variation") else 0
    g = tape.gradient(loss, image)
    opt.apply_gradients([(g, image)])
    image.assign(clip(image))
    return loss


for n in range(5):
    note(step(image))
note(image.numpy())
# deep dream
img = tf.constant(rng.rand(12, 12, 3).astype("float32"))
for n in range(4):
    with tf.GradientTape() as tape:
        tape.watch(img)
        acts = ext(tf.expand_dims(img, axis=0))
        loss = tf.reduce_sum([tf.math.reduce_mean(a) for a in acts])
    g = tape.gradient(loss, img)
    g /= tf.math.reduce_std(g) + 1e-8
    img = img + g * 0.01
    img = tf.clip_by_value(img, -1, 1)
    note(loss)
note(img)
# fgsm
x = tf.constant(rng.rand(1, 8, 8, 3).astype("float32"))
with tf.GradientTape() as tape:
    tape.watch(x)
    p = tf.reduce_mean(ext(x)[1], axis=[1, 2])
    loss = tf.keras.losses.categorical_crossentropy(tf.one_hot([2], 8), tf.nn.softmax(p))
note(tf.sign(tape.gradient(loss, x)))
done()
