"""What trains, evaluates and runs a model: Keras' methods, over an engine.

Enters: data, as users have them. Leaves: values, arrays, a `History`. Data are checked whole before the
first step (`standardize`); loops are the runtime's (`kcompile_runtime.training`); the steps are the
engine's. This module decides nothing about numbers: they are in the graphs (`graphs`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from kcompile.keras import callbacks as events
from kcompile.keras import graphs, losses, metrics, optimizers, standardize
from kcompile.keras.editions import edition
from kcompile.keras.graphs import Compilation
from kcompile.keras.lengths import Lengths, keep, lengths_of, recent
from kcompile.keras.losses import MEANS, Loss
from kcompile.keras.semantics import Semantics
from kcompile.keras.standardize import Target
from kcompile.keras.tensors import as_list, one_or_list
from kcompile_runtime import training as loops
from kcompile_runtime.arrays import as_array
from kcompile_runtime.batching import no_samples
from kcompile_runtime.checks import check_count
from kcompile_runtime.errors import InputError, ModelError, UnsupportedError, describe
from kcompile_runtime.loop import Runner
from kcompile_runtime.spec import TensorSpec

Array = np.ndarray
MODES = (False, True, "batch")


class Engine(Protocol):
    """Runs the graphs of a model ("predict", "test", "train"), whose variables it updates in place.

    run: inputs in the order of the graph, conforming, n samples. batches: what runs an entry over the
    rows of arrays. predictor: a quick way from any array to the output, of models with one input and one
    output, if there is one. reset: graphs of these entries are to be made anew.
    """

    def run(self, entry: str, n: int, inputs: Sequence[Array]) -> list[Array]: ...
    def batches(self, entry: str) -> Runner: ...
    def predictor(self) -> Callable[[Any], Array] | None: ...
    def reset(self, entries: Iterable[str] = ...) -> None: ...


@dataclass(frozen=True)
class Feeds:
    """What the data of a model have to look like. `fast`: the input and the labels of a model with
    one of each, as (shape of a sample, dtype)."""

    inputs: tuple[TensorSpec, ...]
    targets: tuple[Target, ...]
    fast: tuple[tuple[tuple[int, ...], Any], tuple[tuple[int, ...], Any]] | None

    @staticmethod
    def of(model: Any, lengths: Lengths) -> Feeds:
        specs = input_specs(model)
        settled = graphs.compilation(model)
        outputs = graphs.output_types(model, lengths)
        targets = tuple(
            Target(standardize.spec_of(name, kind), standardize.spec_of(
                f"sample_weight of output {name!r}",
                graphs.weight_type(settled.weight_ranks[k], output)), loss, output, k)
            for k, (name, kind, loss, output) in enumerate(zip(
                model.output_names, graphs.label_types(model, outputs), settled.losses, outputs))
            if kind is not None)
        fast = None
        if len(specs) == len(targets) == 1 and not lengths and settled.weight_ranks == [1]:
            pair = specs[0], targets[0].spec
            fast = tuple((s.bind(1)[1:], s.numpy_dtype) for s in pair)
        return Feeds(specs, targets, fast)  # type: ignore[arg-type]


def input_specs(model: Any) -> tuple[TensorSpec, ...]:
    return tuple(standardize.input_spec(name, x)
                 for name, x in zip(model.input_names, model.inputs))


class Training:
    """The part of `Model` that is about data. A model has `inputs`, `outputs`, their names,
    `trainable_weights`, `semantics`, and says `structure_changed()` when its graphs are out of date."""

    history: Any = None
    stop_training = False
    _attached: Engine | None = None
    _arguments: dict[str, Any] | None = None
    _settled: Compilation | None = None
    _feeds: Feeds | None = None  # where all sizes are known
    _feeds_at: dict[tuple[str, Lengths], Feeds] | None = None  # where they are not
    _specs: tuple[TensorSpec, ...] | None = None
    _quick: Callable[[Any], Array] | None = None  # the engine's predictor
    _turns: dict[str, loops.Turns] | None = None  # the pace of each entry
    _fixed: int | None = None  # of `_fixed_size`, 0 for none

    # ---- the engine

    def use_engine(self, engine: Engine) -> None:
        """Run on this engine from now on."""
        self._attached, self._quick = engine, None

    def _engine(self) -> Engine:
        if self._attached is None:
            import kcompile

            kcompile.compile(self)  # calls use_engine
            assert self._attached is not None
        return self._attached

    def structure_changed(self, entries: Iterable[str] = ("predict", "test", "train")) -> None:
        """Graphs of these entries are out of date: layers, what is trainable, or `compile` changed."""
        self._feeds = self._feeds_at = self._turns = None
        if "predict" in entries:  # layers changed: outputs, what is trained, and all that follows
            self._specs = self._settled = self._fixed = self._quick = None
        if self._settled is not None:
            self._settled.names = None
        if self._attached is not None:
            self._attached.reset(entries)

    def _training_changed(self) -> None:
        self.structure_changed(("test", "train"))

    # ---- compile

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, metrics: Any = None,
                loss_weights: Any = None, sample_weight_mode: Any = None,
                weighted_metrics: Any = None, target_tensors: Any = None) -> None:
        """Say how to train.

        optimizer: a name or an Optimizer. loss: a name, a Loss or a function of (y_true, y_pred); for
        several outputs also a list, or a dict by output name (None: not trained). metrics: a list
        (for all outputs), a list of lists, or a dict by output name; they ignore sample weights, and
        weighted_metrics use them. loss_weights: a list or dict of numbers. sample_weight_mode:
        "temporal" where each step of a sample has a weight, sample_weight [n, time]; also a list, or a
        dict by output name. Raises UnsupportedError for target_tensors.
        """
        if target_tensors is not None and any(v is not None for v in _values(target_tensors)):
            raise UnsupportedError(describe("compile: target_tensors", "None", repr(target_tensors)))
        vintage = self.vintage  # type: ignore[attr-defined]
        arguments = {"optimizer": optimizers.get(optimizer, vintage), "loss": loss, "metrics": metrics,
                     "loss_weights": loss_weights, "weighted_metrics": weighted_metrics,
                     "sample_weight_mode": sample_weight_mode}
        settled = settle(self, arguments) if self.built else None  # type: ignore[attr-defined]
        if self._arguments is not None:
            self._arguments["optimizer"].listeners.remove(self._training_changed)
        arguments["optimizer"].listeners.add(self._training_changed)
        self._arguments, self._settled = arguments, settled
        self._training_changed()

    @property
    def compilation(self) -> Compilation | None:
        """What `compile` settled, None before it; settled anew when layers were added since."""
        if self._settled is None and self._arguments is not None:
            if not self.built:  # type: ignore[attr-defined]
                raise ModelError(f"model {self.name!r} is not built: its input shape is not known. "  # type: ignore[attr-defined]
                                 "Give the first layer an input_shape, or call build")
            self._settled = settle(self, self._arguments)
        return self._settled

    @property
    def optimizer(self) -> optimizers.Optimizer:
        """The optimizer. Raises ModelError before `compile`."""
        if self._arguments is None:
            graphs.compilation(self)  # raises
        optimizer: optimizers.Optimizer = self._arguments["optimizer"]  # type: ignore[index]
        return optimizer

    @property
    def loss(self) -> Any:
        """The loss that `compile` was given."""
        return graphs.compilation(self).arguments["loss"]

    @property
    def metrics_names(self) -> list[str]:
        """Names of what evaluate and train_on_batch give: "loss", then the metrics."""
        return graphs.result_names(self)

    def _fed(self, lengths: Lengths = ()) -> Feeds:
        if lengths:
            if self._feeds_at is None:
                self._feeds_at = {}
            key = ("data", lengths)
            return recent(self._feeds_at, key) or keep(self._feeds_at, key, Feeds.of(self, lengths))
        if self._feeds is None:
            self._feeds = Feeds.of(self, ())
        return self._feeds

    # ---- data

    @property
    def _fixed_size(self) -> int | None:
        """The number of samples in each batch of a model that keeps states between batches."""
        if self._fixed is None:
            states = self.state_variables  # type: ignore[attr-defined]
            self._fixed = int(states[0].shape[0]) if states else 0
        return self._fixed or None

    def _size(self, batch_size: int | None, n: int) -> int:
        """The batch size, default 32. Raises InputError where a stateful model cannot have it."""
        fixed = self._fixed_size
        size = check_count("batch_size", (fixed or 32) if batch_size is None else batch_size)
        if fixed and (size != fixed or n % fixed):
            raise InputError(describe(
                f"model {self.name!r}, which is stateful",  # type: ignore[attr-defined]
                f"batch_size={fixed}, and a number of samples that it divides",
                f"batch_size={size}, {n} samples"))
        return size

    def standardize_inputs(self, x: Any) -> list[Array]:
        """The arrays of the inputs, as the graphs take them. Raises InputError, InputTypeError."""
        return self._inputs(x)[0]

    def _inputs(self, x: Any) -> tuple[list[Array], int]:
        if self._specs is None:
            if not self.built:  # type: ignore[attr-defined]
                self.build((None, *as_array(x, "x").shape[1:]))  # type: ignore[attr-defined]
            self._specs = input_specs(self)
        return standardize.inputs(x, self._specs)

    def _data(self, x: Any, y: Any, sample_weight: Any = None, class_weight: Any = None
              ) -> tuple[list[Array], int]:
        """All inputs of the training graph: x, y, weights; and the number of samples."""
        arrays, n = self._inputs(x)
        lengths = lengths_of(self, arrays)
        self._adopt(y, lengths)
        self._adopt_weights(sample_weight, lengths)
        targets = self._fed(lengths).targets
        labels = standardize.labels(y, targets, self.output_names)  # type: ignore[attr-defined]
        counts = {f"input {s.name!r}": len(a) for s, a in zip(self._fed(lengths).inputs, arrays)}
        counts.update((f"labels of {t.spec.name!r}", len(a)) for t, a in zip(targets, labels))
        if standardize.common(counts) < 1:
            raise InputError(describe("data", "at least one sample, as a loss is a mean over them", "none"))
        weights = standardize.sample_weights(
            sample_weight, class_weight, targets, labels, n,
            self.output_names, self.semantics)  # type: ignore[attr-defined]
        return [*arrays, *labels, *weights], n

    def _adopt(self, y: Any, lengths: Lengths) -> None:
        """A loss of one's own takes labels of any shape: the graph follows the data."""
        targets = self._fed(lengths).targets
        if y is None or not any(t.any_shape for t in targets):
            return
        settled = graphs.compilation(self)
        for value, t in zip(standardize.by_name(y, [t.spec.name for t in targets], "output",
                                                among=self.output_names), targets):  # type: ignore[attr-defined]
            found = standardize.label_type(value, t) if t.any_shape else None
            if found is not None:
                settled.targets[t.index] = found
                self._training_changed()

    def _adopt_weights(self, sample_weight: Any, lengths: Lengths) -> None:
        """After Keras 2, the data alone say that steps have weights."""
        if sample_weight is None or not self.semantics.step_weights_by_shape:  # type: ignore[attr-defined]
            return
        targets, ranks = self._fed(lengths).targets, graphs.compilation(self).weight_ranks
        for value, t in zip(standardize.by_name(sample_weight, [t.spec.name for t in targets], "output",
                                                True, self.output_names), targets):  # type: ignore[attr-defined]
            rank = 1 if value is None else standardize.weight_rank(value, t)
            if rank > ranks[t.index]:
                ranks[t.index] = rank
                self._training_changed()

    def _batch(self, entry: str, x: Any, y: Any, sample_weight: Any, class_weight: Any) -> Any:
        """One step on one batch: the loss, or the list of all values."""
        feeds = self._feeds or (None if self.varies else self._fed())  # type: ignore[attr-defined]
        arrays = None
        if feeds is not None and feeds.fast is not None and sample_weight is None and class_weight is None:
            arrays = _conforming(feeds, x, y)
        if arrays is None:
            arrays, n = self._data(x, y, sample_weight, class_weight)
        else:
            n = len(arrays[0])
        self._size(n, n)
        engine = self._attached or self._engine()
        values = loops.batch_values(engine.run(entry, n, arrays)[0])
        return values[0] if len(values) == 1 else values

    # ---- one batch

    def train_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None,
                       class_weight: Any = None) -> Any:
        """One training step: the loss of this batch, or the list of loss and metrics."""
        return self._batch("train", x, y, sample_weight, class_weight)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Loss and metrics of this batch."""
        return self._batch("test", x, y, sample_weight, None)

    def predict_on_batch(self, x: Any) -> Any:
        """The output (a list for several) for all samples of x, as one batch."""
        if self._quick is not None and type(x) is np.ndarray:
            return self._quick(x)
        arrays, n = self._inputs(x)
        if not n:
            return self._no_samples(arrays)
        self._size(n, n)
        self._find_quick()
        return one_or_list(self._engine().run("predict", n, arrays))

    # ---- all data

    def fit(self, x: Any = None, y: Any = None, batch_size: int | None = None, epochs: int = 1,
            verbose: Any = 1, callbacks: Any = None, validation_split: float = 0.0,
            validation_data: Any = None, shuffle: Any = True, class_weight: Any = None,
            sample_weight: Any = None, initial_epoch: int = 0, steps_per_epoch: int | None = None,
            validation_steps: int | None = None, **old: Any) -> Any:
        """Train for `epochs` passes over the data, and give back the History.

        x, y: arrays, lists of arrays, or dicts by name. batch_size: default 32; the last batch may be
        smaller. verbose: 0, 1 (bar) or 2 (a line an epoch). validation_split: the share at the end of
        the data, taken before shuffling; or validation_data: (x, y) or (x, y, sample_weight).
        shuffle: True, False or "batch". class_weight: {class: weight}. initial_epoch: number of the
        first epoch; epochs is the last one's. steps_per_epoch: batches in an epoch, at most what the
        data hold. Raises InputError, InputTypeError and ModelError before the first step.
        """
        epochs = _old_epochs(epochs, old)
        size = check_count("batch_size", 32 if batch_size is None else batch_size)
        epochs = check_count("epochs", epochs, 0)
        initial_epoch = check_count("initial_epoch", initial_epoch, 0)
        verbose = check_verbose(verbose)
        if shuffle not in MODES:
            raise InputError(describe("shuffle", "True, False or 'batch'", repr(shuffle)))
        given = events.check(callbacks)
        arrays, n = self._data(x, y, sample_weight, class_weight)
        arrays, n, held = self._validation(arrays, n, validation_split, validation_data,
                                           class_weight, (x, y, sample_weight))
        for count in (n, *([] if held is None else [len(held[0])])):
            size = self._size(batch_size, count)
        names = graphs.result_names(self, lengths_of(self, arrays))
        steps = loops.check_steps("steps_per_epoch", steps_per_epoch, -(-n // size))
        if held is not None:
            held_steps = loops.check_steps("validation_steps", validation_steps,
                                           -(-len(held[0]) // size))
        elif validation_steps is not None:
            raise InputError("fit: validation_steps needs validation_data or validation_split")
        self.history = events.History()
        told = self._callbacks(given, verbose, {
            "batch_size": size, "epochs": epochs, "steps": steps, "verbose": verbose,
            "samples": n if steps is None else min(steps * size, n),
            "do_validation": held is not None,
            "metrics": names + [f"val_{name}" for name in names] if held else names})
        for callback in told.callbacks:
            callback.validation_data = held
        if verbose and held is not None and edition(self.vintage).bar == "samples":  # type: ignore[attr-defined]
            print(f"Train on {n} samples, validate on {len(held[0])} samples")
        engine = self._engine()
        self.stop_training = False
        told.begin()
        loops.fit_loop(
            engine.batches("train"), arrays, names, told, turns=self._pace("train"), batch_size=size,
            epochs=epochs, initial_epoch=initial_epoch, shuffle=shuffle, steps=steps,
            validate=None if held is None else
            lambda: self._test(held, names, told.within("test"), size, held_steps))
        told.end()
        return self.history

    def evaluate(self, x: Any = None, y: Any = None, batch_size: int | None = None,
                 verbose: Any = 1, sample_weight: Any = None, steps: int | None = None,
                 callbacks: Any = None) -> Any:
        """The loss, or the list of loss and metrics, averaged over all samples."""
        size = check_count("batch_size", 32 if batch_size is None else batch_size)
        given = events.check(callbacks)
        verbose = check_verbose(verbose)
        arrays, n = self._data(x, y, sample_weight)
        size = self._size(batch_size, n)
        steps = loops.check_steps("steps", steps, -(-n // size))
        told = self._progress(given, verbose, n, size, steps, "test")
        names = graphs.result_names(self, lengths_of(self, arrays))
        return one_or_list(self._test(arrays, names, told, size, steps))

    def predict(self, x: Any, batch_size: int | None = None, verbose: Any = 0,
                steps: int | None = None, callbacks: Any = None) -> Any:
        """The output (a list for several) for all samples, computed batch by batch."""
        size = check_count("batch_size", 32 if batch_size is None else batch_size)
        verbose = check_verbose(verbose)
        if (self._quick is not None and type(x) is np.ndarray and x.ndim and len(x) <= size
                and not verbose and steps is None and callbacks is None):
            return self._quick(x)
        given = events.check(callbacks)
        arrays, n = self._inputs(x)
        size = self._size(batch_size, n)
        if not n:
            return self._no_samples(arrays)
        steps = loops.check_steps("steps", steps, -(-n // size))
        told = self._progress(given, verbose, n, size, steps, "predict")
        batches = self._engine().batches("predict")
        told.begin()
        outputs = loops.predict_loop(batches, arrays, told, turns=self._pace("predict"), batch_size=size,
                                     steps=steps)
        told.end()
        self._find_quick()
        return one_or_list(outputs)

    # ---- parts of the above

    def _no_samples(self, arrays: Sequence[Array]) -> Any:
        """The outputs for no samples."""
        kinds = graphs.output_types(self, lengths_of(self, arrays))
        specs = [standardize.spec_of(name, kind) for name, kind in zip(
            self.output_names, kinds)]  # type: ignore[attr-defined]
        return one_or_list(no_samples(specs))

    def _pace(self, entry: str) -> loops.Turns:
        if self._turns is None:
            self._turns = {}
        return self._turns.setdefault(entry, loops.Turns())

    def _find_quick(self) -> None:
        """Take the engine's predictor where the model may have one: a conforming array is all of x."""
        if (len(self.inputs) == len(self.outputs) == 1 and not self.varies  # type: ignore[attr-defined]
                and not self._fixed_size):
            self._quick = self._engine().predictor()

    def _test(self, arrays: Sequence[Array], names: Sequence[str], told: events.CallbackList,
              size: int, steps: int | None) -> list[float]:
        batches = self._engine().batches("test")
        told.begin()
        values = loops.evaluate_loop(batches, arrays, names, told, turns=self._pace("test"),
                                     batch_size=size, steps=steps)
        told.end(dict(zip(names, values)))
        return values

    def _callbacks(self, given: Sequence[events.Callback], verbose: int, params: dict[str, Any]
                   ) -> events.CallbackList:
        """In Keras 2's order: the bar, the user's, the history."""
        bar = [events.ProgbarLogger(verbose)] if verbose else []
        return events.CallbackList([*bar, *given, self.history], self, params)

    def _progress(self, given: Sequence[events.Callback], verbose: int, n: int, size: int,
                  steps: int | None, mode: str) -> events.CallbackList:
        samples = n if steps is None else min(steps * size, n)
        bar = [events.BatchProgress()] if verbose == 1 else []
        params = {"batch_size": size, "steps": steps, "samples": samples, "verbose": verbose}
        return events.CallbackList([*bar, *given], self, params, mode)

    def _validation(self, arrays: list[Array], n: int, share: float, data: Any, class_weight: Any,
                    user: tuple[Any, Any, Any]) -> tuple[list[Array], int, list[Array] | None]:
        """The arrays to train on, how many samples they have, and the arrays to validate on."""
        if data is not None:
            if not isinstance(data, (list, tuple)) or len(data) not in (2, 3):
                raise InputError(describe("validation_data", "(x, y) or (x, y, sample_weight)",
                                          type(data).__name__))
            return arrays, n, self._data(*data)[0]
        if not share:
            return arrays, n, None
        at = loops.split_at(n, share)
        held = [a[at:] for a in arrays]
        if class_weight is not None:  # counts in training only
            x, y, sample_weight = user
            held = [a[at:] for a in self._data(x, y, sample_weight)[0]]
        return [a[:at] for a in arrays], at, held


def _conforming(feeds: Feeds, x: Any, y: Any) -> list[Array] | None:
    """x, y and weights of 1 for a model with one input and one output, when nothing has to be
    converted; else None."""
    assert feeds.fast is not None
    (x_shape, x_dtype), (y_shape, y_dtype) = feeds.fast
    if not (type(x) is np.ndarray and type(y) is np.ndarray and x.shape[1:] == x_shape
            and x.dtype is x_dtype and x.flags.carray and y.dtype is y_dtype and y.flags.carray):
        return None
    n = len(x)
    if y.shape[1:] != y_shape:
        if y.shape != (n,) or y_shape != (1,):
            return None
        y = y.reshape(n, 1)
    if n == 0 or len(y) != n:
        return None
    if feeds.targets[0].classes:
        standardize.check_classes(y, feeds.targets[0])
    return [x, y, standardize.ones(n)]


def check_verbose(verbose: Any) -> int:
    """0, 1 or 2; True, False and "auto" as Keras takes them."""
    value = 1 if verbose == "auto" else verbose
    if value not in (0, 1, 2):
        raise InputError(describe("verbose", "0, 1 or 2", repr(verbose)))
    return int(value)


def _old_epochs(epochs: int, old: dict[str, Any]) -> int:
    """Keras 1's spelling of epochs."""
    if "nb_epoch" in old:
        warnings.warn("fit: nb_epoch is Keras 1's name of epochs", stacklevel=3)
        epochs = old.pop("nb_epoch")
    if old:
        raise TypeError(f"fit() got unexpected keyword arguments {', '.join(map(repr, old))}")
    return epochs


def _values(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, Mapping) else as_list(value)


# ---------------------------------------------------------------- what `compile` means


def settle(model: Any, arguments: dict[str, Any]) -> Compilation:
    """The arguments of `compile` for each output of a built model. Raises ModelError, ValueError."""
    names = list(model.output_names)
    found = [losses.as_loss(value) for value in _per_output(arguments["loss"], names, "loss")]
    for name, loss in zip(names, found):
        if loss is not None and loss.reduction == "none":
            raise ModelError(describe(f"compile: loss of {name!r}", "a reduction to one number",
                                      "reduction='none'"))
    scales = [1.0 if value is None else float(value) for value in
              _per_output(arguments["loss_weights"], names, "loss_weights", single=False)]
    plain, weighted = (_metrics(arguments[key], names, key, model.semantics)
                       for key in ("metrics", "weighted_metrics"))
    if model.semantics.metrics_without_loss == "left out":
        plain, weighted = ([[] if loss is None else chosen for loss, chosen in zip(found, several)]
                           for several in (plain, weighted))
    return Compilation(
        arguments["optimizer"], found, scales, plain, weighted,
        list(model.trainable_weights),
        [graphs.target_type(loss, y.type) if loss is not None or any(wanted) else None
         for loss, y, *wanted in zip(found, model.outputs, map(bool, plain), map(bool, weighted))],
        _weight_ranks(arguments["sample_weight_mode"], names, model.outputs), arguments)


def _weight_ranks(modes: Any, names: Sequence[str], outputs: Sequence[Any]) -> list[int]:
    """How many axes the weights of each output have. Raises ModelError."""
    ranks = []
    for name, y, mode in zip(names, outputs, _per_output(modes, names, "sample_weight_mode")):
        if mode not in (None, "temporal"):
            raise ModelError(describe(f"compile: sample_weight_mode of {name!r}",
                                      "None or 'temporal'", repr(mode)))
        if mode == "temporal" and y.ndim < 3:
            raise ModelError(describe(f"compile: sample_weight_mode='temporal' of {name!r}",
                                      "an output [batch, time, ...]", f"shape {y.shape}"))
        ranks.append(1 if mode is None else 2)
    return ranks


def _per_output(value: Any, names: Sequence[str], what: str, single: bool = True) -> list[Any]:
    """A value for each output, from a dict by name, a list, or (if `single`) one for all."""
    if isinstance(value, Mapping) and "class_name" not in value:
        unknown = [key for key in value if key not in names]
        if unknown:
            raise ModelError(describe(f"compile: {what}", f"names of outputs ({', '.join(names)})",
                                      ", ".join(map(repr, unknown))))
        return [value.get(name) for name in names]
    if isinstance(value, (list, tuple)):
        if len(value) != len(names):
            raise ModelError(describe(f"compile: {what}", f"one for each of the {len(names)} outputs "
                                      f"({', '.join(names)})", f"a list of {len(value)}"))
        return list(value)
    if value is not None and not single:
        raise ModelError(describe(f"compile: {what}", "a list or dict", repr(value)))
    return [value] * len(names)


def _metrics(value: Any, names: Sequence[str], what: str, meaning: Semantics) -> list[list[Any]]:
    """The metrics of each output. A list of lists is one for each; what a flat list is, the vintage says."""
    if value is None:
        return [[] for _ in names]
    listed = isinstance(value, (list, tuple)) and len(names) > 1 and (
        meaning.metrics_list == "by output" or (
            len(value) == len(names) and any(v is None or isinstance(v, (list, tuple)) for v in value)))
    nested = isinstance(value, (list, tuple)) and len(value) == len(names) == 1 and isinstance(
        value[0], (list, tuple))
    if isinstance(value, Mapping) or listed or nested:
        chosen = [_values(v) for v in _per_output(value, names, what)]
    else:
        chosen = [_values(value) for _ in names]
    chosen = [[m for m in several if m is not None] for several in chosen]
    for metric in (m for several in chosen for m in several):
        found = None if metric in metrics.CHOSEN else metrics.get(metric)  # raises for what is none
        if isinstance(found, Loss) and found.reduction not in MEANS:
            raise UnsupportedError(describe(f"compile: {what}: reduction of {found.name!r}",
                                            " or ".join(map(repr, MEANS)), repr(found.reduction)))
    return chosen
