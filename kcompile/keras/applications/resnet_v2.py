"""ResNet50V2, 101V2 and 152V2 (He et al. 2016): activations stand before the convolutions."""

from __future__ import annotations

from typing import Any

from kcompile.keras.applications.building import Body, Net
from kcompile.keras.applications.imagenet_utils import decode_predictions, of_mode
from kcompile.keras.applications.resnet import first_layers, resnet, stacked
from kcompile.keras.layers import Add, MaxPooling2D, ZeroPadding2D

__all__ = ["ResNet50V2", "ResNet101V2", "ResNet152V2", "decode_predictions", "preprocess_input"]

preprocess_input = of_mode("tf")


def _body(counts: tuple[int, ...]) -> Body:
    def body(net: Net, x: Any) -> Any:
        x = first_layers(net, x, False)
        x = stacked(net, x, counts, _block, lambda stack, number: number == counts[stack - 2] and stack < 5)
        return net.relu(net.norm(x, "post_bn"), "post_relu")

    return body


def _block(net: Net, x: Any, filters: int, strides: int, name: str, projected: bool) -> Any:
    before = net.relu(net.norm(x, f"{name}_preact_bn"), f"{name}_preact_relu")
    shortcut = x
    if projected:
        shortcut = net.conv(before, 4 * filters, 1, strides=strides, use_bias=True, name=f"{name}_0_conv")
    elif strides > 1:
        shortcut = net(MaxPooling2D, 1, strides=strides)(x)
    y = net.conv(before, filters, 1, name=f"{name}_1_conv")
    y = net.relu(net.norm(y, f"{name}_1_bn"), f"{name}_1_relu")
    y = net(ZeroPadding2D, 1, name=f"{name}_2_pad")(y)
    y = net.conv(y, filters, 3, strides=strides, name=f"{name}_2_conv")
    y = net.relu(net.norm(y, f"{name}_2_bn"), f"{name}_2_relu")
    y = net.conv(y, 4 * filters, 1, use_bias=True, name=f"{name}_3_conv")
    return net(Add, name=f"{name}_out")([shortcut, y])


ResNet50V2 = resnet(
    "ResNet50V2", _body((3, 4, 6, 3)), "3ef43a0b657b3be2300d5770ece849e0", "fac2f116257151a9d068a22e544a4917"
)
ResNet101V2 = resnet(
    "ResNet101V2",
    _body((3, 4, 23, 3)),
    "6343647c601c52e1368623803854d971",
    "c0ed64b8031c3730f411d2eb4eea35b5",
)
ResNet152V2 = resnet(
    "ResNet152V2",
    _body((3, 8, 36, 3)),
    "a49b44d1979771252814e80f8ec446f9",
    "ed17cf2e0169df9d443503ef94b23b33",
)
