"""Optimizers and schedules of one's own: centred gradients, update_step, warmup; all schedules of Keras."""

import keras
import numpy as np
from keras import layers, ops

r = np.random.RandomState(0)
x, y = r.rand(64, 8).astype("float32"), r.randint(0, 3, 64)


def model():
    return keras.Sequential(
        [keras.Input((8,)), layers.Dense(16, activation="relu"), layers.Dense(3, activation="softmax")]
    )


class GCRMSprop(keras.optimizers.RMSprop):
    def get_gradients(self, loss, params):
        return []

    def apply(self, grads, trainable_variables=None):
        out = []
        for g in grads:
            if len(g.shape) > 1:
                g = g - ops.mean(g, axis=list(range(len(g.shape) - 1)), keepdims=True)
            out.append(g)
        return super().apply(out, trainable_variables)


m = model()
m.compile(GCRMSprop(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
m.fit(x, y, epochs=3, verbose=0)


class MySGD(keras.optimizers.Optimizer):
    def __init__(self, learning_rate=0.01, momentum=0.9, name="mysgd", **kw):
        super().__init__(learning_rate=learning_rate, name=name, **kw)
        self.momentum = momentum

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.momentums = []
        for v in variables:
            self.momentums.append(self.add_variable_from_reference(reference_variable=v, name="momentum"))

    def update_step(self, gradient, variable, learning_rate):
        learning_rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        m = self.momentums[self._get_variable_index(variable)]
        mv = ops.subtract(ops.multiply(m, self.momentum), ops.multiply(gradient, learning_rate))
        self.assign(m, mv)
        self.assign_add(variable, mv)

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum}


m = model()
m.compile(MySGD(0.05, clipnorm=1.0), "sparse_categorical_crossentropy")
m.fit(x, y, epochs=3, verbose=0)
print(m.optimizer.get_config(), [v.shape for v in m.optimizer.variables])
m.save("o.keras")
m2 = keras.models.load_model("o.keras", custom_objects={"MySGD": MySGD})
m2.fit(x, y, epochs=2, verbose=0)


class LRSchedule(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, post_warmup_learning_rate, warmup_steps):
        super().__init__()
        self.p, self.w = post_warmup_learning_rate, warmup_steps

    def __call__(self, step):
        global_step = ops.cast(step, "float32")
        warmup_steps = ops.cast(self.w, "float32")
        warmup_progress = global_step / warmup_steps
        wl = self.p * warmup_progress
        return (
            ops.cond(global_step < warmup_steps, lambda: wl, lambda: self.p)
            if False
            else ops.where(global_step < warmup_steps, wl, self.p)
        )

    def get_config(self):
        return {"post_warmup_learning_rate": self.p, "warmup_steps": self.w}


m = model()
m.compile(keras.optimizers.Adam(LRSchedule(1e-2, 5)), "sparse_categorical_crossentropy")
m.fit(x, y, epochs=5, batch_size=16, verbose=0)


class WarmUpCosine(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, base, total, warm_lr, warm):
        super().__init__()
        self.base, self.total, self.warm_lr, self.warm = base, total, warm_lr, warm

    def __call__(self, step):
        lr = (
            0.5
            * self.base
            * (1 + ops.cos(np.pi * (ops.cast(step, "float32") - self.warm) / float(self.total - self.warm)))
        )
        slope = (self.base - self.warm_lr) / self.warm
        w = slope * ops.cast(step, "float32") + self.warm_lr
        lr = ops.where(step < self.warm, w, lr)
        return ops.where(step > self.total, 0.0, lr)


s = WarmUpCosine(1e-2, 20, 0.0, 5)
print([float(s(i)) for i in range(0, 25, 4)], [float(s(ops.convert_to_tensor(i))) for i in range(3)])
m = model()
m.compile(keras.optimizers.AdamW(s, weight_decay=1e-4), "sparse_categorical_crossentropy")
m.fit(x, y, epochs=6, batch_size=16, verbose=0)
for sch in [
    keras.optimizers.schedules.CosineDecay(0.1, 20, warmup_target=0.2, warmup_steps=5),
    keras.optimizers.schedules.PiecewiseConstantDecay([3, 6], [0.1, 0.01, 0.001]),
    keras.optimizers.schedules.PolynomialDecay(0.1, 10, 0.01, power=2, cycle=True),
    keras.optimizers.schedules.InverseTimeDecay(0.1, 5, 0.5),
    keras.optimizers.schedules.CosineDecayRestarts(0.1, 5),
]:
    print(type(sch).__name__, [round(float(sch(k)), 6) for k in (0, 2, 5, 9, 15)], sch.get_config())
    m = model()
    m.compile(keras.optimizers.SGD(sch), "sparse_categorical_crossentropy")
    m.fit(x, y, epochs=3, batch_size=16, verbose=0)
    print(float(m.optimizer.learning_rate))
opt = keras.optimizers.Adam(1e-3)
w = keras.Variable(np.ones((2,), "float32"))
opt.build([w])
opt.apply([ops.convert_to_tensor(np.array([0.1, 0.2], "float32"))], [w])
opt.apply_gradients([(np.array([0.1, 0.2], "float32"), w)])
print(np.array(w), int(opt.iterations), len(opt.variables))
opt.learning_rate = 5e-4
print(float(opt.learning_rate), opt.get_config()["learning_rate"], [v.path for v in opt.variables])
