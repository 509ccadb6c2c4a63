"""A model as a file of ONNX, opset 18, which Netron shows and other runtimes compute.

Enters: the graph of predictions before anything is chosen for a target (`ir.passes.folded`), and the values
of its variables. Leaves: a file. Nothing is written before the whole of it is known and checked.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kcompile.ir.graph import Graph
from kcompile.ir.passes import folded
from kcompile.ir.types import Batch, TensorType
from kcompile.keras.extras import library
from kcompile.to_onnx import elements, products
from kcompile.to_onnx.elements import data_type
from kcompile.to_onnx.loops import scan_rule
from kcompile.to_onnx.writer import BATCH, File, Form, Rule, Step, Writer, known_values, spelt
from kcompile.version import __version__
from kcompile_runtime.errors import InputError, UnsupportedError, describe
from kcompile_runtime.texts import printable

__all__ = ["OPSET", "RULES", "onnx_model", "write"]

OPSET = 18
IR_VERSION = 8  # of the file format, which came with this opset
LARGEST = 2**31 - 1  # bytes of a file, which protobuf sets

RULES: dict[str, Rule] = {**elements.RULES, **products.RULES}
RULES["scan"] = scan_rule(RULES)


def write(
    graph: Graph,
    state: Mapping[str, np.ndarray],
    name: str,
    path: str | os.PathLike[str],
    batch: int | None = None,
    target: str = "native",
    cpu: str | None = None,
) -> Path:
    """Write the file of a traced graph and give its path. batch, and errors: as of `onnx_model`; OSError.
    target, cpu: those of `kcompile.export`, which a file of ONNX is not for: InputError for others than the
    defaults."""
    if target != "native" or cpu is not None:
        given = repr(target if cpu is None else cpu)
        raise InputError(
            describe("export: a file of ONNX is for no processor: target, cpu", "neither", given)
        )
    model = onnx_model(folded(graph), state, name, batch)
    if model.ByteSize() > LARGEST:
        raise UnsupportedError(
            f"export: a file of ONNX holds 2 GiB at most. This takes {model.ByteSize():,} bytes"
        )
    made = Path(path)
    beside = made.with_name(f".{made.name}.{os.getpid()}")
    try:
        beside.write_bytes(model.SerializeToString())
        os.replace(beside, made)
    finally:
        beside.unlink(missing_ok=True)
    return made


def onnx_model(graph: Graph, state: Mapping[str, np.ndarray], name: str, batch: int | None = None) -> Any:
    """The model as an `onnx.ModelProto`, checked. batch: the number of samples, where it is fixed; else it
    is the dim "batch". Raises UnsupportedError, listing what cannot be written and the layers that it is of,
    and ExtraError (an ImportError) without the package onnx."""
    onnx = library("onnx", "onnx")
    known = known_values(graph, state)
    refuse(graph, known)
    file = File(batch)
    writer = Writer(graph, file, known)
    ends = {*graph.inputs, *graph.outputs}
    file.taken.update(ends)
    for given, value in graph.inputs.items():
        type = graph.type(value)
        writer.inputs.append((given, type))
        writer.forms[value] = Form(plain=given)
        batched = [(given, i, d.multiple) for i, d in enumerate(type.shape) if isinstance(d, Batch)]
        file.samples = file.samples or (batched[0] if batched else None)
    if batch is None and file.samples is None and _has_batch(graph):
        raise UnsupportedError("export: no input of the model says how many samples there are")
    writer.translate(RULES)
    for wanted, value in graph.outputs.items():
        writer.give(value, file.unused(f"{wanted}_output") if wanted in graph.inputs else wanted)
    writer.steps[:0] = file.first
    read = writer.needed(set())
    held = {key: array for key, array in file.arrays.items() if key in read}
    made = _graph(onnx, writer, printable(name) or "model", batch, held)
    opset = onnx.helper.make_opsetid("", OPSET)
    model = onnx.helper.make_model(
        made,
        opset_imports=[opset],
        producer_name="kcompile",
        producer_version=__version__,
        ir_version=IR_VERSION,
    )
    if model.ByteSize() <= LARGEST:
        onnx.checker.check_model(model, full_check=True)
    return model


def refuse(graph: Graph, known: Mapping[Any, Any] | None = None, inside: bool = False) -> None:
    """Raises UnsupportedError where operations have no rule, naming all of them and their layers."""
    missing = dict.fromkeys(_missing(graph, {v.node for v in known or {}}))
    if missing:
        named = ", ".join(f"{op} ({layer})" if layer else op for op, layer in missing)
        raise UnsupportedError(f"export: ONNX has no counterpart of, or kcompile writes none for: {named}")


def _missing(graph: Graph, known: set[int]) -> list[tuple[str, str]]:
    found = []
    for node in graph.live():
        if node.op.origin in ("input", "variable", "constant") or node.id in known:
            continue
        if node.op.name not in RULES:
            found.append((node.op.name, spelt(node)))
        for region in node.regions:
            found += _missing(region, set())
    return found


def _has_batch(graph: Graph) -> bool:
    return any(isinstance(d, Batch) for node in graph.live() for type in node.types for d in type.shape)


def _graph(
    onnx: Any, writer: Writer, name: str, batch: int | None, arrays: Mapping[str, np.ndarray] | None = None
) -> Any:
    held = [onnx.numpy_helper.from_array(array, key) for key, array in (arrays or {}).items()]
    return onnx.helper.make_graph(
        [_node(onnx, step, batch) for step in writer.steps],
        name,
        _described(onnx, writer.inputs, batch),
        _described(onnx, writer.outputs, batch),
        held,
    )


def _described(onnx: Any, tensors: Sequence[tuple[str, TensorType]], batch: int | None) -> list[Any]:
    made = []
    for name, type in tensors:
        shape: list[Any] = []
        for dim in type.shape:
            if not isinstance(dim, Batch):
                shape.append(dim)
            elif batch is not None:
                shape.append(dim.at(batch))
            else:
                shape.append(BATCH if dim.multiple == 1 else f"{dim.multiple}*{BATCH}")
        made.append(onnx.helper.make_tensor_value_info(name, data_type(type.dtype), shape))
    return made


def _node(onnx: Any, step: Step, batch: int | None) -> Any:
    attributes = {
        key: _graph(onnx, value, f"{step.name}/body", batch) if isinstance(value, Writer) else value
        for key, value in step.attributes.items()
        if not (isinstance(value, list) and not value)
    }
    return onnx.helper.make_node(step.kind, step.inputs, step.outputs, step.name, **attributes)
