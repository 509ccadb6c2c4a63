"""Saving of one's own: nested models in configurations, own variables, what builds and compiles."""

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="my_custom_package")
class CustomDense(keras.layers.Layer):
    def __init__(self, units, nested_model=None, **kw):
        super().__init__(**kw)
        self.units = units
        self.dense = keras.layers.Dense(units)
        self.nested = nested_model or keras.Sequential([keras.layers.Dense(units)])

    def build(self, input_shape):
        self.dense.build(input_shape)
        super().build(input_shape)

    def call(self, x):
        return self.dense(x) + self.nested(x)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "nested_model": self.nested}

    @classmethod
    def from_config(cls, config):
        config["nested_model"] = keras.saving.deserialize_keras_object(config["nested_model"])
        return cls(**config)


r = np.random.RandomState(0)
x = r.rand(8, 4).astype("float32")
m = keras.Sequential([keras.Input((4,)), CustomDense(3)])
m.compile("adam", "mse")
m.fit(x, r.rand(8, 3), epochs=2, verbose=0)
m.save("a.keras")
m2 = keras.models.load_model("a.keras")
print(np.abs(m.predict(x, verbose=0) - m2.predict(x, verbose=0)).max())


@keras.saving.register_keras_serializable(package="my_custom_package")
class LayerWithCustomVariables(keras.layers.Dense):
    def __init__(self, units, **kwargs):
        super().__init__(units, **kwargs)
        self.default_value = np.random.RandomState(4).random_sample((units,))

    def save_own_variables(self, store):
        super().save_own_variables(store)
        store["default_value"] = self.default_value

    def load_own_variables(self, store):
        super().load_own_variables({k: store[k] for k in ("0", "1")})
        self.default_value = store["default_value"][()]

    def call(self, inputs):
        dense = super().call(inputs)
        return dense + self.default_value


model = keras.Sequential([keras.Input((4,)), LayerWithCustomVariables(2)])
model.layers[0].default_value = np.array([1.0, 2.0])
ref = model.predict(x, verbose=0)
model.save("custom_vars_model.keras")
restored = keras.models.load_model("custom_vars_model.keras")
print(np.abs(restored.predict(x, verbose=0) - ref).max(), restored.layers[0].default_value)


@keras.saving.register_keras_serializable(package="my_custom_package")
class LayerWithCustomBuild(keras.layers.Layer):
    def __init__(self, units=32, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def call(self, inputs):
        return ops.matmul(inputs, self.w) + self.b

    def get_config(self):
        return dict(units=self.units, **super().get_config())

    def build(self, input_shape, layer_init):
        self.layer_init = layer_init
        self.w = self.add_weight(shape=(input_shape[-1], self.units), initializer=layer_init, trainable=True)
        self.b = self.add_weight(shape=(self.units,), initializer=layer_init, trainable=True)
        super().build(input_shape)

    def get_build_config(self):
        return {
            "layer_init": self.layer_init,
            "input_shape": self._build_input_shape if hasattr(self, "_build_input_shape") else (4, 4),
        }

    def build_from_config(self, config):
        self.build(config["input_shape"], config["layer_init"])


custom_layer = LayerWithCustomBuild(units=16)
custom_layer.build(input_shape=(8, 4), layer_init="random_normal")
model = keras.Sequential([custom_layer, keras.layers.Dense(1, activation="sigmoid")])
ref = model.predict(x, verbose=0)
model.compile(optimizer="adam", loss="mean_squared_error")
model.fit(x, r.rand(8, 1), verbose=0)


class CustomModel(keras.Model):
    def __init__(self, hidden_units, output_units, **kw):
        super().__init__(**kw)
        self.hidden_units, self.output_units = hidden_units, output_units
        self.d = [keras.layers.Dense(u, activation="sigmoid") for u in hidden_units]
        self.o = keras.layers.Dense(output_units)

    def call(self, x):
        for d in self.d:
            x = d(x)
        return self.o(x)

    def compile(self, optimizer, loss, custom=None, **kw):
        super().compile(optimizer=optimizer, loss=loss, **kw)
        self.custom = custom

    def get_config(self):
        return {**super().get_config(), "hidden_units": self.hidden_units, "output_units": self.output_units}

    def get_compile_config(self):
        return {"optimizer": self.optimizer, "loss": self.loss, "custom": self.custom}

    def compile_from_config(self, config):
        config = keras.saving.deserialize_keras_object(config) if False else config
        opt = (
            keras.saving.deserialize_keras_object(config["optimizer"])
            if isinstance(config["optimizer"], dict)
            else config["optimizer"]
        )
        self.compile(optimizer=opt, loss=config["loss"], custom=config["custom"])


cm = CustomModel([4, 5], 2)
cm.compile(keras.optimizers.SGD(0.1), "mse", custom="hello")
cm.fit(x, r.rand(8, 2), epochs=2, verbose=0)
cm.get_compile_config_ = None
print(cm.get_config(), keras.layers.Dense(3).get_build_config())
cm.save("cm.keras")
m2 = keras.models.load_model("cm.keras", custom_objects={"CustomModel": CustomModel})
print(m2.custom, np.abs(cm.predict(x, verbose=0) - m2.predict(x, verbose=0)).max())
m2.fit(x, r.rand(8, 2), epochs=2, verbose=0)
