"""ConvMixer on small images, with AdamW and a ModelCheckpoint."""

import numpy as np

import keras
from keras import layers

rng = np.random.RandomState(0)
x = rng.randint(0, 256, (128, 16, 16, 3)).astype("uint8")
y = rng.randint(0, 4, (128,))
x[y == 1, :8] //= 2
(x_train, y_train), (x_val, y_val) = (x[:96], y[:96]), (x[96:], y[96:])


def activation_block(x):
    x = layers.Activation("gelu")(x)
    return layers.BatchNormalization()(x)


def conv_stem(x, filters: int, patch_size: int):
    x = layers.Conv2D(filters, kernel_size=patch_size, strides=patch_size)(x)
    return activation_block(x)


def conv_mixer_block(x, filters: int, kernel_size: int):
    # Depthwise convolution.
    x0 = x
    x = layers.DepthwiseConv2D(kernel_size=kernel_size, padding="same")(x)
    x = layers.Add()([activation_block(x), x0])  # Residual.

    # Pointwise convolution.
    x = layers.Conv2D(filters, kernel_size=1)(x)
    x = activation_block(x)
    return x


def get_conv_mixer_256_8(image_size=16, filters=16, depth=3, kernel_size=5, patch_size=2, num_classes=4):
    inputs = keras.Input((image_size, image_size, 3))
    x = layers.Rescaling(scale=1.0 / 255)(inputs)
    x = conv_stem(x, filters, patch_size)
    for _ in range(depth):
        x = conv_mixer_block(x, filters, kernel_size)
    x = layers.GlobalAvgPool2D()(x)
    outputs = layers.Dense(num_classes, activation="softmax")(x)
    return keras.Model(inputs, outputs)


def run_experiment(model):
    optimizer = keras.optimizers.AdamW(learning_rate=0.001, weight_decay=0.0001)
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    checkpoint_filepath = "checkpoint.keras"
    checkpoint_callback = keras.callbacks.ModelCheckpoint(
        checkpoint_filepath, monitor="val_accuracy", save_best_only=True, save_weights_only=False
    )
    history = model.fit(
        x_train,
        y_train,
        validation_data=(x_val, y_val),
        epochs=4,
        batch_size=32,
        callbacks=[checkpoint_callback],
    )
    model = keras.models.load_model(checkpoint_filepath)
    _, accuracy = model.evaluate(x_val, y_val)
    return history, model


history, conv_mixer_model = run_experiment(get_conv_mixer_256_8())
conv_weights = conv_mixer_model.layers[2].get_weights()[0]
print(conv_weights.shape)
