"""DeepLab-like segmentation with dilated convolutions, and a mean IoU of one's own."""

import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(24)
images = rng.uniform(-1, 1, (8, 32, 32, 3)).astype("float32")
masks = (images.sum(-1, keepdims=True) > 0).astype("int32") + (images[..., :1] > 0.5)


def convolution_block(x, num_filters=8, kernel_size=3, dilation_rate=1, use_bias=False):
    x = layers.Conv2D(
        num_filters,
        kernel_size=kernel_size,
        dilation_rate=dilation_rate,
        padding="same",
        use_bias=use_bias,
        kernel_initializer=keras.initializers.HeNormal(),
    )(x)
    x = layers.BatchNormalization()(x)
    return ops.nn.relu(x)


def pyramid(dspp_input):
    dims = dspp_input.shape
    x = layers.AveragePooling2D(pool_size=(dims[-3], dims[-2]))(dspp_input)
    x = convolution_block(x, kernel_size=1, use_bias=True)
    out_pool = layers.UpSampling2D(
        size=(dims[-3] // x.shape[1], dims[-2] // x.shape[2]), interpolation="bilinear"
    )(x)
    outs = [convolution_block(dspp_input, kernel_size=1 if r == 1 else 3, dilation_rate=r) for r in (1, 2, 3)]
    return convolution_block(layers.Concatenate(axis=-1)([out_pool, *outs]), kernel_size=1)


model_input = keras.Input(shape=(32, 32, 3))
low = convolution_block(layers.Conv2D(6, 3, strides=2, padding="same")(model_input))
high = layers.SeparableConv2D(8, 3, strides=2, padding="same", activation="relu")(low)
a = layers.UpSampling2D(size=(2, 2), interpolation="bilinear")(pyramid(high))
x = layers.Concatenate(axis=-1)([a, convolution_block(low, 4, 1)])
x = convolution_block(x)
x = layers.UpSampling2D(size=(32 // x.shape[1], 32 // x.shape[2]), interpolation="bilinear")(x)
model = keras.Model(model_input, layers.Conv2D(3, kernel_size=(1, 1), padding="same")(x))


class UpdatedMeanIoU(keras.metrics.MeanIoU):
    def update_state(self, y_true, y_pred, sample_weight=None):
        return super().update_state(y_true, ops.argmax(y_pred, axis=-1), sample_weight)


def dice(y_true, y_pred, smooth=1.0):
    y_true = ops.one_hot(ops.cast(ops.squeeze(y_true, -1), "int32"), 3)
    y_pred = ops.softmax(y_pred)
    inter = ops.sum(y_true * y_pred, axis=(1, 2))
    return 1 - ops.mean((2 * inter + smooth) / (ops.sum(y_true + y_pred, axis=(1, 2)) + smooth), axis=-1)


model.compile(
    keras.optimizers.Adam(1e-3),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=[
        "accuracy",
        UpdatedMeanIoU(num_classes=3, name="iou"),
        keras.metrics.OneHotMeanIoU(3) if False else dice,
    ],
)
model.fit(images, masks, epochs=5, batch_size=2, verbose=0)
pred = np.argmax(np.squeeze(model.predict(images[:1], verbose=0)), axis=2)
print(pred.shape)
