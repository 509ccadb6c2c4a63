"""Basic regression and overfitting: several sizes of models with regularizers, InverseTimeDecay, MAE (tf.keras)."""

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers, regularizers

print(tf.__version__)
rng = np.random.RandomState(0)
features = rng.normal(size=(240, 9)).astype("float32")
labels = (features[:, 0] * 3 + np.abs(features[:, 1]) + 20).astype("float32")
train_features, test_features = features[:200], features[200:]
train_labels, test_labels = labels[:200], labels[200:]

normalizer = tf.keras.layers.Normalization(axis=-1)
normalizer.adapt(np.array(train_features))
print(normalizer.mean.numpy())

STEPS_PER_EPOCH = 200 * 0.8 // 32
lr_schedule = tf.keras.optimizers.schedules.InverseTimeDecay(
    0.05, decay_steps=STEPS_PER_EPOCH * 2, decay_rate=1, staircase=False
)


def build(kind):
    regularizer = {"plain": None, "l2": regularizers.l2(0.001), "l1": regularizers.L1(0.001)}[kind]
    model = keras.Sequential(
        [
            normalizer,
            layers.Dense(16, activation="elu", kernel_regularizer=regularizer),
            layers.Dense(16, activation="elu", kernel_regularizer=regularizer),
            layers.Dropout(0.5),
            layers.Dense(1),
        ]
    )
    model.compile(
        loss="mean_absolute_error",
        optimizer=tf.keras.optimizers.Adam(lr_schedule),
        metrics=[tf.keras.metrics.RootMeanSquaredError(name="rmse"), "mse"],
    )
    return model


results = {}
for kind in ("plain", "l2", "l1"):
    model = build(kind)
    history = model.fit(train_features, train_labels, validation_split=0.2, verbose=0, epochs=4)
    results[kind] = model.evaluate(test_features, test_labels, verbose=0)
    print(kind, lr_schedule(len(history.epoch) * STEPS_PER_EPOCH).numpy())
test_predictions = model.predict(test_features).flatten()
error = test_predictions - test_labels
print(error.std())
