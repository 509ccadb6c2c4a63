"""Optimizer options: gradient accumulation, moving averages of weights, clipping, schedules."""

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(812)

rng = np.random.RandomState(0)
x_train = rng.normal(size=(320, 12)).astype("float32")
w = rng.normal(size=(12, 3))
y_train = (x_train @ w).argmax(-1)


def make_model():
    return keras.Sequential(
        [
            layers.Input((12,)),
            layers.Dense(16, activation="relu", kernel_regularizer=keras.regularizers.L2(1e-4)),
            layers.Dense(3, activation="softmax"),
        ]
    )


for optimizer in (
    keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True, gradient_accumulation_steps=2),
    keras.optimizers.Adam(
        learning_rate=keras.optimizers.schedules.CosineDecay(0.01, decay_steps=100, alpha=0.1),
        use_ema=True,
        ema_momentum=0.9,
        ema_overwrite_frequency=None,
    ),
    keras.optimizers.AdamW(
        learning_rate=keras.optimizers.schedules.PiecewiseConstantDecay([5, 10], [1e-2, 5e-3, 1e-3]),
        weight_decay=1e-2,
        clipnorm=1.0,
    ),
    keras.optimizers.RMSprop(
        keras.optimizers.schedules.ExponentialDecay(0.01, decay_steps=5, decay_rate=0.8, staircase=True),
        global_clipnorm=0.5,
    ),
    keras.optimizers.Lion(1e-3),
):
    model = make_model()
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(),
        metrics=["sparse_categorical_accuracy"],
    )
    model.fit(x_train, y_train, batch_size=64, epochs=4, verbose=0)
    if optimizer.use_ema:
        model.optimizer.finalize_variable_values(model.trainable_variables)
    results = model.evaluate(x_train, y_train, verbose=0, return_dict=True)
    print(optimizer.name, results, int(optimizer.iterations))
