"""A table of the layers and the ordinary values of their options; `option_cases` makes cases of it.

Whoever adds a layer adds a `Row`, or a family of them to `option_rows`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from option_rows import (
    ACTIVATIONS,
    ACTIVITY,
    ANY,
    GATED,
    INITIALIZERS,
    KERAS1_WEIGHTS,
    KERNEL,
    MASKED,
    SEVERAL_AXES,
    Options,
    Row,
    adaptive_pooling,
    attention,
    bidirectional,
    conv,
    conv_lstm,
    depthwise,
    dot,
    edged,
    global_pooling,
    heads,
    local,
    merging,
    normalizing,
    per_step,
    pooling,
    recurrent,
    reversible,
    separable,
    sizes,
    spatial_dropout,
    spectral,
    transposed,
    upsampling,
    weights,
)
from option_rows_preprocessing import PREPROCESSING

from kcompile.keras import initializers


def reshape_illegal(o: Options) -> bool:
    total, target = int(np.prod(o["shape"])), o["target_shape"]
    known = int(np.prod([d for d in target if d != -1]))
    return total % known > 0 or (-1 not in target and total != known)


def scaled(x: Any, by: float = 2.0) -> Any:
    return x * x * by


def shared_illegal(o: Options) -> bool:
    return any(a > len(o["shape"]) for a in o.get("shared_axes") or ())


NOISE = {**ANY, "seed": (None, 3), "shape": ((1,), (257,), (5, 6)), **MASKED}


def axis_illegal(o: Options) -> bool:
    rank = len(o["shape"]) + 1
    return not -rank <= o.get("axis", -1) < rank or o.get("axis", -1) % rank == 0


def several(o: Options) -> list[int]:
    axis = o.get("axis", -1)
    return list(axis) if isinstance(axis, list) else [axis]


def several_illegal(o: Options) -> bool:
    return any(axis_illegal({**o, "axis": a}) for a in several(o))


def trailing(o: Options) -> bool:
    """Whether the axes are the last ones: a scale broadcasts along these alone."""
    rank = len(o["shape"]) + 1
    return (
        not several_illegal(o)
        and sorted(a % rank for a in several(o))[-1] == rank - 1
        and (len(several(o)) == 1 or rank == 3)
    )


SHAPES = ((1,), (257,), (5, 6), (3, 4, 5), (2, 3, 4, 5))
TABLE = {
    row.name: row
    for row in (
        Row(
            "Dense",
            (7,),
            {"units": 6},
            {**KERNEL, "units": sizes("units", 8), "shape": (*SHAPES, (1000,)), **MASKED},
        ),
        *(conv(rank) for rank in (1, 2, 3)),
        *(transposed(rank) for rank in (1, 2, 3)),
        *(depthwise(rank) for rank in (1, 2)),
        *(separable(rank) for rank in (1, 2)),
        *(local(rank) for rank in (1, 2)),
        *(conv_lstm(rank) for rank in (1, 2, 3)),
        *(edged("Cropping", "cropping", rank) for rank in (1, 2, 3)),
        *(edged("ZeroPadding", "padding", rank) for rank in (1, 2, 3)),
        *(upsampling(rank) for rank in (1, 2, 3)),
        *(spatial_dropout(rank) for rank in (1, 2, 3)),
        Row("GaussianNoise", (7,), {"stddev": 0.2}, {**NOISE, "stddev": (0.0, 0.5, 3.0)}),
        Row("GaussianDropout", (7,), {"rate": 0.2}, {**NOISE, "rate": (0.0, 0.5, 0.9)}),
        Row("AlphaDropout", (7,), {"rate": 0.2}, {**NOISE, "rate": (0.0, 0.5, 0.9)}),
        Row(
            "ActivityRegularization", (7,), {}, {**ANY, "l1": (0.1,), "l2": (0.2,), "shape": SHAPES, **MASKED}
        ),
        Row(
            "Permute",
            (3, 4, 5),
            {"dims": (2, 3, 1)},
            {**ANY, "dims": ((1, 2, 3), (3, 2, 1), (1,), (2, 1)), "shape": ((7,), (3, 4))},
            lambda o: len(o["dims"]) != len(o["shape"]),
        ),
        Row("RepeatVector", (7,), {"n": 3}, {**ANY, "n": (1, 40), "shape": ((1,), (257,))}),
        *(pooling(kind, rank) for kind in ("Max", "Average") for rank in (1, 2, 3)),
        *(global_pooling(kind, rank) for kind in ("Max", "Average") for rank in (1, 2, 3)),
        *(adaptive_pooling(kind, rank) for kind in ("Average", "Max") for rank in (1, 2, 3)),
        Row(
            "Embedding",
            (6,),
            {"input_dim": 11, "output_dim": 5},
            {
                **ANY,
                **ACTIVITY,
                **weights("embeddings"),
                "input_dim": (2, 11, 33, 5000),
                "output_dim": (1, 3, 16, 65),
                "mask_zero": (True,),
                "shape": ((1,), (33,), (2, 3)),
            },
            words=True,
        ),
        reversible(input_dim=(2, 33), output_dim=(1, 16)),
        recurrent("SimpleRNN"),
        recurrent("LSTM", unit_forget_bias=(True, False), **GATED),
        recurrent("GRU", reset_after=(True, False), **GATED),
        bidirectional("SimpleRNN"),
        bidirectional("LSTM", **GATED),
        bidirectional("GRU", reset_after=(True, False)),
        per_step("Dense", (4, 5), {"units": 3}, {**KERNEL, "units": (1, 17), **MASKED}),
        per_step(
            "Conv2D",
            (3, 6, 5, 4),
            {"filters": 3, "kernel_size": 3},
            {**KERNEL, "padding": ("valid", "same"), **SEVERAL_AXES},
        ),
        per_step(
            "LSTM", (3, 4, 5), {"units": 3}, {"return_sequences": (True,), "dropout": (0.0, 0.3), **MASKED}
        ),
        per_step("BatchNormalization", (3, 5), {}, {"center": (False,), "axis": (-1, 1), **MASKED}),
        per_step("Dropout", (3, 5), {"rate": 0.4}, {"rate": (0.0,), **MASKED}),
        Row(
            "BatchNormalization",
            (6,),
            {},
            {
                **ANY,
                **MASKED,
                **weights("beta", "gamma"),
                "moving_mean_initializer": INITIALIZERS,
                "moving_variance_initializer": ("ones", initializers.Constant(0.5)),
                "axis": (-1, 1, 2, 3),
                "momentum": (0.0, 0.9, 0.99, 1.0),
                "epsilon": (1e-3, 1e-5, 0.1),
                "center": (False,),
                "scale": (False,),
                "shape": SHAPES,
            },
            axis_illegal,
        ),
        attention("Attention", score_mode=("dot", "concat")),
        attention("AdditiveAttention"),
        heads(
            "MultiHeadAttention",
            {"num_heads": 2, "key_dim": 3},
            num_heads=(1, 3),
            key_dim=(1, 5),
            output_shape=(7,),
            attention_axes=(None, (1,)),
        ),
        heads(
            "GroupedQueryAttention",
            {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2},
            num_query_heads=(2, 3),
            num_key_value_heads=(1, 4),
        ),
        Row(
            "EinsumDense",
            (4, 6),
            {"equation": "abc,cd->abd", "output_shape": (4, 5)},
            {
                **{k: v for k, v in KERNEL.items() if k not in ("use_bias", "vintage")},
                "equation": ("abc,bcd->abd", "abc,cbd->abd"),
                "bias_axes": ("d", "bd", "b"),
                "output_shape": ((None, 5), (4, 1), (3, 5)),
                "shape": ((1, 1), (4, 33)),
            },
            lambda o: o["output_shape"][0] not in (None, o["shape"][0]),
        ),
        *(normalizing(name) for name in ("LayerNormalization", "GroupNormalization")),
        Row(
            "RMSNormalization",
            (6,),
            {},
            {**ANY, "axis": (-1, 1, [-1], [1, 2]), "epsilon": (1e-3, 0.1), "shape": SHAPES},
            lambda o: not trailing(o),
        ),
        Row(
            "UnitNormalization",
            (6,),
            {},
            {**ANY, **MASKED, "axis": (-1, 1, 2, [-1], [2, 1]), "shape": SHAPES},
            several_illegal,
        ),
        Row("Identity", (6,), {}, {**ANY, **MASKED, "shape": SHAPES}),
        spectral("Dense", (6,), {"units": 4}),
        spectral("Conv2D", (5, 4, 3), {"filters": 3, "kernel_size": 2}),
        Row(
            "Dropout",
            (7,),
            {"rate": 0.4},
            {
                **ANY,
                **MASKED,
                "rate": (0.0, 0.1, 0.5, 0.9),
                "seed": (None, 3),
                "shape": SHAPES,
                "noise_shape": (None, (None, 1), (None, 1, None)),
            },
            lambda o: o.get("noise_shape") is not None and len(o["noise_shape"]) != len(o["shape"]) + 1,
        ),
        Row("Flatten", (3, 4, 5), {}, {**ANY, "shape": SHAPES, **SEVERAL_AXES}),
        Row(
            "Reshape",
            (12,),
            {"target_shape": (3, 4)},
            {
                **ANY,
                "target_shape": ((12,), (-1,), (2, -1, 3), (2, 2, 3, 1), (-1, 5)),
                "shape": ((3, 4), (2, 6, 5), (1, 12)),
            },
            reshape_illegal,
        ),
        *PREPROCESSING,
        *(merging(name) for name in ("Add", "Multiply", "Subtract", "Average", "Maximum", "Minimum")),
        merging("Concatenate", axis=(-1, 1, 2, -2)),
        dot(),
        Row(
            "Activation",
            (7,),
            {"activation": "relu"},
            {**ANY, **MASKED, "activation": ACTIVATIONS, "shape": SHAPES},
        ),
        Row("LeakyReLU", (7,), {}, {**ANY, **MASKED, "alpha": (0.0, 0.1, 1.0), "shape": SHAPES}),
        Row("ELU", (7,), {}, {**ANY, **MASKED, "alpha": (0.0, 0.1, 2.0), "shape": SHAPES}),
        Row("ThresholdedReLU", (7,), {}, {**ANY, **MASKED, "theta": (0.0, 0.1, 2.0), "shape": SHAPES}),
        Row(
            "ReLU",
            (7,),
            {},
            {
                **ANY,
                **MASKED,
                "max_value": (None, 0.5, 6.0),
                "negative_slope": (0.0, 0.2),
                "threshold": (0.0, 0.3),
                "shape": SHAPES,
            },
        ),
        Row(
            "PReLU",
            (3, 4),
            {},
            {**ANY, **MASKED, **weights("alpha"), "shape": SHAPES, "shared_axes": (None, (1,), (1, 2))},
            shared_illegal,
        ),
        Row("Highway", (5,), {}, {**ANY, **KERAS1_WEIGHTS, "activation": (None, "tanh")}),
        Row(
            "MaxoutDense",
            (5,),
            {"output_dim": 3},
            {**ANY, **KERAS1_WEIGHTS, "nb_feature": (1, 2), "output_dim": (1, 7)},
        ),
        Row(
            "Softmax",
            (7,),
            {},
            {**ANY, **MASKED, "axis": (-1, 1, 2), "shape": SHAPES},
            lambda o: not o.get("axis", -1) <= len(o["shape"]),
        ),
        Row("Masking", (4, 3), {}, {**ANY, **MASKED, "mask_value": (0.0, 1.0), "shape": SHAPES}),
        Row(
            "Lambda",
            (7,),
            {"function": scaled},
            {
                **ANY,
                **MASKED,
                "arguments": (None, {"by": 0.5}),
                "output_shape": (None, (7,)),
                "shape": SHAPES,
            },
            lambda o: o.get("output_shape") is not None and o["output_shape"] != o["shape"],
        ),
    )
}
