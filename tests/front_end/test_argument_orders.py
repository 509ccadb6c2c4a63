"""Layers take arguments by position in the order of each Keras.

argument_orders.json has the signatures of Keras 2.3.1, tf_keras 2.21 and Keras 3.15: for each layer the names
in their order, with their defaults (null for what JSON cannot hold).
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from kcompile import keras, keras3, tf_keras
from kcompile_runtime.errors import KcompileError

SIGNATURES = json.loads((Path(__file__).parent / "argument_orders.json").read_text())
EDITIONS = {"keras2": keras, "tf_keras": tf_keras, "keras3": keras3}
# Values that differ from defaults, by the whole name or its last word
OTHERS: dict[str, Any] = {
    "activation": "tanh",
    "axis": 1,
    "bias_axes": "c",
    "constraint": "nonneg",
    "data_format": "channels_first",
    "dilation_rate": 2,
    "dtype": "float64",
    "epsilon": 0.25,
    "groups": 2,
    "implementation": 1,
    "initializer": "ones",
    "input_length": 7,
    "input_shape": (4,),
    "merge_mode": "sum",
    "momentum": 0.5,
    "name": "mine",
    "output_padding": 1,
    "padding": "same",
    "regularizer": "l2",
    "seed": 3,
    "strides": 2,
}
REQUIRED: dict[str, Any] = {
    "rate": 0.5,
    "stddev": 0.5,
    "activation": "tanh",
    "axes": 1,
    "equation": "ab,bc->ac",
    "dims": (2, 1),
    "function": "relu",
    "target_shape": (2, 2),
    "layer": lambda edition: edition.layers.LSTM(2),
    "cell": lambda edition: edition.layers.LSTMCell(2),
    "cells": lambda edition: [edition.layers.LSTMCell(2)],
}
RENAMED = {("InputLayer", "shape"): "input_shape", ("LeakyReLU", "negative_slope"): "alpha"}
LAYERS = [(vintage, kind) for vintage, kinds in SIGNATURES.items() for kind in kinds]


def usual(edition: Any, name: str, *default: Any) -> Any:
    """The default of an argument, or for one without a value that most layers take."""
    value = default[0] if default else REQUIRED.get(name, 3)
    return value(edition) if callable(value) else value


def other(edition: Any, name: str, *default: Any) -> Any:
    """A value of an argument that is not its default."""
    if not default:
        return usual(edition, name)
    if isinstance(default[0], bool):
        return not default[0]
    if name == "padding" and default != ("valid",):
        return 2
    return OTHERS.get(name, OTHERS.get(name.rpartition("_")[2], 2))


def made(kind: Any, /, *args: Any, **kwargs: Any) -> Any:
    """A configuration without numbered names, or None for an error of ours."""
    try:
        config = kind(*args, **kwargs).get_config()
    except (KcompileError, TypeError):
        return None
    left_out = {"layer", "cell", "cells", *(["name"] if config["name"] != "mine" else [])}
    return {key: str(value) for key, value in config.items() if key not in left_out}


@pytest.mark.parametrize("vintage, kind", LAYERS)
def test_arguments_by_position_are_those_of(vintage, kind):
    edition, signature = EDITIONS[vintage], SIGNATURES[vintage][kind]
    layer, understood = getattr(edition.layers, kind), 0
    rank = max([int(digit) for digit in kind if digit.isdigit()], default=1)
    usual_size = {"kernel_size": [3] * rank}  # two numbers are a kernel of Keras 1
    needed = [len(argument) == 1 for argument in signature]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for place in range(sum(needed) - 1 if any(needed) else 0, len(signature)):
            values = [usual_size.get(a[0]) or usual(edition, *a) for a in signature[:place]]
            values.append(other(edition, *signature[place]))
            by_name = {RENAMED.get((kind, name), name): v for (name, *_), v in zip(signature, values)}
            found = made(layer, *values)
            assert found == made(layer, **by_name), signature[place][0]
            understood += found is not None
    assert understood or kind == "Lambda"


def test_too_many_arguments_and_those_given_twice():
    with pytest.raises(TypeError, match="at most 23"):
        keras.layers.LSTM(*[None] * 24)
    with pytest.raises(TypeError, match="given twice: units"):
        keras.layers.GRU(3, units=3)
