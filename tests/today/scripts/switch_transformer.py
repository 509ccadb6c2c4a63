"""Switch transformer: a router that sends each token to one expert of limited capacity, with a loss of balance."""

import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(11)
VOCAB, LEN, BATCH, DIM, EXPERTS = 50, 12, 10, 16, 4
x = rng.integers(1, VOCAB, (40, LEN))
y = (x.sum(1) % 2).astype("int32")


class TokenAndPositionEmbedding(layers.Layer):
    def __init__(self, maxlen, vocab_size, embed_dim):
        super().__init__()
        self.token_emb = layers.Embedding(input_dim=vocab_size, output_dim=embed_dim)
        self.pos_emb = layers.Embedding(input_dim=maxlen, output_dim=embed_dim)

    def call(self, x):
        maxlen = ops.shape(x)[-1]
        positions = ops.arange(start=0, stop=maxlen, step=1)
        return self.token_emb(x) + self.pos_emb(positions)


def feedforward(ff_dim, embed_dim, name=None):
    return keras.Sequential([layers.Dense(ff_dim, activation="relu"), layers.Dense(embed_dim)], name=name)


def load_balanced_loss(router_probs, expert_mask):
    num_experts = ops.shape(expert_mask)[-1]
    density = ops.mean(expert_mask, axis=0)
    density_proxy = ops.mean(router_probs, axis=0)
    return ops.mean(density_proxy * density) * ops.cast((num_experts**2), dtype="float32")


class Router(layers.Layer):
    def __init__(self, num_experts, expert_capacity):
        self.num_experts = num_experts
        self.expert_capacity = expert_capacity
        super().__init__()
        self.route = layers.Dense(units=num_experts)

    def call(self, inputs, training=False):
        router_logits = self.route(inputs)
        router_probs = keras.activations.softmax(router_logits, axis=-1)
        expert_gate, expert_index = ops.top_k(router_probs, k=1)
        expert_mask = ops.one_hot(expert_index, self.num_experts)
        self.add_loss(load_balanced_loss(router_probs, expert_mask[:, 0]))
        expert_mask = ops.squeeze(expert_mask, axis=1)
        position_in_expert = ops.cast(ops.cumsum(expert_mask, axis=0) * expert_mask, dtype="int32")
        expert_mask *= ops.cast(
            ops.less(ops.cast(position_in_expert, "int32"), self.expert_capacity), "float32"
        )
        expert_mask_flat = ops.sum(expert_mask, axis=-1)
        expert_gate = ops.squeeze(expert_gate, -1) * expert_mask_flat
        combined = ops.expand_dims(
            expert_gate[:, None]
            * expert_mask_flat[:, None]
            * ops.one_hot(ops.squeeze(expert_index, -1), self.num_experts),
            -1,
        ) * ops.one_hot(position_in_expert, self.expert_capacity)
        dispatch = ops.cast(combined, "float32")
        return dispatch, combined


class Switch(layers.Layer):
    def __init__(self, num_experts, embed_dim, ff_dim, num_tokens_per_batch, capacity_factor=1):
        super().__init__()
        self.num_experts = num_experts
        self.embed_dim = embed_dim
        self.experts = [feedforward(ff_dim, embed_dim) for _ in range(num_experts)]
        self.expert_capacity = num_tokens_per_batch // self.num_experts
        self.router = Router(self.num_experts, self.expert_capacity)

    def call(self, inputs):
        batch_size = ops.shape(inputs)[0]
        num_tokens = ops.shape(inputs)[1]
        inputs = ops.reshape(inputs, [num_tokens * batch_size, self.embed_dim])
        dispatch, combine = self.router(inputs)
        expert_inputs = ops.einsum("ab,acd->cdb", inputs, dispatch)
        expert_inputs = ops.reshape(expert_inputs, [self.num_experts, self.expert_capacity, self.embed_dim])
        unstacked = ops.unstack(expert_inputs, axis=0)
        outputs = ops.stack([self.experts[i](one) for i, one in enumerate(unstacked)], axis=1)
        combined = ops.einsum("abc,xba->xc", outputs, combine)
        return ops.reshape(combined, [batch_size, num_tokens, self.embed_dim])


class TransformerBlock(layers.Layer):
    def __init__(self, embed_dim, num_heads, ffn, dropout_rate=0.1):
        super().__init__()
        self.att = layers.MultiHeadAttention(num_heads=num_heads, key_dim=embed_dim)
        self.ffn = ffn
        self.layernorm1 = layers.LayerNormalization(epsilon=1e-6)
        self.layernorm2 = layers.LayerNormalization(epsilon=1e-6)
        self.dropout1 = layers.Dropout(dropout_rate)

    def call(self, inputs, training=False):
        attn = self.dropout1(self.att(inputs, inputs), training=training)
        out1 = self.layernorm1(inputs + attn)
        return self.layernorm2(out1 + self.ffn(out1))


switch = Switch(EXPERTS, DIM, 16, BATCH * LEN)
inputs = layers.Input(shape=(LEN,), batch_size=BATCH)
h = TokenAndPositionEmbedding(LEN, VOCAB, DIM)(inputs)
h = TransformerBlock(DIM, 2, switch)(h)
h = layers.GlobalAveragePooling1D()(h)
h = layers.Dropout(0.1)(h)
model = keras.Model(inputs, layers.Dense(2, activation="softmax")(h))
model.compile(
    optimizer=keras.optimizers.Adam(1e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
)
model.fit(x, y, batch_size=BATCH, epochs=5, validation_data=(x[:20], y[:20]), verbose=0)
