"""A detector with a pyramid of features, heads shared by its levels, and focal and smooth L1 losses."""

import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(16)
SIZE, CLASSES = 32, 3
images = rng.uniform(0, 255, (12, SIZE, SIZE, 3)).astype("float32")
anchors = np.array(
    [
        [(i + 0.5) * s, (j + 0.5) * s, 2 * s, 2 * s]
        for s in (8, 16)
        for i in range(SIZE // s)
        for j in range(SIZE // s)
    ],
    "float32",
)
corners = np.concatenate([rng.uniform(0, 14, (12, 2)), rng.uniform(18, 32, (12, 2))], -1).astype("float32")
boxes = keras.utils.bounding_boxes.convert_format(corners[:, None], source="xyxy", target="center_xywh")
boxes = ops.convert_to_numpy(boxes)
anchor_corners = ops.convert_to_numpy(
    keras.utils.bounding_boxes.convert_format(anchors, "center_xywh", "xyxy")
)
iou = ops.convert_to_numpy(
    keras.utils.bounding_boxes.compute_iou(anchor_corners, corners, bounding_box_format="xyxy")
)
print(iou.shape, np.round(iou.max(), 4))
kind = rng.integers(0, CLASSES, 12)
labels = np.full((12, len(anchors), 5), -1.0, "float32")
variance = np.array([0.1, 0.1, 0.2, 0.2], "float32")
for n in range(12):
    for a in range(len(anchors)):
        offsets = (
            np.concatenate(
                [
                    (boxes[n, 0, :2] - anchors[a, :2]) / anchors[a, 2:],
                    np.log(boxes[n, 0, 2:] / anchors[a, 2:]),
                ]
            )
            / variance
        )
        labels[n, a, :4] = offsets
        labels[n, a, 4] = kind[n] if iou[a, n] > 0.25 else (-1.0 if iou[a, n] < 0.15 else -2.0)


class FeaturePyramid(layers.Layer):
    def __init__(self, backbone=None, **kwargs):
        super().__init__(name="FeaturePyramid", **kwargs)
        self.backbone = backbone
        self.c3, self.c4 = layers.Conv2D(8, 1, 1, "same"), layers.Conv2D(8, 1, 1, "same")
        self.upsample_2x = layers.UpSampling2D(2)

    def call(self, images, training=False):
        c3, c4 = self.backbone(images, training=training)
        p3, p4 = self.c3(c3), self.c4(c4)
        return p3 + self.upsample_2x(p4), p4


def build_head(output_filters, bias_init):
    head = keras.Sequential([keras.Input(shape=[None, None, 8])])
    kernel_init = keras.initializers.RandomNormal(0.0, 0.01)
    for _ in range(2):
        head.add(layers.Conv2D(8, 3, padding="same", kernel_initializer=kernel_init))
        head.add(layers.ReLU())
    head.add(
        layers.Conv2D(
            output_filters, 3, 1, padding="same", kernel_initializer=kernel_init, bias_initializer=bias_init
        )
    )
    return head


def backbone():
    inputs = keras.Input((None, None, 3))
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Conv2D(8, 3, strides=4, padding="same", activation="relu")(x)
    c3 = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="c3")(x)
    c4 = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="c4")(c3)
    return keras.Model(inputs, [c3, c4])


class RetinaNet(keras.Model):
    def __init__(self, num_classes, backbone=None, **kwargs):
        super().__init__(name="RetinaNet", **kwargs)
        self.fpn = FeaturePyramid(backbone)
        self.num_classes = num_classes
        prior = keras.initializers.Constant(-float(np.log((1 - 0.01) / 0.01)))
        self.cls_head = build_head(num_classes, prior)
        self.box_head = build_head(4, "zeros")

    def call(self, image, training=False):
        features = self.fpn(image, training=training)
        n = ops.shape(image)[0]
        cls_outputs, box_outputs = [], []
        for feature in features:
            box_outputs.append(ops.reshape(self.box_head(feature), [n, -1, 4]))
            cls_outputs.append(ops.reshape(self.cls_head(feature), [n, -1, self.num_classes]))
        return ops.concatenate([ops.concatenate(box_outputs, 1), ops.concatenate(cls_outputs, 1)], axis=-1)


class BoxLoss(keras.losses.Loss):
    def __init__(self, delta):
        super().__init__(reduction="none", name="RetinaNetBoxLoss")
        self._delta = delta

    def call(self, y_true, y_pred):
        difference = y_true - y_pred
        absolute, squared = ops.abs(difference), difference**2
        loss = ops.where(ops.less(absolute, self._delta), 0.5 * squared, absolute - 0.5)
        return ops.sum(loss, axis=-1)


class ClassLoss(keras.losses.Loss):
    def __init__(self, alpha, gamma):
        super().__init__(reduction="none", name="RetinaNetClassificationLoss")
        self._alpha, self._gamma = alpha, gamma

    def call(self, y_true, y_pred):
        cross = ops.relu(y_pred) - y_pred * y_true + ops.log1p(ops.exp(-ops.abs(y_pred)))
        probs = ops.sigmoid(y_pred)
        alpha = ops.where(ops.equal(y_true, 1.0), self._alpha, 1.0 - self._alpha)
        pt = ops.where(ops.equal(y_true, 1.0), probs, 1 - probs)
        return ops.sum(alpha * ops.power(1.0 - pt, self._gamma) * cross, axis=-1)


class RetinaLoss(keras.losses.Loss):
    def __init__(self, num_classes=3, alpha=0.25, gamma=2.0, delta=1.0):
        super().__init__(reduction="sum_over_batch_size", name="RetinaNetLoss")
        self._clf_loss, self._box_loss = ClassLoss(alpha, gamma), BoxLoss(delta)
        self._num_classes = num_classes

    def call(self, y_true, y_pred):
        y_pred = ops.cast(y_pred, "float32")
        box_labels, box_predictions = y_true[:, :, :4], y_pred[:, :, :4]
        cls_labels = ops.one_hot(ops.cast(y_true[:, :, 4], "int32"), self._num_classes, dtype="float32")
        cls_predictions = y_pred[:, :, 4:]
        positive = ops.cast(ops.greater(y_true[:, :, 4], -1.0), "float32")
        ignore = ops.cast(ops.equal(y_true[:, :, 4], -2.0), "float32")
        clf_loss = self._clf_loss(cls_labels, cls_predictions)
        box_loss = self._box_loss(box_labels, box_predictions)
        clf_loss = ops.where(ops.equal(ignore, 1.0), 0.0, clf_loss)
        box_loss = ops.where(ops.equal(positive, 1.0), box_loss, 0.0)
        normalizer = ops.sum(positive, axis=-1)
        clf_loss = ops.divide_no_nan(ops.sum(clf_loss, axis=-1), normalizer)
        box_loss = ops.divide_no_nan(ops.sum(box_loss, axis=-1), normalizer)
        return clf_loss + box_loss


schedule = keras.optimizers.schedules.PiecewiseConstantDecay([4, 8, 12], [2.5e-4, 1e-3, 1e-2, 5e-3])
model = RetinaNet(CLASSES, backbone())
model.compile(loss=RetinaLoss(CLASSES), optimizer=keras.optimizers.SGD(learning_rate=schedule, momentum=0.9))
model.fit(images, labels, epochs=5, batch_size=3, verbose=0)
model.predict(images, verbose=0)
