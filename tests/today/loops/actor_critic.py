import sys

import numpy as np
from noting import done, note, settle

rng = np.random.RandomState(0)
import tensorflow as tf
from tensorflow.keras import layers, Model


class Net(tf.keras.Model):
    def __init__(self, n, h):
        super().__init__()
        self.common = layers.Dense(h, activation="relu")
        self.actor = layers.Dense(n)
        self.critic = layers.Dense(1)

    def call(self, inputs):
        x = self.common(inputs)
        return self.actor(x), self.critic(x)


model = Net(2, 16)
model(tf.zeros((1, 4)))
settle(model)
opt = tf.keras.optimizers.Adam(0.01)
huber = tf.keras.losses.Huber(reduction=tf.keras.losses.Reduction.SUM)
eps = np.finfo(np.float32).eps.item()


def expected(rewards, gamma=0.99, standardize=True):
    n = len(rewards)
    returns = []
    s = 0.0
    for r in rewards[::-1]:
        s = r + gamma * s
        returns.insert(0, s)
    returns = np.array(returns, "float32")
    return (returns - returns.mean()) / (returns.std() + eps)


for ep in range(3):
    state = rng.normal(size=4).astype("float32")
    probs = []
    vals = []
    rewards = []
    with tf.GradientTape() as tape:
        for t in range(6 + ep):
            s = tf.expand_dims(tf.convert_to_tensor(state), 0)
            logits, value = model(s)
            p = tf.nn.softmax(logits)
            a = int(np.argmax(np.squeeze(p)))
            probs.append(tf.math.log(p[0, a]))
            vals.append(value[0, 0])
            state = (np.roll(state, 1) * 0.9 + a * 0.1).astype("float32")
            rewards.append(float(state.sum()))
        ret = expected(rewards)
        adv = [r - v for r, v in zip(ret, vals)]
        actor_losses = [-lp * tf.stop_gradient(ad) for lp, ad in zip(probs, adv)]
        critic_losses = [huber(tf.expand_dims(v, 0), tf.expand_dims(r, 0)) for v, r in zip(vals, ret)]
        loss = sum(actor_losses) + sum(critic_losses)
    grads = tape.gradient(loss, model.trainable_variables)
    opt.apply_gradients(zip(grads, model.trainable_variables))
    note(loss, sum(rewards))
for w in model.get_weights():
    note(w)
done()
