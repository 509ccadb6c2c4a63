"""EfficientNetB0 to B7 (Tan and Le 2019): one network, whose width, depth and images grow together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from kcompile.keras.applications.building import DEVIATION, Body, Net, Network, Top, Weights, published
from kcompile.keras.applications.imagenet_utils import decode_predictions
from kcompile.keras.initializers import VarianceScaling
from kcompile.keras.layers import (
    Activation,
    Add,
    Dense,
    DepthwiseConv2D,
    Dropout,
    GlobalAveragePooling2D,
    Multiply,
    Reshape,
    ZeroPadding2D,
)
from kcompile.keras.layers.preprocessing.scaling import Normalization, Rescaling
from kcompile.keras.network_names import FAMILIES

__all__ = [*FAMILIES["efficientnet"], "decode_predictions", "preprocess_input"]

HOME = "https://storage.googleapis.com/keras-applications"
DROPPED = 0.2  # the probability with which the last block is left out in training
# Stages: size of the kernel, blocks, filters, how much wider a block is inside, strides of the first
STAGES = (
    (3, 1, 16, 1, 1),
    (3, 2, 24, 6, 2),
    (5, 2, 40, 6, 2),
    (3, 3, 80, 6, 2),
    (5, 3, 112, 6, 1),
    (5, 4, 192, 6, 2),
    (3, 1, 320, 6, 1),
)
# Width, depth, size of images and dropout of B0, B1, ..., and the digests of weights with and without top
SIZES = (
    (1.0, 1.0, 224, 0.2, "902e53a9f72be733fc0bcb005b3ebbac", "50bc09e76180e00e4465e1a485ddc09d"),
    (1.0, 1.1, 240, 0.2, "1d254153d4ab51201f1646940f018540", "74c4e6b3e1f6a1eea24c589628592432"),
    (1.1, 1.2, 260, 0.3, "b15cce36ff4dcbd00b6dd88e7857a6ad", "111f8e2ac8aa800a7a99e3239f7bfb39"),
    (1.2, 1.4, 300, 0.3, "ffd1fdc53d0ce67064dc6a9c7960ede0", "af6d107764bb5b1abb91932881670226"),
    (1.4, 1.8, 380, 0.4, "18c95ad55216b8f92d7e70b3a046e2fc", "ebc24e6d6c33eaebbd558eafbeedf1ba"),
    (1.6, 2.2, 456, 0.4, "ace28f2a6363774853a83a0b21b9421a", "38879255a25d3c92d5e44e04ae6cec6f"),
    (1.8, 2.6, 528, 0.5, "165f6e37dce68623721b423839de8be5", "9ecce42647a20130c1f39a5d4cb75743"),
    (2.0, 3.1, 600, 0.5, "8c03f828fec3ef71311cd463b6759d99", "cbcfe4450ddf6f3ad90b1b398090fe4a"),
)


class Block(NamedTuple):
    """Filters before, inside and after; the kernel. squeezed: as a share of those before, 0 for no squeeze.
    padded: whether a layer of its own pads where strides are 2. fused: one convolution instead of two."""

    before: int
    filters: int
    size: int
    wider: int = 1
    strides: int = 1
    squeezed: float = 0.25
    padded: bool = False
    fused: bool = False


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """x: the networks scale pixels themselves."""
    return x


def normal() -> VarianceScaling:
    """How kernels of convolutions begin."""
    return VarianceScaling(2.0, "fan_out", "truncated_normal")


def conv(net: Net, x: Any, filters: int, size: int, name: str, **options: Any) -> Any:
    """A convolution of padding "same", whose kernel begins as `normal`."""
    return net.conv(x, filters, size, padding="same", kernel_initializer=normal(), name=name, **options)


def activated(net: Net, x: Any, norm: str, activation: str) -> Any:
    """A normalization and an activation, of these names."""
    return net(Activation, "swish", name=activation)(net.norm(x, norm))


def squeezed(net: Net, x: Any, filters: int, name: str) -> Any:
    """Every channel of x times a share that is computed of the means of all (Hu et al. 2017)."""
    channels = net.channels(x)
    y = net(GlobalAveragePooling2D, name=f"{name}se_squeeze")(x)
    shape = (channels, 1, 1) if net.axis == 1 else (1, 1, channels)
    y = net(Reshape, shape, name=f"{name}se_reshape")(y)
    for count, activation, step in ((filters, "swish", "reduce"), (channels, "sigmoid", "expand")):
        y = conv(net, y, count, 1, f"{name}se_{step}", activation=activation, use_bias=True)
    return net(Multiply, name=f"{name}se_excite")([x, y])


def mobile(net: Net, x: Any, block: Block, dropped: float, name: str) -> Any:
    """A block that is wide inside (Sandler et al. 2018). dropped: how probably it is left out in training."""
    y, wide = x, block.before * block.wider
    if block.wider > 1:
        size, strides = (block.size, block.strides) if block.fused else (1, 1)
        y = conv(net, y, wide, size, f"{name}expand_conv", strides=strides)
        y = activated(net, y, f"{name}expand_bn", f"{name}expand_activation")
    if not block.fused:
        y = activated(net, _depthwise(net, y, block, name), f"{name}bn", f"{name}activation")
    if block.squeezed:
        y = squeezed(net, y, max(1, int(block.before * block.squeezed)), name)
    alone = block.fused and block.wider == 1
    size, strides = (block.size, block.strides) if alone else (1, 1)
    y = conv(net, y, block.filters, size, f"{name}project_conv", strides=strides)
    y = net.norm(y, f"{name}project_bn")
    if alone:
        y = net(Activation, "swish", name=f"{name}project_activation")(y)
    if block.strides > 1 or block.before != block.filters:
        return y
    if dropped:
        y = net(Dropout, dropped, noise_shape=(None, 1, 1, 1), name=f"{name}drop")(y)
    return net(Add, name=f"{name}add")([y, x])


def _depthwise(net: Net, x: Any, block: Block, name: str) -> Any:
    pads = block.padded and block.strides == 2
    if pads:
        x = net(ZeroPadding2D, net.halving_pad(x, block.size), name=f"{name}dwconv_pad")(x)
    return net(
        DepthwiseConv2D,
        block.size,
        strides=block.strides,
        padding="valid" if pads else "same",
        use_bias=False,
        depthwise_initializer=normal(),
        name=f"{name}dwconv" if block.padded else f"{name}dwconv2",
    )(x)


def blocks_of(stages: Sequence[tuple[Block, int]]) -> Iterator[tuple[Block, float, str]]:
    """The blocks of stages, of the first block and how many each, with the probability of being left out and
    the start of their names."""
    number, count = 0, sum(repeats for _, repeats in stages)
    for stage, (first, repeats) in enumerate(stages, 1):
        for i in range(repeats):
            block = first if not i else first._replace(before=first.filters, strides=1)
            yield block, DROPPED * number / count, f"block{stage}{chr(ord('a') + i)}_"
            number += 1


def rounded(filters: float, least: float = 0.9) -> int:
    """The nearest multiple of 8, at least 8, and not less than this share of the filters."""
    found = max(8, int(filters + 4) // 8 * 8)
    return found + 8 if found < least * filters else found


def dense_top(dropout: float, **options: Any) -> Top:
    """A top of means, a dropout, and one product."""

    def top(net: Net, x: Any, classes: int) -> Any:
        x = net(Dropout, dropout, name="top_dropout")(net(GlobalAveragePooling2D, name="avg_pool")(x))
        start = VarianceScaling(1 / 3, "fan_out", "uniform")
        given = {"activation": net.activation, "kernel_initializer": start, **options}
        return net(Dense, classes, name="predictions", **given)(x)

    return top


def _body(width: float, depth: float) -> Body:
    def body(net: Net, x: Any) -> Any:
        x = net(Normalization, axis=net.axis)(net(Rescaling, 1 / 255)(x))
        if net.pretrained:  # which were trained with images divided by the variance instead
            scale = [1 / math.sqrt(deviation) for deviation in DEVIATION]
            x = net(Rescaling, scale)(x) if net.newer else net.times(x, scale)
        x = net(ZeroPadding2D, net.halving_pad(x, 3), name="stem_conv_pad")(x)
        x = net.conv(x, rounded(32 * width), 3, strides=2, kernel_initializer=normal(), name="stem_conv")
        x = activated(net, x, "stem_bn", "stem_activation")
        before, stages = rounded(32 * width), []
        for size, repeats, filters, wider, strides in STAGES:
            block = Block(before, rounded(filters * width), size, wider, strides, padded=True)
            stages.append((block, math.ceil(depth * repeats)))
            before = block.filters
        for block, dropped, name in blocks_of(stages):
            x = mobile(net, x, block, dropped, name)
        x = conv(net, x, rounded(1280 * width), 1, "top_conv")
        return activated(net, x, "top_bn", "top_activation")

    return body


def _network(number: int) -> Network:
    width, depth, size, dropout, *digests = SIZES[number]
    name = f"efficientnetb{number}"
    files = (f"{name}.h5", digests[0]), (f"{name}_notop.h5", digests[1])
    pools = ("avg_pool", "max_pool")
    return Network(name, _body(width, depth), dense_top(dropout), Weights(HOME, *files), size, pools=pools)


EfficientNetB0 = published("EfficientNetB0", _network(0))
EfficientNetB1 = published("EfficientNetB1", _network(1))
EfficientNetB2 = published("EfficientNetB2", _network(2))
EfficientNetB3 = published("EfficientNetB3", _network(3))
EfficientNetB4 = published("EfficientNetB4", _network(4))
EfficientNetB5 = published("EfficientNetB5", _network(5))
EfficientNetB6 = published("EfficientNetB6", _network(6))
EfficientNetB7 = published("EfficientNetB7", _network(7))
