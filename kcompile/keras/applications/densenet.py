"""DenseNet121, 169 and 201 (Huang et al. 2016)."""

from __future__ import annotations

from typing import Any

from kcompile.keras.applications.building import (
    KERAS_TEAM,
    KERNELS,
    Body,
    Net,
    Network,
    Weights,
    classifier,
    published,
)
from kcompile.keras.applications.imagenet_utils import decode_predictions, of_mode
from kcompile.keras.layers import AveragePooling2D, Concatenate, MaxPooling2D, ZeroPadding2D

__all__ = ["DenseNet121", "DenseNet169", "DenseNet201", "decode_predictions", "preprocess_input"]

GROWTH = 32  # channels that a block adds

preprocess_input = of_mode("torch")


def _body(counts: tuple[int, ...]) -> Body:
    def body(net: Net, x: Any) -> Any:
        x = net(ZeroPadding2D, 3)(x)
        x = net.conv(x, 64, 7, strides=2, name=net.named("conv1/conv"))
        x = net.relu(net.norm(x, net.named("conv1/bn")), net.named("conv1/relu"))
        x = net(ZeroPadding2D, 1)(x)
        x = net(MaxPooling2D, 3, strides=2, name="pool1")(x)
        for stack, count in enumerate(counts, 2):
            for block in range(1, count + 1):
                x = _block(net, x, f"conv{stack}_block{block}")
            if stack < 5:
                x = _transition(net, x, f"pool{stack}")
        return net.relu(net.norm(x, "bn"), "relu")

    return body


def _block(net: Net, x: Any, name: str) -> Any:
    """The channels of x, and GROWTH more."""
    y = net.relu(net.norm(x, f"{name}_0_bn"), f"{name}_0_relu")
    y = net.conv(y, 4 * GROWTH, 1, name=f"{name}_1_conv")
    y = net.relu(net.norm(y, f"{name}_1_bn"), f"{name}_1_relu")
    y = net.conv(y, GROWTH, 3, padding="same", name=f"{name}_2_conv")
    return net(Concatenate, axis=net.axis, name=f"{name}_concat")([x, y])


def _transition(net: Net, x: Any, name: str) -> Any:
    """Half the channels, and half the height and width."""
    x = net.relu(net.norm(x, f"{name}_bn"), f"{name}_relu")
    x = net.conv(x, net.channels(x) // 2, 1, name=f"{name}_conv")
    return net(AveragePooling2D, 2, strides=2, name=f"{name}_pool")(x)


def _network(name: str, counts: tuple[int, ...], whole: str, headless: str) -> Network:
    weights = Weights(
        f"{KERAS_TEAM}/densenet", (f"{name}_{KERNELS}.h5", whole), (f"{name}_{KERNELS}_notop.h5", headless)
    )
    return Network(
        name,
        _body(counts),
        classifier("avg_pool", "fc1000", "predictions"),
        weights,
        pools=("avg_pool", "max_pool"),
        norm=(("epsilon", 1.001e-5),),
    )


DenseNet121 = published(
    "DenseNet121",
    _network(
        "densenet121", (6, 12, 24, 16), "9d60b8095a5708f2dcce2bca79d332c7", "30ee3e1110167f948a6b9946edeeb738"
    ),
)
DenseNet169 = published(
    "DenseNet169",
    _network(
        "densenet169", (6, 12, 32, 32), "d699b8f76981ab1b30698df4c175e90b", "b8c4d4c20dd625c148057b9ff1c1176b"
    ),
)
DenseNet201 = published(
    "DenseNet201",
    _network(
        "densenet201", (6, 12, 48, 32), "1ceb130c1ea1b78c3bf6114dbdfd8807", "c13680b51ded0fb44dff2d8f86ac8bb1"
    ),
)
