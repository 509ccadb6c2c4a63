import numpy as np
from noting import done, note, settle

rng = np.random.RandomState(0)
import tensorflow as tf


# transformer from scratch in the TF tutorial style
def get_angles(pos, i, d):
    return pos * (1 / np.power(10000, (2 * (i // 2)) / np.float32(d)))


def positional_encoding(position, d):
    a = get_angles(np.arange(position)[:, np.newaxis], np.arange(d)[np.newaxis, :], d)
    a[:, 0::2] = np.sin(a[:, 0::2])
    a[:, 1::2] = np.cos(a[:, 1::2])
    return tf.cast(a[np.newaxis, ...], dtype=tf.float32)


def create_padding_mask(seq):
    seq = tf.cast(tf.math.equal(seq, 0), tf.float32)
    return seq[:, tf.newaxis, tf.newaxis, :]


def create_look_ahead_mask(size):
    return 1 - tf.linalg.band_part(tf.ones((size, size)), -1, 0)


def sdpa(q, k, v, mask):
    qk = tf.matmul(q, k, transpose_b=True)
    dk = tf.cast(tf.shape(k)[-1], tf.float32)
    l = qk / tf.math.sqrt(dk)
    if mask is not None:
        l += mask * -1e9
    w = tf.nn.softmax(l, axis=-1)
    return tf.matmul(w, v), w


class MHA(tf.keras.layers.Layer):
    def __init__(self, d_model, num_heads):
        super(MHA, self).__init__()
        self.num_heads = num_heads
        self.d_model = d_model
        assert d_model % self.num_heads == 0
        self.depth = d_model // self.num_heads
        self.wq = tf.keras.layers.Dense(d_model)
        self.wk = tf.keras.layers.Dense(d_model)
        self.wv = tf.keras.layers.Dense(d_model)
        self.dense = tf.keras.layers.Dense(d_model)

    def split_heads(self, x, batch_size):
        x = tf.reshape(x, (batch_size, -1, self.num_heads, self.depth))
        return tf.transpose(x, perm=[0, 2, 1, 3])

    def call(self, v, k, q, mask):
        bs = tf.shape(q)[0]
        q = self.split_heads(self.wq(q), bs)
        k = self.split_heads(self.wk(k), bs)
        v = self.split_heads(self.wv(v), bs)
        a, w = sdpa(q, k, v, mask)
        a = tf.transpose(a, perm=[0, 2, 1, 3])
        c = tf.reshape(a, (bs, -1, self.d_model))
        return self.dense(c), w


def ffn(d, f):
    return tf.keras.Sequential([tf.keras.layers.Dense(f, activation="relu"), tf.keras.layers.Dense(d)])


class Enc(tf.keras.layers.Layer):
    def __init__(self, d, h, f, rate=0.0):
        super().__init__()
        self.mha = MHA(d, h)
        self.ffn = ffn(d, f)
        self.l1 = tf.keras.layers.LayerNormalization(epsilon=1e-6)
        self.l2 = tf.keras.layers.LayerNormalization(epsilon=1e-6)
        self.d1 = tf.keras.layers.Dropout(rate)
        self.d2 = tf.keras.layers.Dropout(rate)

    def call(self, x, training, mask):
        a, _ = self.mha(x, x, x, mask)
        o1 = self.l1(x + self.d1(a, training=training))
        f = self.d2(self.ffn(o1), training=training)
        return self.l2(o1 + f)


class Dec(tf.keras.layers.Layer):
    def __init__(self, d, h, f):
        super().__init__()
        self.m1 = MHA(d, h)
        self.m2 = MHA(d, h)
        self.ffn = ffn(d, f)
        self.l = [tf.keras.layers.LayerNormalization(epsilon=1e-6) for _ in range(3)]

    def call(self, x, enc, training, la, pm):
        a1, w1 = self.m1(x, x, x, la)
        o1 = self.l[0](a1 + x)
        a2, w2 = self.m2(enc, enc, o1, pm)
        o2 = self.l[1](a2 + o1)
        return self.l[2](self.ffn(o2) + o2), w1, w2


class Tr(tf.keras.Model):
    def __init__(self, n, d, h, f, iv, tv, pe):
        super().__init__()
        self.d = d
        self.e1 = tf.keras.layers.Embedding(iv, d)
        self.e2 = tf.keras.layers.Embedding(tv, d)
        self.pe = positional_encoding(pe, d)
        self.enc = [Enc(d, h, f) for _ in range(n)]
        self.dec = [Dec(d, h, f) for _ in range(n)]
        self.final = tf.keras.layers.Dense(tv)

    def call(self, inputs, training=False):
        inp, tar = inputs
        em, la, dm = self.create_masks(inp, tar)
        x = self.e1(inp)
        x *= tf.math.sqrt(tf.cast(self.d, tf.float32))
        x += self.pe[:, : tf.shape(inp)[1], :]
        for l in self.enc:
            x = l(x, training, em)
        y = self.e2(tar)
        y *= tf.math.sqrt(tf.cast(self.d, tf.float32))
        y += self.pe[:, : tf.shape(tar)[1], :]
        ws = {}
        for i, l in enumerate(self.dec):
            y, b1, b2 = l(y, x, training, la, dm)
            ws[f"decoder_layer{i + 1}_block1"] = b1
        return self.final(y), ws

    def create_masks(self, inp, tar):
        em = create_padding_mask(inp)
        la = create_look_ahead_mask(tf.shape(tar)[1])
        dt = create_padding_mask(tar)
        return em, tf.maximum(dt, la), create_padding_mask(inp)


class Sched(tf.keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, d, w=10):
        super().__init__()
        self.d = tf.cast(d, tf.float32)
        self.w = w

    def __call__(self, step):
        step = tf.cast(step, tf.float32)
        return tf.math.rsqrt(self.d) * tf.math.minimum(tf.math.rsqrt(step), step * (self.w**-1.5))


tr = Tr(2, 16, 2, 32, 20, 22, 50)
inp = rng.randint(0, 20, (8, 7)).astype("int64")
tar = rng.randint(1, 22, (8, 6)).astype("int64")
tr([inp, tar[:, :-1]], training=False)
for l in tr.layers:
    settle(l) if hasattr(l, "set_weights") and l.get_weights() else None
opt = tf.keras.optimizers.Adam(Sched(16), beta_1=0.9, beta_2=0.98, epsilon=1e-9)
lo = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")


def loss_function(real, pred):
    mask = tf.math.logical_not(tf.math.equal(real, 0))
    l = lo(real, pred)
    mask = tf.cast(mask, dtype=l.dtype)
    l *= mask
    return tf.reduce_sum(l) / tf.reduce_sum(mask)


def accuracy_function(real, pred):
    a = tf.equal(real, tf.argmax(pred, axis=2))
    mask = tf.math.logical_not(tf.math.equal(real, 0))
    a = tf.math.logical_and(mask, a)
    a = tf.cast(a, dtype=tf.float32)
    mask = tf.cast(mask, dtype=tf.float32)
    return tf.reduce_sum(a) / tf.reduce_sum(mask)


tl = tf.keras.metrics.Mean(name="train_loss")
ta = tf.keras.metrics.Mean(name="train_accuracy")
sig = [tf.TensorSpec(shape=(None, None), dtype=tf.int64), tf.TensorSpec(shape=(None, None), dtype=tf.int64)]


@tf.function(input_signature=sig)
def train_step(inp, tar):
    ti = tar[:, :-1]
    trl = tar[:, 1:]
    with tf.GradientTape() as tape:
        p, _ = tr([inp, ti], training=True)
        loss = loss_function(trl, p)
    g = tape.gradient(loss, tr.trainable_variables)
    opt.apply_gradients(zip(g, tr.trainable_variables))
    tl(loss)
    ta(accuracy_function(trl, p))


for e in range(5):
    tl.reset_states()
    ta.reset_states()
    train_step(tf.constant(inp), tf.constant(tar))
    note(tl.result(), ta.result())
p, w = tr([inp[:2], tar[:2, :3]], training=False)
note(p[:, -1:, :])
note(w["decoder_layer1_block1"])
p, w = tr.predict([inp, tar[:, :3]], batch_size=3, verbose=0)
note(p.shape, p[-1], w["decoder_layer1_block1"].shape)
out = tf.constant([[1]], tf.int64)
for i in range(3):
    p, _ = tr([tf.constant(inp[:1]), out], training=False)
    pid = tf.argmax(p[:, -1:, :], axis=-1)
    out = tf.concat([out, pid], axis=-1)
note(out)
done()
