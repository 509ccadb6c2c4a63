"""EfficientNetV2 B0 to B3, S, M and L (Tan and Le 2021): the first blocks have whole convolutions."""

from __future__ import annotations

import math
from typing import Any

from kcompile.keras.applications.building import (
    DEVIATION,
    GOOGLE,
    MEAN,
    PREPROCESSING,
    Body,
    Net,
    Network,
    Weights,
    published,
)
from kcompile.keras.applications.imagenet_utils import decode_predictions
from kcompile.keras.initializers import Constant
from kcompile.keras.layers.preprocessing.scaling import Normalization, Rescaling
from kcompile.keras.network_names import FAMILIES
from kcompile.keras.newer_networks.efficientnet import (
    Block,
    activated,
    blocks_of,
    conv,
    dense_top,
    mobile,
    preprocess_input,
    rounded,
)

__all__ = [*FAMILIES["efficientnet_v2"], "decode_predictions", "preprocess_input"]

# Stages: blocks, filters, how much wider a block is inside, strides of the first. Stages with a squeeze have
# a depthwise convolution, those without a whole one.
Stage = tuple[int, int, int, int]
FUSED = 3  # the first stages
STAGES: dict[str, tuple[int, tuple[Stage, ...]]] = {  # behind the filters of the first convolution
    "b": (32, ((1, 16, 1, 1), (2, 32, 4, 2), (2, 48, 4, 2), (3, 96, 4, 2), (5, 112, 6, 1), (8, 192, 6, 2))),
    "s": (24, ((2, 24, 1, 1), (4, 48, 4, 2), (4, 64, 4, 2), (6, 128, 4, 2), (9, 160, 6, 1), (15, 256, 6, 2))),
    "m": (
        24,
        (
            *((3, 24, 1, 1), (5, 48, 4, 2), (5, 80, 4, 2)),
            *((7, 160, 4, 2), (14, 176, 6, 1), (18, 304, 6, 2), (5, 512, 6, 1)),
        ),
    ),
    "l": (
        32,
        (
            *((4, 32, 1, 1), (7, 64, 4, 2), (7, 96, 4, 2)),
            *((10, 192, 4, 2), (19, 224, 6, 1), (25, 384, 6, 2), (7, 640, 6, 1)),
        ),
    ),
}
# Width, depth, size of images, and the digests of weights with and without top
SIZES = {
    "b0": (1.0, 1.0, 224, "21ecbf6da12460d5c40bb2f29ceb2188", "893217f2bb855e2983157299931e43ff"),
    "b1": (1.0, 1.1, 240, "069f0534ff22adf035c89e2d9547a9dc", "0e80663031ca32d657f9caa404b6ec37"),
    "b2": (1.1, 1.2, 260, "424e49f28180edbde1e94797771950a7", "1dfe2e7a5d45b6632553a8961ea609eb"),
    "b3": (1.2, 1.4, 300, "1f1fc43bd98a6e4fd8fdfd551e02c7a0", "f6abf7b5849ac99a89b50dd3fd532856"),
    "s": (1.0, 1.0, 384, "e1d88a8495beba45748fedd0cecbe016", "af0682fb74e8c54910f2d4393339c070"),
    "m": (1.0, 1.0, 480, "a3bf6aa3276309f4fc6a34aa114c95cd", "1b8dc055df72dde80d614482840fe342"),
    "l": (1.0, 1.0, 480, "27e6d408b53c7ebc868fefa357689935", "b0b66b5c863aef5b46e8608fe1711615"),
}


def _body(kind: str, width: float, depth: float) -> Body:
    start, table = STAGES[kind]

    def filters(count: int) -> int:
        return rounded(count * width, 0)

    def body(net: Net, x: Any) -> Any:
        if net.preprocessed and kind == "b" and net.channels(x) == 3:
            x = net(Rescaling, 1 / 255)(x)
            variance = [deviation**2 for deviation in DEVIATION]
            x = net(Normalization, mean=list(MEAN), variance=variance, axis=net.axis)(x)
        elif net.preprocessed:
            x = net(Rescaling, 1 / 128, -1)(x)
        x = conv(net, x, filters(start), 3, "stem_conv", strides=2)
        x = activated(net, x, "stem_bn", "stem_activation")
        before, stages = filters(start), []
        for number, (repeats, count, wider, strides) in enumerate(table):
            fused = number < FUSED
            squeezed = 0.0 if fused else 0.25
            block = Block(before, filters(count), 3, wider, strides, squeezed, fused=fused)
            stages.append((block, math.ceil(depth * repeats)))
            before = block.filters
        for block, dropped, name in blocks_of(stages):
            x = mobile(net, x, block, dropped, name)
        return activated(net, conv(net, x, filters(1280), 1, "top_conv"), "top_bn", "top_activation")

    return body


def _network(kind: str) -> Network:
    width, depth, size, *digests = SIZES[kind]
    name = f"efficientnetv2-{kind}"
    files = (f"{name}.h5", digests[0]), (f"{name}_notop.h5", digests[1])
    return Network(
        name,
        _body(kind[0], width, depth),
        dense_top(0.2, bias_initializer=Constant(0.0)),
        Weights(f"{GOOGLE}/efficientnet_v2", *files),
        size,
        pools=("avg_pool", "max_pool"),
        norm=(("momentum", 0.9),),
    )


EfficientNetV2B0 = published("EfficientNetV2B0", _network("b0"), PREPROCESSING)
EfficientNetV2B1 = published("EfficientNetV2B1", _network("b1"), PREPROCESSING)
EfficientNetV2B2 = published("EfficientNetV2B2", _network("b2"), PREPROCESSING)
EfficientNetV2B3 = published("EfficientNetV2B3", _network("b3"), PREPROCESSING)
EfficientNetV2L = published("EfficientNetV2L", _network("l"), PREPROCESSING)
EfficientNetV2M = published("EfficientNetV2M", _network("m"), PREPROCESSING)
EfficientNetV2S = published("EfficientNetV2S", _network("s"), PREPROCESSING)
