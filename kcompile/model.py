"""A compiled model, as users hold it: Keras' methods on native code.

`compile` takes a model of our front end, a live Keras model, or a path.
Native code for an entry ("predict", "test", "train") is made when it is first needed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kcompile import compiler, shown
from kcompile.codegen import targets
from kcompile.ir.graph import Graph
from kcompile.ir.indices import index_checks
from kcompile.ir.types import bind
from kcompile.keras import models as keras_models
from kcompile.keras.engines import CALLED
from kcompile.keras.lengths import lengths_of
from kcompile.native import CudaEngine, NativeEngine, Verification, VerificationError
from kcompile.stages import PRECISIONS, STAGES
from kcompile_runtime.checks import check_count
from kcompile_runtime.cuda_driver import Driver, connect
from kcompile_runtime.errors import InputError, UnsupportedError, describe
from kcompile_runtime.threads import check_threads

if TYPE_CHECKING:
    from kcompile.accuracy import Accuracy
    from kcompile.profiling import Profile

_log = logging.getLogger("kcompile")

__all__ = ["CompiledModel", "VerificationError", "compile"]


class CompiledModel:
    """A model whose methods run native code. Methods are Keras'; see `kcompile.keras.Model`. They run as
    this compiled model was asked for, whatever the model was compiled for since; the model's own run as
    the latest. Weights are the model's. model: that of `kcompile.keras`; engine: what runs it; twin: what
    keeps it like a live model. `kcompile.compile` makes all three."""

    def __init__(self, model: Any, engine: NativeEngine, twin: Any = None) -> None:
        self.model = model
        self.engine = engine
        self._twin = twin
        self._own = model, engine

    @property
    def way(self) -> str:
        """How the model was taken: "configuration", or "tracing" of what a live model computes by JAX."""
        return "tracing" if hasattr(self.model, "live_layer") else "configuration"

    def source(self) -> tuple[Any, Any]:
        """The model of `kcompile.keras` that it was made of, and what keeps that like a live one, if there is
        one."""
        return self.model, self._twin

    def __reduce__(self) -> Any:
        """Pickled and copied as what it was compiled from, and how; a live model as itself."""
        self.follow_live()
        engine, source = self.engine, self.model if self._twin is None else self._twin.live
        level = engine.target.cpu if engine.target.cpu in targets.NAMES else "native"
        return _compile_again, (
            source,
            "cuda" if engine.target.is_gpu else level,
            engine.threads,
            engine.verify,
            engine.memory_limit,
            engine.precision,
        )

    def graph(self, entry: str = "predict", lengths: Any = None) -> Graph:
        """The IR of an entry, "predict", "test" or "train", as traced; `graph.nx` is the networkx graph.

        lengths: where inputs leave sizes unknown (None in their shapes), these sizes, in the order of
        inputs and axes, as a number or a list; by default those of the data seen last. Raises
        InputError where they are missing or too many.
        """
        self.follow_live()
        return self.engine.graph(entry, lengths)

    def show(
        self,
        stage: str = "passes",
        entry: str = "predict",
        lengths: Any = None,
        target: str | None = None,
        after: str | None = None,
    ) -> str:
        """The model at a stage of compilation, as text: graph (as traced), passes (after all of them), plan
        (which nodes become one kernel), dot (a picture of the graph in Graphviz' language, below a line on
        its form), loops, llvm, asm, or ptx, with what each kernel uses where the package nvidia-cuda-nvcc is
        installed.

        entry: "predict", "test" or "train". lengths: as `graph` takes them. target: one of `targets`, also
        "sm_80", ...; by default what the model is compiled for, and sm_80 for ptx. after: the graph after
        this pass, with stage "passes" or "dot". Raises InputError for a name that is none.
        """
        if not isinstance(stage, str) or stage not in STAGES:
            raise InputError(describe("stage", "one of " + ", ".join(STAGES), repr(stage)))
        if after is not None and stage not in ("passes", "dot"):
            raise InputError(describe("after", "none for this stage (passes and dot take it)", repr(after)))
        chosen = self._target_shown(target, stage)
        self.follow_live()
        if stage == "graph":
            return self.graph(entry, lengths).text()
        if stage == "dot" and after is None:
            return shown.pictures((self.graph(entry, lengths),))
        if chosen == self.engine.target:
            made = self.engine.compiled(entry, lengths)
        else:
            made = compiler.compile_graph(self.graph(entry, lengths), entry, chosen, frozen=entry != "train")
        return shown.text(made, stage, after)

    def _target_shown(self, name: str | None, stage: str) -> targets.Target:
        own = self.engine.target
        if name is None:
            return targets.device("sm_80") if stage == "ptx" and not own.is_gpu else own
        chosen = targets.of_any_kind(name)
        if stage == "ptx" and not chosen.is_gpu:
            raise InputError(describe("target", "a graphics processor for stage ptx", repr(name)))
        return chosen

    def verify(self, x: Any = None) -> Verification:
        """Compare compiled code and interpreter, on x or on random input: layer by layer, and the program
        that predicts, as it is now. Raises InputError without x for a model whose inputs leave sizes
        unknown."""
        return self.engine.check(self._given_or_random("verify", x)[0])

    def _given_or_random(self, method: str, x: Any) -> tuple[list[np.ndarray], Any]:
        """Inputs of predict as its graph takes them, those given or random ones, and their lengths."""
        if x is None and self.model.varies:
            raise InputError(describe(method, "x, as sizes of the model's inputs are unknown", "none"))
        self.follow_live()
        given = None if x is None else self.model.standardize_inputs(x)
        lengths = None if given is None else lengths_of(self.model, given) or None
        graph = self.engine.graph("predict", lengths)
        if given is None:
            given = self._random_inputs(graph, self.model.batch_size or 4)
        return given, lengths

    def profile(
        self,
        x: Any = None,
        y: Any = None,
        sample_weight: Any = None,
        *,
        entry: str | None = None,
        batch: int = 32,
        rounds: int = 30,
        lengths: Any = None,
    ) -> Profile:
        """Where the time goes: each kernel of predict, or given labels y of a training step, timed where it
        runs, against the least that its arithmetic or its bytes take on this machine. `Profile.text()` is a
        table, `trace()` one for Chrome; `kcompile.profile_page.html` makes a page of it.

        x, y, sample_weight: one batch, as `train_on_batch` takes it; without x, `batch` samples of random
        numbers, of inputs with these lengths (see `graph`). entry: "predict" or "train", by default what y
        says. Weights stay as they are. rounds: how many calls are measured. Raises NotCompiledError for
        "train" before `compile`, InputError for another entry, UnsupportedError on a graphics processor.
        """
        from kcompile.profiling import profile

        if self.engine.target.is_gpu:
            raise UnsupportedError("profile: code of a graphics processor is not timed. Compile for 'native'")
        self.follow_live()
        chosen = ("predict" if y is None else "train") if entry is None else entry
        if chosen not in ("predict", "train"):
            raise InputError(describe("profile: entry", "'predict' or 'train'", repr(entry)))
        rounds, count = check_count("profile: rounds", rounds), check_count("profile: batch", batch)
        if x is None:
            n = self.model.batch_size or count
            arrays = self._random_inputs(self.engine.graph(chosen, lengths), n)
        else:
            arrays, n, lengths = self.model.trainer.one_batch(chosen, x, y, sample_weight)
        made, state = self.engine.compiled(chosen, lengths), self.engine.traced(chosen, lengths).state
        measured = profile(made, self.model.name, state, n, arrays, self.engine.thread_count, rounds)
        return replace(measured, precision=self.engine.precision)

    def accuracy(self, x: Any = None) -> Accuracy:
        """How far predictions in this precision are from those in float32, on x or on random input: their
        largest and mean difference for each output, and how many rows have the same class. Raises InputError
        without x for a model whose inputs leave sizes unknown, UnsupportedError on a graphics processor."""
        from kcompile.accuracy import accuracy

        engine = self.engine
        given, lengths = self._given_or_random("accuracy", x)
        if engine.target.is_gpu:
            raise UnsupportedError("accuracy: a graphics processor computes in float32 alone")
        float32 = NativeEngine(self.model, engine.target, engine.threads, False)
        names = list(engine.graph("predict", lengths).outputs)
        return accuracy(engine.precision, names, engine.predictions(given), float32.predictions(given))

    def planned_memory(self, batch: int = 32, entry: str = "train", lengths: Any = None) -> int:
        """Bytes that a call of an entry ("predict", "test" or "train") takes for a batch of so many samples,
        as planned: weights with what the optimizer keeps of them, the batch, the results, all values between,
        and the threads' own memory. Data beyond the batch, and code, are not counted. lengths: see `graph`.
        Raises NotCompiledError for "train" and "test" before `compile`."""
        self.follow_live()
        return self.engine.planned(entry, check_count("planned_memory: batch", batch), lengths)

    def _random_inputs(self, graph: Graph, n: int) -> list[np.ndarray]:
        """Numbers of [0, 1), or rows of the tables that whole numbers are looked up in."""
        generator = np.random.default_rng(0)
        rows = {check.numbers: check.rows for check in index_checks(graph)}
        made = []
        for value in graph.inputs.values():
            type = graph.type(value)
            shape, high = bind(type.shape, n), rows.get(value)
            drawn = generator.random(shape) if high is None else generator.integers(0, high, shape)
            made.append(drawn.astype(type.dtype))
        return made

    # ---- Keras' methods

    def __call__(self, x: Any) -> Any:
        """As `predict_on_batch`, of x."""
        return self.predict_on_batch(x)

    def predict(self, x: Any, batch_size: int = 32, verbose: int = 0, **options: Any) -> Any:
        """The outputs for all samples, computed `batch_size` at a time: an array [samples, ...] of the
        output's dtype (float32 unless the model says otherwise), a list for several outputs, a dict for a
        model made of one.

        x: an array [samples, ...] for a model with one input, a list in the order of the inputs, or a dict by
        their names; or what gives batches (a `Sequence`, a generator, a data set). Numbers are converted
        to the input's dtype where that loses nothing but precision. verbose: 1 shows a bar. options:
        `steps`, `callbacks` and the others of Keras' `Model.predict`. Raises InputError for shapes or values
        that do not fit, InputTypeError for what is no array of numbers.
        """
        self.follow_live(training=False)
        token = CALLED.set(self._own)
        try:
            return self.model.predict(x, batch_size=batch_size, verbose=verbose, **options)
        finally:
            CALLED.reset(token)

    def predict_on_batch(self, x: Any) -> Any:
        """The outputs for one batch, computed at once; x, results and errors as of `predict`."""
        self.follow_live(training=False)
        token = CALLED.set(self._own)
        try:
            return self.model.predict_on_batch(x)
        finally:
            CALLED.reset(token)

    def evaluate(self, *args: Any, **options: Any) -> Any:
        """The loss, or a list of loss and metrics, over all samples, as floats. Arguments are those of Keras'
        `Model.evaluate` (x, y, batch_size, verbose, sample_weight, steps, ...). Raises NotCompiledError
        before `compile`; InputError, InputTypeError."""
        return self._with_live(self.model.evaluate, args, options)

    def test_on_batch(self, *args: Any, **options: Any) -> Any:
        """Loss and metrics of one batch, with arguments as of Keras' `Model.test_on_batch` (x, y,
        sample_weight). Raises as `evaluate` does."""
        return self._with_live(self.model.test_on_batch, args, options)

    def fit(self, *args: Any, **options: Any) -> Any:
        """Train, and give Keras' `History`; a live Keras model has the new weights when this returns, and
        when its callbacks are told of an epoch. Arguments are those of Keras' `Model.fit` (x, y, batch_size,
        epochs, verbose, callbacks, validation_split, validation_data, shuffle, class_weight, ...), and
        resume: the folder of a callback `kcompile.keras.callbacks.Checkpoint`, where the training goes on.
        Raises NotCompiledError before `compile`; InputError, InputTypeError, before the first step;
        ModelError for the state of another training."""
        return self._with_live(self.model.fit, args, options)

    def train_on_batch(self, *args: Any, **options: Any) -> Any:
        """One training step: the loss of this batch, or a list of loss and metrics. Arguments are those of
        Keras' `Model.train_on_batch` (x, y, sample_weight, class_weight). Raises as `fit` does."""
        return self._with_live(self.model.train_on_batch, args, options)

    def follow_live(self, training: bool = True) -> None:
        """Take over what changed of the live model, or of ours, since the last call. training: also what
        counts in training alone. Done by every method; nothing without a live model."""
        if self._twin is not None:
            self._twin.sync(training)

    def _with_live(self, method: Callable[..., Any], args: Any, options: Any) -> Any:
        token = CALLED.set(self._own)
        try:
            if self._twin is None:
                return method(*args, **options)
            with self._twin.training(method, args, options) as bound:
                return method(*bound.args, **bound.kwargs)
        finally:
            CALLED.reset(token)

    def save(
        self, filepath: str | os.PathLike[str], overwrite: bool = True, include_optimizer: bool = True
    ) -> None:
        """Write the model, as it is now, to a .keras or .h5 file that Keras reads too.

        filepath: whose suffix says which. overwrite: False asks before a file is replaced. include_optimizer:
        whether the optimizer's state is written. Raises UnsupportedError for what files cannot hold, OSError.
        """
        self.follow_live()
        self.model.save(filepath, overwrite, include_optimizer)

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all weights, in Keras' order: layer by layer; shapes and dtypes are the variables'."""
        self.follow_live(training=False)
        weights: list[np.ndarray] = self.model.get_weights()
        return weights

    def set_weights(self, weights: Sequence[np.ndarray]) -> None:
        """Take over weights in the order, and of the shapes, of `get_weights`. Raises InputError for others,
        with nothing changed."""
        self.follow_live(training=False)
        self.model.set_weights(weights)
        self.follow_live(training=False)

    def summary(self, *args: Any, **options: Any) -> None:
        """Print the layers with shapes and numbers of weights; arguments as of Keras' `Model.summary`."""
        self.follow_live()
        self.model.summary(*args, **options)


def _compile_again(
    model: Any,
    target: str,
    threads: int | None,
    verify: bool,
    memory_limit: int | None = None,
    precision: str = "float32",
) -> CompiledModel:
    return compile(
        model, target=target, threads=threads, verify=verify, memory_limit=memory_limit, precision=precision
    )


def compile(
    model: Any,
    *,
    target: str = "native",
    threads: int | None = None,
    verify: bool = False,
    custom_objects: Mapping[str, Any] | None = None,
    examples: Any = None,
    memory_limit: int | None = None,
    precision: str = "float32",
) -> CompiledModel:
    """Compile a model: one of `kcompile.keras`, a live Keras model, or the path of a file. Gives a
    `CompiledModel`, whose inputs and outputs have the model's shapes and dtypes.

    A live model is taken by its configuration where all of its layers are known; else, where it computes by
    JAX, by tracing what its code computes. `CompiledModel.way` says which.

    target: "native", this machine's processor (of which KC_TARGET may name a level); a level by its name,
    "x86-64-v2", "x86-64-v3" or "x86-64-v4", for code as on a processor that has no more; or "cuda" for the
    first NVIDIA graphics processor (compute capability 8.0 or newer; extra `cuda`). threads: how many to use,
    default KC_THREADS, or all processors. verify: run the interpreter beside every call and raise
    `VerificationError` naming the first layer that differs. memory_limit: bytes that a training step may take
    (`CompiledModel.planned_memory` says how many it takes): where it would take more, values of the forward
    pass are computed again in the backward pass, with the same bits; what is planned is logged, as a warning,
    before the first step, and a batch that cannot keep the limit raises InputError. precision: "float32", or
    "bfloat16" to round the operands of matrix products and convolutions, of their gradients too, to bfloat16;
    sums, weights and all else are of float32 (docs/design/numerics.md, `CompiledModel.accuracy`). examples:
    of a live model, data such as it takes: an array, or a structure of arrays (a tuple: several arguments);
    it is then traced, for inputs of their dtypes and shapes but for the batch. custom_objects: for a path,
    classes and functions of your own by the names in the file. Raises InputError for arguments that make no
    sense; ModelError, OSError for a path as `load` does; UnsupportedError
    listing everything of the model that cannot be compiled, DeviceError saying what "cuda" needs and does not
    find.
    """
    if not isinstance(target, str) or target not in ("native", "cuda", *targets.LEVELS):
        raise InputError(
            describe(
                "compile: target",
                f"'native', 'cuda', or a level of this processor ({', '.join(targets.LEVELS)})",
                repr(target),
                "Other targets are for kcompile.export.",
            )
        )
    if memory_limit is not None:
        memory_limit = check_count("compile: memory_limit", memory_limit)
        if target == "cuda":
            raise InputError(describe("compile: memory_limit", "None for target 'cuda'", repr(memory_limit)))
    if not isinstance(precision, str) or precision not in PRECISIONS:
        allowed = "one of " + ", ".join(map(repr, PRECISIONS))
        raise InputError(describe("compile: precision", allowed, repr(precision)))
    if target == "cuda" and precision != "float32":
        raise InputError(describe("compile: precision", "'float32' for target 'cuda'", repr(precision)))
    if target == "cuda" and threads is not None:
        raise InputError(describe("compile: threads", "None for target 'cuda'", repr(threads)))
    threads = check_threads("compile: threads", threads)
    driver = connect() if target == "cuda" else None
    processor = targets.host_as(target, "compile: target") if target in targets.LEVELS else None
    if custom_objects is not None and not isinstance(custom_objects, Mapping):
        raise InputError(
            describe(
                "compile: custom_objects", "a dict of classes and functions by name", repr(custom_objects)
            )
        )
    if custom_objects and not isinstance(model, (str, os.PathLike)):
        raise InputError(
            describe(
                "compile: custom_objects",
                "none, but for a path",
                str(sorted(custom_objects)),
                "A model that exists already holds the objects themselves",
            )
        )
    if precision != "float32":
        _tell_of_slow_dots(processor or targets.native())
    twin = None
    if isinstance(model, (str, os.PathLike)):
        from kcompile.files import load

        model = load(model, custom_objects=custom_objects)
    elif isinstance(model, CompiledModel):
        model, twin = model.source()
    elif not isinstance(model, keras_models.Model):
        from kcompile.files.twin import Twin

        twin = Twin(model, examples)
        model = twin.model
    engine = attach_engine(model, driver, threads, verify, processor, memory_limit, precision)
    return CompiledModel(model, engine, twin)


_told: set[str] = set()


def _tell_of_slow_dots(processor: targets.Target) -> None:
    """Log, once for each kind of processor, that one without the instructions is no faster in bfloat16."""
    if processor.bfloat16_dots or processor.cpu in _told:
        return
    _told.add(processor.cpu)
    _log.warning(
        "precision='bfloat16': %s has no bfloat16 dot products (AVX512_BF16), so that it computes the same "
        "numbers by float32, no faster than with precision='float32'",
        processor.cpu,
    )


def attach_engine(
    model: Any,
    driver: Driver | None = None,
    threads: int | None = None,
    verify: bool = False,
    processor: targets.Target | None = None,
    memory_limit: int | None = None,
    precision: str = "float32",
) -> NativeEngine:
    """An engine of native code for a model of `kcompile.keras`, on which its methods run from now on: of this
    machine (of what `processor` says, by default `targets.native`), or of a device. A model that was not
    compiled gets one when it is first trained or used."""
    engine = (
        NativeEngine(model, processor or targets.native(), threads, verify, memory_limit, precision)
        if driver is None
        else CudaEngine(model, driver, verify)
    )
    model.use_engine(engine)
    return engine
