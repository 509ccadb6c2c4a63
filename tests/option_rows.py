"""Rows of the table of options: what a row says, the ordinary values, and the rows of families of layers.

A `Row` says what a layer is made with when no option is given, and the values of each option; "shape",
"batch", "masked" and "vintage" are options of the model around the layer. `illegal` says which combinations
make no sense. Sizes come from `ranges`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kcompile.keras import constraints, initializers, regularizers
from kcompile.testing.models import ACTIVATIONS as NAMED
from kcompile.testing.ranges import RANGES, pick

Options = dict[str, Any]
AROUND = ("shape", "batch", "masked", "vintage")  # options of the model


@dataclass(frozen=True)
class Row:
    """shape: of a sample. base: what `options` stand beside. words: inputs are whole numbers. copies: how
    many inputs it merges. make: the layer, of a module `layers`, its arguments, and those of all in it."""

    name: str
    shape: tuple[int | None, ...]
    base: Options = field(default_factory=dict)
    options: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    illegal: Callable[[Options], bool] = lambda o: False
    words: bool = False
    copies: int = 1
    make: Callable[[Any, Options, Options], Any] | None = None

    def layer(self, layers: Any, o: Options, every: Options) -> Any:
        """The layer in a Keras. every: arguments of wrappers and of what they hold."""
        return getattr(layers, self.name)(**o, **every) if self.make is None else self.make(layers, o, every)

    def filled(self, given: Options) -> Options:
        return {"shape": self.shape, "batch": 3, "masked": False, "vintage": None, **self.base, **given}


def sizes(name: str, count: int, most: int | None = None) -> tuple[int, ...]:
    """Sizes of a range: its ends, and some between them."""
    draw = random.Random(name)
    low, high = RANGES[name][0], min(RANGES[name][1], most or RANGES[name][1])
    between = {pick(draw.randint, name, high) for _ in range(count)}
    return tuple(sorted({low, high, *between}))


ACTIVATIONS = (None, *NAMED, "exponential")
INITIALIZERS = (
    "zeros",
    "ones",
    "normal",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "glorot_normal",
    "truncated_normal",
    initializers.Constant(0.25),
    initializers.RandomUniform(-0.1, 0.2, seed=3),
    initializers.VarianceScaling(2.0, "fan_out", "uniform"),
)
REGULARIZERS = ("l1", "l2", regularizers.l1(0.02), regularizers.l1_l2(0.01, 0.03))
CONSTRAINTS = (
    "max_norm",
    "non_neg",
    "unit_norm",
    constraints.MaxNorm(0.5, axis=0),
    constraints.MinMaxNorm(0.2, 0.8, rate=0.5, axis=0),
)
VINTAGES = ("tf_keras2.10", "tf_keras", "keras3")
MASKED = {"masked": (True,)}
ANY = {"trainable": (False,), "vintage": VINTAGES, "name": ("a_name",), "batch": (1, 33, 1000)}
KERAS1_WEIGHTS = {
    "init": INITIALIZERS[:3],
    "W_regularizer": ("l2",),
    "b_regularizer": ("l1",),
    "W_constraint": ("max_norm",),
    "b_constraint": ("non_neg",),
    "bias": (False,),
    "activity_regularizer": ("l2",),
}
ACTIVITY = {"activity_regularizer": ("l1", "l2", regularizers.l1_l2(0.01, 0.02))}


def weights(*names: str) -> dict[str, tuple[Any, ...]]:
    """The options of these weights."""
    kinds = {"initializer": INITIALIZERS, "regularizer": REGULARIZERS, "constraint": CONSTRAINTS}
    return {f"{name}_{kind}": values for name in names for kind, values in kinds.items()}


KERNEL = {**ANY, **ACTIVITY, **weights("kernel", "bias"), "activation": ACTIVATIONS, "use_bias": (False,)}
SEVERAL_AXES = {"data_format": ("channels_first",)}


def each(value: Any, rank: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple) else (value,) * rank


def spatial(o: Options, rank: int) -> tuple[tuple[int, ...], int]:
    """The sizes of a sample, and its channels."""
    shape = o["shape"]
    return (shape[1:], shape[0]) if o.get("data_format") == "channels_first" else (shape[:-1], shape[-1])


def conv_illegal(rank: int) -> Callable[[Options], bool]:
    def illegal(o: Options) -> bool:
        places, channels = spatial(o, rank)
        window, stride, dilation = (
            each(o.get(key, 1), rank) for key in ("kernel_size", "strides", "dilation_rate")
        )
        if max(stride) > 1 and max(dilation) > 1:
            return True
        if o.get("padding", "valid") == "valid" and any(
            (w - 1) * d + 1 > size for w, d, size in zip(window, dilation, places)
        ):
            return True
        groups = o.get("groups", 1)
        return channels % groups > 0 or o["filters"] % groups > 0

    return illegal


def conv(rank: int) -> Row:
    shape = ((24, 6), (9, 8, 6), (5, 4, 6, 6))[rank - 1]
    shapes = (
        ((1, 6), (13, 3), (200, 6), (40, 65), (7, 257)),
        ((1, 1, 6), (13, 14, 3), (6, 17, 33), (3, 5, 129)),
        ((1, 1, 1, 6), (3, 7, 5, 3), (2, 3, 4, 33)),
    )[rank - 1]
    one = tuple(range(1, 14)) if rank < 3 else (1, 2, 3, 4)
    uneven = ((), ((3, 1), (1, 4), (5, 2), (13, 3)), ((1, 2, 3), (3, 1, 1)))[rank - 1]
    steps = ((), ((1, 2), (3, 1), (4, 2)), ((1, 2, 3), (2, 1, 1)))[rank - 1]
    options = {
        **KERNEL,
        "filters": sizes("channels", 6, (2048, 300, 40)[rank - 1]),
        "kernel_size": (*one, *uneven),
        "strides": (1, 2, 3, 4, *steps),
        "dilation_rate": (1, 2, 3, 8, *steps),
        "groups": (1, 2, 3, 6),
        "padding": ("valid", "same", "causal") if rank == 1 else ("valid", "same"),
        "shape": shapes,
        **SEVERAL_AXES,
    }
    base = {"filters": 6, "kernel_size": 3}
    return Row(f"Conv{rank}D", shape, base, options, conv_illegal(rank))


def transposed(rank: int) -> Row:
    def illegal(o: Options) -> bool:
        window, stride, dilation = (
            each(o.get(key, 1), rank) for key in ("kernel_size", "strides", "dilation_rate")
        )
        more = o.get("output_padding")
        if max(stride) > 1 and max(dilation) > 1:
            return True
        if more is None:
            return False
        if any(e >= s for e, s in zip(each(more, rank), stride)):
            return True
        same = o.get("padding") == "same"  # the sizes of which no convolution makes the input are refused
        reach = [(w - 1) * d + 1 for w, d in zip(window, dilation)]
        places, _ = spatial(o, rank)
        made = [
            (size - 1) * s + r + e - (2 * (r // 2) if same else 0)
            for size, s, r, e in zip(places, stride, reach, each(more, rank))
        ]
        if min(made) < 1:
            return True
        back = [-(-m // s) if same else (m - r) // s + 1 for m, s, r in zip(made, stride, reach)]
        return tuple(back) != tuple(places)

    row = conv(rank)
    options = {k: v for k, v in row.options.items() if k not in ("groups", "padding")}
    options |= {"padding": ("valid", "same"), "output_padding": (None, 0, 1)}
    shape = ((8, 6), (5, 4, 6), (3, 2, 4, 6))[rank - 1]
    name = f"Conv{rank}DTranspose"
    return Row(name, shape, row.base, options, illegal)


def depthwise(rank: int) -> Row:
    row = conv(rank)
    options = {
        **{k: v for k, v in row.options.items() if k not in ("groups", "filters") and "kernel_" not in k},
        **weights("depthwise"),
        "kernel_size": row.options["kernel_size"],
        "padding": ("valid", "same"),
        "depth_multiplier": (1, 2, 3),
    }

    def illegal(o: Options) -> bool:
        return row.illegal({**o, "filters": 1})

    name = f"DepthwiseConv{rank}D"
    return Row(name, row.shape, {"kernel_size": 3}, options, illegal)


def separable(rank: int) -> Row:
    row, deep = conv(rank), depthwise(rank)
    options = {
        **deep.options,
        **weights("pointwise"),
        "filters": row.options["filters"],
        "padding": row.options["padding"],
    }
    name = f"SeparableConv{rank}D"
    return Row(name, row.shape, row.base, options, row.illegal)


def local(rank: int) -> Row:
    row = conv(rank)
    options = {k: v for k, v in row.options.items() if k not in ("groups", "dilation_rate")}
    options["padding"] = ("valid",)
    options["filters"] = sizes("channels", 4, 40)
    options["shape"] = (((4, 6), (13, 3), (7, 65)), ((3, 4, 6), (13, 7, 3), (3, 5, 33)))[rank - 1]
    if rank == 1:
        del options["data_format"]
    shape = ((9, 6), (5, 6, 4))[rank - 1]
    name = f"LocallyConnected{rank}D"
    return Row(name, shape, row.base, options, row.illegal)


def edged(name: str, argument: str, rank: int) -> Row:
    pairs = ((0, 3), ((1, 2), (0, 1)), ((1, 0), (0, 2), (1, 1)))[rank - 1]
    amounts = (0, 1, 2, pairs, *((), ((2, 1),), ((1, 0, 1),))[rank - 1])

    def illegal(o: Options) -> bool:
        amount = o.get(argument)
        if argument != "cropping" or amount is None:
            return False
        places, _ = spatial(o, rank)
        values = (amount,) if rank == 1 and isinstance(amount, tuple) else each(amount, rank)
        return any(sum(each(v, 2)) >= size for v, size in zip(values, places))

    shape = ((9, 3), (6, 7, 5), (5, 6, 4, 5))[rank - 1]
    options = {**ANY, argument: amounts, **({} if rank == 1 else SEVERAL_AXES)}
    layer = f"{name}{rank}D"
    return Row(layer, shape, {argument: 1}, options, illegal)


def upsampling(rank: int) -> Row:
    uneven = ((), ((2, 3), (1, 4)), ((1, 2, 3),))[rank - 1]
    options: Options = {**ANY, "size": (1, 2, 3, 7, *uneven), **({} if rank == 1 else SEVERAL_AXES)}
    if rank == 2:
        options["interpolation"] = ("nearest", "bilinear")
    shape = ((4, 3), (4, 3, 2), (2, 3, 2, 3))[rank - 1]
    options["shape"] = (((1, 1), (5, 33)), ((1, 1, 3), (2, 5, 17)), ((1, 1, 1, 2),))[rank - 1]
    name = f"UpSampling{rank}D"
    return Row(name, shape, {}, options)


def spatial_dropout(rank: int) -> Row:
    shape = ((4, 3), (4, 3, 2), (2, 3, 2, 3))[rank - 1]
    options = {**ANY, **MASKED, "rate": (0.0, 0.1, 0.9), "seed": (3,), **({} if rank == 1 else SEVERAL_AXES)}
    name = f"SpatialDropout{rank}D"
    return Row(name, shape, {"rate": 0.4}, options)


def conv_lstm(rank: int) -> Row:
    def illegal(o: Options) -> bool:
        return row.illegal({**o, "shape": o["shape"][1:]})

    row = conv(rank)
    left_out = ("units", "shape", "implementation", "activation", "masked")  # a mask is of single pixels here
    options = {k: v for k, v in (RECURRENT | GATED).items() if k not in left_out} | {
        "filters": (1, 3, 16, 17),
        "kernel_size": (1, 2, (3, 3, 2)[:rank] if rank > 1 else 3),
        "strides": (1, 2),
        "dilation_rate": (1, 2),
        "padding": ("valid", "same"),
        "activation": ("tanh", "relu", "sigmoid", "softsign"),
        "unit_forget_bias": (True, False),
        **SEVERAL_AXES,
    }
    shape = ((3, 5, 4), (3, 5, 4, 4), (2, 3, 4, 4, 4))[rank - 1]
    name = f"ConvLSTM{rank}D"
    return Row(name, shape, {"filters": 3, "kernel_size": 2}, options, illegal)


def pooling(kind: str, rank: int) -> Row:
    def illegal(o: Options) -> bool:
        places, _ = spatial(o, rank)
        return o.get("padding", "valid") == "valid" and any(
            w > size for w, size in zip(each(o.get("pool_size", 2), rank), places)
        )

    shape = ((14, 5), (9, 13, 5), (5, 4, 6, 3))[rank - 1]
    shapes = (
        ((1, 5), (200, 3), (13, 33)),
        ((1, 1, 5), (13, 14, 3), (4, 5, 33)),
        ((1, 1, 1, 3), (3, 2, 7, 9)),
    )[rank - 1]
    uneven = ((), ((1, 3), (4, 2)), ((1, 2, 3), (3, 1, 1)))[rank - 1]
    windows = (1, 2, 3, 4, 5, 8, 13) if rank < 3 else (1, 2, 3, 4)
    options = {
        **ANY,
        "pool_size": (*windows, *uneven),
        "strides": (None, 1, 2, 3, 4, *uneven),
        "padding": ("valid", "same"),
        "shape": shapes,
        **SEVERAL_AXES,
    }
    return Row(f"{kind}Pooling{rank}D", shape, {"pool_size": 2}, options, illegal)


def global_pooling(kind: str, rank: int) -> Row:
    shape = ((14, 5), (9, 7, 5), (5, 4, 6, 3))[rank - 1]
    shapes = (((1, 5), (500, 3)), ((1, 1, 5), (16, 17, 33)), ((1, 1, 1, 3), (3, 2, 7, 9)))[rank - 1]
    options = {**ANY, "keepdims": (True,), "shape": shapes, **SEVERAL_AXES}
    if rank == 1 and kind == "Average":
        options["masked"] = (True,)

    def illegal(o: Options) -> bool:
        """A mask is of the axis that holds the channels then."""
        return bool(o["masked"]) and o.get("data_format") == "channels_first"

    name = f"Global{kind}Pooling{rank}D"
    return Row(name, shape, {}, options, illegal)


RECURRENT = {
    **ANY,
    **ACTIVITY,
    **weights("kernel", "recurrent", "bias"),
    "use_bias": (False,),
    "activation": tuple(a for a in ACTIVATIONS if a != "exponential"),
    "units": (1, 3, 7, 16, 17, 65, 128),
    "dropout": (0.3,),
    "recurrent_dropout": (0.3,),
    "implementation": (1, 2),
    "masked": (True,),
    "return_sequences": (True,),
    "return_state": (True,),
    "go_backwards": (True,),
    "stateful": (True,),
    "unroll": (True,),
    "shape": ((1, 4), (2, 1), (40, 3), (5, 33)),
    "zero_output_for_mask": (True,),
}
GATED = {"recurrent_activation": ("sigmoid", "hard_sigmoid", "tanh", "linear", "softsign")}


def recurrent(name: str, **more: tuple[Any, ...]) -> Row:
    return Row(name, (5, 4), {"units": 6}, {**RECURRENT, **more})


def bidirectional(kind: str, **more: tuple[Any, ...]) -> Row:
    inner = {k: v for k, v in RECURRENT.items() if k not in ANY} | more

    def make(layers: Any, o: Options, every: Options) -> Any:
        outer = {key: o[key] for key in ("merge_mode", "name", "trainable") if key in o}
        inside = {key: value for key, value in o.items() if key not in (*outer, "backward_layer")}
        if "backward_layer" in o:
            other = {**inside, **o["backward_layer"], "go_backwards": not inside.get("go_backwards")}
            outer["backward_layer"] = getattr(layers, kind)(**other, **every)
        return layers.Bidirectional(getattr(layers, kind)(**inside, **every), **outer, **every)

    return Row(
        f"Bidirectional({kind})",
        (5, 4),
        {"units": 6},
        {
            **ANY,
            **inner,
            "merge_mode": ("concat", "sum", "ave", "mul", None),
            "backward_layer": ({"activation": "softsign"},),
        },
        make=make,
    )


def per_step(name: str, shape: tuple[int, ...], base: Options, options: dict[str, tuple[Any, ...]]) -> Row:
    def make(layers: Any, o: Options, every: Options) -> Any:
        return layers.TimeDistributed(getattr(layers, name)(**o, **every), **every)

    return Row(f"TimeDistributed({name})", shape, base, {**ANY, **options}, make=make)


def merging(name: str, **more: tuple[Any, ...]) -> Row:
    def illegal(o: Options) -> bool:
        rank = len(o["shape"]) + 1
        return not -rank < o.get("axis", -1) < rank

    options = {**ANY, **MASKED, "shape": ((1,), (1000,), (4, 3), (3, 4, 5)), **more}
    return Row(name, (7,), {}, options, illegal, copies=2 if name == "Subtract" else 3)


def dot() -> Row:
    def illegal(o: Options) -> bool:
        axes = o["axes"] if isinstance(o["axes"], tuple) else (o["axes"],) * 2
        rank = len(o["shape"]) + 1
        if any(not -rank < a < rank for a in axes):
            return True
        return o["shape"][axes[0] % rank - 1] != o["shape"][axes[1] % rank - 1]

    return Row(
        "Dot",
        (4, 5),
        {"axes": 1},
        {
            **ANY,
            **MASKED,
            "axes": (1, 2, -1, (1, 1), (2, 2), (1, 2)),
            "normalize": (True,),
            "shape": ((7,), (3, 3), (1, 9)),
        },
        illegal,
        copies=2,
    )


def normalizing(name: str) -> Row:
    """Of each sample by itself."""

    def illegal(o: Options) -> bool:
        rank = len(o["shape"]) + 1
        axes = o.get("axis", -1)
        places = [a % rank if -rank <= a < rank else 0 for a in (axes if isinstance(axes, list) else [axes])]
        if 0 in places or len(set(places)) < len(places):
            return True
        channels, groups = (1, *o["shape"])[places[0]], o.get("groups", 1)
        return "groups" in o and groups != -1 and bool(channels % groups)

    options: Options = {
        **ANY,
        **MASKED,
        **weights("beta", "gamma"),
        "axis": (-1, 1, 2, 3),
        "epsilon": (1e-3, 1e-5, 0.1),
        "center": (False,),
        "scale": (False,),
        "shape": ((1,), (6,), (256,), (4, 6), (3, 4, 6), (2, 3, 4, 6)),
    }
    if name == "GroupNormalization":
        return Row(name, (4, 6), {"groups": 2}, {**options, "groups": (1, 3, 6, -1)}, illegal)
    options |= {"axis": (-1, 1, [1, 2], [2, 1], [-1, -2], [3]), "rms_scaling": (True,)}
    return Row(name, (4, 6), {}, options, illegal)


def spectral(name: str, shape: tuple[int, ...], base: Options) -> Row:
    def make(layers: Any, o: Options, every: Options) -> Any:
        outer = {key: o[key] for key in ("power_iterations", "name", "trainable") if key in o}
        inside = {key: value for key, value in o.items() if key not in outer}
        return layers.SpectralNormalization(getattr(layers, name)(**inside, **every), **outer, **every)

    options = {**ANY, "power_iterations": (1, 3), "use_bias": (False,)}
    return Row(f"SpectralNormalization({name})", shape, base, options, make=make)


def reversible(**more: tuple[Any, ...]) -> Row:
    """There and back."""

    def make(layers: Any, o: Options, every: Options) -> Any:
        layer = layers.ReversibleEmbedding(**o, **every)
        return lambda words: layer(layer(words), reverse=True)

    options: Options = {**ANY, **weights("embeddings"), "mask_zero": (True,), "tie_weights": (False,)}
    options |= {"reverse_dtype": ("float32",), "logit_soft_cap": (0.5, 2.0), "shape": ((1,), (2, 3)), **more}
    base = {"input_dim": 7, "output_dim": 3}
    return Row("ReversibleEmbedding", (6,), base, options, words=True, make=make)


def attention(name: str, **more: tuple[Any, ...]) -> Row:
    """Of a query to a value."""
    options = {
        **ANY,
        **MASKED,
        "use_scale": (True, False),
        "dropout": (0.3,),
        "causal_call": (True,),
        "scores": (True,),
        "shape": ((1, 1), (7, 33), (20, 3)),
        **more,
    }

    def make(layers: Any, o: Options, every: Options) -> Any:
        inside, called = _call_options(o)
        layer = getattr(layers, name)(**inside, **every)
        return lambda tensors: layer(tensors, **called)

    return Row(name, (4, 5), {}, options, copies=2, make=make)


def _call_options(o: Options) -> tuple[Options, Options]:
    """Options of the constructor, and of the call."""
    names = {"causal_call": "use_causal_mask", "scores": "return_attention_scores"}
    inside = {key: value for key, value in o.items() if key not in names}
    return inside, {names[key]: o[key] for key in names if key in o}


def heads(name: str, base: Options, **more: tuple[Any, ...]) -> Row:
    """Attention of several heads, to a value."""
    options = {
        **ANY,
        **MASKED,
        **ACTIVITY,
        **weights("kernel"),
        "bias_initializer": INITIALIZERS,
        "bias_regularizer": REGULARIZERS,  # a constraint scales the rounding of a key's gradient, which is 0
        "use_bias": (False,),
        "dropout": (0.3,),
        "sliding_window": (2,),
        "use_gate": (True,),
        "causal_call": (True,),
        "shape": ((1, 1), (6, 17)),
        **more,
    }

    def make(layers: Any, o: Options, every: Options) -> Any:
        inside, called = _call_options(o)
        layer = getattr(layers, name.replace("Grouped", "Group"))(**inside, **every)
        return lambda tensors: layer(*tensors, **called)

    def illegal(o: Options) -> bool:
        if "num_query_heads" in o:
            return bool(o["num_query_heads"] % o["num_key_value_heads"])
        return False

    return Row(name, (4, 5), base, options, illegal, copies=2, make=make)


def adaptive_pooling(kind: str, rank: int) -> Row:
    shape = ((7, 5), (7, 5, 4), (4, 5, 3, 3))[rank - 1]  # no output is larger, where Keras 3 gives NaN
    uneven = ((1, 5), ((2, 4), (1, 3)), ((1, 3, 2), (3, 2, 3)))[rank - 1]
    options = {**ANY, "output_size": (2, 3, *uneven), **SEVERAL_AXES}
    return Row(f"Adaptive{kind}Pooling{rank}D", shape, {"output_size": 3}, options)
