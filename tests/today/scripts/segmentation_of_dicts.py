"""Segmentation: a U-Net of functional blocks over dicts of images and masks; a callback that shows; weights for classes."""

import numpy as np
import tensorflow as tf
from tensorflow.keras.models import Model
from tensorflow.keras.layers import (
    Input,
    Conv2D,
    MaxPooling2D,
    Dropout,
    UpSampling2D,
    concatenate,
    Conv2DTranspose,
    BatchNormalization,
    Activation,
)

rng = np.random.RandomState(0)
N, S = 24, 32
images = rng.randint(0, 255, (N, S, S, 3)).astype(np.uint8)
masks = (images.mean(-1, keepdims=True) > 127).astype(np.uint8) + 1
raw = tf.data.Dataset.from_tensor_slices({"image": images, "segmentation_mask": masks})


def normalize(input_image, input_mask):
    input_image = tf.cast(input_image, tf.float32) / 255.0
    input_mask -= 1
    return input_image, input_mask


def load_image(datapoint):
    input_image = tf.image.resize(datapoint["image"], (S, S))
    input_mask = tf.image.resize(
        datapoint["segmentation_mask"], (S, S), method=tf.image.ResizeMethod.NEAREST_NEIGHBOR
    )
    return normalize(input_image, input_mask)


class Augment(tf.keras.layers.Layer):
    def __init__(self, seed=42):
        super().__init__()
        self.augment_inputs = tf.keras.layers.RandomFlip(mode="horizontal", seed=seed)
        self.augment_labels = tf.keras.layers.RandomFlip(mode="horizontal", seed=seed)

    def call(self, inputs, labels):
        inputs = self.augment_inputs(inputs)
        labels = self.augment_labels(labels)
        return inputs, labels


train_images = raw.take(16).map(load_image, num_parallel_calls=tf.data.AUTOTUNE)
test_images = raw.skip(16).map(load_image, num_parallel_calls=tf.data.AUTOTUNE)
train_batches = (
    train_images.cache().shuffle(16).batch(8).repeat().map(Augment()).prefetch(buffer_size=tf.data.AUTOTUNE)
)
test_batches = test_images.batch(8)
for im, mk in test_batches.take(1):
    print(im.shape, mk.shape, mk.dtype.name)


def conv2d_block(input_tensor, n_filters, kernel_size=3, batchnorm=True):
    x = input_tensor
    for _ in range(2):
        x = Conv2D(
            filters=n_filters,
            kernel_size=(kernel_size, kernel_size),
            kernel_initializer="he_normal",
            padding="same",
        )(x)
        if batchnorm:
            x = BatchNormalization()(x)
        x = Activation("relu")(x)
    return x


def get_unet(input_img, n_filters=4, dropout=0.1, batchnorm=True):
    c1 = conv2d_block(input_img, n_filters * 1, 3, batchnorm)
    p1 = Dropout(dropout)(MaxPooling2D((2, 2))(c1))
    c2 = conv2d_block(p1, n_filters * 2, 3, batchnorm)
    p2 = Dropout(dropout)(MaxPooling2D((2, 2))(c2))
    c3 = conv2d_block(p2, n_filters=n_filters * 4, batchnorm=batchnorm)
    u4 = Conv2DTranspose(n_filters * 2, (3, 3), strides=(2, 2), padding="same")(c3)
    u4 = Dropout(dropout)(concatenate([u4, c2]))
    c4 = conv2d_block(u4, n_filters * 2, 3, batchnorm)
    u5 = concatenate([UpSampling2D((2, 2))(c4), c1], axis=3)
    c5 = conv2d_block(u5, n_filters, 3, batchnorm)
    outputs = Conv2D(2, (1, 1))(c5)
    return Model(inputs=[input_img], outputs=[outputs])


model = get_unet(Input((S, S, 3), name="img"))
model.compile(
    optimizer="adam",
    loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)


def create_mask(pred_mask):
    pred_mask = tf.math.argmax(pred_mask, axis=-1)
    pred_mask = pred_mask[..., tf.newaxis]
    return pred_mask[0]


class DisplayCallback(tf.keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        m = create_mask(self.model.predict(im, verbose=0))
        print("Sample Prediction after epoch {}".format(epoch + 1), m.shape, m.dtype.name)


history = model.fit(
    train_batches,
    epochs=2,
    steps_per_epoch=2,
    validation_steps=1,
    validation_data=test_batches,
    callbacks=[DisplayCallback()],
    verbose=0,
)


def add_sample_weights(image, label):
    class_weights = tf.constant([2.0, 1.0])
    class_weights = class_weights / tf.reduce_sum(class_weights)
    sample_weights = tf.gather(class_weights, indices=tf.cast(label, tf.int32))
    return image, label, sample_weights


print(train_batches.map(add_sample_weights).element_spec[2].shape)
model.fit(train_batches.map(add_sample_weights), epochs=1, steps_per_epoch=2, verbose=0)


def dice_coef(y_true, y_pred, smooth=1):
    y_true_f = tf.keras.backend.flatten(tf.cast(y_true, tf.float32))
    y_pred_f = tf.keras.backend.flatten(tf.nn.softmax(y_pred)[..., 1:])
    intersection = tf.keras.backend.sum(y_true_f * y_pred_f)
    return (2.0 * intersection + smooth) / (
        tf.keras.backend.sum(y_true_f) + tf.keras.backend.sum(y_pred_f) + smooth
    )


model.compile(
    optimizer=tf.keras.optimizers.Adam(1e-3), loss=lambda t, p: 1 - dice_coef(t, p), metrics=[dice_coef]
)
model.fit(test_batches, epochs=2, verbose=0)
print(float(dice_coef(mk, model(im))) > 0)
