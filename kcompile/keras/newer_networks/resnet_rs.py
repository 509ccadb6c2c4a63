"""ResNetRS50 to ResNetRS420 (Bello et al. 2021), which tf.keras alone has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kcompile.keras.applications.building import (
    DEVIATION,
    GOOGLE,
    MEAN,
    PREPROCESSING,
    Body,
    Net,
    Network,
    Top,
    Weights,
    published,
)
from kcompile.keras.applications.imagenet_utils import decode_predictions
from kcompile.keras.backend import get_uid
from kcompile.keras.layers import (
    Add,
    AveragePooling2D,
    Dense,
    Dropout,
    GlobalAveragePooling2D,
    Multiply,
    Reshape,
    ZeroPadding2D,
)
from kcompile.keras.layers.preprocessing.scaling import Normalization, Rescaling
from kcompile.keras.network_names import OF_TF_KERAS
from kcompile.keras.newer_networks.efficientnet import normal, preprocess_input

__all__ = [*OF_TF_KERAS["resnet_rs"], "decode_predictions", "preprocess_input"]

FILTERS = (64, 128, 256, 512)
# Depth -> blocks of the stages, dropout of the top, how probably the last block is left out in training
SIZES = {
    50: ((3, 4, 6, 3), 0.25, 0.0),
    101: ((3, 4, 23, 3), 0.25, 0.0),
    152: ((3, 8, 36, 3), 0.25, 0.0),
    200: ((3, 24, 36, 3), 0.25, 0.1),
    270: ((4, 29, 53, 4), 0.25, 0.1),
    350: ((4, 36, 72, 4), 0.4, 0.1),
    420: ((4, 44, 87, 4), 0.4, 0.1),
}
# Depth -> size of images -> digests of weights with and without top
DIGESTS: Mapping[int, Mapping[int, tuple[str, str]]] = {
    50: {160: ("69d9d925319f00a8bdd4af23c04e4102", "90daa68cd26c95aa6c5d25451e095529")},
    101: {
        160: ("544b3434d00efc199d66e9058c7f3379", "82d5b90c5ce9d710da639d6216d0f979"),
        192: ("eb285be29ab42cf4835ff20a5e3b5d23", "f9a0f6b85faa9c3db2b6e233c4eebb5b"),
    },
    152: {
        192: ("8d72a301ed8a6f11a47c4ced4396e338", "5fbf7ac2155cb4d5a6180ee9e3aa8704"),
        224: ("31a46a92ab21b84193d0d71dd8c3d03b", "dc8b2cba2005552eafa3167f00dc2133"),
        256: ("ba6271b99bdeb4e7a9b15c05964ef4ad", "fa79794252dbe47c89130f65349d654a"),
    },
    200: {256: ("a76930b741884e09ce90fa7450747d5f", "bbdb3994718dfc0d1cd45d7eff3f3d9c")},
    270: {256: ("20d575825ba26176b03cb51012a367a8", "2c42ecb22e35f3e23d2f70babce0a2aa")},
    350: {
        256: ("f4a039dc3c421321b7fc240494574a68", "6e44b55025bbdff8f51692a023143d66"),
        320: ("7ccb858cc738305e8ceb3c0140bee393", "ab0c1f9079d2f85a9facbd2c88aa6079"),
    },
    420: {320: ("ae0eb9bed39e64fc8d7e0db4018dc7e8", "fe6217c32be8305b1889657172b98884")},
}


def _conv(net: Net, x: Any, filters: int, size: int, strides: int, name: str) -> Any:
    """A convolution; where it halves the image, behind a layer that pads evenly."""
    if strides > 1:
        pad = (size - 1) // 2, size - 1 - (size - 1) // 2
        x = net(ZeroPadding2D, (pad, pad))(x)
    padding = "same" if strides == 1 else "valid"
    return net.conv(
        x, filters, size, strides=strides, padding=padding, kernel_initializer=normal(), name=name
    )


def _body(counts: tuple[int, ...], dropped: float) -> Body:
    def body(net: Net, x: Any) -> Any:
        if net.preprocessed:
            x = net(Rescaling, 1 / 255)(x)
            if net.channels(x) == 3:
                variance = [deviation**2 for deviation in DEVIATION]
                x = net(Normalization, mean=list(MEAN), variance=variance, axis=net.axis)(x)
        stem = f"stem_{get_uid('stem_')}_stem"
        for number, (filters, strides) in enumerate(((32, 2), (32, 1), (64, 1), (64, 2)), 1):
            x = _conv(net, x, filters, 3, strides, f"{stem}_conv_{number}")
            x = net.relu(net.norm(x, f"{stem}_batch_norm_{number}"), f"{stem}_act_{number}")
        for stage, (count, filters) in enumerate(zip(counts, FILTERS), 2):
            share = dropped * stage / (len(counts) + 1)
            for number in range(count):
                strides = 2 if stage > 2 and not number else 1
                x = _block(net, x, filters, strides, share, f"BlockGroup{stage}__block_{number}_", not number)
        return x

    return body


def _block(net: Net, x: Any, filters: int, strides: int, dropped: float, name: str, projected: bool) -> Any:
    """Three convolutions with a squeeze, beside a shortcut, which is a fourth in the first block."""
    shortcut = x
    if projected:
        if strides == 2:
            pool = net(AveragePooling2D, 2, strides=2, padding="same", name=f"{name}_projection_pooling")
            shortcut = pool(x)
        shortcut = _conv(net, shortcut, 4 * filters, 1, 1, f"{name}_projection_conv")
        shortcut = net.norm(shortcut, f"{name}_projection_batch_norm")
    y = _conv(net, x, filters, 1, 1, f"{name}_conv_1")
    y = net.relu(net.norm(y, f"{name}batch_norm_1"), f"{name}_act_1")
    y = _conv(net, y, filters, 3, strides, f"{name}_conv_2")
    y = net.relu(net.norm(y, f"{name}_batch_norm_2"), f"{name}_act_2")
    y = net.norm(_conv(net, y, 4 * filters, 1, 1, f"{name}_conv_3"), f"{name}_batch_norm_3")
    y = _squeezed(net, y, filters, f"{name}_se_se")
    if dropped:
        y = net(Dropout, dropped, noise_shape=(None, 1, 1, 1), name=f"{name}_drop")(y)
    return net.relu(net(Add)([y, shortcut]), f"{name}_output_act")


def _squeezed(net: Net, x: Any, filters: int, name: str) -> Any:
    """Every channel of x times a share that is computed of the means of all (Hu et al. 2017)."""
    channels = 4 * filters
    y = net(GlobalAveragePooling2D, name=f"{name}_squeeze")(x)
    shape = (channels, 1, 1) if net.axis == 1 else (1, 1, channels)
    y = net(Reshape, shape, name=f"{name}_reshape")(y)
    for count, activation, step in ((filters, "relu", "reduce"), (channels, "sigmoid", "expand")):
        y = net.conv(
            y,
            count,
            1,
            padding="same",
            use_bias=True,
            activation=activation,
            kernel_initializer=normal(),
            name=f"{name}_{step}",
        )
    return net(Multiply, name=f"{name}_excite")([x, y])


def _top(dropout: float) -> Top:
    def top(net: Net, x: Any, classes: int) -> Any:
        x = net(Dropout, dropout, name="top_dropout")(net(GlobalAveragePooling2D, name="avg_pool")(x))
        return net(Dense, classes, activation=net.activation, name="predictions")(x)

    return top


def _network(depth: int) -> Network:
    counts, dropout, dropped = SIZES[depth]
    name = f"resnet-rs-{depth}"
    weights = {
        f"imagenet-i{side}": Weights(
            f"{GOOGLE}/resnet_rs", (f"{name}-i{side}.h5", whole), (f"{name}-i{side}_notop.h5", headless)
        )
        for side, (whole, headless) in DIGESTS[depth].items()
    }
    return Network(
        name,
        _body(counts, dropped),
        _top(dropout),
        weights[f"imagenet-i{max(DIGESTS[depth])}"],
        pools=("avg_pool", "max_pool"),
        norm=(("momentum", 0.0), ("epsilon", 1e-5)),
        variants=weights,
    )


ResNetRS50 = published("ResNetRS50", _network(50), PREPROCESSING)
ResNetRS101 = published("ResNetRS101", _network(101), PREPROCESSING)
ResNetRS152 = published("ResNetRS152", _network(152), PREPROCESSING)
ResNetRS200 = published("ResNetRS200", _network(200), PREPROCESSING)
ResNetRS270 = published("ResNetRS270", _network(270), PREPROCESSING)
ResNetRS350 = published("ResNetRS350", _network(350), PREPROCESSING)
ResNetRS420 = published("ResNetRS420", _network(420), PREPROCESSING)
