"""ResNet50 as Keras has had it from the beginning (He et al. 2015)."""

from __future__ import annotations

from typing import Any

from kcompile.keras.applications.building import (
    FCHOLLET,
    KERNELS,
    Net,
    Network,
    Weights,
    classifier,
    published,
)
from kcompile.keras.applications.imagenet_utils import decode_predictions, of_mode
from kcompile.keras.layers import Add, MaxPooling2D, ZeroPadding2D

__all__ = ["ResNet50", "decode_predictions", "preprocess_input"]

# Of each stage, from 2 on: how many blocks, and the filters of the inner convolutions
STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))
HE = {"kernel_initializer": "he_normal", "use_bias": True}

preprocess_input = of_mode("caffe")


def _body(net: Net, x: Any) -> Any:
    x = net(ZeroPadding2D, 3, name="conv1_pad")(x)
    x = net.conv(x, 64, 7, strides=2, name="conv1", **HE)
    x = net.relu(net.norm(x, "bn_conv1"))
    x = net(ZeroPadding2D, 1, name="pool1_pad")(x)
    x = net(MaxPooling2D, 3, strides=2)(x)
    for stage, (count, filters) in enumerate(STAGES, 2):
        for block in "abcdef"[:count]:
            strides = 2 if block == "a" and stage > 2 else 1
            x = _block(net, x, filters, strides, f"{stage}{block}_branch", block == "a")
    return x


def _block(net: Net, x: Any, filters: int, strides: int, place: str, projected: bool) -> Any:
    """Three convolutions beside a shortcut, which is a fourth in the first block of a stage."""
    y = net.conv(x, filters, 1, strides=strides, name=f"res{place}2a", **HE)
    y = net.relu(net.norm(y, f"bn{place}2a"))
    y = net.conv(y, filters, 3, padding="same", name=f"res{place}2b", **HE)
    y = net.relu(net.norm(y, f"bn{place}2b"))
    y = net.norm(net.conv(y, 4 * filters, 1, name=f"res{place}2c", **HE), f"bn{place}2c")
    if projected:
        x = net.conv(x, 4 * filters, 1, strides=strides, name=f"res{place}1", **HE)
        x = net.norm(x, f"bn{place}1")
    return net.relu(net(Add)([y, x]))


ResNet50 = published(
    "ResNet50",
    Network(
        "resnet50",
        _body,
        classifier("avg_pool", "fc1000"),
        Weights(
            f"{FCHOLLET}/v0.2",
            (f"resnet50_{KERNELS}.h5", "a7b3fe01876f51b976af0dea6bc144eb"),
            (f"resnet50_{KERNELS}_notop.h5", "a268eb855778b3df3c7506639542a6af"),
        ),
    ),
)
