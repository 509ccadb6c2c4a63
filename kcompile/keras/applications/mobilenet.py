"""MobileNet (Howard et al. 2017) and MobileNetV2 (Sandler et al. 2018)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from kcompile.keras.applications.building import CLASSES, FCHOLLET, Body, Net, Network, Weights, classifier
from kcompile.keras.applications.building import Top as _Top
from kcompile.keras.applications.imagenet_utils import decode_predictions, of_mode
from kcompile.keras.backend import int_shape
from kcompile.keras.layers import (
    Activation,
    Add,
    DepthwiseConv2D,
    Dropout,
    GlobalAveragePooling2D,
    ReLU,
    Reshape,
    ZeroPadding2D,
)
from kcompile.keras.models import Model
from kcompile.keras.settings import image_data_format
from kcompile_runtime.errors import InputError, describe

__all__ = ["MobileNet", "MobileNetV2", "decode_predictions", "preprocess_input"]

V2_HOME = "https://github.com/JonathanCMitchell/mobilenet_v2_keras/releases/download/v1.1"
SIDES = (128, 160, 192, 224)  # of images that there are weights for; V2 also has 96
WIDTHS = {0.25: "2_5", 0.5: "5_0", 0.75: "7_5", 1.0: "1_0"}  # alpha -> how files write it
V2_WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
# Blocks of MobileNet: filters and strides
BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
# Blocks of MobileNetV2: filters, strides of the first, and how many
V2_BLOCKS = ((16, 1, 1), (24, 2, 2), (32, 2, 3), (64, 2, 4), (96, 1, 3), (160, 2, 3), (320, 1, 1))

preprocess_input = of_mode("tf")


def MobileNet(
    input_shape: Sequence[int | None] | None = None,
    alpha: float = 1.0,
    depth_multiplier: int = 1,
    dropout: float = 1e-3,
    include_top: bool = True,
    weights: Any = "imagenet",
    input_tensor: Any = None,
    pooling: str | None = None,
    classes: int = CLASSES,
    classifier_activation: Any = "softmax",
    name: str | None = None,
    vintage: str | None = None,
) -> Model:
    """MobileNet. alpha: the share of filters that every layer has. depth_multiplier: outputs of a depthwise
    convolution for each channel. dropout: of the top. The others as in `building.published`."""
    if weights == "imagenet":
        _check_width(alpha, tuple(WIDTHS))
        if depth_multiplier != 1:
            raise InputError(
                describe("depth_multiplier", "1 with weights for ImageNet", str(depth_multiplier))
            )
    usual = _side(input_shape, None, SIDES)
    rows = _rows(input_shape, usual, include_top)
    side = _stored_side(rows, SIDES) if weights == "imagenet" else rows
    text = WIDTHS.get(alpha, "")
    files = (f"mobilenet_{text}_{side}_tf.h5", None), (f"mobilenet_{text}_{side}_tf_no_top.h5", None)
    network = Network(
        f"mobilenet_{alpha:0.2f}_{side}",
        _body(alpha, depth_multiplier),
        _top(alpha, dropout),
        Weights(f"{FCHOLLET}/v0.6", *files),
        size=usual,
        last=-1,
    )
    arguments = include_top, weights, input_tensor, input_shape, pooling, classes
    return network.build(*arguments, classifier_activation, name, vintage)


def _body(alpha: float, multiplier: int) -> Body:
    def body(net: Net, x: Any) -> Any:
        x = net.norm(net.halving_conv(x, int(32 * alpha), "conv1", ((0, 1), (0, 1))), "conv1_bn")
        x = net(ReLU, 6.0, name="conv1_relu")(x)
        for i, (filters, strides) in enumerate(BLOCKS, 1):
            if strides == 2:
                x = net(ZeroPadding2D, ((0, 1), (0, 1)), name=f"conv_pad_{i}")(x)
            x = net(
                DepthwiseConv2D,
                3,
                padding="same" if strides == 1 else "valid",
                depth_multiplier=multiplier,
                strides=strides,
                use_bias=False,
                name=f"conv_dw_{i}",
            )(x)
            x = net(ReLU, 6.0, name=f"conv_dw_{i}_relu")(net.norm(x, f"conv_dw_{i}_bn"))
            x = net.conv(x, int(filters * alpha), 1, padding="same", name=f"conv_pw_{i}")
            x = net(ReLU, 6.0, name=f"conv_pw_{i}_relu")(net.norm(x, f"conv_pw_{i}_bn"))
        return x

    return body


def _top(alpha: float, dropout: float) -> _Top:
    def top(net: Net, x: Any, classes: int) -> Any:
        filters = int(1024 * alpha)
        if net.since_tf:
            x = net(GlobalAveragePooling2D, keepdims=True)(x)
        else:
            x = net(GlobalAveragePooling2D)(x)
            x = net(Reshape, (filters, 1, 1) if net.axis == 1 else (1, 1, filters), name="reshape_1")(x)
        x = net(Dropout, dropout, name="dropout")(x)
        x = net.conv(x, classes, 1, padding="same", use_bias=True, name="conv_preds")
        x = net(Reshape, (classes,), name="reshape_2")(x)
        name = "predictions" if net.since_tf else "act_softmax"
        return net(Activation, net.activation or "linear", name=name)(x)

    return top


# ---------------------------------------------------------------- MobileNetV2


def MobileNetV2(
    input_shape: Sequence[int | None] | None = None,
    alpha: float = 1.0,
    include_top: bool = True,
    weights: Any = "imagenet",
    input_tensor: Any = None,
    pooling: str | None = None,
    classes: int = CLASSES,
    classifier_activation: Any = "softmax",
    name: str | None = None,
    vintage: str | None = None,
) -> Model:
    """MobileNetV2. alpha: the share of filters that a layer has. The others as in `building.published`."""
    if weights == "imagenet":
        _check_width(alpha, V2_WIDTHS)
    usual = _side(input_shape, input_tensor, (96, *SIDES))
    rows = _rows(input_shape, usual, include_top)
    side = _stored_side(rows, (96, *SIDES)) if weights == "imagenet" else rows
    start = f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_{side}"
    network = Network(
        f"mobilenetv2_{alpha:0.2f}_{side}",
        _v2(alpha),
        classifier("", "Logits", "predictions"),
        Weights(V2_HOME, (f"{start}.h5", None), (f"{start}_no_top.h5", None)),
        size=usual,
        last=-1,
        norm=(("epsilon", 1e-3), ("momentum", 0.999)),
    )
    arguments = include_top, weights, input_tensor, input_shape, pooling, classes
    return network.build(*arguments, classifier_activation, name, vintage)


def _v2(alpha: float) -> Body:
    def body(net: Net, x: Any) -> Any:
        x = net.norm(net.halving_conv(x, _eights(32 * alpha), "Conv1", net.halving_pad(x, 3)), "bn_Conv1")
        x = net(ReLU, 6.0, name="Conv1_relu")(x)
        number = 0
        for filters, strides, count in V2_BLOCKS:
            for i in range(count):
                x = _inverted(net, x, _eights(int(filters * alpha)), 1 if i else strides, number)
                number += 1
        last = _eights(1280 * alpha) if alpha > 1 else 1280
        x = net.norm(net.conv(x, last, 1, name="Conv_1"), "Conv_1_bn")
        return net(ReLU, 6.0, name="out_relu")(x)

    return body


def _inverted(net: Net, x: Any, filters: int, strides: int, number: int) -> Any:
    """A block that is wide inside: expanded, filtered channel by channel, and projected."""
    channels, y = net.channels(x), x
    name = f"block_{number}_" if number else "expanded_conv_"
    if number:
        y = net.norm(net.conv(y, 6 * channels, 1, padding="same", name=f"{name}expand"), f"{name}expand_BN")
        y = net(ReLU, 6.0, name=f"{name}expand_relu")(y)
    if strides == 2:
        y = net(ZeroPadding2D, net.halving_pad(y, 3), name=f"{name}pad")(y)
    padding = "same" if strides == 1 else "valid"
    y = net(DepthwiseConv2D, 3, strides=strides, use_bias=False, padding=padding, name=f"{name}depthwise")(y)
    y = net(ReLU, 6.0, name=f"{name}depthwise_relu")(net.norm(y, f"{name}depthwise_BN"))
    y = net.norm(net.conv(y, filters, 1, padding="same", name=f"{name}project"), f"{name}project_BN")
    return net(Add, name=f"{name}add")([x, y]) if channels == filters and strides == 1 else y


def _eights(count: float) -> int:
    """The nearest multiple of 8 that is at least 8, and not less than nine tenths of the count."""
    found = max(8, int(count + 4) // 8 * 8)
    return found + 8 if found < 0.9 * count else found


# ---------------------------------------------------------------- both


def _check_width(alpha: float, known: tuple[float, ...]) -> None:
    if alpha not in known:
        raise InputError(
            describe("alpha", "with weights for ImageNet, one of " + ", ".join(map(str, known)), str(alpha))
        )


def _side(input_shape: Any, input_tensor: Any, known: tuple[int, ...]) -> int:
    """The usual size of images: that of the input, where there are weights for it."""
    shape = input_shape
    if shape is None and input_tensor is not None:
        shape = int_shape(input_tensor)[1:]
    if shape is None or len(shape) != 3:
        return 224
    rows, columns = shape[1:] if image_data_format() == "channels_first" else shape[:2]
    return int(rows) if rows == columns and rows in known else 224


def _rows(input_shape: Any, usual: int, include_top: bool) -> Any:
    """The height of images that the model's name tells."""
    if input_shape is None:
        return usual if include_top else None
    return input_shape[1 if image_data_format() == "channels_first" else 0]


def _stored_side(rows: Any, known: tuple[int, ...]) -> int:
    """The size that the file of weights is for."""
    if rows in known:
        return int(rows)
    warnings.warn("weights for images of 224 x 224 are loaded, of those that there are", stacklevel=3)
    return 224
