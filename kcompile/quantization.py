"""Post-training quantisation: a model that predicts with numbers of 8 bits, and how far it is from float32.

Enters: a model and samples of what it will be given. Leaves: a `QuantizedModel`, which predicts and is
exported like any compiled model. The float32 model runs over the samples, and the range of what each
contraction reads is kept; `ir.passes.quantize_products` rewrites the graph with these ranges. Weights are
copies of what they are now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np

from kcompile import compiler
from kcompile.accuracy import Accuracy, accuracy
from kcompile.codegen import targets
from kcompile.ir import interpreter, ops
from kcompile.ir.graph import Graph, Value
from kcompile.ir.passes import folded
from kcompile.ir.passes.quantize_products import (
    ByteKernel,
    ByteRange,
    Product,
    find_products,
    quantize_products,
)
from kcompile.ir.rewrite import rebuild
from kcompile.ir.tensor import Tensor
from kcompile.keras import models as keras_models
from kcompile.keras.lengths import lengths_of
from kcompile.keras.tensors import Variable
from kcompile.keras.tracing import Traced
from kcompile.model import CompiledModel
from kcompile.model import compile as compile_model
from kcompile.native import Made, NativeEngine, load_program
from kcompile_runtime.arrays import gives_batches
from kcompile_runtime.checks import check_count, check_flag, check_number
from kcompile_runtime.errors import InputError, UnsupportedError, describe
from kcompile_runtime.texts import printable
from kcompile_runtime.threads import check_threads
from kcompile_runtime.working import followed

__all__ = ["QuantizedLayer", "QuantizedModel", "Report", "quantize"]

BINS = 4096  # of the histograms that percentiles are read from
Arrays = list[np.ndarray]


@dataclass(frozen=True)
class QuantizedLayer:
    """What became of a contraction. layer: its layers' names, with the number of the call. reason: why it
    stays float32, empty where it computes with bytes. low, high: the range of what it reads that bytes have;
    zero: the byte that 0.0 is."""

    layer: str
    reason: str = ""
    low: float = 0.0
    high: float = 0.0
    zero: int = 0

    @property
    def quantized(self) -> bool:
        """Whether it computes with numbers of 8 bits."""
        return not self.reason


@dataclass(frozen=True)
class Report:
    """layers: every contraction of the model, in the order of computation; all else (activations, pooling,
    normalisation that is not folded, ...) is float32. accuracy: of the outputs on the samples."""

    layers: tuple[QuantizedLayer, ...]
    accuracy: Accuracy

    def text(self) -> str:
        """As tables: of the layers, and of the outputs."""
        names = [printable(each.layer) for each in self.layers]
        width = max([len("layer"), *map(len, names)])
        lines = [f"{'layer':<{width}}  computes in"]
        for name, each in zip(names, self.layers):
            how = (
                f"int8, of {each.low:.4g} to {each.high:.4g}" if each.quantized else f"float32: {each.reason}"
            )
            lines.append(f"{name:<{width}}  {how}")
        return "\n".join([*lines, "", self.accuracy.text()])


def quantize(
    model: Any,
    samples: Any,
    labels: Any = None,
    *,
    skip: Iterable[str] = (),
    percentile: float = 100.0,
    batch_size: int | None = None,
    steps: int | None = None,
    target: str = "native",
    threads: int | None = None,
    custom_objects: Mapping[str, Any] | None = None,
    verbose: int = 1,
) -> QuantizedModel:
    """A copy of a model to predict with, whose dense layers and convolutions compute with numbers of 8 bits.

    model: what `kcompile.compile` takes. samples: representative data as `predict` takes it (a hundred of
    them are enough for most models), or an object of batches, x or (x, labels), of which `steps` are taken,
    by default as many as it says that it has. labels: of the samples, for the one output, or for each in a
    list or a dict: class numbers, one-hot rows, or values. skip: names of layers that stay float32; it helps
    most for the first and the last. percentile: how much of what a layer reads in the samples its range
    has: below 100, what is rare is cut off at both ends, and the rest has finer steps. batch_size: samples
    of arrays that are computed at once, by default 32. target: "native", or a level of this processor, as
    `kcompile.compile` has them; threads too. custom_objects: for a path. verbose: 1 prints the report
    (`QuantizedModel.report`), 0 nothing.

    Raises InputError for samples that are none, do not fit, or give NaN or infinity on the way; for names in
    `skip` that no such layer has; and where nothing can be quantised. UnsupportedError for a model that keeps
    states between calls.
    """
    percentile = check_number("quantize: percentile", percentile, 50.0, 100.0)
    batch_size = None if batch_size is None else check_count("quantize: batch_size", batch_size)
    steps = None if steps is None else check_count("quantize: steps", steps)
    told = check_flag("quantize: verbose", verbose)
    float32 = _float32(model, target, threads, custom_objects)
    batches, labels = _batches(float32.model, samples, labels, batch_size, steps)
    lengths = lengths_of(float32.model, batches[0]) or None
    traced = float32.traced("predict", lengths)
    calibration = _Calibration(folded(traced.graph), traced.captured, float32, batches)
    products = _chosen(calibration.graph, skip)
    ranges, right = calibration.ranges([p for p in products if not p.reason], percentile)
    products = [replace(p, reason=p.reason or _reason(p, ranges.get(p.x))) for p in products]
    kernels = calibration.kernels([p for p in products if not p.reason])
    if not kernels:
        why = "; ".join(f"{p.label}: {p.reason}" for p in products) or "no dense layers, no convolutions"
        raise InputError(describe("quantize: model", "a layer that can be quantised", printable(why)))
    graph, arrays = quantize_products(calibration.graph, ranges, kernels)
    arrays = {**{name: traced.state[name] for name in graph.variables if name not in arrays}, **arrays}
    captured = {name: Variable(array, name, dtype=array.dtype.name) for name, array in arrays.items()}
    engine = QuantizedEngine(float32, Traced(graph, captured), lengths)
    program = engine.program("predict", lengths)
    made = _joined([program.run("predict", len(batch[0]), batch) for batch in batches])
    layers = tuple(_layer(p, ranges.get(p.x)) for p in products)
    report = Report(layers, accuracy("int8", list(graph.outputs), made, right, labels))
    if told:
        print(report.text())
    return QuantizedModel(float32.model, engine, report)


def _float32(
    model: Any, target: str, threads: int | None, custom_objects: Mapping[str, Any] | None
) -> NativeEngine:
    """What runs the model as it is, and is attached to no model that a user has."""
    threads = check_threads("quantize: threads", threads)
    if not isinstance(target, str) or target not in ("native", *targets.LEVELS):
        wanted = f"'native', or a level of this processor ({', '.join(targets.LEVELS)})"
        raise InputError(describe("quantize: target", wanted, repr(target)))
    processor = targets.native() if target == "native" else targets.host_as(target, "quantize: target")
    if isinstance(model, keras_models.Model) and custom_objects is None:
        source = model
    else:
        if not isinstance(model, CompiledModel) or custom_objects is not None:
            model = compile_model(model, custom_objects=custom_objects, threads=threads)
        model.follow_live(training=False)
        source, _ = model.source()
        threads = threads or model.engine.threads
    if source.stateful:
        raise UnsupportedError(
            f"quantize: model {source.name!r} keeps states between calls. Build it with stateful=False"
        )
    return NativeEngine(source, processor, threads, False)


class QuantizedModel(CompiledModel):
    """A model that predicts with numbers of 8 bits; inputs and outputs are as of the model that it was made
    of, of float32. model: that one; engine: what runs it; report: what was quantised, and its accuracy.
    Made by `quantize`. What it cannot do raises UnsupportedError, and says what to do instead."""

    def __init__(self, model: Any, engine: QuantizedEngine, report: Report) -> None:
        super().__init__(model, engine)
        self.report = report

    def source(self) -> NoReturn:
        """Not there: raises UnsupportedError."""
        _refuse("to compile or quantize it", "give the model that it was made of")

    def __reduce__(self) -> NoReturn:
        _refuse("pickle and copy", "kcompile.export keeps it in a library")

    def _train(self, *_: Any, **__: Any) -> NoReturn:
        """Raises UnsupportedError."""
        _refuse("fit, evaluate and their kin", "train the model that it was made of, and quantize again")

    fit = evaluate = train_on_batch = test_on_batch = _train

    def verify(self, x: Any = None) -> NoReturn:
        """Not done, whatever x: where floats differ in their last bits, roundings to 8 bits differ by whole
        steps. Raises UnsupportedError."""
        _refuse("verify", "its report, and `accuracy(x)`, say how far it is from float32")

    def save(self, filepath: Any, overwrite: bool = True, include_optimizer: bool = True) -> NoReturn:
        """Not done, whatever filepath, overwrite and include_optimizer are: Keras' files hold the layers of
        floats. Raises UnsupportedError."""
        _refuse("save", "kcompile.export keeps it in a library")

    def get_weights(self) -> NoReturn:
        """Not done: raises UnsupportedError."""
        _refuse("get_weights", "the model that it was made of has them")

    def set_weights(self, weights: Sequence[np.ndarray]) -> NoReturn:
        """Not done, whatever weights: raises UnsupportedError."""
        _refuse("set_weights", "set those of the model that it was made of, and quantize again")


def _refuse(what: str, instead: str) -> NoReturn:
    raise UnsupportedError(f"{what}: a quantized model predicts, and nothing else; {instead}")


class QuantizedEngine(NativeEngine):
    """Runs one graph, for inputs of the sizes of its samples, over variables of its own."""

    def __init__(self, float32: NativeEngine, own: Traced, lengths: Any) -> None:
        super().__init__(float32.model, float32.target, float32.threads, False, precision="int8")
        self._own, self._lengths_of_samples = own, lengths

    def traced(self, entry: str, lengths: Any = None) -> Traced:
        """Raises UnsupportedError for others than predict, InputError for lengths other than the samples'."""
        if entry != "predict":
            _refuse(repr(entry), "train the model that it was made of, and quantize again")
        found = self._key(entry, self._lengths_of_samples if lengths is None else lengths)
        own = self._key(entry, self._lengths_of_samples)
        if found != own:
            raise InputError(
                describe("inputs of a quantized model", f"the sizes of its samples, {own[1]}", str(found[1]))
            )
        return self._own

    def _found(self, entry: str, lengths: Any) -> Made:
        traced, key = self.traced(entry, lengths), self._key(entry, self._lengths_of_samples)
        made = self._made.get(key)
        if made is None:
            code = compiler.compile_graph(traced.graph, entry, self.target, frozen=True)
            made = self._made.put(key, Made(code, traced))
        return made


# ---------------------------------------------------------------- samples


def _batches(
    model: Any, samples: Any, labels: Any, size: int | None, steps: int | None
) -> tuple[list[Arrays], Any]:
    """The inputs of the graph, batch by batch, and the labels of all. Raises InputError."""
    if not gives_batches(samples):
        if steps is not None:
            raise InputError(describe("quantize: steps", "None, as samples are arrays", repr(steps)))
        arrays = model.standardize_inputs(samples)
        size = size or 32
        starts = range(0, len(arrays[0]), size)
        batches = [[np.ascontiguousarray(a[i : i + size]) for a in arrays] for i in starts]
    else:
        if size is not None:
            raise InputError(describe("quantize: batch_size", "None, as samples are batches", repr(size)))
        pairs = [
            (x[0], x[1] if len(x) > 1 else None) if isinstance(x, tuple) else (x, None)
            for x in _items(samples, steps)
        ]
        given = [model.standardize_inputs(x) for x, _ in pairs]
        if len({lengths_of(model, batch) for batch in given}) > 1:
            raise InputError(describe("quantize: samples", "batches of the same sizes", "others"))
        batches = [batch for batch in given if len(batch[0])]
        if labels is None and pairs and all(y is not None for _, y in pairs):
            labels = _joined_labels([y for _, y in pairs])
    if not batches:
        raise InputError(describe("quantize: samples", "at least one", "none"))
    return batches, labels


def _items(samples: Any, steps: int | None) -> Iterator[Any]:
    """The batches of an object, the first `steps` of them."""
    if hasattr(samples, "__getitem__") and hasattr(samples, "__len__"):
        count = len(samples)
        yield from (samples[i] for i in range(count if steps is None else min(count, steps)))
        return
    if steps is None and hasattr(samples, "__next__"):
        wanted = "how many batches to take, as a generator does not say when it ends"
        raise InputError(describe("quantize: steps", wanted, "None"))
    for number, item in enumerate(samples, 1):
        yield item
        if number == steps:
            return


def _joined_labels(parts: Sequence[Any]) -> Any:
    """Labels of batches, one behind the other; of several outputs in a list or a dict, as they come."""
    if isinstance(parts[0], Mapping):
        return {key: _joined_labels([part[key] for part in parts]) for key in parts[0]}
    if isinstance(parts[0], (list, tuple)):
        return [_joined_labels(each) for each in zip(*parts)]
    return np.concatenate([np.asarray(part) for part in parts])


def _joined(parts: Sequence[Arrays]) -> Arrays:
    """Arrays of batches, one behind the other."""
    return [np.concatenate(each) for each in zip(*parts)]


# ---------------------------------------------------------------- what samples and weights say


@dataclass(frozen=True)
class _Calibration:
    """A folded graph, the variables behind its own, an engine that says for what it is compiled, and the
    inputs that it runs over."""

    graph: Graph
    variables: Mapping[str, Variable]
    engine: NativeEngine
    batches: list[Arrays]

    def opened(self, values: Sequence[Value], *functions: Callable[[Tensor], Tensor]) -> Graph:
        """A copy without updates. Its first outputs are what each function gives of each of these values."""
        nodes = self.graph.live()
        copy = rebuild(self.graph, lambda *_: None, nodes)
        places = dict(zip((node.id for node in nodes), copy.nodes))  # one node for each
        own, copy.updates, copy.outputs = copy.outputs, {}, {}
        for value in values:
            x = Tensor(copy, Value(places[value.node], value.output))
            for function in functions:
                copy.outputs[f"{len(copy.outputs)}"] = function(x).value
        copy.outputs |= {f"output {name}": value for name, value in own.items()}
        return copy

    def results(self, values: Sequence[Value], *functions: Callable[[Tensor], Tensor]) -> Iterator[Arrays]:
        """Its outputs for each batch."""
        graph = self.opened(values, *functions)
        made = compiler.compile_graph(graph, "predict", self.engine.target, frozen=True)
        program = load_program(made, self.variables, self.engine.threads)
        for batch in followed(self.batches, "samples"):
            yield program.run("predict", len(batch[0]), batch)

    def ranges(self, products: Sequence[Product], percentile: float) -> tuple[dict[Value, ByteRange], Arrays]:
        """The ranges of what contractions read, where they are not empty; and the outputs of the model.
        Raises InputError for NaN and infinity."""
        readers: dict[Value, Product] = {}
        for p in products:
            readers.setdefault(p.x, p)
        values = list(readers)
        ends, outputs = np.zeros((len(values), 2)), []
        for number, found in enumerate(self.results(values, ops.reduce_min, ops.reduce_max)):
            seen = np.array([float(x) for x in found[: 2 * len(values)]]).reshape(-1, 2)
            outputs.append(found[2 * len(values) :])
            for value, pair in zip(values, seen):
                if not np.isfinite(pair).all():
                    where = (
                        f"NaN or infinity in what {printable(readers[value].label)!r} reads in batch {number}"
                    )
                    raise InputError(describe("quantize: samples", "such as give finite numbers", where))
            ends[:, 0] = np.minimum(ends[:, 0], seen[:, 0])
            ends[:, 1] = np.maximum(ends[:, 1], seen[:, 1])
        if percentile < 100.0:
            ends = self.percentiles(values, ends, percentile)
        ranges = {value: ByteRange.of(*pair) for value, pair in zip(values, ends)}
        return {value: found for value, found in ranges.items() if found is not None}, _joined(outputs)

    def percentiles(self, values: Sequence[Value], ends: np.ndarray, percentile: float) -> np.ndarray:
        """The ends between which so much of each value lies, in percent, to a step of 1 / BINS."""
        counts = np.zeros((len(values), BINS), np.int64)
        for found in self.results(values, lambda x: x):
            for count, pair, array in zip(counts, ends, found):
                if pair[0] < pair[1]:
                    count += np.histogram(array, BINS, pair)[0]
        beyond = (100.0 - percentile) / 200.0
        kept = ends.copy()
        for pair, count in zip(kept, counts):
            below, step = np.cumsum(count), (pair[1] - pair[0]) / BINS
            first = np.searchsorted(below, beyond * below[-1], "right")
            last = np.searchsorted(below, (1.0 - beyond) * below[-1], "left")
            if step:
                pair[:] = pair[0] + first * step, pair[0] + (last + 1) * step
        return kept

    def kernels(self, products: Sequence[Product]) -> dict[int, ByteKernel]:
        """The kernels in bytes, by the numbers of their contractions. Raises InputError for NaN, infinity."""
        graph = self.opened([p.kernel for p in products], lambda x: x)
        graph.inputs, graph.outputs = (
            {},
            {name: graph.outputs[name] for name in map(str, range(len(products)))},
        )
        state = {name: variable.array for name, variable in self.variables.items()}
        made = {}
        for p, kernel in zip(products, interpreter.run(graph, 1, {}, state).outputs.values()):
            if not np.isfinite(kernel).all():
                where = f"quantize: weights of {printable(p.label)!r}"
                raise InputError(describe(where, "finite numbers", "NaN or infinity"))
            made[p.node] = ByteKernel.of(kernel, p.transposed)
        return made


def _chosen(graph: Graph, skip: Iterable[str]) -> list[Product]:
    """The contractions, with a reason for those that a user skips. Raises InputError for other names."""
    names = [skip] if isinstance(skip, str) else list(skip)
    products = find_products(graph)
    known = sorted({source.layer for p in products for source in p.sources})
    for name in names:
        if name not in known:
            wanted = "names of layers with products: " + ", ".join(map(printable, known))
            raise InputError(describe("quantize: skip", wanted, repr(name)))
    return [
        replace(p, reason="skipped") if any(source.layer in names for source in p.sources) else p
        for p in products
    ]


def _reason(product: Product, found: ByteRange | None) -> str:
    """Why a contraction stays float32, for what the samples say; empty where it need not."""
    if found is None:
        return "the samples give it zeros alone"
    return "with strides, transposed convolutions of what goes below zero are float32" * (
        product.from_zero and found.zero > 0
    )


def _layer(product: Product, found: ByteRange | None) -> QuantizedLayer:
    if product.reason or found is None:
        return QuantizedLayer(product.label, product.reason)
    return QuantizedLayer(product.label, "", *found.ends, found.zero)
