"""Blocks of ConvNeXt with stochastic depth and layer scale, and a rate that warms up."""

import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(13)
x = rng.uniform(0, 1, (24, 16, 16, 3)).astype("float32")
y = keras.utils.to_categorical(rng.integers(0, 4, 24), 4)


class StochasticDepth(layers.Layer):
    def __init__(self, drop_prop, **kwargs):
        super().__init__(**kwargs)
        self.drop_prob = drop_prop
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, x, training=None):
        if training:
            keep_prob = 1 - self.drop_prob
            shape = (ops.shape(x)[0],) + (1,) * (len(x.shape) - 1)
            random_tensor = keep_prob + keras.random.uniform(shape, 0, 1, seed=self.seed_generator)
            random_tensor = ops.floor(random_tensor)
            return (x / keep_prob) * random_tensor
        return x

    def get_config(self):
        config = super().get_config()
        config.update({"drop_prop": self.drop_prob})
        return config


class LayerScale(layers.Layer):
    def __init__(self, init_values, projection_dim, **kwargs):
        super().__init__(**kwargs)
        self.init_values, self.projection_dim = init_values, projection_dim

    def build(self, _):
        self.gamma = self.add_weight(
            shape=(self.projection_dim,),
            trainable=True,
            initializer=keras.initializers.Constant(self.init_values),
        )

    def call(self, x):
        return x * self.gamma

    def get_config(self):
        return super().get_config() | {"init_values": self.init_values, "projection_dim": self.projection_dim}


def convnext_block(dim, drop_path, name):
    def apply(inputs):
        x = layers.Conv2D(dim, 7, padding="same", groups=dim, name=name + "_depthwise")(inputs)
        x = layers.LayerNormalization(epsilon=1e-6, name=name + "_ln")(x)
        x = layers.Dense(4 * dim, name=name + "_pw1")(x)
        x = layers.Activation("gelu", name=name + "_gelu")(x)
        x = layers.Dense(dim, name=name + "_pw2")(x)
        x = LayerScale(1e-1, dim, name=name + "_scale")(x)
        drop = (
            StochasticDepth(drop_path, name=name + "_drop")
            if drop_path
            else layers.Activation("linear", name=name + "_id")
        )
        return inputs + drop(x)

    return apply


inputs = keras.Input((16, 16, 3))
h = layers.Conv2D(8, 4, strides=4, name="stem_conv")(inputs)
h = layers.LayerNormalization(epsilon=1e-6)(h)
rates = [float(r) for r in np.linspace(0, 0.2, 3)]
for i, rate in enumerate(rates):
    h = convnext_block(8, rate, f"stage_{i}")(h)
h = layers.GlobalAveragePooling2D()(h)
h = layers.UnitNormalization()(h)
outputs = layers.Dense(
    4, kernel_initializer=keras.initializers.TruncatedNormal(0.02), bias_initializer="zeros"
)(h)
model = keras.Model(inputs, outputs, name="convnext")


class WarmUpCosine(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, base, total, warmup_base, warmup):
        super().__init__()
        self.base, self.total, self.warmup_base, self.warmup = base, total, warmup_base, warmup
        self.pi = np.pi

    def __call__(self, step):
        cos = ops.cos(self.pi * (ops.cast(step, "float32") - self.warmup) / float(self.total - self.warmup))
        rate = 0.5 * self.base * (1 + cos)
        slope = (self.base - self.warmup_base) / self.warmup
        warm = slope * ops.cast(step, "float32") + self.warmup_base
        rate = ops.where(step < self.warmup, warm, rate)
        return ops.where(step > self.total, 0.0, rate)

    def get_config(self):
        return {
            "base": self.base,
            "total": self.total,
            "warmup_base": self.warmup_base,
            "warmup": self.warmup,
        }


model.compile(
    loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
    optimizer=keras.optimizers.AdamW(WarmUpCosine(1e-2, 20, 1e-4, 5), weight_decay=1e-4, clipnorm=1.0),
    metrics=["accuracy", keras.metrics.TopKCategoricalAccuracy(k=2, name="top")],
    jit_compile=False,
)
model.optimizer.exclude_from_weight_decay(var_names=["bias", "gamma"])
model.fit(x, y, batch_size=6, epochs=5, validation_data=(x[:8], y[:8]), verbose=0)
model.save("c.keras")
own = {"StochasticDepth": StochasticDepth, "LayerScale": LayerScale, "WarmUpCosine": WarmUpCosine}
again = keras.models.load_model("c.keras", custom_objects=own)
again.fit(x, y, batch_size=6, epochs=2, verbose=0)
