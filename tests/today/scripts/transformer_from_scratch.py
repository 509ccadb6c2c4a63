"""A transformer from scratch: positional encodings, masks, a schedule of one's own, in the style of guides."""

import numpy as np
import tensorflow as tf


def get_angles(pos, i, d_model):
    return pos * (1 / np.power(10000, (2 * (i // 2)) / np.float32(d_model)))


def positional_encoding(position, d_model):
    angle_rads = get_angles(np.arange(position)[:, np.newaxis], np.arange(d_model)[np.newaxis, :], d_model)
    angle_rads[:, 0::2] = np.sin(angle_rads[:, 0::2])
    angle_rads[:, 1::2] = np.cos(angle_rads[:, 1::2])
    return tf.cast(angle_rads[np.newaxis, ...], dtype=tf.float32)


def create_padding_mask(seq):
    seq = tf.cast(tf.math.equal(seq, 0), tf.float32)
    return seq[:, tf.newaxis, tf.newaxis, :]


def create_look_ahead_mask(size):
    return 1 - tf.linalg.band_part(tf.ones((size, size)), -1, 0)


def scaled_dot_product_attention(q, k, v, mask):
    matmul_qk = tf.matmul(q, k, transpose_b=True)
    dk = tf.cast(tf.shape(k)[-1], tf.float32)
    logits = matmul_qk / tf.math.sqrt(dk)
    if mask is not None:
        logits += mask * -1e9
    weights = tf.nn.softmax(logits, axis=-1)
    return tf.matmul(weights, v), weights


out, w = scaled_dot_product_attention(
    tf.constant([[0, 10, 0]], tf.float32),
    tf.constant([[10, 0, 0], [0, 10, 0], [0, 0, 10]], tf.float32),
    tf.constant([[1, 0], [10, 0], [100, 5]], tf.float32),
    None,
)
print(w, out)
print(create_padding_mask(tf.constant([[7, 6, 0], [1, 0, 0]])), create_look_ahead_mask(3))


class MultiHeadAttention(tf.keras.layers.Layer):
    def __init__(self, d_model, num_heads):
        super().__init__()
        self.num_heads, self.d_model = num_heads, d_model
        assert d_model % self.num_heads == 0
        self.depth = d_model // self.num_heads
        self.wq, self.wk, self.wv = (tf.keras.layers.Dense(d_model) for _ in range(3))
        self.dense = tf.keras.layers.Dense(d_model)

    def split_heads(self, x, batch_size):
        x = tf.reshape(x, (batch_size, -1, self.num_heads, self.depth))
        return tf.transpose(x, perm=[0, 2, 1, 3])

    def call(self, v, k, q, mask):
        batch_size = tf.shape(q)[0]
        q, k, v = self.wq(q), self.wk(k), self.wv(v)
        q, k, v = (self.split_heads(t, batch_size) for t in (q, k, v))
        scaled, weights = scaled_dot_product_attention(q, k, v, mask)
        scaled = tf.transpose(scaled, perm=[0, 2, 1, 3])
        return self.dense(tf.reshape(scaled, (batch_size, -1, self.d_model))), weights


temp_mha = MultiHeadAttention(d_model=32, num_heads=4)
y = tf.random.uniform((1, 6, 32))
o_, attn = temp_mha(y, k=y, q=y, mask=None)
print(o_.shape, attn.shape)


def ffn(d_model, dff):
    return tf.keras.Sequential(
        [tf.keras.layers.Dense(dff, activation="relu"), tf.keras.layers.Dense(d_model)]
    )


class EncoderLayer(tf.keras.layers.Layer):
    def __init__(self, d_model, num_heads, dff, rate=0.1):
        super().__init__()
        self.mha, self.ffn = MultiHeadAttention(d_model, num_heads), ffn(d_model, dff)
        self.ln1 = tf.keras.layers.LayerNormalization(epsilon=1e-6)
        self.ln2 = tf.keras.layers.LayerNormalization(epsilon=1e-6)
        self.do1, self.do2 = tf.keras.layers.Dropout(rate), tf.keras.layers.Dropout(rate)

    def call(self, x, training, mask):
        a, _ = self.mha(x, x, x, mask)
        out1 = self.ln1(x + self.do1(a, training=training))
        return self.ln2(out1 + self.do2(self.ffn(out1), training=training))


class DecoderLayer(tf.keras.layers.Layer):
    def __init__(self, d_model, num_heads, dff):
        super().__init__()
        self.mha1, self.mha2 = MultiHeadAttention(d_model, num_heads), MultiHeadAttention(d_model, num_heads)
        self.ffn = ffn(d_model, dff)
        self.lns = [tf.keras.layers.LayerNormalization(epsilon=1e-6) for _ in range(3)]

    def call(self, x, enc, training, look_ahead_mask, padding_mask):
        a1, w1 = self.mha1(x, x, x, look_ahead_mask)
        out1 = self.lns[0](a1 + x)
        a2, w2 = self.mha2(enc, enc, out1, padding_mask)
        out2 = self.lns[1](a2 + out1)
        return self.lns[2](self.ffn(out2) + out2), w1, w2


class Transformer(tf.keras.Model):
    def __init__(self, layers, d_model, heads, dff, vocab_in, vocab_out, most):
        super().__init__()
        self.d_model, self.num_layers = d_model, layers
        self.emb_in = tf.keras.layers.Embedding(vocab_in, d_model)
        self.emb_out = tf.keras.layers.Embedding(vocab_out, d_model)
        self.pos = positional_encoding(most, d_model)
        self.enc = [EncoderLayer(d_model, heads, dff) for _ in range(layers)]
        self.dec = [DecoderLayer(d_model, heads, dff) for _ in range(layers)]
        self.final_layer = tf.keras.layers.Dense(vocab_out)

    def call(self, inputs, training=False):
        inp, tar = inputs
        enc_mask, look, dec_mask = self.create_masks(inp, tar)
        n = tf.shape(inp)[1]
        x = self.emb_in(inp) * tf.math.sqrt(tf.cast(self.d_model, tf.float32)) + self.pos[:, :n, :]
        for layer in self.enc:
            x = layer(x, training, enc_mask)
        y = self.emb_out(tar) * tf.math.sqrt(tf.cast(self.d_model, tf.float32))
        y += self.pos[:, : tf.shape(tar)[1], :]
        weights = {}
        for i, layer in enumerate(self.dec):
            y, b1, b2 = layer(y, x, training, look, dec_mask)
            weights[f"decoder_layer{i + 1}_block1"] = b1
            weights[f"decoder_layer{i + 1}_block2"] = b2
        return self.final_layer(y)

    def create_masks(self, inp, tar):
        look = create_look_ahead_mask(tf.shape(tar)[1])
        return create_padding_mask(inp), tf.maximum(create_padding_mask(tar), look), create_padding_mask(inp)


class CustomSchedule(tf.keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, d_model, warmup_steps=40):
        super().__init__()
        self.d_model = tf.cast(d_model, tf.float32)
        self.warmup_steps = warmup_steps

    def __call__(self, step):
        step = tf.cast(step, dtype=tf.float32)
        arg1 = tf.math.rsqrt(step)
        arg2 = step * (self.warmup_steps**-1.5)
        return tf.math.rsqrt(self.d_model) * tf.math.minimum(arg1, arg2)


loss_object = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")


def loss_function(real, pred):
    mask = tf.math.logical_not(tf.math.equal(real, 0))
    loss_ = loss_object(real, pred)
    mask = tf.cast(mask, dtype=loss_.dtype)
    return tf.reduce_sum(loss_ * mask) / tf.reduce_sum(mask)


def accuracy_function(real, pred):
    match = tf.equal(tf.cast(real, tf.int64), tf.argmax(pred, axis=2))
    mask = tf.math.logical_not(tf.math.equal(real, 0))
    match = tf.math.logical_and(mask, match)
    return tf.reduce_sum(tf.cast(match, tf.float32)) / tf.reduce_sum(tf.cast(mask, tf.float32))


rng = np.random.RandomState(0)
src = rng.randint(1, 12, (64, 7)).astype("int64")
src[:20, 5:] = 0
tgt = np.concatenate([np.full((64, 1), 13), src[:, ::-1]], 1)
lr = CustomSchedule(32)
print(lr(tf.range(1, 4, dtype=tf.float32)))
model = Transformer(2, 32, 4, 64, 14, 14, 20)
model.compile(
    tf.keras.optimizers.Adam(lr, beta_1=0.9, beta_2=0.98, epsilon=1e-9), loss_function, [accuracy_function]
)
data = tf.data.Dataset.from_tensor_slices((src, tgt)).batch(16)
data = data.map(lambda a, b: ((a, b[:, :-1]), b[:, 1:])).prefetch(tf.data.AUTOTUNE)
model.fit(data, epochs=5, verbose=0)
model.summary()
output = tf.constant([[13]], dtype=tf.int64)
for i in range(3):
    predictions = model([tf.constant(src[:1]), output], training=False)
    predicted_id = tf.argmax(predictions[:, -1:, :], axis=-1)
    output = tf.concat([output, predicted_id], axis=-1)
print(output.shape)
