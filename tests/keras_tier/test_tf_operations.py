"""Functions of TensorFlow in models of tf.keras: each of the table against tf.keras, from files and live."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile.files.tf_operations import TWINS
from kcompile.keras.models import load_model

tf = pytest.importorskip("tensorflow")
tf_keras = pytest.importorskip("tf_keras")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
# Arguments after the first, where a function of one tensor would lack some
MORE: dict[str, dict[str, Any]] = {
    "cast": {"dtype": "int32"},
    "clip_by_value": {"clip_value_min": -0.5, "clip_value_max": 0.5},
    "expand_dims": {"axis": 1},
    "gather": {"indices": [2, 0], "axis": 1},
    "linalg.matmul": {"transpose_b": True},
    "math.argmax": {"axis": 1},
    "math.argmin": {"axis": -1},
    "math.cumprod": {"axis": 1},
    "math.cumsum": {"axis": 1},
    "linalg.l2_normalize": {"axis": -1},
    "math.l2_normalize": {"axis": -1},
    "nn.l2_normalize": {"axis": -1},
    "matmul": {"transpose_b": True},
    "norm": {"axis": -1},
    "one_hot": {"depth": 3},
    "pad": {"paddings": [[0, 0], [1, 0], [0, 2]], "constant_values": 2.0},
    "repeat": {"repeats": 2, "axis": 1},
    "reshape": {"shape": [-1, 12]},
    "reverse": {"axis": [1]},
    "roll": {"shift": 1, "axis": 1},
    "split": {"num_or_size_splits": [1, 2], "axis": -1},
    "stack": {"axis": 1},
    "tensordot": {"axes": [[2], [0]]},
    "tile": {"multiples": [1, 2, 1]},
    "transpose": {"perm": [0, 2, 1]},
    "unstack": {"axis": 2},
}
PAIRS = {"add", "subtract", "multiply", "divide", "divide_no_nan", "maximum", "minimum", "greater", "less"}
PAIRS |= {
    "greater_equal",
    "less_equal",
    "equal",
    "not_equal",
    "truediv",
    "floordiv",
    "floormod",
    "mod",
    "pow",
}
PAIRS |= {"atan2", "logical_and", "logical_or", "logical_xor", "matmul"}
ABOVE_ZERO = {"log", "log1p", "sqrt", "rsqrt", "pow", "reciprocal", "floordiv", "floormod", "mod", "atan2"}


def _called(name: str, x: Any, y: Any) -> list[Any]:
    """The results of a function on tensors of a model."""
    function, last = tf, name.rpartition(".")[2]
    for part in name.split("."):
        function = getattr(function, part)
    if last in ABOVE_ZERO:
        x, y = tf.abs(x) + 0.5, tf.abs(y) + 0.5
    if last.startswith("logical"):
        x, y = x > 0.0, y > 0.0
    if last in ("reduce_any", "reduce_all"):
        x = x > 0.0
    more = dict(MORE.get(name, {}))
    if last.startswith("reduce"):
        more = {"axis": [1], "keepdims": True}
    if name in ("linalg.solve", "linalg.triangular_solve"):
        found = function(tf.matmul(x, x, transpose_b=True) + 2.0 * np.eye(4, dtype=np.float32), y)
    elif name.startswith("linalg.") and last == "norm":
        found = function(x, ord=1, axis=1, keepdims=True)
    elif name.startswith("linalg.") and last not in ("matmul", "l2_normalize"):
        ladder = np.diag(np.arange(1, 5, dtype=np.float32))
        found = function(tf.matmul(x, x, transpose_b=True) + ladder)
        found = [found[0]] if last in ("eigh", "qr") else found  # vectors have any sign
        found = [tf.abs(f) for f in found] if last == "qr" else found
    elif name.startswith("bitwise"):
        a, b = (tf.cast(tf.abs(v) * 3.0, "int32") for v in (x, y))
        found = function(a) if last == "invert" else function(a, b)
    elif name.startswith("image.") and last.endswith(("rgb", "hsv")):
        found = function(tf.sigmoid(x))
    elif last == "resize":
        whole = tf.image.resize(tf.cast(tf.abs(tf.expand_dims(x, -1)) * 9.0, "uint8"), (3, 5))
        ways = {"bicubic": True, "area": False, "nearest": False, "mitchellcubic": False}
        found = [function(tf.expand_dims(x, -1), (7, 2), way, antialias=a) for way, a in ways.items()]
        found.append(whole)
    elif name.startswith("image."):
        found = function(tf.expand_dims(x, -1))
    elif last in ("concat", "stack"):
        found = function([x, y], **{"axis": -1, **more})
    elif last == "where":
        found = function(x > 0.0, x, y)
    elif last == "one_hot":
        found = function(tf.cast(tf.abs(x), "int32"), **more)
    elif last == "bias_add":
        found = function(x, np.ones(3, np.float32))
    elif last == "tensordot":
        found = function(x, np.ones((3, 2), np.float32), **more)
    elif last in PAIRS:
        found = function(x, y, **more)
    else:
        found = function(x, **more)
    return list(found) if isinstance(found, (list, tuple)) else [found]


def _model(names: list[str]) -> Any:
    x, y = tf_keras.Input((4, 3), name="x"), tf_keras.Input((4, 3), name="y")
    found = [z for name in names for z in _called(name, x, y)]
    found += [x[:, 1:, 0], y[:, ::2], x[..., tf.newaxis, 1], 1.0 - y, x / 2.0]
    found = [z if z.dtype == tf.float32 else tf.cast(z, "float32") for z in found]
    return tf_keras.Model([x, y], found)


def _inputs() -> list[np.ndarray]:
    draw = np.random.default_rng(2)
    return [draw.normal(size=(5, 4, 3)).astype(np.float32) for _ in range(2)]


def test_every_function_of_the_table_computes_what_tensorflow_does(tmp_path: Path) -> None:
    names = sorted(name for name in TWINS if not name.startswith("__") and name != "floor_div")
    model, inputs = _model(names), _inputs()
    wanted = [np.asarray(y) for y in model(inputs)]
    model.save(tmp_path / "model.h5")
    for ours in (load_model(str(tmp_path / "model.h5"), compile=False), kcompile.compile(model)):
        for mine, other, source in zip(ours.predict(inputs), wanted, model.outputs):
            np.testing.assert_allclose(mine, other, 2e-5, 2e-5, err_msg=source.name)


def test_a_model_of_functions_trains_as_in_tf_keras(tmp_path: Path) -> None:
    x = tf_keras.Input((4, 3))
    y = tf_keras.layers.Dense(3)(x)
    y = tf.nn.softmax(tf.matmul(y, x, transpose_b=True) * 0.5)
    y = tf.reduce_mean(tf.concat([y, tf.nn.relu(y - 0.2)], -1)[:, 1:], axis=1)
    model = tf_keras.Model(x, tf_keras.layers.Dense(2)(y))
    model.compile(tf_keras.optimizers.SGD(0.1), "mse")
    model.save(tmp_path / "model.h5")
    ours = load_model(str(tmp_path / "model.h5"))
    inputs, labels = _inputs()[0], np.random.default_rng(3).normal(size=(5, 2)).astype(np.float32)
    fit = {"epochs": 4, "batch_size": 5, "shuffle": False, "verbose": 0}
    losses = [m.fit(inputs, labels, **fit).history["loss"] for m in (model, ours)]
    np.testing.assert_allclose(losses[1], losses[0], 1e-4)


def test_a_function_without_a_twin_is_refused_by_its_name(tmp_path: Path) -> None:
    x = tf_keras.Input((4, 3))
    tf_keras.Model(x, tf.math.lgamma(x)).save(tmp_path / "model.h5")
    with pytest.raises(ValueError, match=r"tf\.math\.lgamma"):
        load_model(str(tmp_path / "model.h5"), compile=False)


# Ops of graphs: the op, its attributes, constants by their place, and how many tensors it is called on
GRAPH_OPS: list[tuple[str, dict[str, Any], dict[int, Any], int]] = [
    ("AddV2", {}, {}, 2),
    ("Sub", {}, {0: 1.0}, 1),
    ("Mul", {}, {1: 2.0}, 1),
    ("Maximum", {}, {1: 0.1}, 1),
    ("RealDiv", {}, {1: 4.0}, 1),
    ("Relu", {}, {}, 1),
    ("Tanh", {}, {}, 1),
    ("LeakyRelu", {"alpha": {"f": 0.3}}, {}, 1),
    ("Softmax", {}, {}, 1),
    ("Mean", {"keep_dims": {"b": True}, "Tidx": {"type": "DT_INT32"}}, {1: [1]}, 1),
    ("Sum", {"keep_dims": {"b": False}, "Tidx": {"type": "DT_INT32"}}, {1: [-1]}, 1),
    ("ConcatV2", {"N": {"i": "2"}, "Tidx": {"type": "DT_INT32"}}, {2: 1}, 2),
    ("Pack", {"N": {"i": "2"}, "axis": {"i": "1"}}, {}, 2),
    ("Reshape", {"Tshape": {"type": "DT_INT32"}}, {1: [-1, 6, 2]}, 1),
    ("Transpose", {"Tperm": {"type": "DT_INT32"}}, {1: [0, 2, 1]}, 1),
    ("ExpandDims", {"Tdim": {"type": "DT_INT32"}}, {1: 1}, 1),
    ("Tile", {"Tmultiples": {"type": "DT_INT32"}}, {1: [1, 2, 1]}, 1),
    ("Pad", {"Tpaddings": {"type": "DT_INT32"}}, {1: [[0, 0], [1, 0], [0, 2]]}, 1),
    ("Split", {"num_split": {"i": "2"}}, {0: 1}, 1),
    ("BatchMatMulV2", {"adj_x": {"b": False}, "adj_y": {"b": True}}, {}, 2),
    (
        "StridedSlice",
        {"Index": {"type": "DT_INT32"}, "begin_mask": {"i": "1"}, "end_mask": {"i": "1"},
         "shrink_axis_mask": {"i": "4"}},
        {1: [0, 1, 0], 2: [0, 3, 1], 3: [1, 1, 1]},
        1,
    ),
]  # fmt: skip


def test_ops_of_graphs_compute_what_tensorflow_does(tmp_path: Path) -> None:
    from tf_keras.src.engine.base_layer import TensorFlowOpLayer

    tensors = [tf_keras.Input((4, 3), name=name) for name in "xy"]
    found: list[Any] = []
    for number, (op, attributes, constants, count) in enumerate(GRAPH_OPS):
        operands = ["a", "b", "c", "d"][: count + len(constants)]
        node = {
            "name": f"{op}_{number}",
            "op": op,
            "input": operands,
            "attr": {"T": {"type": "DT_FLOAT"}, **attributes},
        }
        arrays = {
            i: np.asarray(v, np.float32 if isinstance(v, float) else np.int32) for i, v in constants.items()
        }
        made = TensorFlowOpLayer(node, f"{op}_{number}", arrays)(tensors[:count] if count > 1 else tensors[0])
        found += made if isinstance(made, (list, tuple)) else [made]
    model, inputs = tf_keras.Model(tensors, found), _inputs()
    wanted = [np.asarray(y) for y in model.predict(inputs, verbose=0)]
    model.save(tmp_path / "model.h5")
    ours = load_model(str(tmp_path / "model.h5"), compile=False)
    for mine, other, source in zip(ours.predict(inputs), wanted, model.outputs):
        np.testing.assert_allclose(mine, other, 2e-5, 2e-5, err_msg=source.name)
