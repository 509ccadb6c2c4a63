import numpy as np
from noting import done, note, settle

rng = np.random.RandomState(0)
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers


# reptile-like few-shot, with weights moved by hand
def conv_bn(x):
    x = layers.Conv2D(8, 3, strides=2, padding="same")(x)
    x = layers.BatchNormalization()(x)
    return layers.ReLU()(x)


i = layers.Input(shape=(8, 8, 1))
x = conv_bn(i)
x = conv_bn(x)
x = layers.Flatten()(x)
model = keras.Model(inputs=i, outputs=layers.Dense(5, activation="softmax")(x))
settle(model)
opt = keras.optimizers.SGD(learning_rate=0.003)
for it in range(3):
    frac = 1 - it / 3
    old = model.get_weights()
    ds = (
        tf.data.Dataset.from_tensor_slices(
            (rng.rand(10, 8, 8, 1).astype("float32"), rng.randint(0, 5, 10).astype(np.int32))
        )
        .batch(5)
        .repeat(2)
    )
    for images, labels in ds:
        with tf.GradientTape() as tape:
            preds = model(images)
            loss = keras.losses.sparse_categorical_crossentropy(labels, preds)
        g = tape.gradient(loss, model.trainable_weights)
        opt.apply_gradients(zip(g, model.trainable_weights))
        note(loss)
    new = model.get_weights()
    for v in range(len(new)):
        new[v] = old[v] + ((new[v] - old[v]) * frac * 0.25)
    model.set_weights(new)
# ppo-like losses
obs = tf.constant(rng.normal(size=(16, 4)).astype("float32"))
actor = keras.Sequential([layers.Dense(8, activation="tanh", input_shape=(4,)), layers.Dense(3)])
critic = keras.Sequential([layers.Dense(8, activation="tanh", input_shape=(4,)), layers.Dense(1)])
settle(actor)
settle(critic)
po = keras.optimizers.Adam(3e-3)
vo = keras.optimizers.Adam(1e-2)
act = rng.randint(0, 3, 16)
adv = rng.normal(size=16).astype("float32")
ret = rng.normal(size=16).astype("float32")


def lp(logits, a):
    la = tf.nn.log_softmax(logits)
    return tf.reduce_sum(tf.one_hot(a, 3) * la, axis=1)


old = lp(actor(obs), act)


@tf.function
def tp(obs, act, old, adv):
    with tf.GradientTape() as tape:
        ratio = tf.exp(lp(actor(obs), act) - old)
        mn = tf.where(adv > 0, (1 + 0.2) * adv, (1 - 0.2) * adv)
        loss = -tf.reduce_mean(tf.minimum(ratio * adv, mn))
    g = tape.gradient(loss, actor.trainable_variables)
    po.apply_gradients(zip(g, actor.trainable_variables))
    kl = tf.reduce_mean(old - lp(actor(obs), act))
    return tf.reduce_sum(kl)


for _ in range(4):
    kl = tp(obs, act, old, adv)
    note(kl)
    if kl > 1.5 * 0.5:
        break
for _ in range(3):
    with tf.GradientTape() as tape:
        vl = tf.reduce_mean((ret - tf.squeeze(critic(obs), axis=1)) ** 2)
    vo.apply_gradients(zip(tape.gradient(vl, critic.trainable_variables), critic.trainable_variables))
    note(vl)
# ddpg: soft updates
t = keras.models.clone_model(critic)
t.set_weights(critic.get_weights())


@tf.function
def soft(tw, w, tau):
    for a, b in zip(tw, w):
        a.assign(b * tau + a * (1 - tau))


critic.set_weights([w * 1.5 for w in critic.get_weights()])
soft(t.variables, critic.variables, 0.1)
for w in t.get_weights():
    note(w)
# integrated gradients, grad-cam
gm = keras.Model([model.inputs], [model.layers[-3].output, model.output])
img = tf.constant(rng.rand(1, 8, 8, 1).astype("float32"))
with tf.GradientTape() as tape:
    last, preds = gm(img)
    pi = tf.argmax(preds[0])
    ch = preds[:, pi]
g = tape.gradient(ch, last)
pooled = tf.reduce_mean(g, axis=(0, 1, 2))
last = last[0]
hm = last @ pooled[..., tf.newaxis]
hm = tf.squeeze(hm)
hm = tf.maximum(hm, 0) / (tf.math.reduce_max(hm) + 1e-9)
note(hm.numpy())
al = tf.linspace(0.0, 1.0, 5)
base = tf.zeros((8, 8, 1))
inp = base[None] + al[:, None, None, None] * (img - base[None])
with tf.GradientTape() as tape:
    tape.watch(inp)
    p = tf.nn.softmax(model(inp), axis=-1)[:, 2]
gr = tape.gradient(p, inp)
gr = (gr[:-1] + gr[1:]) / tf.constant(2.0)
note(tf.math.reduce_mean(gr, axis=0) * (img[0] - base))
done()
