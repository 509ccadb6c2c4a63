"""Image segmentation with a U-Net-like Xception over a PyDataset of its own."""

import math

import numpy as np

import keras
from keras import layers

img_size = (32, 32)
num_classes = 3
batch_size = 8


class OxfordPets(keras.utils.PyDataset):
    """Helper to iterate over the data (as Numpy arrays)."""

    def __init__(self, batch_size, images, masks, **kwargs):
        super().__init__(**kwargs)
        self.batch_size = batch_size
        self.images = images
        self.masks = masks

    def __len__(self):
        return math.ceil(len(self.images) / self.batch_size)

    def __getitem__(self, idx):
        i = idx * self.batch_size
        x = self.images[i : i + self.batch_size].astype("float32") / 255.0
        y = np.expand_dims(self.masks[i : i + self.batch_size], 3)
        return x, y


def get_model(img_size, num_classes):
    inputs = keras.Input(shape=img_size + (3,))

    x = layers.Conv2D(8, 3, strides=2, padding="same")(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.Activation("relu")(x)

    previous_block_activation = x
    for filters in [8, 16]:
        x = layers.Activation("relu")(x)
        x = layers.SeparableConv2D(filters, 3, padding="same")(x)
        x = layers.BatchNormalization()(x)
        x = layers.Activation("relu")(x)
        x = layers.SeparableConv2D(filters, 3, padding="same")(x)
        x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        residual = layers.Conv2D(filters, 1, strides=2, padding="same")(previous_block_activation)
        x = layers.add([x, residual])
        previous_block_activation = x

    for filters in [16, 8, 4]:
        x = layers.Activation("relu")(x)
        x = layers.Conv2DTranspose(filters, 3, padding="same")(x)
        x = layers.BatchNormalization()(x)
        x = layers.Activation("relu")(x)
        x = layers.Conv2DTranspose(filters, 3, padding="same")(x)
        x = layers.BatchNormalization()(x)
        x = layers.UpSampling2D(2)(x)
        residual = layers.UpSampling2D(2)(previous_block_activation)
        residual = layers.Conv2D(filters, 1, padding="same")(residual)
        x = layers.add([x, residual])
        previous_block_activation = x

    outputs = layers.Conv2D(num_classes, 3, activation="softmax", padding="same")(x)
    return keras.Model(inputs, outputs)


rng = np.random.RandomState(2)
masks = rng.randint(0, 3, (48, 8, 8)).repeat(4, 1).repeat(4, 2).astype("uint8")
images = (masks[..., None] * 80 + rng.randint(0, 60, (48, 32, 32, 3))).astype("uint8")

model = get_model(img_size, num_classes)
train = OxfordPets(batch_size, images[:40], masks[:40], workers=2, max_queue_size=4)
val = OxfordPets(batch_size, images[40:], masks[40:])
model.compile(
    optimizer=keras.optimizers.Adam(1e-5),
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy", keras.metrics.MeanIoU(num_classes=3, sparse_y_pred=False, name="miou")],
)
model.fit(train, epochs=4, validation_data=val, verbose=2)
val_preds = model.predict(val)
mask = np.argmax(val_preds[0], axis=-1)
mask = np.expand_dims(mask, axis=-1)
img = keras.utils.array_to_img(mask)
print(img.size)
