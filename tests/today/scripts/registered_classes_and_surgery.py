"""Saving: registered classes, configs of compile and of build, weights between models, and model surgery."""

import json

import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(21)
x = rng.normal(size=(20, 6)).astype("float32")
y = rng.normal(size=(20, 1)).astype("float32")


@keras.saving.register_keras_serializable(package="my_package", name="custom_fn")
def custom_fn(x):
    return x**2 / (1 + ops.abs(x))


@keras.saving.register_keras_serializable(package="MyLayers")
class CustomDense(layers.Layer):
    def __init__(self, factor, activation=None, inner=None, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor
        self.activation = keras.activations.get(activation)
        self.inner = inner or layers.Dense(5)

    def call(self, inputs):
        return self.activation(self.inner(inputs) * self.factor)

    def get_config(self):
        return {
            **super().get_config(),
            "factor": self.factor,
            "activation": keras.activations.serialize(self.activation),
            "inner": keras.saving.serialize_keras_object(self.inner),
        }

    @classmethod
    def from_config(cls, config):
        config["inner"] = keras.saving.deserialize_keras_object(config["inner"])
        return cls(**config)


@keras.saving.register_keras_serializable()
class L1Norm(keras.constraints.Constraint):
    def __init__(self, limit=1.0):
        self.limit = limit

    def __call__(self, w):
        return w / ops.maximum(1.0, ops.sum(ops.abs(w), axis=0, keepdims=True) / self.limit)

    def get_config(self):
        return {"limit": self.limit}


@keras.saving.register_keras_serializable()
class Smooth(keras.regularizers.Regularizer):
    def __init__(self, strength=0.01):
        self.strength = strength

    def __call__(self, w):
        return self.strength * ops.sum(ops.square(w[1:] - w[:-1]))

    def get_config(self):
        return {"strength": float(self.strength)}


@keras.saving.register_keras_serializable()
class Ramp(keras.initializers.Initializer):
    def __init__(self, low, high):
        self.low, self.high = low, high

    def __call__(self, shape, dtype=None):
        return ops.reshape(ops.linspace(self.low, self.high, int(np.prod(shape)), dtype=dtype), shape)

    def get_config(self):
        return {"low": self.low, "high": self.high}


@keras.saving.register_keras_serializable()
class LogCosh2(keras.losses.Loss):
    def __init__(self, scale=1.0, name="log_cosh_2", **kwargs):
        super().__init__(name=name, **kwargs)
        self.scale = scale

    def call(self, y_true, y_pred):
        return ops.mean(ops.log(ops.cosh(self.scale * (y_pred - y_true))), axis=-1)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


@keras.saving.register_keras_serializable()
class WithinOne(keras.metrics.Metric):
    def __init__(self, tolerance=1.0, name="within", **kwargs):
        super().__init__(name=name, **kwargs)
        self.tolerance = tolerance
        self.hits = self.add_variable(shape=(), initializer="zeros", name="hits")
        self.seen = self.add_variable(shape=(), initializer="zeros", name="seen")

    def update_state(self, y_true, y_pred, sample_weight=None):
        near = ops.cast(ops.abs(y_true - y_pred) < self.tolerance, "float32")
        if sample_weight is not None:
            near = near * ops.reshape(sample_weight, (-1, 1))
        self.hits.assign(self.hits + ops.sum(near))
        self.seen.assign_add(ops.cast(ops.size(near), "float32"))

    def result(self):
        return self.hits / self.seen

    def reset_state(self):
        self.hits.assign(0.0)
        self.seen.assign(0.0)

    def get_config(self):
        return {**super().get_config(), "tolerance": self.tolerance}


def build():
    inputs = keras.Input((6,), name="x_in")
    h = CustomDense(
        0.5,
        activation=custom_fn,
        inner=layers.Dense(5, kernel_constraint=L1Norm(2.0), name="core"),
        name="front",
    )(inputs)
    h = layers.Dense(
        4,
        kernel_initializer=Ramp(-0.3, 0.3),
        kernel_regularizer=Smooth(0.02),
        activation="silu",
        name="middle",
    )(h)
    h = layers.PReLU(name="pre")(h)
    return keras.Model(inputs, layers.Dense(1, name="head")(h), name="net")


model = build()
model.compile(keras.optimizers.Nadam(5e-3), LogCosh2(0.7), metrics=[WithinOne(0.5), "mse"])
model.fit(x, y, epochs=5, batch_size=5, verbose=0)
model.save("m.keras")
again = keras.saving.load_model("m.keras")
print(type(again.get_layer("front")).__name__, again.get_layer("middle").kernel_regularizer.strength)
again.fit(x, y, epochs=2, batch_size=5, verbose=0)
cc = model.get_compile_config()
print(sorted(cc))
fresh = keras.Model.from_config(model.get_config())
fresh.compile_from_config(cc)
fresh.set_weights(model.get_weights())
print(np.allclose(fresh.evaluate(x, y, verbose=0), model.evaluate(x, y, verbose=0), rtol=1e-4))
print(model.get_layer("middle").get_build_config())
config = keras.saving.serialize_keras_object(model.get_layer("pre"))
print(config["class_name"])
print(
    json.loads(model.to_json())["class_name"],
    keras.saving.get_registered_name(CustomDense),
    keras.saving.get_registered_object("my_package>custom_fn") is custom_fn,
)
with keras.saving.custom_object_scope({"CustomDense": CustomDense}):
    clone = keras.models.model_from_json(model.to_json())
model.save_weights("w.weights.h5")
clone.load_weights("w.weights.h5")
print(np.allclose(clone.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-6))

body = keras.Model(model.input, model.get_layer("middle").output, name="body")
body.trainable = False
h = body(body.input, training=False)
h = layers.Dropout(0.1)(layers.BatchNormalization()(h))
other = keras.Model(body.input, layers.Dense(3, activation="softmax", name="new_head")(h))
other.compile("rmsprop", "sparse_categorical_crossentropy", metrics=["accuracy"])
print(len(other.trainable_weights), len(other.non_trainable_weights))
other.fit(x, np.arange(20) % 3, epochs=3, verbose=0)
for layer in body.layers[-1:]:
    layer.trainable = True
body.trainable = True
other.compile(keras.optimizers.Adam(1e-4), "sparse_categorical_crossentropy")
other.fit(x, np.arange(20) % 3, epochs=2, verbose=0)
popped = keras.Sequential([*model.layers[:-1], layers.Dense(2)])
popped.pop()
popped.add(layers.Dense(1))
popped.compile("sgd", "mse")
popped.fit(x, y, epochs=2, verbose=0)
