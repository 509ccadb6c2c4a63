"""A detector: anchors, a grid of predictions, a loss over cells, boxes decoded and suppressed with functions of tf."""

import numpy as np
import tensorflow as tf
from tensorflow.keras import Model
from tensorflow.keras.layers import (
    BatchNormalization,
    Conv2D,
    Input,
    LeakyReLU,
    Reshape,
    ZeroPadding2D,
    Add,
    Lambda,
)
from tensorflow.keras.regularizers import l2
from tensorflow.keras.losses import binary_crossentropy, sparse_categorical_crossentropy

ANCHORS = np.array([(8, 10), (16, 20), (24, 12)], np.float32) / 32
GRID, CLASSES, SIZE = 4, 3, 32


def DarknetConv(x, filters, size, strides=1, batch_norm=True):
    if strides == 1:
        padding = "same"
    else:
        x = ZeroPadding2D(((1, 0), (1, 0)))(x)
        padding = "valid"
    x = Conv2D(
        filters=filters,
        kernel_size=size,
        strides=strides,
        padding=padding,
        use_bias=not batch_norm,
        kernel_regularizer=l2(0.0005),
    )(x)
    if batch_norm:
        x = BatchNormalization()(x)
        x = LeakyReLU(alpha=0.1)(x)
    return x


def DarknetResidual(x, filters):
    prev = x
    x = DarknetConv(x, filters // 2, 1)
    x = DarknetConv(x, filters, 3)
    return Add()([prev, x])


def yolo(size, channels, anchors, classes):
    x = inputs = Input([size, size, channels], name="input")
    for filters in (4, 8, 8):
        x = DarknetConv(x, filters, 3, strides=2)
        x = DarknetResidual(x, filters)
    x = DarknetConv(x, len(anchors) * (classes + 5), 1, batch_norm=False)
    x = Lambda(lambda x: tf.reshape(x, (-1, tf.shape(x)[1], tf.shape(x)[2], len(anchors), classes + 5)))(x)
    return Model(inputs, x, name="yolo")


def yolo_boxes(pred, anchors, classes):
    grid_size = tf.shape(pred)[1:3]
    box_xy, box_wh, objectness, class_probs = tf.split(pred, (2, 2, 1, classes), axis=-1)
    box_xy = tf.sigmoid(box_xy)
    objectness = tf.sigmoid(objectness)
    class_probs = tf.sigmoid(class_probs)
    pred_box = tf.concat((box_xy, box_wh), axis=-1)
    grid = tf.meshgrid(tf.range(grid_size[1]), tf.range(grid_size[0]))
    grid = tf.expand_dims(tf.stack(grid, axis=-1), axis=2)
    box_xy = (box_xy + tf.cast(grid, tf.float32)) / tf.cast(grid_size, tf.float32)
    box_wh = tf.exp(box_wh) * anchors
    box_x1y1, box_x2y2 = box_xy - box_wh / 2, box_xy + box_wh / 2
    return tf.concat([box_x1y1, box_x2y2], axis=-1), objectness, class_probs, pred_box


def broadcast_iou(box_1, box_2):
    box_1 = tf.expand_dims(box_1, -2)
    box_2 = tf.expand_dims(box_2, 0)
    new_shape = tf.broadcast_dynamic_shape(tf.shape(box_1), tf.shape(box_2))
    box_1, box_2 = tf.broadcast_to(box_1, new_shape), tf.broadcast_to(box_2, new_shape)
    int_w = tf.maximum(tf.minimum(box_1[..., 2], box_2[..., 2]) - tf.maximum(box_1[..., 0], box_2[..., 0]), 0)
    int_h = tf.maximum(tf.minimum(box_1[..., 3], box_2[..., 3]) - tf.maximum(box_1[..., 1], box_2[..., 1]), 0)
    int_area = int_w * int_h
    area_1 = (box_1[..., 2] - box_1[..., 0]) * (box_1[..., 3] - box_1[..., 1])
    area_2 = (box_2[..., 2] - box_2[..., 0]) * (box_2[..., 3] - box_2[..., 1])
    return int_area / (area_1 + area_2 - int_area)


def YoloLoss(anchors, classes=CLASSES, ignore_thresh=0.5):
    def yolo_loss(y_true, y_pred):
        pred_box, pred_obj, pred_class, pred_xywh = yolo_boxes(y_pred, anchors, classes)
        pred_xy, pred_wh = pred_xywh[..., 0:2], pred_xywh[..., 2:4]
        true_box, true_obj, true_class_idx = tf.split(y_true, (4, 1, 1), axis=-1)
        true_xy = (true_box[..., 0:2] + true_box[..., 2:4]) / 2
        true_wh = true_box[..., 2:4] - true_box[..., 0:2]
        box_loss_scale = 2 - true_wh[..., 0] * true_wh[..., 1]
        grid_size = tf.shape(y_true)[1]
        grid = tf.meshgrid(tf.range(grid_size), tf.range(grid_size))
        grid = tf.expand_dims(tf.stack(grid, axis=-1), axis=2)
        true_xy = true_xy * tf.cast(grid_size, tf.float32) - tf.cast(grid, tf.float32)
        true_wh = tf.math.log(true_wh / anchors)
        true_wh = tf.where(tf.math.is_inf(true_wh), tf.zeros_like(true_wh), true_wh)
        obj_mask = tf.squeeze(true_obj, -1)
        xy_loss = obj_mask * box_loss_scale * tf.reduce_sum(tf.square(true_xy - pred_xy), axis=-1)
        wh_loss = obj_mask * box_loss_scale * tf.reduce_sum(tf.square(true_wh - pred_wh), axis=-1)
        obj_loss = binary_crossentropy(true_obj, pred_obj)
        obj_loss = obj_mask * obj_loss + (1 - obj_mask) * obj_loss
        class_loss = obj_mask * sparse_categorical_crossentropy(true_class_idx, pred_class)
        return sum(tf.reduce_sum(x, axis=(1, 2, 3)) for x in (xy_loss, wh_loss, obj_loss, class_loss))

    return yolo_loss


rng = np.random.RandomState(0)
images = rng.rand(16, SIZE, SIZE, 3).astype("float32")
labels = np.zeros((16, GRID, GRID, 3, 6), np.float32)
for n in range(16):
    for _ in range(2):
        c, r, a = rng.randint(GRID), rng.randint(GRID), rng.randint(3)
        xy = (np.array([c, r]) + rng.rand(2)) / GRID
        wh = ANCHORS[a] * (0.8 + 0.4 * rng.rand(2))
        labels[n, r, c, a] = [*(xy - wh / 2), *(xy + wh / 2), 1, rng.randint(CLASSES)]


def transform_images(x_train, size):
    x_train = tf.image.resize(x_train, (size, size))
    return x_train


dataset = (
    tf.data.Dataset.from_tensor_slices((images, labels))
    .batch(8)
    .map(lambda x, y: (transform_images(x, SIZE), y))
)
dataset = dataset.prefetch(buffer_size=tf.data.experimental.AUTOTUNE)
model = yolo(SIZE, 3, ANCHORS, CLASSES)
model.compile(optimizer=tf.keras.optimizers.Adam(learning_rate=1e-3), loss=YoloLoss(ANCHORS))
model.fit(
    dataset,
    epochs=3,
    verbose=0,
    callbacks=[
        tf.keras.callbacks.ReduceLROnPlateau(monitor="loss", verbose=0),
        tf.keras.callbacks.TerminateOnNaN(),
    ],
)
boxes, scores, probs, _ = yolo_boxes(model(images[:1]), ANCHORS, CLASSES)
bbox = tf.reshape(boxes, (1, -1, 1, 4))
print(bbox.shape, tf.reduce_max(scores * probs, axis=-1).shape)
iou = broadcast_iou(tf.reshape(boxes, (-1, 4)), tf.constant([[0.0, 0.0, 0.5, 0.5]]))
print(iou.shape, bool(tf.reduce_all(iou <= 1.0)))
selected = tf.image.non_max_suppression(
    tf.reshape(boxes, (-1, 4))[:, ::-1], tf.reshape(scores, (-1,)), max_output_size=5, iou_threshold=0.5
)
print(selected.shape[0] <= 5, tf.gather(tf.reshape(boxes, (-1, 4)), selected).shape[1])
