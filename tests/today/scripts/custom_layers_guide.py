"""Making new layers and models via subclassing: Linear, ComputeSum, MLPBlock, losses of layers, get_config."""

import numpy as np

import keras
from keras import ops


class Linear(keras.layers.Layer):
    def __init__(self, units=32, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.w = self.add_weight(
            shape=(input_shape[-1], self.units), initializer="random_normal", trainable=True, name="w"
        )
        self.b = self.add_weight(shape=(self.units,), initializer="zeros", trainable=True, name="b")

    def call(self, inputs):
        return ops.matmul(inputs, self.w) + self.b

    def get_config(self):
        config = super().get_config()
        config.update({"units": self.units})
        return config


class ComputeSum(keras.layers.Layer):
    def __init__(self, input_dim):
        super().__init__()
        self.total = self.add_weight(initializer="zeros", shape=(input_dim,), trainable=False)

    def call(self, inputs):
        self.total.assign_add(ops.sum(inputs, axis=0))
        return self.total


x = ops.ones((2, 2))
my_sum = ComputeSum(2)
y = my_sum(x)
print(y)
y = my_sum(x)
assert np.asarray(y).tolist() == [4.0, 4.0], np.asarray(y)
print("weights:", len(my_sum.weights), "trainable:", my_sum.trainable_weights)


class ActivityRegularizationLayer(keras.layers.Layer):
    def __init__(self, rate=1e-2):
        super().__init__()
        self.rate = rate

    def call(self, inputs):
        self.add_loss(self.rate * ops.mean(inputs))
        return inputs


class MLPBlock(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.linear_1 = Linear(16)
        self.linear_2 = Linear(8)
        self.regularize = ActivityRegularizationLayer(1e-1)
        self.linear_3 = Linear(1)

    def call(self, inputs):
        x = self.linear_1(inputs)
        x = ops.relu(x)
        x = self.regularize(self.linear_2(x))
        x = keras.activations.relu(x)
        return self.linear_3(x)


mlp = MLPBlock()
y = mlp(ops.ones(shape=(3, 20)))  # The first call to the `mlp` will create the weights
print("weights:", len(mlp.weights), "trainable weights:", len(mlp.trainable_weights))
print("losses:", [float(loss) for loss in mlp.losses])
assert len(mlp.losses) == 1


class CustomDropout(keras.layers.Layer):
    def __init__(self, rate, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, inputs, training=None):
        if training:
            return keras.random.dropout(inputs, rate=self.rate, seed=self.seed_generator)
        return inputs


class LogisticEndpoint(keras.layers.Layer):
    def __init__(self, name=None):
        super().__init__(name=name)
        self.loss_fn = keras.losses.BinaryCrossentropy(from_logits=True)

    def call(self, targets, logits, sample_weights=None):
        # Compute the training-time loss value and add it to the layer using `self.add_loss()`.
        loss = self.loss_fn(targets, logits, sample_weights)
        self.add_loss(loss)
        return ops.softmax(logits)


inputs = keras.Input(shape=(20,), name="inputs")
targets = keras.Input(shape=(10,), name="targets")
logits = keras.layers.Dense(10)(CustomDropout(0.0)(inputs))
predictions = LogisticEndpoint(name="predictions")(targets, logits)
model = keras.Model(inputs=[inputs, targets], outputs=predictions)
model.compile(optimizer=keras.optimizers.Adam(1e-2))
rng = np.random.RandomState(0)
data = {"inputs": rng.random((96, 20)), "targets": rng.randint(0, 2, (96, 10)).astype("float32")}
model.fit(data, epochs=3, batch_size=32)

inputs = keras.Input((20,))
regressor = keras.Model(inputs, MLPBlock(name="block")(inputs))
regressor.compile("sgd", "mse", metrics=["mae"])
regressor.fit(data["inputs"], data["inputs"].sum(1), epochs=3, batch_size=32)
config = Linear(4).get_config()
print(Linear.from_config(config).units)
