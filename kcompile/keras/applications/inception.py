"""InceptionV3 (Szegedy et al. 2015) and InceptionResNetV2 (2016)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kcompile.keras.applications.building import (
    FCHOLLET,
    KERNELS,
    Net,
    Network,
    Weights,
    classifier,
    published,
)
from kcompile.keras.applications.imagenet_utils import decode_predictions, of_mode
from kcompile.keras.backend import int_shape
from kcompile.keras.layers import AveragePooling2D, Concatenate, Lambda, MaxPooling2D
from kcompile.keras.layers.of_networks import CustomScaleLayer

__all__ = ["InceptionResNetV2", "InceptionV3", "decode_predictions", "preprocess_input"]

preprocess_input = of_mode("tf")

# A convolution of a branch: filters, size, and "/2" for strides of 2 without padding. "avg" and "max" pool.
Step = tuple[Any, ...]
STEM: tuple[Step, ...] = (
    (32, 3, "/2"),
    (32, 3, "valid"),
    (64, 3),
    ("max",),
    (80, 1, "valid"),
    (192, 3, "valid"),
)
AVERAGE: Step = ("avg",)
LARGEST: Step = ("max",)
ACROSS, DOWN = (1, 7), (7, 1)


def _conv(
    net: Net, x: Any, filters: int, size: Any, how: str = "same", names: Sequence[Any] = (None,) * 3
) -> Any:
    """A convolution, a normalization without a scale, and a rectifier. names: theirs."""
    strides = 2 if how == "/2" else 1
    padding = "valid" if how == "/2" else how
    x = net.conv(x, filters, size, strides=strides, padding=padding, name=names[0])
    return net.relu(net.norm(x, names[1]), names[2])


def _branch(net: Net, x: Any, steps: Sequence[Step]) -> Any:
    for step in steps:
        if step == AVERAGE:
            x = net(AveragePooling2D, 3, strides=1, padding="same")(x)
        elif step == LARGEST:
            x = net(MaxPooling2D, 3, strides=2)(x)
        else:
            x = _conv(net, x, *step)
    return x


def _mixed(net: Net, x: Any, branches: Sequence[Sequence[Step]], name: str) -> Any:
    """The channels of several branches."""
    made = [_branch(net, x, steps) for steps in branches]
    return net(Concatenate, axis=net.axis, name=name)(made)


# ---------------------------------------------------------------- InceptionV3


def _small(pooled: int) -> tuple[Sequence[Step], ...]:
    return (((64, 1),), ((48, 1), (64, 5)), ((64, 1), (96, 3), (96, 3)), (AVERAGE, (pooled, 1)))


def _long(inner: int) -> tuple[Sequence[Step], ...]:
    return (
        ((192, 1),),
        ((inner, 1), (inner, ACROSS), (192, DOWN)),
        ((inner, 1), (inner, DOWN), (inner, ACROSS), (inner, DOWN), (192, ACROSS)),
        (AVERAGE, (192, 1)),
    )


V3: tuple[tuple[Sequence[Step], ...], ...] = (
    _small(32),
    _small(64),
    _small(64),
    (((384, 3, "/2"),), ((64, 1), (96, 3), (96, 3, "/2")), (LARGEST,)),
    _long(128),
    _long(160),
    _long(160),
    _long(192),
    (((192, 1), (320, 3, "/2")), ((192, 1), (192, ACROSS), (192, DOWN), (192, 3, "/2")), (LARGEST,)),
)


def _v3(net: Net, x: Any) -> Any:
    x = _branch(net, x, (*STEM, LARGEST))
    for number, branches in enumerate(V3):
        x = _mixed(net, x, branches, f"mixed{number}")
    for number in (9, 10):
        x = _wide(net, x, number)
    return x


def _wide(net: Net, x: Any, number: int) -> Any:
    """A block whose branches part once more."""

    def parted(y: Any, name: str | None) -> Any:
        return _mixed(net, y, (((384, (1, 3)),), ((384, (3, 1)),)), name)  # type: ignore[arg-type]

    single = _branch(net, x, ((320, 1),))
    one = parted(_branch(net, x, ((384, 1),)), f"mixed9_{number - 9}")
    two = parted(_branch(net, x, ((448, 1), (384, 3))), None)
    pooled = _branch(net, x, (AVERAGE, (192, 1)))
    return net(Concatenate, axis=net.axis, name=f"mixed{number}")([single, one, two, pooled])


# ---------------------------------------------------------------- InceptionResNetV2

# Blocks beside a shortcut: name -> how many, the branches, and the share that is added
RESIDUAL: dict[str, tuple[int, tuple[Sequence[Step], ...], float]] = {
    "block35": (10, (((32, 1),), ((32, 1), (32, 3)), ((32, 1), (48, 3), (64, 3))), 0.17),
    "block17": (20, (((192, 1),), ((128, 1), (160, ACROSS), (192, DOWN))), 0.1),
    "block8": (10, (((192, 1),), ((192, 1), (224, (1, 3)), (256, (3, 1)))), 0.2),
}
# What stands before each kind of them
BEFORE: dict[str, tuple[str, tuple[Sequence[Step], ...]]] = {
    "block35": (
        "mixed_5b",
        (((96, 1),), ((48, 1), (64, 5)), ((64, 1), (96, 3), (96, 3)), (AVERAGE, (64, 1))),
    ),
    "block17": ("mixed_6a", (((384, 3, "/2"),), ((256, 1), (256, 3), (384, 3, "/2")), (LARGEST,))),
    "block8": (
        "mixed_7a",
        (
            ((256, 1), (384, 3, "/2")),
            ((256, 1), (288, 3, "/2")),
            ((256, 1), (288, 3), (320, 3, "/2")),
            (LARGEST,),
        ),
    ),
}


def scaled_sum(inputs: Any, scale: float) -> Any:
    """x + scale * y, of a pair."""
    return inputs[0] + inputs[1] * scale


def _resnet(net: Net, x: Any) -> Any:
    x = _branch(net, x, (*STEM, LARGEST))
    for kind, (count, branches, scale) in RESIDUAL.items():
        name, mixed = BEFORE[kind]
        x = _mixed(net, x, mixed, name)
        for i in range(1, count + 1):
            last = kind == "block8" and i == count
            x = _residual(net, x, branches, 1.0 if last else scale, f"{kind}_{i}", not last)
    return _conv(net, x, 1536, 1, names=("conv_7b", "conv_7b_bn", "conv_7b_ac"))


def _residual(
    net: Net, x: Any, branches: Sequence[Sequence[Step]], scale: float, name: str, activated: bool
) -> Any:
    y = _mixed(net, x, branches, f"{name}_mixed")
    y = net.conv(y, net.channels(x), 1, padding="same", use_bias=True, name=f"{name}_conv")
    shape = int_shape(x)[1:]
    if net.since_tf:
        x = net(CustomScaleLayer, scale)([x, y])
    else:
        arguments = {"scale": scale}
        x = net(Lambda, scaled_sum, output_shape=shape, arguments=arguments, name=name)([x, y])
    return net.relu(x, f"{name}_ac") if activated else x


NORM = (("scale", False),)
InceptionV3 = published(
    "InceptionV3",
    Network(
        "inception_v3",
        _v3,
        classifier("avg_pool", "predictions"),
        Weights(
            f"{FCHOLLET}/v0.5",
            (f"inception_v3_{KERNELS}.h5", "9a0d58056eeedaa3f26cb7ebd46da564"),
            (f"inception_v3_{KERNELS}_notop.h5", "bcbd6486424b2319ff4ef7d526e38f63"),
        ),
        size=299,
        least=75,
        norm=NORM,
    ),
)
InceptionResNetV2 = published(
    "InceptionResNetV2",
    Network(
        "inception_resnet_v2",
        _resnet,
        classifier("avg_pool", "predictions"),
        Weights(
            f"{FCHOLLET}/v0.7",
            (f"inception_resnet_v2_{KERNELS}.h5", "e693bd0210a403b3192acc6073ad2e96"),
            (f"inception_resnet_v2_{KERNELS}_notop.h5", "d19885ff4a710c122648d3b5c3b684e4"),
        ),
        size=299,
        least=75,
        norm=NORM,
    ),
)
