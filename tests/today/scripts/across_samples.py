"""Layers that look across the samples of a batch: their order, parts of it, scores for each pair of samples."""

import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(17)
x = rng.normal(size=(22, 6)).astype("float32")
y = (x.sum(1) > 0).astype("int32")


class BatchAttention(layers.Layer):
    """Each sample attends to the others of its batch."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.query, self.key = layers.Dense(units), layers.Dense(units)

    def call(self, x):
        scores = ops.matmul(self.query(x), ops.transpose(self.key(x)))
        own = ops.eye(ops.shape(x)[0])
        return ops.matmul(ops.softmax(scores - 1e9 * own, axis=-1), x)


class MixWithNext(layers.Layer):
    def __init__(self, share=0.2, **kwargs):
        super().__init__(**kwargs)
        self.share = share

    def call(self, x, training=None):
        if not training:
            return x
        return (1 - self.share) * x + self.share * ops.roll(x, 1, axis=0)


class RankInBatch(layers.Layer):
    def call(self, x):
        places = ops.argsort(ops.argsort(x[:, 0]))
        return ops.concatenate(
            [x, ops.cast(places[:, None], x.dtype) / ops.cast(ops.shape(x)[0], x.dtype)], axis=-1
        )


inputs = keras.Input((6,))
h = layers.Dense(8, activation="tanh")(inputs)
h = MixWithNext()(h)
h = layers.Concatenate()([h, BatchAttention(4)(h)])
h = RankInBatch()(h)
h = h + 0.01 * ops.cumsum(h, axis=0)
outputs = layers.Dense(2, activation="softmax")(h)
model = keras.Model(inputs, outputs)
print(model.output_shape, [layer.output.shape for layer in model.layers][-1])
model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x, y, batch_size=8, epochs=5, validation_split=0.2, verbose=0)
model.evaluate(x, y, batch_size=8, verbose=0)
model.predict(x, batch_size=8, verbose=0)
model.train_on_batch(x[:8], y[:8])
model.predict_on_batch(x[:3])
print(model(x[:5]).shape)
model.save("across.keras")
own = {"BatchAttention": BatchAttention, "MixWithNext": MixWithNext, "RankInBatch": RankInBatch}
again = keras.models.load_model("across.keras", custom_objects=own)
print(np.allclose(again.predict(x[:7], verbose=0), model.predict(x[:7], verbose=0), atol=1e-6))

stack = keras.Sequential(
    [keras.Input((6,)), layers.Dense(6), RankInBatch(), layers.Dense(3), layers.Lambda(lambda t: t - t[:1])]
)
outer_inputs = {"a": keras.Input((6,), name="a"), "b": keras.Input((6,), name="b")}
both = layers.Add()([stack(outer_inputs["a"]), stack(outer_inputs["b"])])
outer = keras.Model(outer_inputs, {"sum": both, "top": layers.Dense(1)(both)})
outer.compile(
    "sgd", {"sum": "mse", "top": "mae"}, loss_weights={"sum": 0.5, "top": 2.0}, metrics={"top": ["mse"]}
)
data = {"a": x, "b": x[::-1].copy()}
outer.fit(
    data,
    {"sum": x[:, :3], "top": x[:, 3]},
    batch_size=6,
    epochs=5,
    sample_weight=np.linspace(0, 1, 22),
    verbose=0,
)
outer.predict(data, batch_size=6, verbose=0)


class Pairs(keras.Model):
    def __init__(self):
        super().__init__()
        self.a, self.b = layers.Dense(5), layers.Dense(5)

    def call(self, inputs):
        one, two = self.a(inputs), self.b(ops.flip(inputs, axis=0))
        both = ops.concatenate([one, two], axis=0)
        both = ops.normalize(both, axis=-1)
        one, two = ops.split(both, 2, axis=0)
        return ops.matmul(one, ops.transpose(two))


pairs = Pairs()
pairs.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True))
pairs.fit(x[:16], np.tile(np.eye(8, dtype="float32"), (2, 1)), batch_size=8, epochs=5, verbose=0)
print(pairs.predict(x[:16], batch_size=8, verbose=0).shape)
