"""Signatures of layers, verbatim as the documents have them, in models that are trained."""

from __future__ import annotations

import ast
from typing import NamedTuple

import numpy as np
import pytest
from samples import HERE, Model, keras


class Signature(NamedTuple):
    layer: str
    places: tuple[str, ...]
    modules: tuple[str, ...]
    arguments: str
    inputs: list[tuple[int, ...]]
    output: tuple[int, ...]


def signature(block: str) -> Signature:
    """Of a block of layer_signatures.txt."""
    head, *named, arguments = block.splitlines()
    layer, shapes = head.split(": ")
    inputs, output = shapes.split(" -> ")
    places, modules = zip(*(line.split() for line in named))
    shapes_in = [ast.literal_eval(shape) for shape in inputs.split(" & ")]
    return Signature(layer, places, modules, arguments, shapes_in, ast.literal_eval(output))


BLOCKS = (HERE / "layer_signatures.txt").read_text().strip().split("\n\n")[1:]
SIGNATURES = [signature(block) for block in BLOCKS]


def values() -> dict[str, object]:
    """Of the names that the signatures leave free."""
    return {
        **dict(filters=4, kernel_size=3, activation="tanh", units=4, rate=0.5, target_shape=(5, 2)),
        **dict(dims=(2, 1), n=3, function=lambda x: x**2, axes=1, stddev=0.5, output_dim=4, input_dim=100),
        "layer": keras.layers.LSTM(8, return_sequences=True),
    }


def inner(layer: str) -> dict[str, object]:
    """What a wrapper wraps."""
    wrapped = {"TimeDistributed": keras.layers.Dense, "Bidirectional": keras.layers.LSTM}
    return {"layer": wrapped[layer](8)} if layer in wrapped else {}


@pytest.mark.parametrize("stated", SIGNATURES, ids=[f"{s.layer}-{s.places[0]}" for s in SIGNATURES])
def test_a_layer_is_made_as_its_signature_states_and_trained(stated):
    names = {**values(), **inner(stated.layer), "keras": keras}
    made = [eval(f"keras.{module}.{stated.layer}{stated.arguments}", names) for module in stated.modules]
    indices = stated.layer == "Embedding"
    inputs = [keras.layers.Input(shape, dtype="int32" if indices else None) for shape in stated.inputs]
    outputs = [layer(inputs if len(inputs) > 1 else inputs[0]) for layer in made]
    models = [Model(inputs, keras.layers.Dense(2)(output)) for output in outputs]
    assert [keras.backend.int_shape(output) for output in outputs] == [(None, *stated.output)] * len(made)
    data = [np.random.randint(0, 20, (6, *shape)) for shape in stated.inputs]
    models[0].compile("sgd", "mse")
    history = models[0].fit(data, np.random.rand(6, *stated.output[:-1], 2), verbose=0)
    assert np.isfinite(history.history["loss"]).all()
