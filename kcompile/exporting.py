"""A compiled model as a file: a library, a WebAssembly module, or ONNX.

Enters: what `compile` takes. Leaves: the file, of the graph of predictions as the compiler has it. What a
graph updates leaves it, since a library keeps nothing between calls: numbers that draws begin with come from
its caller, states of layers are further inputs, and outputs.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kcompile import compiler
from kcompile.codegen import targets
from kcompile.compiler import Compiled
from kcompile.ir.graph import Graph, Node, Value
from kcompile.ir.rewrite import rebuild
from kcompile.ir.types import bind
from kcompile.model import CompiledModel
from kcompile.model import compile as compile_model
from kcompile.native import bytes_of
from kcompile_runtime import Program
from kcompile_runtime.checks import check_count, check_flag, check_number, check_path
from kcompile_runtime.errors import InputError, UnsupportedError, describe

if TYPE_CHECKING:
    from kcompile.codegen.binary.exported import Draws, Sample
    from kcompile.keras.tensors import Variable


def export(
    model: Any,
    path: str | os.PathLike[str],
    target: str = "native",
    cpu: str | None = None,
    batch: int | None = None,
    lengths: Any = None,
    train: bool = False,
) -> Path:
    """Write the library `path` and its C header beside it (suffix .h); or a file of ONNX, opset 18, where the
    name ends in .onnx (extra `onnx`; without target and cpu, for any batch or the one given). Gives the path.

    target: "native" (this machine's processor, and those with all of its features), "x86-64-v2",
    "x86-64-v3", "x86-64-v4", "x86-64" (code for each of the three, of which the library takes the best
    that the processor has, over one copy of the weights), "aarch64" or "riscv64" (rv64gc with vectors)
    for a shared object for Linux, "wasm32" for a WebAssembly module (with simd128); "cortex-m4", "cortex-m7"
    (a floating-point unit for float32) or "thumbv7em" (none) for an object file (.o), to be linked with a
    program that has no operating system: it computes in float32 and integers; "cuda" for a folder with PTX
    for NVIDIA cards of compute capability 8.0 and newer, launches, weights and a header, which
    `kcompile_runtime.load` loads too (without train and cpu). cpu: LLVM's name of a
    processor ("znver4", "cortex-a76", ...) to order instructions for; it changes neither results nor what
    the file needs. batch: the only batch size to accept, None for any. lengths: the sizes that inputs
    leave unknown (None in their shapes), in the order of inputs and axes (default: those of the data that
    a compiled model saw last); the library takes these alone. model: what `compile` takes; path: of the
    library; its inputs and outputs have the model's shapes and dtypes. Of a model with stateful
    layers, states are further inputs and outputs, the last ones, and the batch is that of the states. train:
    the library also has a function of one training step, as the model's `compile` says how: forward,
    backward, update of what is trainable, in memory of the caller's (`kcompile_runtime.Artifact.trainer`, and
    the header). Raises InputError for arguments that make no sense, NotCompiledError for train before
    `compile`, UnsupportedError for a model that cannot be exported, and
    `kcompile.codegen.binary.link.LinkError` where there is no linker.
    """
    # Inside functions: what exports alone need
    from kcompile import __version__, to_onnx
    from kcompile.codegen.binary.artifact import Emission, build_artifact
    from kcompile.codegen.binary.exported import Model, Tensor
    from kcompile.exporting_steps import Training

    cm = model if isinstance(model, CompiledModel) else compile_model(model)
    cm.follow_live()
    check_path("export: path", path)
    check_flag("export: train", train)
    if batch is not None:
        batch = check_count("export: batch", batch)
        check_number("export: batch", batch, 1, 2**31 - 1)
    if cm.model.prelude is not None:
        behind = ", ".join(cm.model.fed_names)
        raise UnsupportedError(
            f"model {cm.model.name!r} has layers of texts or hashes, which run on arrays. "
            f"Export a model of the layers behind them, over Inputs of what they give ({behind})"
        )
    source = _for_a_library(cm, lengths)
    graph, state, batch = source.graph, source.state, _batch(cm, batch)
    if Path(path).suffix == ".onnx":
        if train:
            raise InputError(describe("export: train", "False for a file of ONNX", repr(train)))
        if source.states:
            raise UnsupportedError(
                f"export: model {cm.model.name!r} keeps states between calls, which a file of ONNX does not. "
                "Build it with stateful=False, and states as inputs (initial_state), outputs (return_state)"
            )
        return to_onnx.write(graph, state, cm.model.name, path, batch, target, cpu)
    if isinstance(target, str) and target == "cuda":
        if train or cpu is not None:
            name, value = ("train", train) if train else ("cpu", cpu)
            wanted = f"{'False' if train else 'None'} for target 'cuda'"
            raise InputError(describe(f"export: {name}", wanted, repr(value)))
        return _for_a_device(cm, source, Path(path), batch)
    training = Training.of(cm, lengths, batch, 10 * _SELF_TEST[cm.engine.precision]) if train else None
    levels = targets.emissions(target)
    for level in levels:
        _check_dtypes(graph, level)
    if cpu is not None:
        levels = tuple(targets.tuned(level, cpu) for level in levels)

    def compiled(processor: targets.Target) -> Compiled:
        return (
            cm.engine.compiled("predict", lengths)
            if processor == cm.engine.target and source.unchanged
            else compiler.compile_graph(graph, "predict", processor, frozen=True)
        )

    described: list[Model] = []
    for level in levels:
        made, simulated = compiled(level), compiled(targets.simulated(level))
        program = compiler.load(simulated, state)
        described.append(
            Model(
                cm.model.name,
                made.program if training is None else training.predictions(made, source.variables),
                tuple(Tensor(k, graph.type(v)) for k, v in graph.inputs.items()),
                tuple(Tensor(k, graph.type(v)) for k, v in graph.outputs.items()),
                _prepared(simulated, program),
                [state[name] for name in made.variables],
                described[0].sample
                if described
                else _sample(graph, program, batch or 2, _SELF_TEST[cm.engine.precision]),
                batch,
                source.draws,
                cm.engine.precision,
                source.states,
                None if training is None else training.step(level, made, source.variables),
            )
        )
        if made is not simulated:  # whose code is made to be run
            made.log_code()
    better = [Emission(model, level) for model, level in zip(described[1:], levels[1:])]
    return build_artifact(described[0], levels[0], path, __version__, better, target if better else "")


def _for_a_device(cm: CompiledModel, source: _Source, folder: Path, batch: int | None) -> Path:
    """Write the folder for graphics processors. Its sample is computed here, by schedules that all machines
    have."""
    from kcompile import __version__
    from kcompile.codegen.binary.exported import Model, Tensor
    from kcompile.codegen.gpu.package import build_package

    if cm.engine.precision == "bfloat16":
        raise InputError(describe("export: precision", "'float32' for target 'cuda'", repr("bfloat16")))
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "export: expected a path for a folder", str(folder))
    graph, state, device = source.graph, source.state, targets.device("sm_80")
    made = compiler.compile_graph(graph, "predict", device, frozen=True)
    here = compiler.compile_graph(graph, "predict", targets.simulated(targets.named("wasm32")), frozen=True)
    spec = next(
        compiler.entry_spec(made, compiler.entry_info(e)) for e in made.program.entries if e.name == "predict"
    )
    drawn = () if source.draws is None else (source.draws.number, source.draws.seed)
    model = Model(
        cm.model.name,
        made.program,
        tuple(Tensor(k, graph.type(v)) for k, v in graph.inputs.items()),
        tuple(Tensor(k, graph.type(v)) for k, v in graph.outputs.items()),
        b"",
        [np.zeros_like(state[name]) if i in drawn else state[name] for i, name in enumerate(made.variables)],
        _sample(graph, compiler.load(here, state), batch or 2, _SELF_TEST[cm.engine.precision]),
        batch,
        source.draws,
        cm.engine.precision,
        source.states,
    )
    return build_package(model, device, folder, __version__, spec.checks, spec.numbers)


def _check_dtypes(graph: Graph, target: targets.Target) -> None:
    """Raises UnsupportedError where a target computes in float32 alone, and the graph does not."""
    for node in graph.live() if target.is_bare else ():
        if any(type.dtype == "float64" for type in node.types):
            raise UnsupportedError(
                f"export: target {target.name} computes in float32 and integers, and "
                f"{f'layer {node.label!r}' if node.label else node.op.name} in float64"
            )


def _batch(cm: CompiledModel, batch: int | None) -> int | None:
    """The only batch that a library accepts: that of the states, where the model has some."""
    if not cm.model.stateful:
        return batch
    states: int = cm.model.inputs[0].shape[0]
    if batch not in (None, states):
        raise InputError(describe("export: batch", f"{states}, that of the states, or None", repr(batch)))
    return states


@dataclass(frozen=True)
class _Source:
    """What a library is made of. graph: of predictions, without updates. state: the values of its variables.
    variables: the model's, behind them. draws: of a model that draws random numbers. states: how many of the
    last inputs and outputs are states.
    """

    graph: Graph
    state: dict[str, np.ndarray]
    variables: Mapping[str, Variable]
    draws: Draws | None = None
    states: int = 0

    @property
    def unchanged(self) -> bool:
        """Whether it is what the compiled model itself predicts with."""
        return self.draws is None and not self.states


def _for_a_library(cm: CompiledModel, lengths: Any) -> _Source:
    """The graph of predictions that updates nothing: states of layers are inputs, and outputs of the same
    names. Where random numbers are drawn, with the places of their seed and number among its variables."""
    from kcompile.codegen.binary.exported import Draws

    traced = cm.engine.traced("predict", lengths)
    if not traced.graph.updates:
        return _Source(traced.graph, traced.state, traced.captured)
    states = [traced.names[v] for v in cm.model.state_variables if v in traced.names]
    graph = _as_inputs(traced.graph, [name for name in states if name in traced.graph.updates])
    numbers = cm.model.random_state
    named = [traced.names.get(v) for v in (numbers.draws, numbers.seed)]
    names = list(graph.variables)
    places = [names.index(name) if name in names else None for name in named]
    zeros = {name: np.zeros((), np.uint32) for name in named if name is not None}
    draws = None if places == [None, None] else Draws(*places)
    kept = len(graph.outputs) - len(traced.graph.outputs)
    return _Source(graph, traced.state | zeros, traced.captured, draws, kept)


def _as_inputs(graph: Graph, names: list[str]) -> Graph:
    """The graph without updates, where these variables are inputs, and what they become are outputs."""
    chosen = {graph.variables[name].node: name for name in names if name in graph.variables}
    variables = dict(graph.variables)

    def rule(new: Graph, node: Node, inputs: tuple[Value, ...]) -> list[Value] | None:
        name = chosen.get(node.id)
        return None if name is None else [new.input(name, graph.type(variables[name]))]

    made = rebuild(graph, rule)
    for name in names:
        if name not in made.inputs:  # nobody reads it
            made.input(name, graph.type(graph.updates[name]))
    order = [*graph.inputs, *names]
    made.inputs = {name: made.inputs[name] for name in order}
    made.outputs = {**made.outputs, **{name: made.updates[name] for name in names}}
    made.updates = {}
    return made


# What an exported library's results may differ by from those made here, see `Sample`; in bfloat16 the last
# bit of a sum may decide to which of two numbers it rounds.
_SELF_TEST = {"float32": 1e-4, "bfloat16": 2.0**-6, "int8": 2.0**-5}


def _sample(graph: Graph, program: Program, n: int, tolerance: float) -> Sample:
    """Inputs for the self-test of a library, and what the program makes of them, to this tolerance."""
    from kcompile.codegen.binary.exported import Sample

    generator = np.random.default_rng(0)
    inputs = tuple(
        generator.random(bind(graph.type(v).shape, n)).astype(graph.type(v).dtype)
        for v in graph.inputs.values()
    )
    return Sample(n, inputs, tuple(program.run("predict", n, inputs)), tolerance)


def _prepared(made: Compiled, program: Program) -> bytes:
    """The prepared block that a program made, with zeros between its values."""
    block, clean = program.prepared_block(), bytearray(made.program.prepared)
    for name, value in made.prepare.outputs.items():
        start, type = made.layout.prepared[name], made.prepare.type(value)
        end = start + bytes_of(type, 1)
        clean[start:end] = block[start:end]
    return bytes(clean)
