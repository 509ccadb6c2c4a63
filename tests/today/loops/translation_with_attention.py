import sys

import numpy as np
from noting import done, note, settle

rng = np.random.RandomState(0)
import tensorflow as tf
from tensorflow import keras


class Encoder(tf.keras.Model):
    def __init__(self, vocab, emb, units, bs):
        super().__init__()
        self.bs = bs
        self.units = units
        self.embedding = tf.keras.layers.Embedding(vocab, emb)
        self.gru = tf.keras.layers.GRU(
            units, return_sequences=True, return_state=True, recurrent_initializer="glorot_uniform"
        )

    def call(self, x, hidden):
        x = self.embedding(x)
        output, state = self.gru(x, initial_state=hidden)
        return output, state

    def initialize_hidden_state(self):
        return tf.zeros((self.bs, self.units))


class Bahdanau(tf.keras.layers.Layer):
    def __init__(self, units):
        super().__init__()
        self.W1 = tf.keras.layers.Dense(units)
        self.W2 = tf.keras.layers.Dense(units)
        self.V = tf.keras.layers.Dense(1)

    def call(self, query, values):
        q = tf.expand_dims(query, 1)
        score = self.V(tf.nn.tanh(self.W1(q) + self.W2(values)))
        w = tf.nn.softmax(score, axis=1)
        c = tf.reduce_sum(w * values, axis=1)
        return c, w


class Decoder(tf.keras.Model):
    def __init__(self, vocab, emb, units, bs):
        super().__init__()
        self.embedding = tf.keras.layers.Embedding(vocab, emb)
        self.gru = tf.keras.layers.GRU(units, return_sequences=True, return_state=True)
        self.fc = tf.keras.layers.Dense(vocab)
        self.attention = Bahdanau(units)

    def call(self, x, hidden, enc):
        c, w = self.attention(hidden, enc)
        x = self.embedding(x)
        x = tf.concat([tf.expand_dims(c, 1), x], axis=-1)
        o, s = self.gru(x)
        o = tf.reshape(o, (-1, o.shape[2]))
        return self.fc(o), s, w


B, U = 8, 12
enc = Encoder(20, 6, U, B)
dec = Decoder(22, 6, U, B)
h = enc.initialize_hidden_state()
o, s = enc(tf.zeros((B, 5), tf.int32), h)
dec(tf.zeros((B, 1), tf.int32), s, o)
settle(enc)
settle(dec)
opt = tf.keras.optimizers.Adam()
lo = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")


def loss_function(real, pred):
    mask = tf.math.logical_not(tf.math.equal(real, 0))
    l = lo(real, pred)
    mask = tf.cast(mask, dtype=l.dtype)
    l *= mask
    return tf.reduce_mean(l)


@tf.function
def train_step(inp, targ, enc_hidden):
    loss = 0
    with tf.GradientTape() as tape:
        eo, eh = enc(inp, enc_hidden)
        dh = eh
        di = tf.expand_dims([1] * B, 1)
        for t in range(1, targ.shape[1]):
            p, dh, _ = dec(di, dh, eo)
            loss += loss_function(targ[:, t], p)
            di = tf.expand_dims(targ[:, t], 1)
    bl = loss / int(targ.shape[1])
    v = enc.trainable_variables + dec.trainable_variables
    g = tape.gradient(loss, v)
    opt.apply_gradients(zip(g, v))
    return bl


ds = tf.data.Dataset.from_tensor_slices((rng.randint(1, 20, (32, 5)), rng.randint(0, 22, (32, 4)))).batch(
    B, drop_remainder=True
)
for e in range(1):
    total = 0
    h = enc.initialize_hidden_state()
    for b, (i, t) in enumerate(ds.take(4)):
        bl = train_step(i, t, h)
        total += bl
        note(bl)
    print("Epoch {} Loss {:.4f}".format(e + 1, total / 4))
    note(total)
res = []
h = [tf.zeros((1, U))]
eo, eh = enc(tf.constant([[3, 4, 5, 6, 7]]), h)
di = tf.expand_dims([1], 0)
dh = eh
for t in range(4):
    p, dh, w = dec(di, dh, eo)
    pid = tf.argmax(p[0]).numpy()
    res.append(int(pid))
    di = tf.expand_dims([pid], 0)
note(res)
note(tf.reshape(w, (-1,)).numpy())
done()
