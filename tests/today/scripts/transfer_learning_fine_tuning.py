"""Transfer learning: freeze a base, train a head, unfreeze, recompile with a low rate, go on."""

import numpy as np

import keras
from keras import layers

rng = np.random.RandomState(5)
images = (rng.rand(96, 32, 32, 3) * 255).astype("float32")
labels = rng.randint(0, 2, (96, 1)).astype("float32")
images[labels[:, 0] == 1, 8:24, 8:24] *= 0.3

base_model = keras.applications.MobileNetV2(
    weights=None,  # no download here
    input_shape=(32, 32, 3),
    include_top=False,
    alpha=0.35,
)
# Freeze the base_model
base_model.trainable = False

inputs = keras.Input(shape=(32, 32, 3))
scale_layer = keras.layers.Rescaling(scale=1 / 127.5, offset=-1)
x = scale_layer(inputs)
# The base model contains batchnorm layers. We want to keep them in inference mode
x = base_model(x, training=False)
x = keras.layers.GlobalAveragePooling2D()(x)
x = keras.layers.Dropout(0.2)(x)  # Regularize with dropout
outputs = keras.layers.Dense(1)(x)
model = keras.Model(inputs, outputs)
model.summary(show_trainable=True)
print(len(model.trainable_weights), len(model.non_trainable_weights))

model.compile(
    optimizer=keras.optimizers.Adam(),
    loss=keras.losses.BinaryCrossentropy(from_logits=True),
    metrics=[keras.metrics.BinaryAccuracy()],
)
model.fit(images[:80], labels[:80], epochs=2, batch_size=16, validation_data=(images[80:], labels[80:]))

# Unfreeze the base_model. Note that it keeps running in inference mode
base_model.trainable = True
for layer in base_model.layers[:-20]:
    layer.trainable = False
model.summary(show_trainable=True)

model.compile(
    optimizer=keras.optimizers.Adam(1e-5),  # Low learning rate
    loss=keras.losses.BinaryCrossentropy(from_logits=True),
    metrics=[keras.metrics.BinaryAccuracy()],
)
model.fit(images[:80], labels[:80], epochs=2, batch_size=16, validation_data=(images[80:], labels[80:]))
model.evaluate(images[80:], labels[80:], batch_size=8, return_dict=True)
