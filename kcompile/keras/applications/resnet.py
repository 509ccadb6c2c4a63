"""ResNet50, 101 and 152 (He et al. 2015) as Keras has them from 2.3 on; see `resnet50` for the older one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from kcompile.keras.layers import Add, MaxPooling2D, ZeroPadding2D

__all__ = ["ResNet50", "ResNet101", "ResNet152", "decode_predictions", "preprocess_input"]

preprocess_input = of_mode("caffe")
NORM = (("epsilon", 1.001e-5),)
# Of a tensor, filters, strides, name, and whether the shortcut is a convolution
Block = Callable[[Net, Any, int, int, str, bool], Any]


def first_layers(net: Net, x: Any, normalized: bool) -> Any:
    """From images to the first stack."""
    x = net(ZeroPadding2D, 3, name="conv1_pad")(x)
    x = net.conv(x, 64, 7, strides=2, use_bias=True, name="conv1_conv")
    if normalized:
        x = net.relu(net.norm(x, "conv1_bn"), "conv1_relu")
    x = net(ZeroPadding2D, 1, name="pool1_pad")(x)
    return net(MaxPooling2D, 3, strides=2, name="pool1_pool")(x)


def stacked(
    net: Net, x: Any, counts: Sequence[int], block: Block, shrinks: Callable[[int, int], bool]
) -> Any:
    """Stacks, numbered from 2, of so many blocks each. shrinks: whether a block of a stack, numbered from 1,
    halves the image."""
    for stack, count in enumerate(counts, 2):
        for number in range(1, count + 1):
            strides = 2 if shrinks(stack, number) else 1
            x = block(net, x, 32 * 2 ** (stack - 1), strides, f"conv{stack}_block{number}", number == 1)
    return x


def _body(counts: tuple[int, ...]) -> Body:
    def body(net: Net, x: Any) -> Any:
        x = first_layers(net, x, True)
        return stacked(net, x, counts, _block, lambda stack, number: number == 1 and stack > 2)

    return body


def _block(net: Net, x: Any, filters: int, strides: int, name: str, projected: bool) -> Any:
    """Three convolutions beside a shortcut, which is a fourth in the first block of a stack."""
    shortcut = x
    if projected:
        shortcut = net.conv(x, 4 * filters, 1, strides=strides, use_bias=True, name=f"{name}_0_conv")
        shortcut = net.norm(shortcut, f"{name}_0_bn")
    y = net.conv(x, filters, 1, strides=strides, use_bias=True, name=f"{name}_1_conv")
    y = net.relu(net.norm(y, f"{name}_1_bn"), f"{name}_1_relu")
    y = net.conv(y, filters, 3, padding="same", use_bias=True, name=f"{name}_2_conv")
    y = net.relu(net.norm(y, f"{name}_2_bn"), f"{name}_2_relu")
    y = net.norm(net.conv(y, 4 * filters, 1, use_bias=True, name=f"{name}_3_conv"), f"{name}_3_bn")
    return net.relu(net(Add, name=f"{name}_add")([shortcut, y]), f"{name}_out")


def resnet(name: str, body: Body, whole: str, headless: str) -> Any:
    """What makes a network of this family or of ResNetV2. whole, headless: digests of its weights' files."""
    stem = f"{name.lower()}_{KERNELS}"
    weights = Weights(f"{KERAS_TEAM}/resnet", (f"{stem}.h5", whole), (f"{stem}_notop.h5", headless))
    top = classifier("avg_pool", "probs", "predictions")
    network = Network(name.lower(), body, top, weights, pools=("avg_pool", "max_pool"), norm=NORM)
    return published(name, network)


ResNet50 = resnet(
    "ResNet50", _body((3, 4, 6, 3)), "2cb95161c43110f7111970584f804107", "4d473c1dd8becc155b73f8504c6f6626"
)
ResNet101 = resnet(
    "ResNet101", _body((3, 4, 23, 3)), "f1aeb4b969a6efcfb50fad2f0c20cfc5", "88cf7a10940856eca736dc7b7e228a21"
)
ResNet152 = resnet(
    "ResNet152", _body((3, 8, 36, 3)), "100835be76be38e30d865e96f2aaae62", "ee4c566cf9a93f14d82f913c2dc6dd0c"
)
