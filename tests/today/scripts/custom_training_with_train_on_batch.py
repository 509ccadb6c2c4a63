"""A custom loop over train_on_batch with metrics of its own, learning rate set by hand, and test_on_batch."""

import numpy as np

import keras
from keras import layers

inputs = keras.Input(shape=(20,), name="digits")
x1 = layers.Dense(16, activation="relu")(inputs)
x2 = layers.Dense(16, activation="relu")(x1)
outputs = layers.Dense(4, name="predictions")(x2)
model = keras.Model(inputs=inputs, outputs=outputs)

rng = np.random.RandomState(1)
x_train = rng.rand(128, 20).astype("float32")
y_train = (x_train[:, :4]).argmax(-1).astype("uint8")
x_val, y_val = x_train[96:], y_train[96:]

model.compile(
    optimizer=keras.optimizers.SGD(learning_rate=1e-1),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=[keras.metrics.SparseCategoricalAccuracy(name="acc")],
)

best = np.inf
for epoch in range(4):
    print(f"\nStart of epoch {epoch}")
    model.reset_metrics()
    order = np.arange(96)
    for step in range(0, 96, 16):
        batch = order[step : step + 16]
        logs = model.train_on_batch(x_train[batch], y_train[batch], return_dict=True)
        if step % 32 == 0:
            print(f"Training loss (for 1 batch) at step {step}: {float(logs['loss']):.4f}")
    model.reset_metrics()
    val = model.test_on_batch(x_val, y_val)
    if val[0] < best:
        best = val[0]
        weights = model.get_weights()
    model.optimizer.learning_rate = float(model.optimizer.learning_rate) * 0.9

model.set_weights(weights)
loss, acc = model.evaluate(x_val, y_val, verbose=0)
prediction = model.predict_on_batch(x_val)
assert prediction.shape == (32, 4)
print(
    "weights by class:",
    model.train_on_batch(x_train[:8], y_train[:8], class_weight={0: 1.0, 1: 2.0, 2: 0.5, 3: 1.0}),
)
print(
    "weights by sample:", model.train_on_batch(x_train[:8], y_train[:8], sample_weight=np.linspace(0, 1, 8))
)
