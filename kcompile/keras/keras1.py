"""The spellings of Keras 1: one table, and the functions that read it.

Enters: arguments of a layer's constructor, or of a method, as Keras 1 named and ordered them. Leaves: the
arguments of Keras 2, with one warning for each call, which shows the call in the words of Keras 2. What has
no meaning any more is an error, or the warning says so. Source of the table: what keras.legacy.interfaces of
Keras 2.2.4 accepts, compared by tests/keras_tier/test_keras1_with_keras.py.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kcompile.keras.editions import edition
from kcompile.keras.tensors import is_integer
from kcompile_runtime.errors import InputError, InputTypeError, describe

Names = Mapping[str, "str | tuple[str, ...]"]


@dataclass(frozen=True)
class Spelling:
    """How Keras 1 wrote the arguments of a class or method.

    names: its names -> ours (several: the value counts for each). sizes: the arguments behind the first that
    together are kernel_size. sequence: whether input_dim and input_length are an input_shape of two axes.
    gone: arguments that mean nothing any more -> the values that may be given, None for any.
    """

    names: Names = field(default_factory=dict)
    sizes: tuple[str, ...] = ()
    sequence: bool = False
    gone: Mapping[str, tuple[Any, ...] | None] = field(default_factory=dict)


# Values that have other names: argument of Keras 1 -> value -> ours
VALUES: dict[str, dict[Any, Any]] = {
    "dim_ordering": {"th": "channels_first", "tf": "channels_last", "default": None},
    "consume_less": {"cpu": 0, "mem": 1, "gpu": 2},
    "forget_bias_init": {"one": True, "ones": True, "zero": False, "zeros": False},
}
# What the warning adds where an argument of `gone` may have any value
REASONS = {
    "dropout": "it has no effect: put a SpatialDropout1D behind the Embedding",
    "output_shape": "it follows from the input and the other arguments",
    "transform_bias": "the bias of the gate begins with 1",
}

_ORDERING = {"dim_ordering": "data_format"}
_WINDOW = {"border_mode": "padding", **_ORDERING}
_BIAS = {"b_regularizer": "bias_regularizer", "b_constraint": "bias_constraint", "bias": "use_bias"}
_KERNEL = {
    "init": "kernel_initializer",
    "W_regularizer": "kernel_regularizer",
    "W_constraint": "kernel_constraint",
    **_BIAS,
}
_IMAGE = {"nb_filter": "filters", "subsample": "strides", **_WINDOW}
_STEPS = {
    "nb_filter": "filters",
    "filter_length": "kernel_size",
    "subsample_length": "strides",
    "border_mode": "padding",
    **_KERNEL,
}
_RECURRENT = {
    "init": "kernel_initializer",
    "inner_init": "recurrent_initializer",
    "inner_activation": "recurrent_activation",
    "forget_bias_init": "unit_forget_bias",
    "W_regularizer": "kernel_regularizer",
    "U_regularizer": "recurrent_regularizer",
    "b_regularizer": "bias_regularizer",
    "dropout_W": "dropout",
    "dropout_U": "recurrent_dropout",
}
_BOTH = {"init": ("depthwise_initializer", "pointwise_initializer")}
_PLANE = ("nb_row", "nb_col")
_LENGTH = {"pool_length": "pool_size", "stride": "strides", "border_mode": "padding"}
_RATE = {"p": "rate"}

_OF_STEPS = Spelling(_STEPS, sequence=True)
_OF_IMAGES = Spelling({**_IMAGE, **_KERNEL}, _PLANE)
_OF_CELLS = Spelling({"output_dim": "units", "consume_less": "implementation", **_RECURRENT}, sequence=True)
_OF_WINDOWS = Spelling(_WINDOW)
_OF_ORDERING = Spelling(_ORDERING)
_OF_RATE = Spelling(_RATE)

# Constructors of layers, by the names of their classes in Keras 2
LAYERS: dict[str, Spelling] = {
    "AveragePooling1D": Spelling(_LENGTH),
    "AveragePooling2D": _OF_WINDOWS,
    "AveragePooling3D": _OF_WINDOWS,
    "BatchNormalization": Spelling(
        {"beta_init": "beta_initializer", "gamma_init": "gamma_initializer"}, gone={"mode": (0,)}
    ),
    "Conv1D": _OF_STEPS,
    "Conv2D": _OF_IMAGES,
    "Conv2DTranspose": Spelling(_OF_IMAGES.names, _PLANE, gone={"output_shape": None}),
    "Conv3D": Spelling(_OF_IMAGES.names, ("kernel_dim1", "kernel_dim2", "kernel_dim3")),
    "ConvLSTM2D": Spelling({**_IMAGE, **_RECURRENT, "bias": "use_bias"}, _PLANE),
    "Cropping2D": _OF_ORDERING,
    "Cropping3D": _OF_ORDERING,
    "Dense": Spelling({"output_dim": "units", **_KERNEL}),
    "Dropout": _OF_RATE,
    "Embedding": Spelling(
        {
            "init": "embeddings_initializer",
            "W_regularizer": "embeddings_regularizer",
            "W_constraint": "embeddings_constraint",
        },
        gone={"dropout": None},
    ),
    "GRU": _OF_CELLS,
    "GaussianDropout": _OF_RATE,
    "GaussianNoise": Spelling({"sigma": "stddev"}),
    "GlobalAveragePooling2D": _OF_ORDERING,
    "GlobalAveragePooling3D": _OF_ORDERING,
    "GlobalMaxPooling2D": _OF_ORDERING,
    "GlobalMaxPooling3D": _OF_ORDERING,
    "Highway": Spelling(gone={"transform_bias": None}),
    "LSTM": _OF_CELLS,
    "LocallyConnected1D": _OF_STEPS,
    "LocallyConnected2D": _OF_IMAGES,
    "MaxPooling1D": Spelling(_LENGTH),
    "MaxPooling2D": _OF_WINDOWS,
    "MaxPooling3D": _OF_WINDOWS,
    "PReLU": Spelling({"init": "alpha_initializer"}),
    "SeparableConv2D": Spelling({**_IMAGE, **_BOTH, **_BIAS}, _PLANE),
    "SimpleRNN": _OF_CELLS,
    "SpatialDropout1D": _OF_RATE,
    "SpatialDropout2D": Spelling({**_RATE, **_ORDERING}),
    "SpatialDropout3D": Spelling({**_RATE, **_ORDERING}),
    "UpSampling1D": Spelling({"length": "size"}),
    "UpSampling2D": _OF_ORDERING,
    "UpSampling3D": _OF_ORDERING,
    "ZeroPadding2D": _OF_ORDERING,
    "ZeroPadding3D": _OF_ORDERING,
}
# Methods that generators feed; `generator_methods` reads it, as what counted samples counts batches now
GENERATORS = {
    "samples_per_epoch": "steps_per_epoch",
    "val_samples": "steps",
    "nb_epoch": "epochs",
    "nb_val_samples": "validation_steps",
    "nb_worker": "workers",
    "pickle_safe": "use_multiprocessing",
    "max_q_size": "max_queue_size",
}
# Methods and functions, by name; Model and Layer stand for their constructors
FUNCTIONS: dict[str, Spelling] = {
    "Layer": Spelling({"input_dtype": "dtype"}),
    "Model": Spelling({"input": "inputs", "output": "outputs"}),
    "fit": Spelling({"nb_epoch": "epochs"}),
}


def accept(cls: Any) -> None:
    """Let the constructor of a layer take the spellings of Keras 1 too. Those of other vintages than Keras 2,
    and of calls from a subclass that took them, pass as they are."""
    init = cls.__init__

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        made = type(self)
        outer = next(base for base in made.__mro__ if "takes_keras1" in vars(base))
        if outer is cls and edition(made.vintage).keras1:
            args, kwargs = translated(cls.__name__, LAYERS[cls.__name__], args, kwargs)
        init(self, *args, **kwargs)

    cls.__init__, cls.takes_keras1 = __init__, True


def renamed(kind: str, options: Mapping[str, Any], stacklevel: int = 3) -> dict[str, Any]:
    """Keyword arguments of a method by their names of Keras 2, with a warning where they had others.
    stacklevel: of the warning, 3 for the caller of the method that asks."""
    return translated(kind, FUNCTIONS[kind], (), options, stacklevel + 1)[1]


def translated(
    kind: str, spelling: Spelling, args: Sequence[Any], options: Mapping[str, Any], stacklevel: int = 3
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments in the words of Keras 2, with one warning if they had others. Raises InputTypeError for one
    that is spelled in both ways, or gone, InputError for a value that says nothing any more."""
    args, kwargs = tuple(args), dict(options)
    said: list[str] = []
    if kind == "Conv2DTranspose" and args[3:] and isinstance(args[-1], (tuple, list)):
        args, kwargs["output_shape"] = args[:-1], args[-1]
    if spelling.sizes:
        args = _joined_sizes(kind, spelling.sizes, args, kwargs, said)
    if spelling.sequence and "input_dim" in kwargs:
        kwargs["input_shape"] = (kwargs.pop("input_length", None), kwargs.pop("input_dim"))
        said.append("input_dim and input_length are input_shape")
    if kind == "ZeroPadding2D":
        args = _padding_by_side(args, kwargs, said)
    for old in [name for name in kwargs if name in spelling.gone]:
        said.append(_gone(kind, old, spelling.gone[old], kwargs.pop(old)))
    for old in [name for name in kwargs if name in spelling.names]:
        value = _value(kind, old, kwargs.pop(old))
        new = spelling.names[old]
        for name in (new,) if isinstance(new, str) else new:
            if name in kwargs:
                raise InputTypeError(f"{kind}: {name} is given twice: {old} is Keras 1's name of it")
            kwargs[name] = value
        said.append(f"{old} is {new if isinstance(new, str) else ' and '.join(new)}")
    if said:
        given = [*map(_shown, args), *(f"{name}={_shown(value)}" for name, value in kwargs.items())]
        call = f"{kind}({', '.join(given)})"
        warnings.warn(
            f"Update your `{kind}` call to the Keras 2 API: `{call}` ({'; '.join(said)})",
            stacklevel=stacklevel,
        )
    return args, kwargs


def _joined_sizes(
    kind: str, sizes: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any], said: list[str]
) -> tuple[Any, ...]:
    """Filters and sizes, as in Convolution2D(64, 3, 3): the kernel's sizes in one argument. Each comes by
    position or by name."""
    first, rest = args[1:], sizes[max(len(args) - 1, 0) :]
    if not all(is_integer(size) for size in first) or not all(name in kwargs for name in rest):
        if len(first) > 1 and all(is_integer(size) for size in first):
            raise InputTypeError(
                describe(
                    kind,
                    f"{len(sizes)} sizes of the kernel behind filters, or kernel_size=",
                    f"{len(first)} sizes",
                )
            )
        return args
    if not rest and any(name in kwargs for name in ("padding", "strides", "data_format")):
        raise InputError(
            f"{kind}({', '.join(map(str, args))}, ...): {' and '.join(map(str, first))} are the kernel's "
            "sizes in Keras 1, and kernel_size and strides elsewhere: give kernel_size and strides by name"
        )
    kernel = (*first, *(kwargs.pop(name) for name in rest))
    said.append(f"{', '.join(sizes)} are kernel_size")
    if args:
        return (args[0], kernel)
    kwargs["kernel_size"] = kernel
    return args


def _padding_by_side(args: tuple[Any, ...], kwargs: dict[str, Any], said: list[str]) -> tuple[Any, ...]:
    """The padding of images as a dict with sizes for each side, as pairs."""
    sides = (("top_pad", "bottom_pad"), ("left_pad", "right_pad"))
    given = args[0] if len(args) == 1 else kwargs.get("padding")
    if not isinstance(given, dict) or not set(given) <= {side for pair in sides for side in pair}:
        return args
    pairs = tuple(tuple(given.get(side, 0) for side in pair) for pair in sides)
    said.append("padding is ((top_pad, bottom_pad), (left_pad, right_pad))")
    if args:
        return (pairs,)
    kwargs["padding"] = pairs
    return args


def _gone(kind: str, name: str, allowed: tuple[Any, ...] | None, value: Any) -> str:
    """What the warning says of an argument that means nothing any more."""
    if allowed is None:
        return f"{name} is gone: {REASONS[name]}"
    if value not in allowed:
        raise InputTypeError(
            describe(f"{kind}: {name} (of Keras 1)", " or ".join(map(repr, allowed)), repr(value))
        )
    return f"{name}={value!r} says nothing"


def _value(kind: str, name: str, value: Any) -> Any:
    """The value of an argument of Keras 1, as ours."""
    known = VALUES.get(name)
    if known is None or not isinstance(value, str):
        return value
    if value not in known:
        raise InputError(describe(f"{kind}: {name}", "one of " + ", ".join(map(repr, known)), repr(value)))
    return known[value]


def _shown(value: Any) -> str:
    """A value in the text of a warning, which stays short."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
