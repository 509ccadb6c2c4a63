"""Structured data: a TabTransformer, and neural decision trees and forests."""

import keras
import numpy as np
from keras import layers, ops

r = np.random.RandomState(0)
N = 96
NUM = ["age", "gain"]
CAT = {"work": 4, "edu": 5, "race": 3}


def create_mlp(hidden_units, dropout_rate, activation, normalization_layer, name=None):
    ls = []
    for u in hidden_units:
        ls += [normalization_layer(), layers.Dense(u, activation=activation), layers.Dropout(dropout_rate)]
    return keras.Sequential(ls, name=name)


def create(blocks=2, heads=2, E=8, use_col=True):
    inputs = {
        k: layers.Input(name=k, shape=(), dtype="float32" if k in NUM else "int32") for k in NUM + list(CAT)
    }
    cat, num = [], []
    for k in inputs:
        if k in CAT:
            cat.append(layers.Embedding(CAT[k], E)(inputs[k]))
        else:
            num.append(ops.expand_dims(inputs[k], -1))
    enc = ops.stack(cat, axis=1)
    num = layers.concatenate(num)
    ncol = enc.shape[1]
    ce = layers.Embedding(input_dim=ncol, output_dim=E)
    idx = ops.arange(start=0, stop=ncol, step=1)
    enc = enc + ce(idx)
    for b in range(blocks):
        a = layers.MultiHeadAttention(
            num_heads=heads, key_dim=E, dropout=0.1, name=f"multihead_attention_{b}"
        )(enc, enc)
        x = layers.Add(name=f"skip_connection1_{b}")([a, enc])
        x = layers.LayerNormalization(name=f"layer_norm1_{b}", epsilon=1e-6)(x)
        f = create_mlp(
            [E],
            0.1,
            keras.activations.gelu,
            lambda: layers.LayerNormalization(epsilon=1e-6),
            name=f"feedforward_{b}",
        )(x)
        x = layers.Add(name=f"skip_connection2_{b}")([f, x])
        enc = layers.LayerNormalization(name=f"layer_norm2_{b}", epsilon=1e-6)(x)
    c = layers.Flatten()(enc)
    num = layers.LayerNormalization(epsilon=1e-6)(num)
    feats = layers.concatenate([c, num])
    feats = create_mlp([16, 8], 0.2, "selu", layers.BatchNormalization, name="MLP")(feats)
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid", name="sigmoid")(feats))


m = create()
print("Total model weights:", m.count_params())
m.compile(
    optimizer=keras.optimizers.AdamW(learning_rate=1e-3, weight_decay=1e-4),
    loss=keras.losses.BinaryCrossentropy(),
    metrics=[keras.metrics.BinaryAccuracy(name="accuracy")],
)
d = {
    "age": r.rand(N).astype("float32"),
    "gain": r.rand(N).astype("float32"),
    **{k: r.randint(0, c, N) for k, c in CAT.items()},
}
w = r.rand(N)
h = m.fit(d, r.randint(0, 2, N), sample_weight=w, epochs=3, batch_size=32, verbose=0)
m.summary()


# neural decision forest
class NeuralDecisionTree(keras.Model):
    def __init__(self, depth, num_features, used_features_rate, num_classes):
        super().__init__()
        self.depth, self.num_leaves, self.num_classes = depth, 2**depth, num_classes
        n = int(num_features * used_features_rate)
        one_hot = np.eye(num_features)
        idx = np.random.RandomState(depth).choice(np.arange(num_features), n, replace=False)
        self.used_features_mask = ops.convert_to_tensor(one_hot[idx], dtype="float32")
        self.pi = self.add_weight(
            initializer="random_normal",
            shape=[self.num_leaves, self.num_classes],
            dtype="float32",
            trainable=True,
        )
        self.decision_fn = layers.Dense(units=self.num_leaves, activation="sigmoid", name="decision")

    def call(self, features):
        batch_size = ops.shape(features)[0]
        features = ops.matmul(features, ops.transpose(self.used_features_mask))
        decisions = ops.expand_dims(self.decision_fn(features), axis=2)
        decisions = layers.concatenate([decisions, 1 - decisions], axis=2)
        mu = ops.ones([batch_size, 1, 1])
        begin_idx, end_idx = 1, 2
        for level in range(self.depth):
            mu = ops.reshape(mu, [batch_size, -1, 1])
            mu = ops.tile(mu, (1, 1, 2))
            level_decisions = decisions[:, begin_idx:end_idx, :]
            mu = mu * level_decisions
            begin_idx = end_idx
            end_idx = begin_idx + 2 ** (level + 1)
        mu = ops.reshape(mu, [batch_size, self.num_leaves])
        probabilities = keras.activations.softmax(self.pi)
        return ops.matmul(mu, probabilities)


class NeuralDecisionForest(keras.Model):
    def __init__(self, num_trees, depth, num_features, used_features_rate, num_classes):
        super().__init__()
        self.ensemble = [
            NeuralDecisionTree(depth, num_features, used_features_rate, num_classes) for _ in range(num_trees)
        ]
        self.num_classes = num_classes

    def call(self, inputs):
        batch_size = ops.shape(inputs)[0]
        outputs = ops.zeros([batch_size, self.num_classes])
        for tree in self.ensemble:
            outputs += tree(inputs)
        return outputs / len(self.ensemble)


inp = keras.Input((6,))
x = layers.BatchNormalization()(inp)
for f in (NeuralDecisionTree(3, 6, 1.0, 3), NeuralDecisionForest(3, 3, 6, 0.5, 3)):
    m = keras.Model(inp, f(x))
    m.compile(
        keras.optimizers.Adam(1e-2),
        keras.losses.SparseCategoricalCrossentropy(),
        metrics=[keras.metrics.SparseCategoricalAccuracy()],
    )
    m.fit(r.rand(64, 6), r.randint(0, 3, 64), epochs=3, batch_size=16, verbose=0)
