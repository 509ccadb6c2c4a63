"""clone_model beside Keras 3 and tf_keras: which layers go through the functions, what clones are made of,
and what they compute."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

pytestmark = pytest.mark.keras

PAIRS = [("kcompile.keras3", "keras"), ("kcompile.tf_keras", "tf_keras")]


def clones(keras, newer):
    """What a script finds out about clones of a model: layers that went through functions, those of the
    clones, and predictions with weights that count up."""
    layers, models = keras.layers, keras.models

    class Scaled(layers.Layer):
        def call(self, x, other=None, scale=1.0):
            return x * scale if other is None else x * scale + other

    a, b = layers.Input((4,), name="a"), layers.Input((4,), name="b")
    dense = layers.Dense(4, activation="relu", name="d")
    x, y = dense(a), dense(b)
    z = Scaled(name="t")(layers.Add(name="add")([x, y]), other=x, scale=2.0)
    inner = [
        layers.Input((4,)),
        layers.Dense(3, activation="tanh", name="inn"),
        layers.Dropout(0.3, name="p"),
    ]
    z = models.Sequential(inner, name="inner")(z)
    model = models.Model([a, b], layers.Dense(2, name="out")(z), name="net")
    model.compile("sgd", "mse", metrics=["mae"])
    inner, seen, calls, found = model.get_layer("inner"), [], [], []

    def swap(layer):
        seen.append(layer.name)
        config = layer.get_config()
        if isinstance(layer, layers.Dense):
            config |= {"activation": "linear", "name": config["name"] + "_q"}
        return type(layer).from_config(config)

    def call(layer, *args, **kwargs):
        calls.append((layer.name, len(args)))
        result = layer(*args, **kwargs)
        return layers.Rescaling(2.0, name=f"{layer.name}_twice")(result) if layer.name == "out" else result

    a2, b2 = layers.Input((4,), name="a2"), layers.Input((4,), name="b2")
    ways = [
        (model, {}),
        (model, {"clone_function": swap}),
        (model, {"clone_function": swap, "input_tensors": [a2, b2]}),
        (model, {"clone_function": lambda layer: layer}),
        (inner, {"clone_function": swap}),
        (inner, {"clone_function": swap, "input_tensors": layers.Input((4,), name="mine")}),
    ]
    if newer:
        ways += [
            (model, {"clone_function": swap, "recursive": True}),
            (model, {"call_function": call, "recursive": True}),
            (model, {"call_function": call, "clone_function": lambda layer: layer}),
        ]
    rng = np.random.default_rng(0)
    for k, (taken, given) in enumerate(ways):
        clone = models.clone_model(taken, **given)
        parts = [layer for part in clone.layers for layer in [part, *getattr(part, "layers", ())]]
        values = [0.2 * rng.standard_normal(w.shape).astype("float32") for w in clone.get_weights()]
        clone.set_weights(values)
        fed = [np.ones((2, 4), "float32"), np.eye(4, dtype="float32")[:2]][: len(clone.inputs)]
        given = fed if len(fed) > 1 else fed[0]
        compiled = getattr(clone, "optimizer", None) is not None
        names = [layer.name for layer in parts if "input" not in layer.name]
        shared = clone.get_layer(names[-1]) is taken.layers[-1]
        said = clone.predict(given, verbose=0) if k in (1, len(ways) - 1) else 0.0
        found.append((names, clone.name, compiled, shared, said))
    return [seen, calls, *found]


@pytest.mark.parametrize("ours, theirs", PAIRS)
def test_clones_are_those_of_keras(ours, theirs):
    real, mine = pytest.importorskip(theirs), importlib.import_module(ours)
    there, here = (clones(keras, theirs == "keras") for keras in (real, mine))
    assert here[:2] == there[:2]
    for ours, wanted in zip(here[2:], there[2:]):
        assert ours[:4] == wanted[:4]
        np.testing.assert_allclose(ours[4], wanted[4], rtol=2e-6, atol=1e-6)
