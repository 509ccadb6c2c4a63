"""The benchmark layers as an ONNX graph. Enters a benchmark, leaves the bytes of a model file.

Input and output keep Keras' layout (channels last); ONNX computes channels first, so the graph begins
with a transposition where there are images, and turns back before flattening or leaving.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.models import Benchmark, weight_table

ACTIVATIONS = {"relu": "Relu", "softmax": "Softmax"}
EPSILON = 1e-3  # Keras' BatchNormalization


class _Builder:
    """Nodes in order; `last` is the name of the newest value."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.last = "x"
        self.channels_first = False

    def constant(self, array: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(self, op: str, *more: str, **attributes: Any) -> None:
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, [self.last, *more], [output], **attributes))
        self.last = output

    def layout(self, channels_first: bool) -> None:
        if self.channels_first != channels_first:
            self.add("Transpose", perm=(0, 3, 1, 2) if channels_first else (0, 2, 3, 1))
            self.channels_first = channels_first


def _dense(graph: _Builder, arguments: dict[str, Any], w: dict[str, np.ndarray]) -> None:
    bias = [graph.constant(w["bias"])] if "bias" in w else []
    graph.add("Gemm", graph.constant(w["kernel"]), *bias)


def _conv(graph: _Builder, arguments: dict[str, Any], w: dict[str, np.ndarray]) -> None:
    graph.layout(channels_first=True)
    bias = [graph.constant(w["bias"])] if "bias" in w else []
    before, after = (arguments["kernel_size"] - 1) // 2, arguments["kernel_size"] // 2
    graph.add(
        "Conv", graph.constant(w["kernel"].transpose(3, 2, 0, 1)), *bias, pads=(before, before, after, after)
    )


def _normalise(graph: _Builder, arguments: dict[str, Any], w: dict[str, np.ndarray]) -> None:
    graph.layout(channels_first=True)
    order = ("gamma", "beta", "moving_mean", "moving_variance")
    graph.add("BatchNormalization", *(graph.constant(w[k]) for k in order), epsilon=EPSILON)


def _pool(graph: _Builder, arguments: dict[str, Any], w: dict[str, np.ndarray]) -> None:
    graph.layout(channels_first=True)
    size = (arguments["pool_size"],) * 2
    graph.add("MaxPool", kernel_shape=size, strides=size)


def _flatten(graph: _Builder, arguments: dict[str, Any], w: dict[str, np.ndarray]) -> None:
    graph.layout(channels_first=False)
    graph.add("Flatten")


def _embedding(graph: _Builder, arguments: dict[str, Any], w: dict[str, np.ndarray]) -> None:
    numbers, graph.last = graph.last, graph.constant(w["embeddings"])
    graph.add("Gather", numbers)


def _lstm(graph: _Builder, arguments: dict[str, Any], w: dict[str, np.ndarray]) -> None:
    """Keras' gates are i, f, c, o; ONNX has i, o, f, c, and time first."""

    def turned(kernel: np.ndarray) -> np.ndarray:
        i, f, c, o = np.split(kernel, 4, -1)
        return np.concatenate([i, o, f, c], -1).T[None]

    bias = turned(w["bias"][None])[..., 0]
    operands = [
        turned(w["kernel"]),
        turned(w["recurrent_kernel"]),
        np.concatenate([bias, np.zeros_like(bias)], -1),
    ]
    graph.add("Transpose", perm=(1, 0, 2))
    graph.add("LSTM", *map(graph.constant, operands), hidden_size=arguments["units"])
    outputs = graph.nodes[-1]
    outputs.output.append(f"{graph.last}_h")
    sequences = arguments["return_sequences"]
    graph.last = graph.last if sequences else f"{graph.last}_h"
    graph.add("Squeeze", graph.constant(np.array([1 if sequences else 0])))
    if sequences:
        graph.add("Transpose", perm=(1, 0, 2))


_LAYERS = {
    "Dense": _dense,
    "Embedding": _embedding,
    "LSTM": _lstm,
    "Conv2D": _conv,
    "BatchNormalization": _normalise,
    "MaxPooling2D": _pool,
    "Flatten": _flatten,
    "Activation": lambda *_: None,
}


def to_onnx(benchmark: Benchmark) -> bytes:
    """The inference model; its input is called x, its output y, the batch is symbolic."""
    graph = _Builder()
    for (kind, arguments), w in zip(benchmark.layers, weight_table(benchmark)):
        _LAYERS[kind](graph, arguments, w)
        if arguments.get("activation"):
            graph.add(ACTIVATIONS[arguments["activation"]])
    graph.layout(channels_first=False)
    graph.add("Identity")
    graph.nodes[-1].output[0] = "y"
    rank = 4 if len(benchmark.input_shape) == 3 and graph.nodes[-2].op_type == "Transpose" else 2
    made = helper.make_graph(
        graph.nodes,
        benchmark.name,
        [
            helper.make_tensor_value_info(
                "x",
                TensorProto.INT32 if benchmark.vocabulary else TensorProto.FLOAT,
                ["n", *benchmark.input_shape],
            )
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"] + [None] * (rank - 1))],
        graph.constants,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
