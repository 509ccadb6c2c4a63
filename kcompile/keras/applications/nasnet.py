"""NASNetMobile and NASNetLarge (Zoph et al. 2017): cells that were found by a search."""

from __future__ import annotations

from typing import Any

from kcompile.keras.applications.building import Body, Net, Network, Weights, classifier, published
from kcompile.keras.applications.imagenet_utils import decode_predictions, of_mode
from kcompile.keras.layers import (
    Add,
    AveragePooling2D,
    Concatenate,
    Cropping2D,
    MaxPooling2D,
    SeparableConv2D,
    ZeroPadding2D,
)

__all__ = ["NASNetLarge", "NASNetMobile", "decode_predictions", "preprocess_input"]

ORDER = "input_shape include_top weights input_tensor pooling classes classifier_activation name vintage"
HOME = "https://github.com/titu1994/Keras-NASNet/releases/download/v1.2"
PLAIN = {"use_bias": False, "kernel_initializer": "he_normal"}

preprocess_input = of_mode("tf")


def _body(filters: int, blocks: int, stem: int, skips: bool) -> Body:
    """filters: of the first cells. blocks: cells between two that halve. stem: filters of the first
    convolution. skips: whether a cell behind one that halves sees what that one saw second."""

    def body(net: Net, x: Any) -> Any:
        x = net.norm(
            net.conv(x, stem, 3, strides=2, name="stem_conv1", kernel_initializer="he_normal"), "stem_bn1"
        )
        x, before = _reduction(net, x, None, filters // 4, "stem_1"), x
        x, before = _reduction(net, x, before, filters // 2, "stem_2"), x
        for stage in range(3):
            count = filters * 2**stage
            if stage:
                place = f"reduce_{stage * blocks}"
                x, skipped = _reduction(net, x, before, count, place), x
                before = before if skips else skipped
            for i in range(blocks):
                x, before = _normal(net, x, before, count, str(stage * blocks + i + bool(stage))), x
        return net.relu(x)

    return body


def _squeezed(net: Net, x: Any, filters: int, kind: str, place: str) -> Any:
    x = net.conv(net.relu(x), filters, 1, padding="same", name=f"{kind}_conv_1_{place}", **PLAIN)
    return net.norm(x, f"{kind}_bn_1_{place}")


def _separable(net: Net, x: Any, filters: int, size: int, place: str, strides: int = 1) -> Any:
    """Twice a rectifier, a separable convolution and a normalization."""
    for i in (1, 2):
        x, halves = net.relu(x), i == 1 and strides == 2
        if halves:
            x = net(ZeroPadding2D, net.halving_pad(x, size), name=f"separable_conv_1_pad_{place}")(x)
        x = net(
            SeparableConv2D,
            filters,
            size,
            strides=strides if i == 1 else 1,
            padding="valid" if halves else "same",
            name=f"separable_conv_{i}_{place}",
            use_bias=False,
        )(x)
        x = net.norm(x, f"separable_conv_{i}_bn_{place}")
    return x


def _adjusted(net: Net, before: Any, x: Any, filters: int, place: str) -> Any:
    """What was before x, in the height, width and channels that the cell needs."""
    if before is None:
        return x
    if net.sides(before)[1] != net.sides(x)[1]:
        y = net.relu(before, f"adjust_relu_1_{place}")
        one = net(AveragePooling2D, 1, strides=2, name=f"adjust_avg_pool_1_{place}")(y)
        one = net.conv(one, filters // 2, 1, padding="same", name=f"adjust_conv_1_{place}", **PLAIN)
        two = net(Cropping2D, ((1, 0), (1, 0)))(net(ZeroPadding2D, ((0, 1), (0, 1)))(y))
        two = net(AveragePooling2D, 1, strides=2, name=f"adjust_avg_pool_2_{place}")(two)
        two = net.conv(two, filters // 2, 1, padding="same", name=f"adjust_conv_2_{place}", **PLAIN)
        return net.norm(net(Concatenate, axis=net.axis)([one, two]), f"adjust_bn_{place}")
    if net.channels(before) == filters:
        return before
    y = net.relu(before)
    y = net.conv(y, filters, 1, padding="same", name=f"adjust_conv_projection_{place}", **PLAIN)
    return net.norm(y, f"adjust_bn_{place}")


def _normal(net: Net, x: Any, before: Any, filters: int, place: str) -> Any:
    """A cell that keeps height and width."""
    p = _adjusted(net, before, x, filters, place)
    h = _squeezed(net, x, filters, "normal", place)

    def separable(y: Any, size: int, side: str) -> Any:
        return _separable(net, y, filters, size, f"normal_{side}_{place}")

    def average(y: Any, side: str) -> Any:
        return net(AveragePooling2D, 3, strides=1, padding="same", name=f"normal_{side}_{place}")(y)

    def joined(number: int, *pair: Any) -> Any:
        return net(Add, name=f"normal_add_{number}_{place}")(list(pair))

    parts = [
        p,
        joined(1, separable(h, 5, "left1"), separable(p, 3, "right1")),
        joined(2, separable(p, 5, "left2"), separable(p, 3, "right2")),
        joined(3, average(h, "left3"), p),
        joined(4, average(p, "left4"), average(p, "right4")),
        joined(5, separable(h, 3, "left5"), h),
    ]
    return net(Concatenate, axis=net.axis, name=f"normal_concat_{place}")(parts)


def _reduction(net: Net, x: Any, before: Any, filters: int, place: str) -> Any:
    """A cell that halves height and width."""
    p = _adjusted(net, before, x, filters, place)
    h = _squeezed(net, x, filters, "reduction", place)
    padded = net(ZeroPadding2D, net.halving_pad(h, 3), name=f"reduction_pad_1_{place}")(h)

    def separable(y: Any, size: int, side: str, strides: int = 2) -> Any:
        return _separable(net, y, filters, size, f"reduction_{side}_{place}", strides)

    def pooled(kind: Any, side: str) -> Any:
        return net(kind, 3, strides=2, name=f"reduction_{side}_{place}")(padded)

    def joined(name: str | None, *pair: Any) -> Any:
        return net(Add, name=name and f"reduction_{name}_{place}")(list(pair))

    x1 = joined("add_1", separable(h, 5, "left1"), separable(p, 7, "right1"))
    x2 = joined("add_2", pooled(MaxPooling2D, "left2"), separable(p, 7, "right2"))
    x3 = joined("add3", pooled(AveragePooling2D, "left3"), separable(p, 5, "right3"))
    x4 = net(AveragePooling2D, 3, strides=1, padding="same", name=f"reduction_left4_{place}")(x1)
    x4 = joined(None, x2, x4)
    x5 = joined("add4", separable(x1, 3, "left4", 1), pooled(MaxPooling2D, "right5"))
    return net(Concatenate, axis=net.axis, name=f"reduction_concat_{place}")([x2, x3, x4, x5])


def _network(body: Body, size: int, kind: str, whole: str, headless: str) -> Network:
    weights = Weights(
        HOME,
        (f"NASNet-{kind}.h5", whole),
        (f"NASNet-{kind}-no-top.h5", headless),
        (f"nasnet_{kind}.h5", f"nasnet_{kind}_no_top.h5"),
    )
    return Network(
        "NASNet",
        body,
        classifier("", "predictions"),
        weights,
        size=size,
        last=-1,
        norm=(("momentum", 0.9997), ("epsilon", 1e-3)),
        sizes="always",
        newer=f"nasnet_{kind}",
    )


MOBILE = _network(
    _body(44, 4, 32, False),
    224,
    "mobile",
    "020fb642bf7360b370c678b08e0adf61",
    "1ed92395b5b598bdda52abe5c0dbfd63",
)
LARGE = _network(
    _body(168, 6, 96, True),
    331,
    "large",
    "11577c9a518f0070763c2b964a382f17",
    "d81d89dc07e6e56530c4e77faddd61b5",
)


NASNetMobile = published("NASNetMobile", MOBILE, ORDER)
NASNetLarge = published("NASNetLarge", LARGE, ORDER)
