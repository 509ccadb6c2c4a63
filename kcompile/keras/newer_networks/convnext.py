"""ConvNeXtTiny to ConvNeXtXLarge (Liu et al. 2022): convolutions in the shape of a transformer."""

from __future__ import annotations

from typing import Any

from kcompile.keras.applications.building import (
    DEVIATION,
    GOOGLE,
    MEAN,
    Body,
    Net,
    Network,
    Weights,
    published,
)
from kcompile.keras.applications.imagenet_utils import decode_predictions
from kcompile.keras.layers import Activation, Conv2D, Dense, GlobalAveragePooling2D, LayerNormalization
from kcompile.keras.layers.of_networks import LayerScale, StochasticDepth
from kcompile.keras.layers.preprocessing.scaling import Normalization
from kcompile.keras.models import Sequential
from kcompile.keras.network_names import FAMILIES
from kcompile.keras.newer_networks.efficientnet import preprocess_input
from kcompile_runtime.errors import InputError, describe

__all__ = [*FAMILIES["convnext"], "LayerScale", "StochasticDepth", "decode_predictions", "preprocess_input"]

ORDER = (
    "include_top include_preprocessing weights input_tensor input_shape pooling classes "
    "classifier_activation name vintage"
)
# Blocks and widths of the stages, and the digests of weights with and without top
SIZES = {
    "tiny": (
        (3, 3, 9, 3),
        (96, 192, 384, 768),
        "8ae6e78ce2933352b1ef4008e6dd2f17bc40771563877d156bc6426c7cf503ff",
        "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
    ),
    "small": (
        (3, 3, 27, 3),
        (96, 192, 384, 768),
        "ce1277d8f1ee5a0ef0e171469089c18f5233860ceaf9b168049cb9263fd7483c",
        "6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab",
    ),
    "base": (
        (3, 3, 27, 3),
        (128, 256, 512, 1024),
        "52cbb006d3dadd03f6e095a8ca1aca47aecdd75acb4bc74bce1f5c695d0086e6",
        "40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45",
    ),
    "large": (
        (3, 3, 27, 3),
        (192, 384, 768, 1536),
        "070c5ed9ed289581e477741d3b34beffa920db8cf590899d6d2c67fba2a198a6",
        "96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd",
    ),
    "xlarge": (
        (3, 3, 27, 3),
        (256, 512, 1024, 2048),
        "c1f5ccab661354fc3a79a10fa99af82f0fbf10ec65cb894a3ae0815f17a889ee",
        "de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05",
    ),
}
SCALE = 1e-6  # of what a block adds, at the beginning


def _norm(net: Net, name: str | None = None) -> Any:
    return net(LayerNormalization, epsilon=1e-6, name=name)


def _body(depths: tuple[int, ...], widths: tuple[int, ...]) -> Body:
    def body(net: Net, x: Any) -> Any:
        if net.axis == 1:
            raise InputError(describe("ConvNeXt", "image_data_format channels_last", "channels_first"))
        if net.preprocessed and net.channels(x) == 3:
            mean, variance = [255 * m for m in MEAN], [(255 * d) ** 2 for d in DEVIATION]
            name = f"{net.name}_prestem_normalization"
            x = net(Normalization, mean=mean, variance=variance, name=name)(x)
        for stage, (count, width) in enumerate(zip(depths, widths)):
            x = _smaller(net, stage, width)(x)
            for number in range(count):
                x = _block(net, x, width, f"{net.name}_stage_{stage}_block_{number}")
        return x

    return body


def _smaller(net: Net, stage: int, width: int) -> Any:
    """The layers before a stage: they make one pixel of 4 by 4, or of 2 by 2."""
    if not stage:
        conv = net(Conv2D, width, 4, strides=4, name=f"{net.name}_stem_conv")
        return net(Sequential, [conv, _norm(net, f"{net.name}_stem_layernorm")], name=f"{net.name}_stem")
    norm = _norm(net, f"{net.name}_downsampling_layernorm_{stage - 1}")
    conv = net(Conv2D, width, 2, strides=2, name=f"{net.name}_downsampling_conv_{stage - 1}")
    return net(Sequential, [norm, conv], name=f"{net.name}_downsampling_block_{stage - 1}")


def _block(net: Net, x: Any, width: int, name: str) -> Any:
    """x, and a filter of 7 by 7 for each channel with two dense layers behind it."""
    y = net.conv(x, width, 7, padding="same", groups=width, use_bias=True, name=f"{name}_depthwise_conv")
    y = _norm(net, f"{name}_layernorm")(y)
    y = net(Dense, 4 * width, name=f"{name}_pointwise_conv_1")(y)
    y = net(Activation, "gelu", name=f"{name}_gelu")(y)
    y = net(Dense, width, name=f"{name}_pointwise_conv_2")(y)
    y = net(LayerScale, SCALE, width, name=f"{name}_layer_scale")(y)
    return net.plus(x, net(Activation, "linear", name=f"{name}_identity")(y))


def _top(net: Net, x: Any, classes: int) -> Any:
    x = net(GlobalAveragePooling2D, name=f"{net.name}_head_gap")(x)
    x = _norm(net, f"{net.name}_head_layernorm")(x)
    return net(Dense, classes, activation=net.activation, name=f"{net.name}_head_dense")(x)


def _end(net: Net, x: Any) -> Any:
    return _norm(net)(x)


def _network(size: str) -> Network:
    depths, widths, whole, headless = SIZES[size]
    name = f"convnext_{size}"
    weights = Weights(f"{GOOGLE}/convnext", (f"{name}.h5", whole), (f"{name}_notop.h5", headless))
    return Network(name, _body(depths, widths), _top, weights, end=_end)


ConvNeXtTiny = published("ConvNeXtTiny", _network("tiny"), ORDER)
ConvNeXtSmall = published("ConvNeXtSmall", _network("small"), ORDER)
ConvNeXtBase = published("ConvNeXtBase", _network("base"), ORDER)
ConvNeXtLarge = published("ConvNeXtLarge", _network("large"), ORDER)
ConvNeXtXLarge = published("ConvNeXtXLarge", _network("xlarge"), ORDER)
