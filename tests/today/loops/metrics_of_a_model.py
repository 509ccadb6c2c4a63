import sys

import numpy as np
from noting import done, note, settle

rng = np.random.RandomState(0)
import os
import tensorflow as tf
from tensorflow import keras

x = rng.rand(24, 4).astype("float32")
y = rng.randint(0, 3, 24)
m = keras.Sequential(
    [keras.layers.Dense(8, activation="relu", input_shape=(4,)), keras.layers.Dense(3, activation="softmax")]
)
settle(m)
m.compile(
    optimizer=keras.optimizers.SGD(0.1),
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(k=2, name="top")],
)
print("A", [q.name for q in m.metrics], m.metrics_names)
h = m.fit(x, y, epochs=2, batch_size=8, shuffle=False, verbose=0)
print("B", [q.name for q in m.metrics], m.metrics_names, [type(q).__name__ for q in m.metrics])
note(*[float(q.result()) for q in m.metrics])
r = m.evaluate(x, y, verbose=0)
note(r)
note(*[float(q.result()) for q in m.metrics])
note(h.history["accuracy"])
print("C", dict(zip(m.metrics_names, r)).keys())
m.reset_metrics()
note(*[float(q.result()) for q in m.metrics])
m.train_on_batch(x, y)
note(*[float(q.result()) for q in m.metrics])
m.train_on_batch(x[:3], y[:3], reset_metrics=False)
note(*[float(q.result()) for q in m.metrics])
done()
