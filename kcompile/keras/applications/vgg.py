"""VGG16 and VGG19 (Simonyan and Zisserman 2014)."""

from __future__ import annotations

from typing import Any

from kcompile.keras.applications.building import FCHOLLET, KERNELS, Body, Net, Network, Weights, published
from kcompile.keras.applications.imagenet_utils import decode_predictions, of_mode
from kcompile.keras.layers import Dense, Flatten, MaxPooling2D

__all__ = ["VGG16", "VGG19", "decode_predictions", "preprocess_input"]

FILTERS = (64, 128, 256, 512, 512)  # of the convolutions of each block

preprocess_input = of_mode("caffe")


def _body(counts: tuple[int, ...]) -> Body:
    def body(net: Net, x: Any) -> Any:
        for block, (count, filters) in enumerate(zip(counts, FILTERS), 1):
            for i in range(1, count + 1):
                name = f"block{block}_conv{i}"
                x = net.conv(x, filters, 3, activation="relu", padding="same", use_bias=True, name=name)
            x = net(MaxPooling2D, 2, strides=2, name=f"block{block}_pool")(x)
        return x

    return body


def _top(net: Net, x: Any, classes: int) -> Any:
    x = net(Flatten, name="flatten")(x)
    for name in ("fc1", "fc2"):
        x = net(Dense, 4096, activation="relu", name=name)(x)
    return net(Dense, classes, activation=net.activation, name="predictions")(x)


def _network(name: str, counts: tuple[int, ...], whole: str, headless: str) -> Network:
    weights = Weights(
        f"{FCHOLLET}/v0.1", (f"{name}_{KERNELS}.h5", whole), (f"{name}_{KERNELS}_notop.h5", headless)
    )
    return Network(name, _body(counts), _top, weights)


VGG16 = published(
    "VGG16",
    _network(
        "vgg16", (2, 2, 3, 3, 3), "64373286793e3c8b2b4e3219cbf3544b", "6d6bbae143d832006294945121d1f1fc"
    ),
)
VGG19 = published(
    "VGG19",
    _network(
        "vgg19", (2, 2, 4, 4, 4), "cbe5617147190e668d6c5d5026f83318", "253f8cb515780f3b799900260a226db6"
    ),
)
