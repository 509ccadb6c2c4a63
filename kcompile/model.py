"""A compiled model, as users hold it: Keras' methods on native code.

`compile` takes a model of our front end, a live Keras model, or a path; `export` writes an artifact.
Native code for an entry ("predict", "test", "train") is made when it is first needed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import kcompile_runtime as rt
from kcompile import compiler
from kcompile.codegen import jit, targets
from kcompile.compiler import Compiled
from kcompile.ir import interpreter
from kcompile.ir.graph import Graph, Value
from kcompile.keras import graphs
from kcompile.keras import models as keras_models
from kcompile.keras.lengths import Lengths, checked_lengths, keep, lengths_of, recent
from kcompile_runtime.arrays import aligned_copy
from kcompile_runtime.cuda import Held
from kcompile_runtime.cuda_driver import Driver, connect
from kcompile_runtime.errors import InputError, KcompileError, UnsupportedError, describe
from kcompile_runtime.loop import Runner, one_by_one

ENTRIES = ("predict", "test", "train")
STAGES = ("graph", "passes", "loops", "llvm", "asm", "ptx")
RELATIVE, ABSOLUTE = 2e-4, 1e-5  # of `verify`: compiled float32 against the interpreter's float64


class VerificationError(KcompileError, AssertionError):
    """Compiled code and interpreter disagree (`compile(verify=True)`)."""


@dataclass(frozen=True)
class LayerError:
    """How far a layer's output, compiled, is from the interpreter's: the largest difference, and
    that over the tolerance."""

    layer: str
    difference: float
    ratio: float


@dataclass(frozen=True)
class Verification:
    """Of each layer, in the order of computation."""

    layers: tuple[LayerError, ...]

    @property
    def ok(self) -> bool:
        return all(error.ratio <= 1 for error in self.layers)

    @property
    def first_bad(self) -> LayerError | None:
        return next((error for error in self.layers if not error.ratio <= 1), None)

    def text(self) -> str:
        width = max([len("layer"), *(len(e.layer) for e in self.layers)])
        lines = [f"{'layer':<{width}}  largest difference  of tolerance"]
        lines += [f"{e.layer:<{width}}  {e.difference:18.2e}  {e.ratio:11.1%}" for e in self.layers]
        return "\n".join([*lines, "ok" if self.ok else "DIFFERENT"])


class NativeEngine:
    """Runs a model's graphs as native code; its variables are the model's own arrays. Code is made for
    an entry at given lengths (of inputs that leave sizes unknown); that of the `KEPT` lengths used
    last is kept."""

    def __init__(self, model: Any, target: targets.Target, threads: int | None,
                 verify: bool) -> None:
        self.model = model
        self.target = target
        self.threads = threads
        self.verify = verify
        self._compiled: dict[tuple[str, Lengths], Compiled] = {}
        self._programs: dict[tuple[str, Lengths], rt.Program] = {}
        self._watched: set[int] = set()
        self._latest: Lengths | None = None

    def _key(self, entry: str, lengths: Any) -> tuple[str, Lengths]:
        """lengths: None for those of the data seen last."""
        return entry, checked_lengths(self.model, self._latest if lengths is None else lengths)

    def graph(self, entry: str, lengths: Any = None) -> Graph:
        """The graph of an entry. lengths: the sizes that the model's inputs leave unknown, see
        `checked_lengths`; by default those of the data seen last."""
        if entry not in ENTRIES:
            raise InputError(describe("graph", "one of " + ", ".join(ENTRIES), repr(entry)))
        key = self._key(entry, lengths)
        if key in self._compiled:
            return self._compiled[key].graph
        make = {"predict": graphs.predict_graph, "test": graphs.test_graph,
                "train": graphs.train_graph}[entry]
        graph: Graph = make(self.model, key[1])
        return graph

    def compiled(self, entry: str, lengths: Any = None) -> Compiled:
        key = self._key(entry, lengths)
        return recent(self._compiled, key) or keep(
            self._compiled, key, compiler.compile_graph(
                self.graph(entry, lengths), entry, self.target, frozen=entry != "train"))

    def program(self, entry: str, lengths: Any = None) -> rt.Program:
        """The native code of an entry, over the model's variables."""
        key = self._key(entry, lengths)
        program = recent(self._programs, key)
        if program is None:
            made = self.compiled(entry, lengths)
            captured = made.graph.captured  # type: ignore[attr-defined]
            values = {name: captured[name].value for name in made.variables}
            for variable in captured.values():
                if id(variable) not in self._watched:
                    self._watched.add(id(variable))
                    self.watch(variable)
            program = keep(self._programs, key, self.load(made, values))
        return program

    def load(self, made: Compiled, values: Mapping[str, np.ndarray]) -> Any:
        """A program over the arrays of its variables."""
        return compiler.load(made, values, self.threads)

    def watch(self, variable: Any) -> None:
        variable.listeners.append(self.weights_changed)

    def weights_changed(self) -> None:
        """What was prepared from the weights must be prepared again before it is next used."""
        for program in self._programs.values():
            program.stale = True

    def reset(self, entries: Iterable[str] = ENTRIES) -> None:
        """Forget the code of these entries: the model changed."""
        gone, self._latest = set(entries), None
        self._compiled = {key: c for key, c in self._compiled.items() if key[0] not in gone}
        self._programs = {key: p for key, p in self._programs.items() if key[0] not in gone}

    def run(self, entry: str, n: int, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs of an entry for n samples; "train" updates the model's variables in place."""
        program = self._programs.get((entry, ())) or self.program(entry, self._lengths(inputs))
        before = self._state(entry, inputs) if self.verify else {}
        results = program.run(entry, n, inputs)
        if entry == "train":
            self.weights_changed()
        if self.verify:
            self._compare(entry, n, inputs, before, results)
        return results

    def batches(self, entry: str) -> Runner:
        """What runs an entry over the rows of arrays, many batches in one native call."""
        if self.verify:
            return one_by_one(lambda n, parts: self.run(entry, n, parts))
        held: tuple[Any, Runner] | None = None

        def run(arrays: Sequence[np.ndarray], *span: Any) -> list[np.ndarray]:
            nonlocal held
            program = self._programs.get((entry, ())) or self.program(entry, self._lengths(arrays))
            if held is None or held[0] is not program:  # a callback may change the model
                held = program, program.batches(entry)
            try:
                return held[1](arrays, *span)
            finally:
                if entry == "train":
                    self.weights_changed()

        return run

    def predictor(self) -> Callable[[Any], np.ndarray] | None:
        """The output for an array, conforming or not, for a model with one input, of known sizes, and
        one output: at the least cost. Valid until `reset`."""
        return None if self.verify else self.program("predict").single("predict")

    # ---- verification

    def _lengths(self, inputs: Sequence[np.ndarray]) -> Lengths | None:
        self._latest = lengths_of(self.model, inputs) or None
        return self._latest

    def _state(self, entry: str, inputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        captured = self.compiled(entry, self._lengths(inputs)).graph.captured  # type: ignore[attr-defined]
        return {name: variable.value.copy() for name, variable in captured.items()}

    def _compare(self, entry: str, n: int, inputs: Sequence[np.ndarray],
                 before: Mapping[str, np.ndarray], results: Sequence[np.ndarray]) -> None:
        graph = self.compiled(entry, self._lengths(inputs)).graph
        expected = interpreter.run(graph, n, dict(zip(graph.inputs, inputs)), before, "float64")
        for name, got, right in zip(graph.outputs, results, expected.outputs.values()):
            error = _error(name, got, right)
            if not error.ratio <= 1:
                first = self.verification(inputs, before, entry, n).first_bad
                where = f", first at layer {first.layer!r}" if first else ""
                raise VerificationError(
                    f"{entry}: compiled output {name!r} differs from the interpreter's by "
                    f"{error.difference:.2e}{where}")

    def verification(self, inputs: Sequence[np.ndarray], state: Mapping[str, np.ndarray],
                     entry: str = "predict", n: int | None = None) -> Verification:
        """Compare layer by layer: the graph with every layer's result as an output."""
        graph = self.graph(entry, self._lengths(inputs))
        opened = _with_layers(graph)
        made = compiler.compile_graph(opened, entry, self.target, frozen=entry != "train")
        values = {name: aligned_copy(state[name]) for name in made.variables}
        program = self.load(made, values)
        count = n if n is not None else len(inputs[0])
        results = program.run(entry, count, inputs)
        expected = interpreter.run(opened, count, dict(zip(opened.inputs, inputs)), state, "float64")
        return Verification(tuple(
            _error(name, got, right)
            for name, got, right in zip(opened.outputs, results, expected.outputs.values())))


class CudaEngine(NativeEngine):
    """Runs a model's graphs on a graphics processor. Variables live there: one that is read here is
    brought back first, one that is assigned here is sent before the next call."""

    def __init__(self, model: Any, driver: Driver, verify: bool) -> None:
        super().__init__(model, targets.device(driver.architecture), None, verify)
        self._driver = driver
        self._held: dict[int, Held] = {}

    def load(self, made: Compiled, values: Mapping[str, np.ndarray]) -> Any:
        held = {name: self._held.get(id(array)) or Held(self._driver, array)
                for name, array in values.items()}
        return compiler.load_on_device(made, self._driver, held)

    def predictor(self) -> None:
        return None

    def batches(self, entry: str) -> Runner:
        return one_by_one(lambda n, parts: self.run(entry, n, parts))

    def watch(self, variable: Any) -> None:
        held = Held(self._driver, variable.value)
        self._held[id(held.array)] = held
        variable.fetch = held.to_host
        variable.listeners.append(held.host_wrote)
        super().watch(variable)


def _error(layer: str, got: np.ndarray, right: np.ndarray) -> LayerError:
    """NaN and infinity agree with themselves."""
    same = (got == right) | (np.isnan(got) & np.isnan(right))
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.where(same, 0.0, np.abs(got.astype(np.float64) - right))
        finite = right[np.isfinite(right)]
        scale = float(np.abs(finite).max(initial=0.0))
    worst = float(difference.max(initial=0.0))
    worst = float("inf") if np.isnan(worst) else worst
    return LayerError(layer, worst, worst / (ABSOLUTE + RELATIVE * scale))


def _with_layers(graph: Graph) -> Graph:
    """The graph, where the last float value of each layer's node is an output, by its name."""
    opened = _without_updates(graph)
    last: dict[str, Value] = {}
    for node in opened.live():
        if node.sources and node.types[0].dtype == "float32" and node.op.kind != "source":
            last[str(node.sources[0])] = Value(node.id)
    opened.outputs = {**last, **opened.outputs}
    return opened


class CompiledModel:
    """A model whose methods run native code. Methods are Keras'; see `kcompile.keras.Model`."""

    def __init__(self, model: Any, engine: NativeEngine, live: Any = None) -> None:
        self.model = model
        self.engine = engine
        self._live = live
        model.use_engine(engine)

    def graph(self, entry: str = "predict", lengths: Any = None) -> Graph:
        """The IR of "predict", "test" or "train" as traced; `graph.nx` is the networkx graph.

        lengths: where inputs leave sizes unknown (None in their shapes), these sizes, in the order of
        inputs and axes, as a number or a list; by default those of the data seen last. Raises
        InputError where they are missing or too many.
        """
        return self.engine.graph(entry, lengths)

    def show(self, stage: str, entry: str = "predict", lengths: Any = None) -> str:
        """The model at a stage of compilation, as text: graph, passes, loops, llvm, asm, or ptx (for
        sm_80 unless the model is compiled for a graphics processor), with what each kernel uses where
        the package nvidia-cuda-nvcc is installed. lengths: as `graph` takes them."""
        if stage not in STAGES:
            raise InputError(describe("stage", "one of " + ", ".join(STAGES), repr(stage)))
        if stage == "graph":
            return self.graph(entry, lengths).text()
        if stage == "ptx" and not self.engine.target.is_gpu:
            return _ptx(compiler.compile_graph(self.graph(entry, lengths), entry,
                                               targets.device("sm_80"), frozen=entry != "train"))
        made = self.engine.compiled(entry, lengths)
        if stage == "ptx":
            return _ptx(made)
        if stage == "passes":
            prepare = [made.prepare.text()] if made.prepare.outputs else []
            return "\n\n".join([made.optimised.text(), *prepare, made.run.text()])
        if stage == "loops":
            from kcompile.codegen import show

            return show.program(made.program)
        return made.text if stage == "llvm" else jit.assembly(made.text, self.engine.target)

    def verify(self, x: Any = None) -> Verification:
        """Compare compiled code and interpreter layer by layer, on x or on random input. Raises
        InputError without x for a model whose inputs leave sizes unknown."""
        if x is None and self.model.varies:
            raise InputError(describe("verify", "x, as sizes of the model's inputs are unknown", "none"))
        given = None if x is None else self.model.standardize_inputs(x)
        lengths = None if given is None else lengths_of(self.model, given) or None
        graph = self.engine.graph("predict", lengths)
        arrays = self._random_inputs(graph, 4) if given is None else given
        captured = graph.captured  # type: ignore[attr-defined]
        state = {name: variable.value for name, variable in captured.items()}
        return self.engine.verification(arrays, state)

    def _random_inputs(self, graph: Graph, n: int) -> list[np.ndarray]:
        generator = np.random.default_rng(0)
        from kcompile.ir.types import bind

        types = [graph.type(v) for v in graph.inputs.values()]
        return [generator.random(bind(t.shape, n)).astype(t.dtype) for t in types]

    # ---- Keras' methods

    def __call__(self, x: Any) -> Any:
        return self.predict_on_batch(x)

    def predict(self, x: Any, batch_size: int = 32, verbose: int = 0, **options: Any) -> Any:
        return self.model.predict(x, batch_size=batch_size, verbose=verbose, **options)

    def predict_on_batch(self, x: Any) -> Any:
        return self.model.predict_on_batch(x)

    def evaluate(self, *args: Any, **options: Any) -> Any:
        return self.model.evaluate(*args, **options)

    def test_on_batch(self, *args: Any, **options: Any) -> Any:
        return self.model.test_on_batch(*args, **options)

    def fit(self, *args: Any, **options: Any) -> Any:
        """Train; a live Keras model has the new weights when this returns."""
        try:
            return self.model.fit(*args, **options)
        finally:
            self._write_back()

    def train_on_batch(self, *args: Any, **options: Any) -> Any:
        result = self.model.train_on_batch(*args, **options)
        self._write_back()
        return result

    def _write_back(self) -> None:
        if self._live is not None:
            from kcompile.files import live

            live.write_back(self.model, self._live)

    def save(self, path: str | os.PathLike[str], overwrite: bool = True,
             include_optimizer: bool = True) -> None:
        """Write the model, as it is now, to a .keras or .h5 file that Keras reads too."""
        self.model.save(path, overwrite, include_optimizer)

    def get_weights(self) -> list[np.ndarray]:
        weights: list[np.ndarray] = self.model.get_weights()
        return weights

    def set_weights(self, weights: Sequence[np.ndarray]) -> None:
        self.model.set_weights(weights)
        self._write_back()

    def summary(self, *args: Any, **options: Any) -> None:
        self.model.summary(*args, **options)


def _ptx(made: Compiled) -> str:
    """PTX, and as comments registers and spills of each kernel."""
    from kcompile.codegen.gpu import program as gpu_program

    text, ptxas = made.on_device.ptx, gpu_program.find_ptxas()
    if ptxas is None:
        return text
    with tempfile.TemporaryDirectory(prefix="kcompile") as folder:
        uses = gpu_program.assemble(text, made.target, ptxas, Path(folder))
    return "\n".join([text, *(f"// {line}" for line in gpu_program.summary(uses).splitlines())])


def compile(model: Any, *, target: str = "native", threads: int | None = None, verify: bool = False,
            custom_objects: Mapping[str, Any] | None = None) -> CompiledModel:
    """Compile a model of `kcompile.keras`, a live Keras model, or the model in a file.

    target: "native", or "cuda" for the first NVIDIA graphics processor (compute capability 8.0 or
    newer; extra `cuda`). threads: how many to use, default all. verify: run the interpreter beside
    every call and raise `VerificationError` naming the first layer that differs. Raises
    UnsupportedError listing everything of the model that cannot be compiled, DeviceError saying what
    "cuda" needs and does not find.
    """
    if target not in ("native", "cuda"):
        raise InputError(describe("compile: target", "'native' or 'cuda'", repr(target),
                                  "Other targets are for kcompile.export."))
    if target == "cuda" and threads is not None:
        raise InputError(describe("compile: threads", "None for target 'cuda'", repr(threads)))
    driver = connect() if target == "cuda" else None
    if custom_objects and not isinstance(model, (str, os.PathLike)):
        raise InputError(describe("compile: custom_objects", "none, but for a path",
                                  str(sorted(custom_objects)),
                                  "A model that exists already holds the objects themselves"))
    live = None
    if isinstance(model, (str, os.PathLike)):
        from kcompile.files import load

        model = load(model, custom_objects=custom_objects)
    elif isinstance(model, CompiledModel):
        model = model.model
    elif not isinstance(model, keras_models.Model):
        from kcompile.files.live import from_keras

        live, model = model, from_keras(model)
    engine = (NativeEngine(model, targets.native(), threads, verify) if driver is None
              else CudaEngine(model, driver, verify))
    return CompiledModel(model, engine, live)


def compile_trace(graph: Any) -> Callable[[int, Sequence[np.ndarray]], list[np.ndarray]]:
    """A traced graph (K.function's) as a function of the number of samples and the inputs' arrays.
    Weights are read, and updated, in the variables' own arrays."""
    made = compiler.compile_graph(graph, "function", targets.native(), frozen=False)
    program = compiler.load(made, {name: graph.captured[name].value for name in made.variables})
    held = list(graph.captured.values())
    changed = [graph.captured[name] for name in graph.updates]

    def call(n: int, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        for variable in held:
            if variable.fetch is not None:
                variable.fetch()
        results = program.run("function", n, inputs)
        for variable in changed:
            for listener in variable.listeners:
                listener()
        return results

    return call


def export(model: Any, path: str | os.PathLike[str], target: str = "native", cpu: str | None = None,
           batch: int | None = None, lengths: Any = None) -> Path:
    """Write the library `path` and its C header beside it (suffix .h). Gives the path.

    target: "native" (this machine's processor, and those with all of its features), "x86-64-v2",
    "x86-64-v3", "x86-64-v4" or "aarch64" for a shared object for Linux, "wasm32" for a WebAssembly
    module (with simd128). cpu: LLVM's name of a processor ("znver4", "cortex-a76", ...) to order
    instructions for; it changes neither results nor what the file needs. batch: the only batch size
    to accept, None for any. lengths: the sizes that inputs leave unknown (None in their shapes), in
    the order of inputs and axes (default: those of the data that a compiled model saw last); the
    library takes these alone. Raises ValueError for a model or
    arguments that cannot be exported, and `kcompile.codegen.link.LinkError` where there is no linker.
    """
    from kcompile import __version__
    from kcompile.codegen import artifact
    from kcompile.ir.types import bind

    cm = model if isinstance(model, CompiledModel) else compile(model)
    if cm.model.stateful:
        raise UnsupportedError(f"export: model {cm.model.name!r} keeps states between calls, and the "
                               "weights in a library are read-only. Build it with stateful=False, and "
                               "states as inputs (initial_state) and outputs (return_state)")
    chosen = targets.named(target)
    if cpu is not None:
        chosen = targets.tuned(chosen, cpu)
    graph = cm.engine.graph("predict", lengths)
    state = {name: v.value for name, v in graph.captured.items()}  # type: ignore[attr-defined]
    draws = None
    if graph.updates:  # of the number of the next draw, which the library's caller gives
        numbers, graph = cm.model.random_state, _without_updates(graph)
        names = list(graph.variables)
        draws = artifact.Draws(*(names.index(v.name) if v.name in names else None
                                 for v in (numbers.draws, numbers.seed)))
        state |= {v.name: np.uint32(0) for v in (numbers.draws, numbers.seed)}
    made = (cm.engine.compiled("predict", lengths) if chosen == cm.engine.target and draws is None
            else compiler.compile_graph(graph, "predict", chosen, frozen=True))
    n = batch or 2
    generator = np.random.default_rng(0)
    sample = tuple(generator.random(bind(graph.type(v).shape, n)).astype(graph.type(v).dtype)
                   for v in graph.inputs.values())
    expected = _interpreted(graph, n, dict(zip(graph.inputs, sample)), state)
    described = artifact.Model(
        cm.model.name, made.program,
        tuple(artifact.Tensor(k, graph.type(v)) for k, v in graph.inputs.items()),
        tuple(artifact.Tensor(k, graph.type(v)) for k, v in graph.outputs.items()),
        _prepared(made, state), [state[name] for name in made.variables],
        artifact.Sample(n, sample, tuple(expected.values())), batch, draws)
    return artifact.build_artifact(described, chosen, path, __version__)


def _without_updates(graph: Graph) -> Graph:
    """The graph, which leaves its variables as they are."""
    from kcompile.ir.passes.rewrite import rebuild

    rebuilt = rebuild(graph, lambda *_: None)
    rebuilt.updates = {}
    return rebuilt


def _prepared(made: Compiled, state: Mapping[str, np.ndarray]) -> bytes:
    """The prepared block for another target, made by the interpreter: this machine may not run the
    target's code."""
    block = bytearray(made.program.prepared)
    for name, array in _interpreted(made.prepare, 1, {}, state).items():
        offset, data = made.layout.prepared[name], array.tobytes()
        block[offset:offset + len(data)] = data
    return bytes(block)


def _interpreted(graph: Graph, n: int, inputs: Mapping[str, np.ndarray],
                 state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The interpreter's outputs, in the graph's own types."""
    double = any(t.dtype == "float64" for node in graph.live() for t in node.types)
    results = interpreter.run(graph, n, inputs, state, "float64" if double else "float32").outputs
    return {name: np.ascontiguousarray(array, graph.type(graph.outputs[name]).dtype).reshape(array.shape)
            for name, array in results.items()}
