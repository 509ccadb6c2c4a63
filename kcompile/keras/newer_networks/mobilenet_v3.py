"""MobileNetV3Small and MobileNetV3Large (Howard et al. 2019)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from kcompile.keras.applications.building import CLASSES, GOOGLE, Body, Net, Network, Top, Weights
from kcompile.keras.applications.imagenet_utils import decode_predictions
from kcompile.keras.layers import (
    Activation,
    Add,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    Multiply,
    ReLU,
    ZeroPadding2D,
)
from kcompile.keras.layers.preprocessing.scaling import Rescaling
from kcompile.keras.models import Model
from kcompile.keras.network_names import FAMILIES
from kcompile.keras.newer_networks.efficientnet import preprocess_input, rounded
from kcompile.keras.settings import image_data_format
from kcompile_runtime.checks import check_flag
from kcompile_runtime.errors import InputError, describe

__all__ = [*FAMILIES["mobilenet_v3"], "decode_predictions", "preprocess_input"]

# Blocks: how much wider inside, filters, size of the kernel, strides, with a squeeze ("s") and with
# hard_swish ("h"), which a minimalistic network has not
Row = tuple[float, int, int, int, str]
SMALL: tuple[Row, ...] = (
    (1, 16, 3, 2, "s"),
    (72 / 16, 24, 3, 2, ""),
    (88 / 24, 24, 3, 1, ""),
    (4, 40, 5, 2, "sh"),
    *[(6, 40, 5, 1, "sh")] * 2,
    *[(3, 48, 5, 1, "sh")] * 2,
    (6, 96, 5, 2, "sh"),
    *[(6, 96, 5, 1, "sh")] * 2,
)
LARGE: tuple[Row, ...] = (
    (1, 16, 3, 1, ""),
    (4, 24, 3, 2, ""),
    (3, 24, 3, 1, ""),
    (3, 40, 5, 2, "s"),
    *[(3, 40, 5, 1, "s")] * 2,
    (6, 80, 3, 2, "h"),
    (2.5, 80, 3, 1, "h"),
    *[(2.3, 80, 3, 1, "h")] * 2,
    *[(6, 112, 3, 1, "sh")] * 2,
    (6, 160, 5, 2, "sh"),
    *[(6, 160, 5, 1, "sh")] * 2,
)
# Digests of weights for ImageNet, with and without top, by size, minimalistic, and alpha
DIGESTS = {
    ("large", False, 0.75): ("765b44a33ad4005b3ac83185abf1d0eb", "40af19a13ebea4e2ee0c676887f69a2e"),
    ("large", False, 1.0): ("59e551e166be033d707958cf9e29a6a7", "07fb09a5933dd0c8eaafa16978110389"),
    ("large", True, 1.0): ("675e7b876c45c57e9e63e6d90a36599c", "ec5221f64a2f6d1ef965a614bdae7973"),
    ("small", False, 0.75): ("cb65d4e5be93758266aa0a7f2c6708b7", "ebdb5cc8e0b497cd13a7c275d475c819"),
    ("small", False, 1.0): ("8768d4c2e7dee89b9d02b2d03d65d862", "d3e8ec802a04aa4fc771ee12a9a9b836"),
    ("small", True, 1.0): ("99cd97fb2fcdad2bf028eb838de69e37", "cde8136e733e811080d9fcd8a252f7e4"),
}
Function = Callable[[Net, Any], Any]


def _called(net: Net, name: str) -> str:
    """A name of tf.keras, as the edition has it."""
    newer = name.replace("BatchNorm", "bn").replace("AvgPool", "avg_pool").lower()
    return net.named(newer) if net.newer else name


def _relu(net: Net, x: Any) -> Any:
    return net(ReLU)(x)


def _hard_sigmoid(net: Net, x: Any) -> Any:
    return net.times(net(ReLU, 6.0)(net.plus(x, 3.0)), 1 / 6)


def _hard_swish(net: Net, x: Any) -> Any:
    if net.newer:
        return net(Activation, "hard_swish")(x)
    return net(Multiply)([x, _hard_sigmoid(net, x)])


def _body(rows: Sequence[Row], alpha: float, minimalistic: bool) -> Body:
    last = _relu if minimalistic else _hard_swish

    def body(net: Net, x: Any) -> Any:
        if net.preprocessed:
            x = net(Rescaling, 1 / 127.5, -1.0)(x)
        x = net.conv(x, 16, 3, strides=2, padding="same", name=_called(net, "Conv"))
        x = last(net, net.norm(x, _called(net, "Conv/BatchNorm")))
        for number, (wider, filters, size, strides, marks) in enumerate(rows):
            marks, size = ("", 3) if minimalistic else (marks, size)
            x = _block(net, x, (wider, rounded(filters * alpha), size, strides, marks), number)
        x = net.conv(x, rounded(net.channels(x) * 6), 1, padding="same", name=_called(net, "Conv_1"))
        return last(net, net.norm(x, _called(net, "Conv_1/BatchNorm")))

    return body


def _block(net: Net, x: Any, row: Row, number: int) -> Any:
    """A block that is wide inside: expanded, filtered channel by channel, squeezed, and projected."""
    wider, filters, size, strides, marks = row
    activation: Function = _hard_swish if "h" in marks else _relu
    start = f"expanded_conv_{number}" if number else "expanded_conv"
    channels, y = net.channels(x), x

    def name(part: str) -> str:
        return _called(net, f"{start}/{part}")

    if number:
        y = net.conv(y, rounded(channels * wider), 1, padding="same", name=name("expand"))
        y = activation(net, net.norm(y, name("expand/BatchNorm")))
    if strides == 2:
        y = net(ZeroPadding2D, net.halving_pad(y, size), name=name("depthwise/pad"))(y)
    padding = "same" if strides == 1 else "valid"
    y = net(DepthwiseConv2D, size, strides=strides, padding=padding, use_bias=False, name=name("depthwise"))(
        y
    )
    y = activation(net, net.norm(y, name("depthwise/BatchNorm")))
    if "s" in marks:
        y = _squeezed(net, y, name)
    y = net.conv(y, filters, 1, padding="same", name=name("project"))
    y = net.norm(y, name("project/BatchNorm"))
    return net(Add, name=name("Add"))([x, y]) if strides == 1 and channels == filters else y


def _squeezed(net: Net, x: Any, name: Callable[[str], str]) -> Any:
    """Every channel of x times a share that is computed of the means of all (Hu et al. 2017)."""
    channels = net.channels(x)
    y = net(GlobalAveragePooling2D, keepdims=True, name=name("squeeze_excite/AvgPool"))(x)
    options = {"padding": "same", "use_bias": True}
    y = net.conv(y, rounded(channels * 0.25), 1, name=name("squeeze_excite/Conv"), **options)
    y = net(ReLU, name=name("squeeze_excite/Relu"))(y)
    y = net.conv(y, channels, 1, name=name("squeeze_excite/Conv_1"), **options)
    return net(Multiply, name=name("squeeze_excite/Mul"))([x, _hard_sigmoid(net, y)])


def _top(filters: int, dropout: float, last: Function) -> Top:
    options = {"padding": "same", "use_bias": True}

    def top(net: Net, x: Any, classes: int) -> Any:
        x = net(GlobalAveragePooling2D, keepdims=True)(x)
        x = last(net, net.conv(x, filters, 1, name=_called(net, "Conv_2"), **options))
        if dropout:
            x = net(Dropout, dropout)(x)
        x = net(Flatten)(net.conv(x, classes, 1, name=_called(net, "Logits"), **options))
        return net(Activation, net.activation or "linear", name=_called(net, "Predictions"))(x)

    return top


def _make(size: str, rows: Sequence[Row], filters: int, how: dict[str, Any]) -> Model:
    """A network of this size. filters: of the top. how: the arguments of its function."""
    alpha, dropout = how.pop("alpha"), how.pop("dropout_rate")
    minimalistic = check_flag("minimalistic", how.pop("minimalistic"))
    if how["weights"] == "imagenet":
        if (size, minimalistic, alpha) not in DIGESTS:
            known = sorted(a for s, m, a in DIGESTS if (s, m) == (size, minimalistic))
            wanted = f"{' or '.join(map(str, known))}, as weights for ImageNet have"
            raise InputError(describe("alpha", wanted, str(alpha)))
        if how["input_shape"] is None or set(_sides(how["input_shape"])) != {224}:
            warnings.warn("weights for images of 224 x 224 are loaded, the only ones", stacklevel=3)
    kind = f"{size}_minimalistic" if minimalistic else size
    file = f"weights_mobilenet_v3_{kind}_224_{alpha}_float"
    whole, headless = DIGESTS.get((size, minimalistic, alpha), (None, None))
    files = (f"{file}.h5", whole), (f"{file}_no_top_v2.h5", headless)
    width = rounded(filters * alpha) if alpha > 1 else filters
    network = Network(
        f"MobilenetV3{size}",
        _body(rows, alpha, minimalistic),
        _top(width, dropout, _relu if minimalistic else _hard_swish),
        Weights(f"{GOOGLE}/mobilenet_v3", *files),
        last=-1,
        pools=("avg_pool", "max_pool"),
        norm=(("epsilon", 1e-3), ("momentum", 0.999)),
        sizes="never",
        newer=f"MobileNetV3{size.capitalize()}",
    )
    return network.build(**how)


def _sides(shape: Sequence[Any]) -> Sequence[Any]:
    return shape[1:] if image_data_format() == "channels_first" else shape[:2]


def MobileNetV3Small(
    input_shape: Sequence[int | None] | None = None,
    alpha: float = 1.0,
    minimalistic: bool = False,
    include_top: bool = True,
    weights: Any = "imagenet",
    input_tensor: Any = None,
    classes: int = CLASSES,
    pooling: str | None = None,
    dropout_rate: float = 0.2,
    classifier_activation: Any = "softmax",
    include_preprocessing: bool = True,
    name: str | None = None,
    vintage: str | None = None,
) -> Model:
    """The smaller network. alpha: the share of filters that a layer has. minimalistic: without squeezes,
    hard_swish and kernels of 5 by 5. dropout_rate: of the top. include_preprocessing: with a layer that
    scales pixels in [0, 255]. The others as in `building.published`."""
    return _make("small", SMALL, 1024, dict(locals()))


def MobileNetV3Large(
    input_shape: Sequence[int | None] | None = None,
    alpha: float = 1.0,
    minimalistic: bool = False,
    include_top: bool = True,
    weights: Any = "imagenet",
    input_tensor: Any = None,
    classes: int = CLASSES,
    pooling: str | None = None,
    dropout_rate: float = 0.2,
    classifier_activation: Any = "softmax",
    include_preprocessing: bool = True,
    name: str | None = None,
    vintage: str | None = None,
) -> Model:
    """The larger network. Arguments as `MobileNetV3Small` has them."""
    return _make("large", LARGE, 1280, dict(locals()))
