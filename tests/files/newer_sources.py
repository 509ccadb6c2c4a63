"""Files of the newer kinds, before `fuzz` changes them: of Keras 3 and tf.keras, with calls of functions as
layers, classes of the user's own, what preprocessing has learnt, policies, and states of optimizers.

Enters: a folder. Leaves: paths of files, and the classes that they need.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from kcompile import keras3, tf_keras


class Doubled(keras3.layers.Layer):
    """A layer of the user's own."""

    def __init__(self, times: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.times = times

    def call(self, x: Any) -> Any:
        return x * self.times


CUSTOM = {"Mine>Doubled": Doubled, "Doubled": Doubled}


def written(folder: Path) -> Iterator[Path]:
    """Each model in each format that holds it; the weights of those alone are made by who asks."""
    for name, model in _models():
        model.save(folder / f"{name}.keras")
        model.save(folder / f"{name}.h5")
        (folder / f"{name}.json").write_text(model.to_json())
        yield from (folder / f"{name}.{suffix}" for suffix in ("keras", "h5", "json"))
    (folder / "ours.json").write_text(json.dumps(_registered()))
    yield folder / "ours.json"
    for name, nodes in (("lambdas", _LAMBDAS), ("graph_ops", _GRAPH_OPS)):
        path = folder / f"{name}.h5"
        _of_tf(path, nodes)
        yield path


def _models() -> Iterator[tuple[str, Any]]:
    layers, ops = keras3.layers, keras3.ops
    x = keras3.Input((6, 4), name="x")
    y = layers.LayerNormalization()(layers.MultiHeadAttention(2, 3)(x, x))
    y = ops.concatenate([y + 1.0, y[:, ::2][:, :1] * ops.ones((6, 1)), ops.relu(y - x)], axis=-1)
    y = layers.EinsumDense("abc,cd->abd", output_shape=(None, 5), bias_axes="d")(y)
    y = layers.GroupNormalization(5)(layers.UnitNormalization()(y))
    made = keras3.Model(x, layers.Dense(2)(ops.mean(y, axis=1)), name="operations")
    made.compile(keras3.optimizers.AdamW(0.01, clipnorm=1.0), "mse")
    yield "operations", _trained(made)

    keras3.config.set_dtype_policy("mixed_float16")
    image = keras3.Input((8, 8, 3), dtype="uint8")
    y = layers.Conv2D(3, 3, activation="gelu")(layers.Rescaling(1 / 255.0, offset=-0.5)(image))
    y = layers.BatchNormalization()(layers.SpatialDropout2D(0.1)(y))
    made = keras3.Model(image, layers.Dense(2, dtype="float32")(layers.GlobalAveragePooling2D()(y)))
    made.compile("adam", keras3.losses.Huber(), metrics=["mae"])
    keras3.config.set_dtype_policy("float32")
    yield "policies", _trained(made)

    normal = layers.Normalization()
    normal.adapt(np.random.default_rng(0).normal(size=(9, 5)).astype("float32"))
    inner = keras3.Sequential([keras3.Input((4,)), layers.Dense(3)], name="inner")
    made = keras3.Sequential([keras3.Input((5,)), normal, layers.Dense(4, activation="silu"), inner])
    made.compile(keras3.optimizers.Lion(keras3.optimizers.schedules.CosineDecay(0.01, 9)), "mse")
    yield "learnt", _trained(made)

    old = tf_keras.layers
    made = tf_keras.Sequential(
        [
            old.Input((5,), dtype="int16"),
            old.Embedding(9, 4, mask_zero=True),
            old.Bidirectional(old.GRU(3, return_sequences=True)),
            old.LSTM(3),
            old.Dense(2, kernel_regularizer="l2", kernel_constraint="unit_norm"),
        ]
    )
    made.compile(tf_keras.optimizers.RMSprop(0.01, momentum=0.5, centered=True), "mse")
    yield "words_of_tf", _trained(made)


def _trained(model: Any) -> Any:
    """After one step, so that there is a state to be stored."""
    rng = np.random.default_rng(1)
    shape = (3, *model.inputs[0].shape[1:])
    model.train_on_batch(rng.integers(0, 9, shape), rng.normal(size=(3, *model.outputs[0].shape[1:])))
    return model


def _registered() -> dict[str, Any]:
    """A Sequential with a layer of a registered name, as Keras 3 writes it."""

    def entry(kind: str, registered: str | None, module: str, **config: Any) -> dict[str, Any]:
        return {"module": module, "class_name": kind, "config": config, "registered_name": registered}

    policy = entry("DTypePolicy", None, "keras", name="float32")
    layers = [
        entry("InputLayer", None, "keras.layers", batch_shape=[None, 4], dtype="float32", name="in"),
        entry("Dense", None, "keras.layers", name="d", units=3, dtype=policy, activation="relu"),
        entry("Doubled", "Mine>Doubled", "mine", name="twice", times=3.0),
    ]
    made = entry("Sequential", None, "keras", name="mine", trainable=True, dtype=policy, layers=layers)
    return {**made, "build_config": {"input_shape": [None, 4]}}


# ---------------------------------------------------------------- of tf.keras

_ALL = {"start": None, "stop": None, "step": None}
_LAMBDAS = (
    (
        "TFOpLambda",
        "tf.math.multiply",
        {"function": "math.multiply"},
        [["d", 0, 0, {"y": 2.0, "name": None}]],
    ),
    (
        "SlicingOpLambda",
        "tf.slice",
        {"function": "__operators__.getitem"},
        [["tf.math.multiply", 0, 0, {"slice_spec": [_ALL, {**_ALL, "start": 1}]}]],
    ),
    (
        "TFOpLambda",
        "tf.concat",
        {"function": "concat"},
        [[["tf.slice", 0, 0, {"axis": 1}], ["d", 0, 0, {"axis": 1}]]],
    ),
    (
        "TFOpLambda",
        "last",
        {"function": "math.reduce_mean"},
        [["tf.concat", 0, 0, {"axis": -1, "keepdims": True}]],
    ),
)
_GRAPH_OPS = tuple(
    (
        "TensorFlowOpLayer",
        name,
        {
            "node_def": {"name": name, "op": op, "attr": {"T": {"type": "DT_FLOAT"}}, "input": ["a", "b"]},
            "constants": {"1": 0.5},
        },
        [[[before, 0, 0, {}]]],
    )
    for name, op, before in (("Mul", "Mul", "d"), ("AddV2", "AddV2", "Mul"), ("last", "Maximum", "AddV2"))
)


def _of_tf(path: Path, nodes: Any) -> None:
    """An .h5 as tf.keras writes it: an input, a Dense, and these calls."""
    x = {
        "class_name": "InputLayer",
        "config": {"batch_input_shape": [None, 4], "dtype": "float32", "sparse": False, "name": "x"},
        "name": "x",
        "inbound_nodes": [],
    }
    config = {"name": "d", "trainable": True, "dtype": "float32", "units": 3, "activation": "linear"}
    dense = {"class_name": "Dense", "config": config, "name": "d", "inbound_nodes": [[["x", 0, 0, {}]]]}
    calls = [
        {
            "class_name": kind,
            "config": {"name": name, "trainable": True, "dtype": "float32", **more},
            "name": name,
            "inbound_nodes": inbound,
        }
        for kind, name, more, inbound in nodes
    ]
    model = {
        "class_name": "Functional",
        "config": {
            "name": "m",
            "layers": [x, dense, *calls],
            "input_layers": [["x", 0, 0]],
            "output_layers": [["last", 0, 0]],
        },
    }
    with h5py.File(path, "w") as file:
        file.attrs.update(keras_version="2.9.0", backend="tensorflow", model_config=json.dumps(model))
        names = ["x", "d", *(name for _, name, _, _ in nodes)]
        file.create_group("model_weights").attrs["layer_names"] = [n.encode() for n in names]
        for name in names:
            file["model_weights"].create_group(name).attrs["weight_names"] = (
                [b"d/kernel:0", b"d/bias:0"] if name == "d" else []
            )
        rng = np.random.default_rng(0)
        file["model_weights/d/d/kernel:0"] = rng.normal(size=(4, 3)).astype("f4")
        file["model_weights/d/d/bias:0"] = np.zeros(3, "f4")
