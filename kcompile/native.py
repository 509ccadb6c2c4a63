"""Engines that run a model's graphs as native code, on the processor or on a device, and check them.

Enters: a model. Leaves: an `Engine` (see `kcompile.keras.engines`), whose programs work on the model's own
variables. `load_program` is the only way from variables to code that writes them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

import kcompile_runtime as rt
from kcompile import compiler
from kcompile.codegen import targets
from kcompile.compiler import Compiled
from kcompile.ir import interpreter
from kcompile.ir.graph import Graph, Value
from kcompile.ir.precision import in_precision
from kcompile.ir.rewrite import rebuild
from kcompile.ir.types import BYTES, TensorType, bind
from kcompile.keras import graphs
from kcompile.keras.graphs import ENTRIES
from kcompile.keras.lengths import Lengths, LruCache, checked_lengths, graph_bytes, lengths_of
from kcompile.keras.listeners import Audience
from kcompile.keras.tensors import Variable
from kcompile.keras.tracing import Traced
from kcompile_runtime.cuda import Held
from kcompile_runtime.cuda_driver import Driver
from kcompile_runtime.errors import KcompileError
from kcompile_runtime.loop import Runner, one_by_one
from kcompile_runtime.texts import printable

_log = logging.getLogger("kcompile")

LOADED = 256 * 1024  # bytes of code in the process beside its own, as measured
STAGES = 2  # times what a graph takes, for its stages
ABSOLUTE = 1e-5  # of `verify`: compiled code against the interpreter's float64
# Of the largest: rounding of sums; and that a term's operand may round to its other neighbour in bfloat16
RELATIVE = {"float32": 2e-4, "bfloat16": 2.0**-7}


class VerificationError(KcompileError, AssertionError):
    """Compiled code and interpreter disagree (`compile(verify=True)`)."""


@dataclass(frozen=True)
class LayerError:
    """How far a layer's output, compiled, is from the interpreter's. difference: the largest of two elements.
    ratio: the largest of a difference over the tolerance of its element; at most 1 is right."""

    layer: str
    difference: float
    ratio: float


@dataclass(frozen=True)
class Verification:
    """What `verify` found. layers: a `LayerError` for each layer, in the order of computation, and at last
    one for each output of the program that predicts."""

    layers: tuple[LayerError, ...]

    @property
    def ok(self) -> bool:
        """Whether every layer is within its tolerance."""
        return all(error.ratio <= 1 for error in self.layers)

    @property
    def first_bad(self) -> LayerError | None:
        """The first layer that is not, None where all are."""
        return next((error for error in self.layers if not error.ratio <= 1), None)

    def text(self) -> str:
        """A table with a row for each layer, and "ok" or "DIFFERENT" below."""
        names = [printable(e.layer) for e in self.layers]
        width = max(len("layer"), *map(len, names)) if names else len("layer")
        lines = [f"{'layer':<{width}}  largest difference  of tolerance"]
        lines += [
            f"{name:<{width}}  {e.difference:18.2e}  {e.ratio:11.1%}" for name, e in zip(names, self.layers)
        ]
        return "\n".join([*lines, "ok" if self.ok else "DIFFERENT"])


@dataclass
class Made:
    """What is kept of an entry at some lengths."""

    compiled: Compiled
    traced: Traced
    program: Any = None
    code: int = 0  # bytes
    samples: int = 0  # of the largest batch that is known to keep within the limit of memory

    @property
    def nbytes(self) -> int:
        """Measured of memory and code, estimated of the rest; without what programs share."""
        graph = graph_bytes(self.compiled.graph)
        if self.program is None:
            return STAGES * graph
        return graph + LOADED + self.code + int(getattr(self.program, "nbytes", 0))


class NativeEngine:
    """Runs a model's graphs as native code; its variables are the model's own arrays. Code is made for
    an entry at given lengths (of inputs that leave sizes unknown), and kept as `LruCache` says. Where it
    prepares the same from weights, it does so once for all lengths."""

    def __init__(
        self,
        model: Any,
        target: targets.Target,
        threads: int | None,
        verify: bool,
        memory_limit: int | None = None,
        precision: str = "float32",
    ) -> None:
        self.model = model
        self.target = target
        self.threads = threads
        self.verify = verify
        self.memory_limit = memory_limit  # bytes of a training step, see `planned`
        self.precision = precision  # of contractions: see `kcompile.ir.precision`, `kcompile.quantization`
        self._made: LruCache[Made] = LruCache(lambda made: made.nbytes, self._shared_bytes)
        # By what is prepared, and all variables that are followed; gone with the last program
        self._blocks: WeakValueDictionary[Any, rt.Prepared] = WeakValueDictionary()
        self._latest: Lengths | None = None
        self.quick: Callable[[Any], np.ndarray] | None = None  # `predictor`, once it was asked for
        self.quick_list: Callable[[Any], Any] | None = None  # `list_predictor`, likewise

    def _key(self, entry: str, lengths: Any) -> tuple[str, Lengths]:
        """lengths: None for those of the data seen last."""
        return graphs.checked_entry(entry), checked_lengths(
            self.model, self._latest if lengths is None else lengths, entry
        )

    def graph(self, entry: str, lengths: Any = None) -> Graph:
        """The graph of an entry. lengths: the sizes that the model's inputs leave unknown, see
        `checked_lengths`; by default those of the data seen last."""
        return self.traced(entry, lengths).graph

    def traced(self, entry: str, lengths: Any = None) -> Traced:
        """The graph, with the model's variables behind its own; traced anew where there is no code of it."""
        key = self._key(entry, lengths)
        made = self._made.get(key)
        return self._trace(key) if made is None else made.traced

    def _trace(self, key: tuple[str, Lengths]) -> Traced:
        traced = graphs.trace(self.model, *key)
        return replace(traced, graph=in_precision(traced.graph, self.precision))

    def _found(self, entry: str, lengths: Any) -> Made:
        key = self._key(entry, lengths)
        made = self._made.get(key)
        if made is None:
            traced = self._trace(key)
            code = compiler.compile_graph(traced.graph, entry, self.target, frozen=entry != "train")
            made = self._made.put(key, Made(code, traced))
        return made

    def compiled(self, entry: str, lengths: Any = None) -> Compiled:
        """The code of an entry, made when it is first asked for. Arguments and errors as of `graph`."""
        return self._found(entry, lengths).compiled

    def planned(self, entry: str, n: int, lengths: Any = None) -> int:
        """Bytes that a call for n samples takes: weights with what belongs to them, the batch, the results,
        all values between, and the threads' own memory. Data beyond the batch, and code, are not counted."""
        return self._planned(self.compiled(entry, lengths), n)

    @property
    def thread_count(self) -> int:
        """How many threads work on a call."""
        return self.threads or rt.default_threads()

    def _planned(self, compiled: Compiled, n: int) -> int:
        info = compiled.entry_info
        graph = compiled.graph
        variables = sum(bytes_of(graph.type(v), 1) for v in graph.variables.values())
        moved = sum(bytes_of(graph.type(v), n) for v in (*graph.inputs.values(), *graph.outputs.values()))
        return variables + moved + info.memory.at(n, self.thread_count)

    def _within(self, entry: str, n: int, lengths: Any) -> None:
        """Make the code of a training step for n samples anew where it would take more than the limit. Raises
        InputError where that is not enough."""
        limit, made = self.memory_limit, self._found(entry, lengths)
        if limit is None or entry != "train" or made.samples >= n:
            return
        code = self._limited(made.compiled, n, limit)
        if code is not made.compiled:
            made = self._made.put(self._key(entry, lengths), Made(code, made.traced))
        planned = self._planned(made.compiled, n)
        made.samples = n
        again = ", computing values of the forward pass again" if made.compiled.budget else ""
        _log.warning(
            "a training step of %d samples takes %.1f MiB of %.1f%s", n, planned / 2**20, limit / 2**20, again
        )

    def _limited(self, step: Compiled, n: int, limit: int) -> Compiled:
        """The code of a training step, made anew where it would take more than the limit for n samples."""
        planned = self._planned(step, n)
        if planned <= limit:
            return step
        fixed, each = step.entry_info.memory.arena
        budget = compiler.Budget(n, limit - (planned - fixed - n * each))
        return compiler.compile_graph(step.graph, step.name, step.target, False, budget)

    def training_step(self, graph: Graph, target: targets.Target, n: int | None) -> Compiled:
        """The code of a training step for a target; within the limit of memory, if there is one, for n
        samples. Raises InputError where that is not enough."""
        step = compiler.compile_graph(graph, "train", target, False)
        return step if self.memory_limit is None or n is None else self._limited(step, n, self.memory_limit)

    def program(self, entry: str, lengths: Any = None) -> rt.Program:
        """The native code of an entry, over the model's variables."""
        made = self._found(entry, lengths)
        if made.program is None:
            compiled = made.compiled
            made.program = self.load(compiled, made.traced.captured)
            if not self.target.is_gpu:
                made.code = sum(map(len, compiled.bundle.objects))
            if self.model.varies:
                compiled.forget_stages()
            self._made.measure(self._key(entry, lengths))
        program: rt.Program = made.program
        return program

    def load(self, made: Compiled, variables: Mapping[str, Variable]) -> Any:
        """A program over the arrays of its variables, see `load_program`."""
        digest, _ = prepares = made.bundle.prepares
        key = prepares, *(variables[name] for name in _followed(made))
        program = load_program(made, variables, self.threads, self._blocks.get(key) if digest else None)
        if digest:
            self._blocks[key] = program.block
        return program

    def _shared_bytes(self) -> int:
        return sum(block.memory.nbytes for block in list(self._blocks.values()))

    def reset(self, entries: Iterable[str] = ENTRIES) -> None:
        """Forget the code of these entries: the model changed."""
        gone, self._latest = set(entries), None
        if "predict" in gone:
            self.quick = self.quick_list = None
        self._made.forget(gone)

    def run(self, entry: str, n: int, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs of an entry for n samples; "train" updates the model's variables in place."""
        program = self._program_for(entry, inputs, n)
        before = self._state(entry, inputs) if self.verify else {}
        results = program.run(entry, n, inputs)
        if self.verify:
            self._compare(entry, n, inputs, before, results)
        return results

    def prepare(self, entry: str, lengths: Lengths) -> None:
        """Make and load the code of an entry."""
        self.program(entry, lengths or None)

    def _program_for(self, entry: str, inputs: Sequence[np.ndarray], n: int) -> rt.Program:
        if self.memory_limit is not None:
            self._within(entry, n, self._lengths(inputs, entry))
        made = self._made.get((entry, ()))
        return (made and made.program) or self.program(entry, self._lengths(inputs, entry))

    def batches(self, entry: str) -> Runner:
        """What runs an entry over the rows of arrays, many batches in one native call."""
        if self.verify or self.model.fixed_step(entry):
            return one_by_one(lambda n, parts: self.run(entry, n, parts))
        held: tuple[Any, Runner] | None = None

        def run(arrays: Sequence[np.ndarray], order: Any, size: int, *span: Any) -> list[np.ndarray]:
            nonlocal held
            program = self._program_for(entry, arrays, size)
            if held is None or held[0] is not program:  # a callback may change the model
                held = program, program.batches(entry)
            return held[1](arrays, order, size, *span)

        return run

    def predictor(self) -> Callable[[Any], np.ndarray] | None:
        """The output for an array, conforming or not, for a model with one input, of known sizes, and
        one output: at the least cost. Valid until `reset`."""
        return None if self.verify else self.program("predict").single("predict")

    def list_predictor(self) -> Callable[[Any], Any] | None:
        """The outputs for a list of conforming arrays, None for any others; for a model of known sizes. Valid
        until `reset`."""
        return None if self.verify else self.program("predict").several("predict")

    # ---- verification

    def _lengths(self, inputs: Sequence[np.ndarray], entry: str) -> Lengths | None:
        found: Lengths | None = lengths_of(self.model, inputs, entry) or None
        if entry not in self.model.own_steps:
            self._latest = found
        return found

    def _state(self, entry: str, inputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        captured = self._found(entry, self._lengths(inputs, entry)).traced.captured
        return {name: variable.array.copy() for name, variable in captured.items()}

    def _compare(
        self,
        entry: str,
        n: int,
        inputs: Sequence[np.ndarray],
        before: Mapping[str, np.ndarray],
        results: Sequence[np.ndarray],
    ) -> None:
        graph = self.compiled(entry, self._lengths(inputs, entry)).graph
        expected = interpreter.run(graph, n, dict(zip(graph.inputs, inputs)), before, "float64")
        for name, got, right in zip(graph.outputs, results, expected.outputs.values()):
            error = self._error(name, got, right)
            if not error.ratio <= 1:
                first = self.verification(inputs, before, entry, n).first_bad
                where = f", first at layer {first.layer!r}" if first else ""
                raise VerificationError(
                    f"{entry}: compiled output {name!r} differs from the interpreter's by "
                    f"{error.difference:.2e}{where}"
                )

    def verification(
        self,
        inputs: Sequence[np.ndarray],
        state: Mapping[str, np.ndarray],
        entry: str = "predict",
        n: int | None = None,
    ) -> Verification:
        """Compare layer by layer: the graph with every layer's result as an output."""
        graph = self.graph(entry, self._lengths(inputs, entry))
        opened = _with_layers(graph)
        made = compiler.compile_graph(opened, entry, self.target, frozen=entry != "train")
        program = self.load(
            made, {name: Variable(state[name], name, dtype=state[name].dtype.name) for name in made.variables}
        )
        count = n if n is not None else len(inputs[0])
        results = program.run(entry, count, inputs)
        expected = interpreter.run(opened, count, dict(zip(opened.inputs, inputs)), state, "float64")
        return Verification(
            tuple(
                self._error(name, got, right)
                for name, got, right in zip(opened.outputs, results, expected.outputs.values())
            )
        )

    def _error(self, layer: str, got: np.ndarray, right: np.ndarray) -> LayerError:
        return layer_error(layer, got, right, RELATIVE[self.precision])

    def predictions(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What predict gives for these inputs. What it writes is taken back."""
        lengths, before = self._lengths(inputs, "predict"), self._state("predict", inputs)
        traced = self._found("predict", lengths).traced
        results = self.program("predict", lengths).run("predict", len(inputs[0]), inputs)
        for name in traced.graph.updates:
            traced.captured[name].assign(before[name])
        return results

    def check(self, inputs: Sequence[np.ndarray]) -> Verification:
        """Compare prediction layer by layer, on copies of the variables; then the program that predicts,
        over its own arrays and what it prepared from them. What it writes is taken back."""
        lengths, n = self._lengths(inputs, "predict"), len(inputs[0])
        traced, before = self._found("predict", lengths).traced, self._state("predict", inputs)
        graph = traced.graph
        layers = self.verification(inputs, before).layers
        results = self.predictions(inputs)
        expected = interpreter.run(graph, n, dict(zip(graph.inputs, inputs)), before, "float64")
        return Verification(
            (
                *layers,
                *(
                    self._error(f"predict: {name}", got, right)
                    for name, got, right in zip(graph.outputs, results, expected.outputs.values())
                ),
            )
        )


class CudaEngine(NativeEngine):
    """Runs a model's graphs on a graphics processor. Variables live there: one that is read here is
    brought back first, one that is assigned here is sent before the next call."""

    def __init__(self, model: Any, driver: Driver, verify: bool) -> None:
        super().__init__(model, targets.device(driver.architecture), None, verify)
        self._driver = driver

    def load(self, made: Compiled, variables: Mapping[str, Variable]) -> Any:
        """A program on the device, over copies of the variables there."""
        program = compiler.load_on_device(
            made,
            self._driver,
            {name: self._held(variables[name]) for name in made.variables},
            _audience(made, variables),
        )
        _follow(program, made, variables)
        return program

    def predictor(self) -> None:
        """None: arrays go through `run`."""
        return None

    def list_predictor(self) -> None:
        """None, as `predictor`."""
        return None

    def batches(self, entry: str) -> Runner:
        """A `Runner` that makes a call for each batch."""
        return one_by_one(lambda n, parts: self.run(entry, n, parts))

    def _held(self, variable: Variable) -> Held:
        """The variable's copy on the device, the same for all programs there."""
        if variable.held is None or variable.held.driver is not self._driver:
            variable.held = Held(self._driver, variable.array)
            variable.listeners.add(variable.held.host_wrote)
            Variable.elsewhere = True
        held: Held = variable.held
        return held


def load_program(
    made: Compiled,
    variables: Mapping[str, Variable],
    threads: int | None = None,
    block: rt.Prepared | None = None,
) -> rt.Program:
    """Native code over the arrays of variables. It follows what others write to them, and tells all who
    listen to a variable when it wrote it: every program that runs here over a model's own variables is
    made by this function or its counterpart for a device. block: what other programs prepare too."""

    def refresh() -> None:
        if Variable.elsewhere:
            for variable in variables.values():
                _ = variable.array  # brings it back from a device

    program = compiler.load(
        made,
        {name: variables[name].array for name in made.variables},
        threads,
        wrote=_audience(made, variables),
        refresh=refresh,
        block=block,
    )
    _follow(program, made, variables)
    return program


def _audience(made: Compiled, variables: Mapping[str, Variable]) -> Audience:
    return Audience(variables[name] for name in made.graph.updates)


def _follow(program: Any, made: Compiled, variables: Mapping[str, Variable]) -> None:
    """Tell the program from now on when somebody writes to its variables."""
    for name in _followed(made):
        variables[name].listeners.add(program.changed)


def _followed(made: Compiled) -> list[str]:
    """The variables whose changes count: from those that frozen code writes, it prepares nothing."""
    return [name for name in made.variables if not (made.frozen and name in made.graph.updates)]


def bytes_of(type: TensorType, n: int) -> int:
    """Bytes of a value for n samples."""
    return math.prod(bind(type.shape, n)) * BYTES[type.dtype]


def layer_error(layer: str, got: np.ndarray, right: np.ndarray, relative: float) -> LayerError:
    """NaN and infinity agree with themselves. relative: the tolerance, of the largest number."""
    same = (got == right) | (np.isnan(got) & np.isnan(right))
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.where(same, 0.0, np.abs(got.astype(np.float64) - right))
        finite = right[np.isfinite(right)]
        scale = float(np.abs(finite).max(initial=0.0))
    worst = float(difference.max(initial=0.0))
    worst = float("inf") if np.isnan(worst) else worst
    return LayerError(layer, worst, worst / (ABSOLUTE + relative * scale))


def _with_layers(graph: Graph) -> Graph:
    """The graph, where the last float value of each layer's node is an output, by its name."""
    opened = without_updates(graph)
    last: dict[str, Value] = {}
    for node in opened.live():
        if node.sources and node.types[0].dtype == "float32" and node.op.kind != "source":
            last[str(node.sources[0])] = Value(node.id)
    opened.outputs = {**last, **opened.outputs}
    return opened


def without_updates(graph: Graph) -> Graph:
    """The graph, which leaves its variables as they are."""
    rebuilt = rebuild(graph, lambda *_: None)
    rebuilt.updates = {}
    return rebuilt
