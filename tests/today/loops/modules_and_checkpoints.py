import tempfile

import numpy as np
from noting import done, note, settle

rng = np.random.RandomState(0)
import os
import tensorflow as tf
from tensorflow.keras import layers


class Dense(tf.Module):
    def __init__(self, i, o, name=None):
        super().__init__(name=name)
        self.w = tf.Variable(tf.constant(rng.normal(size=(i, o)).astype("float32")), name="w")
        self.b = tf.Variable(tf.zeros([o]), name="b")

    def __call__(self, x):
        return tf.nn.relu(tf.matmul(x, self.w) + self.b)


class Seq(tf.Module):
    def __init__(self, name=None):
        super().__init__(name=name)
        self.d1 = Dense(3, 4)
        self.d2 = Dense(4, 2)
        self.more = [Dense(2, 2), tf.Variable(1.0, trainable=False)]

    def __call__(self, x):
        return self.more[1] * self.more[0](self.d2(self.d1(x)))


m = Seq(name="my")
note([len(m.variables), len(m.trainable_variables), len(m.submodules)])
note(m(tf.ones((1, 3))))
assert m.name == "my" and m.d1.name == "dense", m.d1.name
for v in m.trainable_variables:
    note(v.shape)
net = tf.keras.Sequential(
    [layers.Dense(4, activation="relu", input_shape=(3,)), layers.BatchNormalization(), layers.Dense(1)]
)
settle(net)
opt = tf.keras.optimizers.Adam(0.01)
step = tf.Variable(1, dtype=tf.int64)
d = tempfile.mkdtemp()
ck = tf.train.Checkpoint(step=step, optimizer=opt, net=net)
mgr = tf.train.CheckpointManager(ck, d, max_to_keep=2)
ck.restore(mgr.latest_checkpoint)
assert mgr.latest_checkpoint is None
x = rng.normal(size=(8, 3)).astype("float32")
y = rng.normal(size=(8, 1)).astype("float32")


def train(n):
    for _ in range(n):
        with tf.GradientTape() as t:
            l = tf.reduce_mean((net(x, training=True) - y) ** 2)
        opt.apply_gradients(zip(t.gradient(l, net.trainable_variables), net.trainable_variables))
        ck.step.assign_add(1)
        note(l)
        if int(ck.step) % 2 == 0:
            p = mgr.save()
            print("Saved checkpoint for step {}: {}".format(int(ck.step), os.path.basename(p)))


train(6)
note([len(mgr.checkpoints)])
print([os.path.basename(c) for c in mgr.checkpoints])
w = net.get_weights()
train(1)
s = ck.restore(mgr.latest_checkpoint)
note(step.numpy())
train(2)
net2 = tf.keras.Sequential(
    [layers.Dense(4, activation="relu", input_shape=(3,)), layers.BatchNormalization(), layers.Dense(1)]
)
opt2 = tf.keras.optimizers.Adam(0.01)
ck2 = tf.train.Checkpoint(step=tf.Variable(0, dtype=tf.int64), optimizer=opt2, net=net2)
st = ck2.restore(tf.train.latest_checkpoint(d))
st.expect_partial()
for w in net2.get_weights():
    note(w)
net, opt, ck = net2, opt2, ck2
train(1)
note(opt2.iterations.numpy())
ta = tf.TensorArray(tf.float32, size=0, dynamic_size=True)
with tf.GradientTape() as t:
    v = tf.Variable([1.0, 2.0])
    t.watch(v)
    for i in tf.range(3):
        ta = ta.write(i, v * tf.cast(i, tf.float32))
    s = ta.stack()
    l = tf.reduce_sum(s**2)
note(s, t.gradient(l, v), ta.size())
done()
