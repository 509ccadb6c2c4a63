"""Recommenders: two towers, behaviour sequences by attention, embeddings of little memory."""

import keras
import numpy as np
from keras import layers, ops

r = np.random.RandomState(0)
U, M, N = 30, 40, 200
u, mv, rating = r.randint(0, U, N), r.randint(0, M, N), r.rand(N)


class RecommenderNet(keras.Model):
    def __init__(self, num_users, num_movies, embedding_size, **kwargs):
        super().__init__(**kwargs)
        self.user_embedding = layers.Embedding(
            num_users,
            embedding_size,
            embeddings_initializer="he_normal",
            embeddings_regularizer=keras.regularizers.l2(1e-6),
        )
        self.user_bias = layers.Embedding(num_users, 1)
        self.movie_embedding = layers.Embedding(
            num_movies,
            embedding_size,
            embeddings_initializer="he_normal",
            embeddings_regularizer=keras.regularizers.l2(1e-6),
        )
        self.movie_bias = layers.Embedding(num_movies, 1)

    def call(self, inputs):
        user_vector = self.user_embedding(inputs[:, 0])
        user_bias = self.user_bias(inputs[:, 0])
        movie_vector = self.movie_embedding(inputs[:, 1])
        movie_bias = self.movie_bias(inputs[:, 1])
        dot = (
            ops.tensordot(user_vector, movie_vector, 2)
            if False
            else ops.sum(user_vector * movie_vector, 1, keepdims=True)
        )
        return ops.nn.sigmoid(dot + user_bias + movie_bias)


m = RecommenderNet(U, M, 8)
m.compile(loss=keras.losses.BinaryCrossentropy(), optimizer=keras.optimizers.Adam(learning_rate=0.001))
x = np.stack([u, mv], 1)
m.fit(x=x, y=rating, batch_size=64, epochs=2, verbose=0, validation_data=(x[:32], rating[:32]))
m.summary()
ratings = m.predict(x[:10], verbose=0).flatten()
print(ratings.argsort()[-3:][::-1].shape)


# two tower with in-batch softmax
class TwoTower(keras.Model):
    def __init__(self):
        super().__init__()
        self.q = keras.Sequential([layers.Embedding(U + 1, 8), layers.Dense(8)])
        self.c = keras.Sequential([layers.Embedding(M + 1, 8), layers.Dense(8)])
        self.loss_fn = keras.losses.CategoricalCrossentropy(from_logits=True, reduction="sum")

    def call(self, inputs):
        return self.q(inputs["user_id"]), self.c(inputs["movie_id"])

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        q, c = y_pred
        scores = ops.matmul(q, ops.transpose(c))
        labels = ops.eye(ops.shape(scores)[0], ops.shape(scores)[1])
        return self.loss_fn(labels, scores, sample_weight)


t = TwoTower()
t.compile(optimizer=keras.optimizers.Adagrad(learning_rate=0.1))
t.fit({"user_id": u, "movie_id": mv}, epochs=2, batch_size=40, verbose=0)
# BST
L = 4
inputs = {
    "user_id": keras.Input((1,), name="user_id", dtype="int32"),
    "seq": keras.Input((L - 1,), name="seq", dtype="int32"),
    "target": keras.Input((1,), name="target", dtype="int32"),
    "ratings": keras.Input((L - 1,), name="ratings"),
}
me = layers.Embedding(M, 8, name="movie_embedding")
pe = layers.Embedding(L, 8, name="position_embedding")
pos = ops.arange(start=0, stop=L - 1, step=1)
ep = pe(pos)
sr = ops.expand_dims(inputs["ratings"], -1)
es = layers.Multiply()([(me(inputs["seq"]) + ep), sr])
et = me(inputs["target"])
feats = []
for em in ops.unstack(es, axis=1):
    feats.append(ops.expand_dims(em, 1))
feats.append(et)
feats = layers.concatenate(feats, axis=1)
a = layers.MultiHeadAttention(num_heads=2, key_dim=feats.shape[2], dropout=0.1)(feats, feats)
a = layers.Dropout(0.1)(a)
x1 = layers.Add()([feats, a])
x1 = layers.LayerNormalization()(x1)
x2 = layers.LeakyReLU()(x1)
x2 = layers.Dense(x2.shape[-1])(x2)
x2 = layers.Dropout(0.1)(x2)
tf = layers.Add()([x1, x2])
tf = layers.LayerNormalization()(tf)
f = layers.Flatten()(tf)
f = layers.concatenate([f, layers.Flatten()(layers.Embedding(U, 4)(inputs["user_id"]))])
for n in (16, 8):
    f = layers.Dense(n)(f)
    f = layers.BatchNormalization()(f)
    f = layers.LeakyReLU()(f)
    f = layers.Dropout(0.1)(f)
b = keras.Model(inputs=inputs, outputs=layers.Dense(1)(f))
b.compile(
    optimizer=keras.optimizers.Adagrad(learning_rate=0.01),
    loss=keras.losses.MeanSquaredError(),
    metrics=[keras.metrics.MeanAbsoluteError()],
)
d = {
    "user_id": u[:, None],
    "seq": r.randint(0, M, (N, L - 1)),
    "target": mv[:, None],
    "ratings": r.rand(N, L - 1),
}
b.fit(d, rating, epochs=2, batch_size=50, verbose=0)
_, rmse = b.evaluate(d, rating, verbose=0)
print(f"{rmse:.2f}")
b.summary()


# memory efficient embeddings
class QREmbedding(keras.layers.Layer):
    def __init__(self, vocabulary, embedding_dim, num_buckets, name=None):
        super().__init__(name=name)
        self.num_buckets = num_buckets
        self.q_embeddings = layers.Embedding(num_buckets, embedding_dim)
        self.r_embeddings = layers.Embedding(num_buckets, embedding_dim)

    def call(self, inputs):
        quotient_index = ops.floor_divide(inputs, self.num_buckets)
        remainder_index = ops.mod(inputs, self.num_buckets)
        return self.q_embeddings(quotient_index) * self.r_embeddings(remainder_index)


class MDEmbedding(keras.layers.Layer):
    def __init__(self, n, blocks_v, blocks_d, E, name=None):
        super().__init__(name=name)
        self.nb = len(blocks_v)
        self.block_id = np.repeat(np.arange(len(blocks_v)), blocks_v).astype("int32")
        self.idx = np.concatenate([np.arange(v) for v in blocks_v]).astype("int32")
        self.e = [layers.Embedding(v, d) for v, d in zip(blocks_v, blocks_d)]
        self.p = [keras.Sequential([layers.Dense(E, use_bias=False)]) for _ in blocks_v]
        self.E = E

    def call(self, inputs):
        block = ops.take(self.block_id, inputs)
        i = ops.take(self.idx, inputs)
        out = ops.zeros(shape=(ops.shape(inputs)[0], self.E))
        for k in range(self.nb):
            mask = ops.cast(ops.equal(block, k), "float32")[:, None]
            out = out + mask * self.p[k](self.e[k](ops.where(ops.equal(block, k), i, 0)))
        return out


ui, mi = keras.Input((), name="u", dtype="int64"), keras.Input((), name="m", dtype="int64")
s = layers.Dot(axes=1)([QREmbedding(None, 8, 6)(ui), MDEmbedding(M, [10, 30], [8, 4], 8)(mi)])
q = keras.Model([ui, mi], ops.sigmoid(s))
q.compile("adam", "mse")
q.fit([u, mv], rating, epochs=2, verbose=0)
