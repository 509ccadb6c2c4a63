"""Text classification over integer sequences by a tf.data pipeline: map, cache, padded_batch, Bidirectional LSTM."""

import numpy as np
import tensorflow as tf

from tensorflow.keras import Sequential, layers, losses, optimizers
from tensorflow.keras.callbacks import EarlyStopping, LearningRateScheduler

AUTOTUNE = tf.data.AUTOTUNE
tf.random.set_seed(1)
rng = np.random.default_rng(0)
labels = rng.integers(0, 2, 160)
sequences = [rng.integers(1 + 20 * y, 60 + 20 * y, rng.integers(4, 16)) for y in labels]


def generate():
    for s, y in zip(sequences, labels):
        yield s, y


ds = tf.data.Dataset.from_generator(
    generate,
    output_signature=(tf.TensorSpec(shape=(None,), dtype=tf.int64), tf.TensorSpec(shape=(), dtype=tf.int64)),
)
ds = ds.map(lambda s, y: (s, tf.cast(y, tf.float32)), num_parallel_calls=AUTOTUNE).cache()
train_ds = ds.take(128).shuffle(128).padded_batch(32, padded_shapes=([20], [])).prefetch(AUTOTUNE)
val_ds = ds.skip(128).padded_batch(16, padded_shapes=([20], []))

model = Sequential(
    [
        layers.Embedding(100, 8, mask_zero=True),
        layers.Bidirectional(layers.LSTM(8, return_sequences=True)),
        layers.Bidirectional(layers.LSTM(4)),
        layers.Dense(16, activation="relu"),
        layers.Dropout(0.5),
        layers.Dense(1),
    ]
)
model.compile(
    loss=losses.BinaryCrossentropy(from_logits=True),
    optimizer=optimizers.SGD(0.1, momentum=0.9),
    metrics=["accuracy"],
)


def schedule(epoch, lr):
    return lr if epoch < 2 else lr * tf.math.exp(-0.1)


history = model.fit(
    train_ds,
    epochs=4,
    validation_data=val_ds,
    callbacks=[EarlyStopping(patience=5), LearningRateScheduler(lambda e, lr: float(schedule(e, lr)))],
)
test_loss, test_acc = model.evaluate(val_ds)
print("Test Loss:", test_loss)
predictions = model.predict(val_ds.map(lambda x, y: x))
