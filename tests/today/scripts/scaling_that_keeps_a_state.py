"""Keras 3, subclassed with compute_loss, stateful layer, own metric, loss classes, seeds, callbacks."""

import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(5)
x = rng.normal(size=(60, 10)).astype("float32")
y = (x[:, :1] * x[:, 1:2] > 0).astype("float32")
cls = rng.integers(0, 3, 60)


class RunningScale(layers.Layer):
    def __init__(self, momentum=0.9, **kw):
        super().__init__(**kw)
        self.momentum = momentum

    def build(self, s):
        self.low = self.add_weight(shape=(s[-1],), initializer="zeros", trainable=False, name="low")
        self.high = self.add_weight(shape=(s[-1],), initializer="ones", trainable=False, name="high")
        self.seen = self.add_weight(
            shape=(), initializer="zeros", dtype="int32", trainable=False, name="seen"
        )

    def call(self, x, training=False):
        if training:
            m = self.momentum
            self.low.assign(self.low * m + ops.min(x, 0) * (1 - m))
            self.high.assign(self.high * m + ops.max(x, 0) * (1 - m))
            self.seen.assign_add(ops.shape(x)[0])
        return (x - self.low) / (self.high - self.low + 1e-3)

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum}


@keras.saving.register_keras_serializable("p2")
class Focal(keras.losses.Loss):
    def __init__(self, gamma=2.0, **kw):
        super().__init__(**kw)
        self.gamma = gamma

    def call(self, t, p):
        q = ops.where(t > 0.5, p, 1 - p)
        q = ops.clip(q, 1e-6, 1.0)
        return ops.mean(-ops.power(1 - q, self.gamma) * ops.log(q), -1)

    def get_config(self):
        return {**super().get_config(), "gamma": self.gamma}


class Balanced(keras.metrics.Metric):
    def __init__(self, name="balanced", **kw):
        super().__init__(name=name, **kw)
        self.c = self.add_variable(shape=(2, 2), initializer="zeros", name="c")

    def update_state(self, t, p, sample_weight=None):
        t, p = ops.reshape(ops.cast(t, "int32"), (-1,)), ops.cast(ops.reshape(p > 0.5, (-1,)), "int32")
        w = (
            ops.ones_like(t, dtype="float32")
            if sample_weight is None
            else ops.reshape(ops.cast(sample_weight, "float32"), (-1,))
        )
        self.c.assign_add(ops.transpose(ops.one_hot(t, 2) * w[:, None]) @ ops.one_hot(p, 2))

    def result(self):
        return ops.mean(ops.diagonal(self.c) / ops.maximum(ops.sum(self.c, 1), 1.0))

    def reset_state(self):
        self.c.assign(ops.zeros((2, 2)))


class Net(keras.Model):
    def __init__(self, units=8, beta=0.1, **kw):
        super().__init__(**kw)
        self.scale = RunningScale()
        self.blocks = [layers.Dense(units, activation=a) for a in ("silu", "tanh")]
        self.norm = layers.RMSNormalization()
        self.head = layers.Dense(1, activation="sigmoid")
        self.aux = layers.Dense(3)
        self.beta = beta
        self.aux_tracker = keras.metrics.Mean(name="aux_loss")

    def call(self, x, training=False):
        h = self.scale(x, training=training)
        for b in self.blocks:
            h = b(h)
        h = self.norm(h)
        self.add_loss(1e-3 * ops.mean(ops.square(h)))
        return {"out": self.head(h), "aux": self.aux(h)}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        main = keras.losses.binary_crossentropy(y["out"], y_pred["out"])
        if sample_weight is not None:
            main = main * (sample_weight["out"] if isinstance(sample_weight, dict) else sample_weight)
        aux = keras.losses.sparse_categorical_crossentropy(y["aux"], y_pred["aux"], from_logits=True)
        self.aux_tracker.update_state(aux)
        return ops.mean(main) + self.beta * ops.mean(aux) + sum(self.losses)


class Cut(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch % 2:
            self.model.optimizer.learning_rate = self.model.optimizer.learning_rate * 0.5


m = Net()
m.compile(
    keras.optimizers.Nadam(1e-2, clipnorm=0.5),
    metrics={"out": [Balanced(), "binary_accuracy"], "aux": ["sparse_categorical_accuracy"]},
)
m.fit(
    x,
    {"out": y, "aux": cls},
    sample_weight=np.linspace(0.5, 1.5, 60).astype("float32"),
    batch_size=16,
    epochs=4,
    verbose=0,
    callbacks=[Cut(), keras.callbacks.TerminateOnNaN()],
    validation_data=(x[:20], {"out": y[:20], "aux": cls[:20]}),
)
m.evaluate(x, {"out": y, "aux": cls}, verbose=0, batch_size=32)
print(int(ops.convert_to_numpy(m.scale.seen)), np.round(np.asarray(ops.convert_to_numpy(m.scale.low)), 3))
s = keras.Sequential(
    [
        layers.Input((10,)),
        RunningScale(0.8),
        layers.Dense(6, activation="relu"),
        layers.Dense(1, activation="sigmoid"),
    ]
)
s.compile(
    keras.optimizers.RMSprop(
        keras.optimizers.schedules.PiecewiseConstantDecay([5, 9], [1e-2, 5e-3, 1e-3]), momentum=0.5
    ),
    Focal(1.5, reduction="sum"),
    metrics=[Balanced()],
    weighted_metrics=[Balanced(name="wb")],
)
s.fit(x, y, class_weight={0: 1.0, 1: 3.0}, batch_size=15, epochs=3, verbose=0)
s.save("s.keras")
r = keras.models.load_model("s.keras", custom_objects={"RunningScale": RunningScale, "Balanced": Balanced})
r.fit(x, y, class_weight={0: 1.0, 1: 3.0}, batch_size=15, epochs=2, verbose=0)
r.evaluate(x, y, verbose=0)
