"""Xception (Chollet 2016): separable convolutions."""

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
from kcompile.keras.layers import Add, MaxPooling2D, SeparableConv2D

__all__ = ["Xception", "decode_predictions", "preprocess_input"]

# Blocks that halve height and width: number -> filters of the two separable convolutions
HALVING = {2: (128, 128), 3: (256, 256), 4: (728, 728), 13: (728, 1024)}
MIDDLE = range(5, 13)  # blocks of three with 728 filters

preprocess_input = of_mode("tf")


def _body(net: Net, x: Any) -> Any:
    for name, filters, strides in (("block1_conv1", 32, 2), ("block1_conv2", 64, 1)):
        x = net.norm(net.conv(x, filters, 3, strides=strides, name=name), f"{name}_bn")
        x = net.relu(x, f"{name}_act")
    for block in (2, 3, 4, *MIDDLE, 13):
        x = _halving(net, x, block) if block in HALVING else _middle(net, x, block)
    for i, filters in enumerate((1536, 2048), 1):
        x = net.relu(_separable(net, x, f"block14_sepconv{i}", filters), f"block14_sepconv{i}_act")
    return x


def _separable(net: Net, x: Any, name: str, filters: int) -> Any:
    x = net(SeparableConv2D, filters, 3, padding="same", use_bias=False, name=name)(x)
    return net.norm(x, f"{name}_bn")


def _halving(net: Net, x: Any, block: int) -> Any:
    filters = HALVING[block]
    shortcut = net.norm(net.conv(x, filters[-1], 1, strides=2, padding="same"))
    for i, count in enumerate(filters, 1):
        if (block, i) != (2, 1):  # which stands behind an activation
            x = net.relu(x, f"block{block}_sepconv{i}_act")
        x = _separable(net, x, f"block{block}_sepconv{i}", count)
    x = net(MaxPooling2D, 3, strides=2, padding="same", name=f"block{block}_pool")(x)
    return net(Add)([x, shortcut])


def _middle(net: Net, x: Any, block: int) -> Any:
    y = x
    for i in (1, 2, 3):
        y = _separable(net, net.relu(y, f"block{block}_sepconv{i}_act"), f"block{block}_sepconv{i}", 728)
    return net(Add)([y, x])


Xception = published(
    "Xception",
    Network(
        "xception",
        _body,
        classifier("avg_pool", "predictions"),
        Weights(
            f"{FCHOLLET}/v0.4",
            (f"xception_{KERNELS}.h5", "0a58e3b7378bc2990ea3b43d5981f1f6"),
            (f"xception_{KERNELS}_notop.h5", "b0042744bf5b25fce3cb969f33bebb97"),
        ),
        size=299,
        least=71,
        last=-1,
    ),
)
