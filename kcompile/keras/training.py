"""What trains, evaluates and runs a model: Keras' methods, over an engine.

Enters: data, as users have them. Leaves: values, arrays, a `History`. Data are checked whole before the
first step (`standardize`); loops are the runtime's (`kcompile_runtime.training`); the steps are the
engine's. This module decides nothing about numbers: they are in the graphs (`graphs`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakSet

import numpy as np

from kcompile.keras import callbacks as events
from kcompile.keras import graphs, optimizers, standardize
from kcompile.keras.editions import edition
from kcompile.keras.feeding import Batches, Rows, gives_batches
from kcompile.keras.graphs import Compilation
from kcompile.keras.lengths import Kept, Lengths, lengths_of
from kcompile.keras.settling import settle, values_of
from kcompile.keras.standardize import Target
from kcompile.keras.tensors import one_or_list
from kcompile_runtime import training as loops
from kcompile_runtime.arrays import as_array
from kcompile_runtime.batching import no_samples
from kcompile_runtime.checks import check_count, check_flag, check_number
from kcompile_runtime.errors import InputError, InputTypeError, ModelError, UnsupportedError, describe
from kcompile_runtime.loop import Runner
from kcompile_runtime.spec import TensorSpec

Array = np.ndarray
Feed = Rows | Batches
MODES = (False, True, "batch")


class Engine(Protocol):
    """Runs the graphs of a model ("predict", "test", "train"), whose variables it updates in place.

    run: inputs in the order of the graph, conforming, n samples. batches: what runs an entry over the
    rows of arrays. predictor: a quick way from any array to the output, of models with one input and one
    output, if there is one; `quick` holds it once it was found. reset: graphs of these entries are to be
    made anew, and what is quick forgotten with "predict".
    """

    quick: Callable[[Any], Array] | None

    def run(self, entry: str, n: int, inputs: Sequence[Array]) -> list[Array]: ...
    def batches(self, entry: str) -> Runner: ...
    def predictor(self) -> Callable[[Any], Array] | None: ...
    def reset(self, entries: Iterable[str] = ...) -> None: ...


# The compiled model whose method is running in this thread: its model and its engine
CALLED: ContextVar[tuple[Training, Engine] | None] = ContextVar("CALLED", default=None)


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
            Target(
                standardize.spec_of(name, kind),
                standardize.spec_of(
                    f"sample_weight of output {name!r}", graphs.weight_type(settled.weight_ranks[k], output)
                ),
                loss,
                output,
                k,
            )
            for k, (name, kind, loss, output) in enumerate(
                zip(model.output_names, graphs.label_types(model, outputs), settled.losses, outputs)
            )
            if kind is not None
        )
        fast = None
        if len(specs) == len(targets) == 1 and not lengths and settled.weight_ranks == [1]:
            pair = specs[0], targets[0].spec
            fast = tuple((s.bind(1)[1:], s.numpy_dtype) for s in pair)
        return Feeds(specs, targets, fast)  # type: ignore[arg-type]


def input_specs(model: Any) -> tuple[TensorSpec, ...]:
    return tuple(standardize.input_spec(name, x) for name, x in zip(model.input_names, model.inputs))


class Training:
    """The part of `Model` that is about data. A model has `inputs`, `outputs`, their names,
    `trainable_weights`, `semantics`, and says `structure_changed()` when its graphs are out of date."""

    history: Any = None
    stop_training = False
    _attached: Engine | None = None  # the latest
    _engines: WeakSet[Engine] | None = None  # all that run this model
    _arguments: dict[str, Any] | None = None
    _settled: Compilation | None = None
    _feeds: Feeds | None = None  # where all sizes are known
    _feeds_at: Kept[Feeds] | None = None  # where they are not
    _specs: tuple[TensorSpec, ...] | None = None
    _turns: dict[str, loops.Turns] | None = None  # the pace of each entry
    _running: loops.Averages | None = None  # over batches, see `train_on_batch`
    _fixed: int | None = None  # of `_fixed_size`, 0 for none

    of_this_process = ("_attached", "_engines", "_turns", "_feeds", "_feeds_at", "_specs")

    # ---- the engine

    def use_engine(self, engine: Engine) -> None:
        """Run on this engine from now on; methods of a compiled model run on its own."""
        self._attached = engine
        if self._engines is None:
            self._engines = WeakSet()
        self._engines.add(engine)

    def _found_engine(self) -> Engine | None:
        called = CALLED.get()
        return called[1] if called is not None and called[0] is self else self._attached

    @property
    def engine(self) -> Engine:
        """That of the compiled model whose method is running, else the latest."""
        found = self._found_engine()
        if found is None:
            import kcompile

            kcompile.compile(self)  # calls use_engine
            found = self._attached
            assert found is not None
        return found

    def structure_changed(self, entries: Iterable[str] = ("predict", "test", "train")) -> None:
        """Graphs of these entries are out of date: layers, what is trainable, or `compile` changed."""
        self._feeds = self._feeds_at = self._turns = None
        if "predict" in entries:  # layers changed: outputs, what is trained, and all that follows
            self._specs = self._settled = self._fixed = None
        if self._settled is not None:
            self._settled.names = None
        for engine in list(self._engines or ()):
            engine.reset(entries)

    def _training_changed(self) -> None:
        self.structure_changed(("test", "train"))

    # ---- compile

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        metrics: Any = None,
        loss_weights: Any = None,
        sample_weight_mode: Any = None,
        weighted_metrics: Any = None,
        target_tensors: Any = None,
        run_eagerly: Any = None,
        steps_per_execution: Any = None,
        jit_compile: Any = None,
    ) -> None:
        """Say how to train.

        optimizer: a name or an Optimizer. loss: a name, a Loss or a function of (y_true, y_pred); for
        several outputs also a list, or a dict by output name (None: not trained). metrics: a list
        (for all outputs), a list of lists, or a dict by output name; they ignore sample weights, and
        weighted_metrics use them. loss_weights: a list or dict of numbers. sample_weight_mode:
        "temporal" where each step of a sample has a weight, sample_weight [n, time]; also a list, or a
        dict by output name. run_eagerly, steps_per_execution and jit_compile say how another Keras
        computes, and mean nothing here. Raises UnsupportedError for target_tensors.
        """
        if target_tensors is not None and any(v is not None for v in values_of(target_tensors)):
            raise UnsupportedError(describe("compile: target_tensors", "None", repr(target_tensors)))
        vintage = self.vintage  # type: ignore[attr-defined]
        arguments = {
            "optimizer": optimizers.get(optimizer, vintage),
            "loss": loss,
            "metrics": metrics,
            "loss_weights": loss_weights,
            "weighted_metrics": weighted_metrics,
            "sample_weight_mode": sample_weight_mode,
        }
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
                raise ModelError(
                    f"model {self.name!r} is not built: its input shape is not known. "  # type: ignore[attr-defined]
                    "Give the first layer an input_shape, or call build"
                )
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
                self._feeds_at = Kept(lambda feeds: 4096 * (1 + len(feeds.inputs) + len(feeds.targets)))
            key = ("data", lengths)
            return self._feeds_at.get(key) or self._feeds_at.put(key, Feeds.of(self, lengths))
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
            raise InputError(
                describe(
                    f"model {self.name!r}, which is stateful",  # type: ignore[attr-defined]
                    f"batch_size={fixed}, and a number of samples that it divides",
                    f"batch_size={size}, {n} samples",
                )
            )
        return size

    def standardize_inputs(self, x: Any) -> list[Array]:
        """The arrays of the inputs, as the graphs take them. Raises InputError, InputTypeError."""
        return self.prepared_inputs(x)[0]

    def prepared_inputs(self, x: Any) -> tuple[list[Array], int]:
        if self._specs is None:
            if not self.built:  # type: ignore[attr-defined]
                only = standardize.by_name(
                    next(iter(x.values())) if isinstance(x, Mapping) and len(x) == 1 else x, ["x"], "input"
                )[0]
                self.build((None, *as_array(only, "x").shape[1:]))  # type: ignore[attr-defined]
            self._specs = input_specs(self)
        return standardize.inputs(x, self._specs)

    def prepared(
        self, x: Any, y: Any, sample_weight: Any = None, class_weight: Any = None
    ) -> tuple[list[Array], int]:
        """All inputs of the training graph: x, y, weights; and the number of samples."""
        arrays, n = self.prepared_inputs(x)
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
            sample_weight,
            class_weight,
            targets,
            labels,
            n,
            self.output_names,  # type: ignore[attr-defined]
            self.semantics,  # type: ignore[attr-defined]
        )
        return [*arrays, *labels, *weights], n

    def _adopt(self, y: Any, lengths: Lengths) -> None:
        """A loss of one's own takes labels of any shape: the graph follows the data."""
        targets = self._fed(lengths).targets
        if y is None or not any(t.any_shape for t in targets):
            return
        settled = graphs.compilation(self)
        for value, t in zip(
            standardize.by_name(y, [t.spec.name for t in targets], "output", among=self.output_names),  # type: ignore[attr-defined]
            targets,
        ):
            found = standardize.label_type(value, t) if t.any_shape else None
            if found is not None:
                settled.targets[t.index] = found
                self._training_changed()

    def _adopt_weights(self, sample_weight: Any, lengths: Lengths) -> None:
        """After Keras 2, the data alone say that steps have weights."""
        if sample_weight is None or not self.semantics.step_weights_by_shape:  # type: ignore[attr-defined]
            return
        targets, ranks = self._fed(lengths).targets, graphs.compilation(self).weight_ranks
        for value, t in zip(
            standardize.by_name(
                sample_weight,
                [t.spec.name for t in targets],
                "output",
                True,
                self.output_names,  # type: ignore[attr-defined]
            ),
            targets,
        ):
            rank = 1 if value is None else standardize.weight_rank(value, t)
            if rank > ranks[t.index]:
                ranks[t.index] = rank
                self._training_changed()

    def _batch(
        self,
        entry: str,
        x: Any,
        y: Any,
        sample_weight: Any,
        class_weight: Any,
        reset_metrics: bool = True,
        return_dict: bool = False,
    ) -> Any:
        """One step on one batch: the loss, or the list of all values, or a dict."""
        feeds = self._feeds or (None if self.varies else self._fed())  # type: ignore[attr-defined]
        arrays = None
        if feeds is not None and feeds.fast is not None and sample_weight is None and class_weight is None:
            arrays = _conforming(feeds, x, y)
        if arrays is None:
            arrays, n = self.prepared(x, y, sample_weight, class_weight)
        else:
            n = len(arrays[0])
        self._size(n, n)
        engine = self._found_engine() or self.engine
        results = engine.run(entry, n, arrays)[0]
        if self._running is not None or reset_metrics is not True:
            values = self._over_batches(n, results, check_flag("reset_metrics", reset_metrics))
        else:
            values = loops.batch_values(results)
        if return_dict is not False and check_flag("return_dict", return_dict):
            return dict(zip(graphs.result_names(self), values))
        return values[0] if len(values) == 1 else values

    def _over_batches(self, n: int, results: Array, reset: bool) -> list[float]:
        """The values over the batches since they were last reset, and this one."""
        running = self._running or loops.Averages()
        running.add(n, n, results.reshape(1, -1))
        self._running = None if reset else running
        return running.values()

    # ---- one batch

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        reset_metrics: bool = True,
        return_dict: bool = False,
    ) -> Any:
        """One training step: the loss of this batch, or the list of loss and metrics.

        reset_metrics: False for values over the batches so far, since the last call that reset them.
        return_dict: whether the values come by name.
        """
        return self._batch("train", x, y, sample_weight, class_weight, reset_metrics, return_dict)

    def test_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        reset_metrics: bool = True,
        return_dict: bool = False,
    ) -> Any:
        """Loss and metrics of this batch. Arguments as those of `train_on_batch`."""
        return self._batch("test", x, y, sample_weight, None, reset_metrics, return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """The output (a list for several, a dict for a model made of one) for all samples of x, as one
        batch."""
        engine = self._found_engine()
        if engine is not None and engine.quick is not None and type(x) is np.ndarray:
            return engine.quick(x)
        arrays, n = self.prepared_inputs(x)
        if not n:
            return self._no_samples(arrays)
        self._size(n, n)
        self._find_quick()
        return self._packed(self.engine.run("predict", n, arrays))

    def reset_metrics(self) -> None:
        """Begin values over several batches anew."""
        self._running = None

    # ---- all data

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = 1,
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: Any = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
        max_queue_size: int = 10,
        workers: int = 1,
        use_multiprocessing: bool = False,
        **old: Any,
    ) -> Any:
        """Train for `epochs` passes over the data, and give back the History.

        x, y: arrays, lists of arrays, or dicts by name; or x alone, an object of batches (`feeding.Batches`),
        each (x, y) or (x, y, sample_weight). batch_size: default 32; the last batch may be smaller.
        verbose: 0, 1 (bar) or 2 (a line an epoch). validation_split: the share at the end of the data,
        taken before shuffling; or validation_data: (x, y), (x, y, sample_weight), or an object of batches.
        validation_freq: validate after so many epochs, or after each of these. shuffle: True, False or
        "batch"; of a sequence of batches, their order. class_weight: {class: weight}. initial_epoch:
        number of the first epoch; epochs is the last one's. steps_per_epoch: batches in an epoch, of
        arrays at most what they hold. Batches are made when they are needed, whatever max_queue_size,
        workers and use_multiprocessing are. Raises InputError, InputTypeError and ModelError before the
        first step.
        """
        epochs = check_count("epochs", _old_epochs(epochs, old), 0)
        initial_epoch = check_count("initial_epoch", initial_epoch, 0)
        verbose = check_verbose(verbose)
        if not (isinstance(shuffle, (bool, int, str, np.bool_)) and shuffle in MODES):
            raise InputError(describe("shuffle", "True, False or 'batch'", repr(shuffle)))
        _check_queue(max_queue_size, workers, use_multiprocessing)
        share = 0.0 if validation_split is None else check_number("validation_split", validation_split, 0, 1)
        validates, given = _frequency(validation_freq), events.check(callbacks)
        batch_size = None if batch_size is None else check_count("batch_size", batch_size)
        validation_batch_size = (
            batch_size
            if validation_batch_size is None
            else check_count("validation_batch_size", validation_batch_size)
        )
        if gives_batches(x):
            _refuse(
                "fit",
                {
                    "y": y,
                    "sample_weight": sample_weight,
                    "batch_size": batch_size,
                    "validation_split": share or None,
                },
            )
            batches = Batches(self, x, steps_per_epoch, "steps_per_epoch", class_weight)
            lengths, rest = lengths_of(self, batches.first("train")), None
            feed: Feed = batches
        else:
            feed, rest, lengths = self._rows(
                x, y, sample_weight, class_weight, batch_size, share, validation_data, steps_per_epoch
            )
        held = self._held(validation_data, rest, validation_batch_size, validation_steps)
        names = graphs.result_names(self, lengths)
        self.history = events.History()
        told = self._callbacks(
            given,
            verbose,
            {
                **feed.params,
                "epochs": epochs,
                "verbose": verbose,
                "do_validation": held is not None,
                "metrics": names + [f"val_{name}" for name in names] if held else names,
            },
        )
        for callback in told.callbacks:
            callback.validation_data = held.arrays if isinstance(held, Rows) else None
        style = edition(self.vintage).bar  # type: ignore[attr-defined]
        if verbose and isinstance(held, Rows) and isinstance(feed, Rows) and style == "samples":
            print(f"Train on {feed.samples} samples, validate on {held.samples} samples")
        self.engine  # noqa: B018  # what cannot be compiled is told before training begins
        self.stop_training = False
        told.begin()
        feed.fit(
            names,
            told,
            shuffle,
            epochs=epochs,
            initial_epoch=initial_epoch,
            validates=validates,
            validate=None if held is None else lambda: self._test(held, names, told.within("test")),
        )
        told.end()
        return self.history

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = 1,
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        max_queue_size: int = 10,
        workers: int = 1,
        use_multiprocessing: bool = False,
        return_dict: bool = False,
    ) -> Any:
        """The loss, or the list of loss and metrics, averaged over all samples; by name with return_dict.
        x, y and the other arguments: as `fit` takes them."""
        given, verbose = events.check(callbacks), check_verbose(verbose)
        _check_queue(max_queue_size, workers, use_multiprocessing)
        by_name = check_flag("return_dict", return_dict)
        batch_size = None if batch_size is None else check_count("batch_size", batch_size)
        if gives_batches(x):
            _refuse("evaluate", {"y": y, "sample_weight": sample_weight, "batch_size": batch_size})
            batches = Batches(self, x, steps, "steps")
            lengths = lengths_of(self, batches.first("test"))
            feed: Feed = batches
        else:
            arrays, n = self.prepared(x, y, sample_weight)
            feed, lengths = self._over(arrays, n, batch_size, steps, "steps"), lengths_of(self, arrays)
        names = graphs.result_names(self, lengths)
        values = self._test(feed, names, self._progress(given, verbose, feed, "test"))
        return dict(zip(names, values)) if by_name else one_or_list(values)

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = 0,
        steps: int | None = None,
        callbacks: Any = None,
        max_queue_size: int = 10,
        workers: int = 1,
        use_multiprocessing: bool = False,
    ) -> Any:
        """The output (a list for several, a dict for a model made of one) for all samples, computed batch
        by batch. x: as `fit` takes it; what an object of batches gives beside inputs is left out."""
        size = check_count("batch_size", 32 if batch_size is None else batch_size)
        verbose = check_verbose(verbose)
        engine = self._found_engine()
        if (
            engine is not None
            and engine.quick is not None
            and type(x) is np.ndarray
            and x.ndim
            and len(x) <= size
            and not verbose
            and steps is None
            and callbacks is None
        ):
            return engine.quick(x)
        given = events.check(callbacks)
        _check_queue(max_queue_size, workers, use_multiprocessing)
        if gives_batches(x):
            _refuse("predict", {"batch_size": batch_size})
            batches = Batches(self, x, steps, "steps")
            batches.first("predict")
            feed: Feed = batches
        else:
            arrays, n = self.prepared_inputs(x)
            if not n:
                return self._no_samples(arrays)
            feed = self._over(arrays, n, batch_size, steps, "steps")
        told = self._progress(given, verbose, feed, "predict")
        self.engine  # noqa: B018
        told.begin()
        outputs = feed.predict(told)
        told.end()
        self._find_quick()
        return self._packed(outputs)

    # ---- parts of the above

    def _over(self, arrays: Sequence[Array], n: int, batch_size: int | None, steps: Any, name: str) -> Rows:
        """Rows of arrays, with the default batch size where none is given."""
        size = self._size(batch_size, n)
        return Rows(self, arrays, size, loops.check_steps(name, steps, -(-n // size)))

    def _rows(
        self,
        x: Any,
        y: Any,
        sample_weight: Any,
        class_weight: Any,
        batch_size: int | None,
        share: float,
        validation_data: Any,
        steps: Any,
    ) -> tuple[Rows, list[Array] | None, Lengths]:
        """What `fit` trains on, and what validation_split leaves for validation."""
        arrays, n = self.prepared(x, y, sample_weight, class_weight)
        lengths, rest = lengths_of(self, arrays), None
        if share and validation_data is None:
            n = loops.split_at(n, share)
            # class weights count in training only
            whole = arrays if class_weight is None else self.prepared(x, y, sample_weight)[0]
            arrays, rest = [a[:n] for a in arrays], [a[n:] for a in whole]
        return self._over(arrays, n, batch_size, steps, "steps_per_epoch"), rest, lengths

    def _held(self, data: Any, rest: list[Array] | None, batch_size: int | None, steps: Any) -> Feed | None:
        """What is validated on: data that were given, or the rest that was split off."""
        if data is None and rest is None:
            if steps is not None:
                raise InputError("fit: validation_steps needs validation_data or validation_split")
            return None
        if gives_batches(data):
            held = Batches(self, data, steps, "validation_steps")
            held.first("test")
            return held
        if data is not None:
            if not isinstance(data, (list, tuple)) or len(data) not in (2, 3):
                raise InputError(
                    describe(
                        "validation_data",
                        "(x, y) or (x, y, sample_weight), or an object of batches",
                        type(data).__name__,
                    )
                )
            rest = self.prepared(*data)[0]
        assert rest is not None
        return self._over(rest, len(rest[0]), batch_size, steps, "validation_steps")

    def _packed(self, outputs: Sequence[Any]) -> Any:
        """Outputs as the model gives them: one, a list, or a dict."""
        keys = self.output_keys  # type: ignore[attr-defined]
        return one_or_list(outputs) if keys is None else dict(zip(keys, outputs))

    def _no_samples(self, arrays: Sequence[Array]) -> Any:
        """The outputs for no samples."""
        kinds = graphs.output_types(self, lengths_of(self, arrays))
        specs = [standardize.spec_of(name, kind) for name, kind in zip(self.output_names, kinds)]  # type: ignore[attr-defined]
        return self._packed(no_samples(specs))

    def pace(self, entry: str) -> loops.Turns:
        """How fast an entry was so far."""
        if self._turns is None:
            self._turns = {}
        return self._turns.setdefault(entry, loops.Turns())

    def _find_quick(self) -> None:
        """Take the engine's predictor where the model may have one: a conforming array is all of x."""
        if (
            len(self.inputs) == len(self.outputs) == 1  # type: ignore[attr-defined]
            and not self.varies  # type: ignore[attr-defined]
            and not self._fixed_size
            and self.output_keys is None  # type: ignore[attr-defined]
        ):
            self.engine.quick = self.engine.predictor()

    def _test(self, feed: Feed, names: Sequence[str], told: events.CallbackList) -> list[float]:
        self.engine  # noqa: B018
        told.begin()
        values = feed.evaluate(names, told)
        told.end(dict(zip(names, values)))
        return values

    def _callbacks(
        self, given: Sequence[events.Callback], verbose: int, params: dict[str, Any]
    ) -> events.CallbackList:
        """In Keras 2's order: the bar, the user's, the history."""
        bar = [events.ProgbarLogger(verbose=verbose)] if verbose else []
        return events.CallbackList([*bar, *given, self.history], self, params)

    def _progress(
        self, given: Sequence[events.Callback], verbose: int, feed: Feed, mode: str
    ) -> events.CallbackList:
        bar = [events.BatchProgress()] if verbose == 1 else []
        return events.CallbackList([*bar, *given], self, {**feed.params, "verbose": verbose}, mode)


def _conforming(feeds: Feeds, x: Any, y: Any) -> list[Array] | None:
    """x, y and weights of 1 for a model with one input and one output, when nothing has to be
    converted; else None."""
    assert feeds.fast is not None
    (x_shape, x_dtype), (y_shape, y_dtype) = feeds.fast
    if not (
        type(x) is np.ndarray
        and type(y) is np.ndarray
        and x.shape[1:] == x_shape
        and x.dtype is x_dtype
        and x.flags.carray
        and y.dtype is y_dtype
        and y.flags.carray
    ):
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
    value = 1 if isinstance(verbose, str) and verbose == "auto" else verbose
    if not isinstance(value, (bool, int, np.integer, np.bool_)) or value not in (0, 1, 2):
        raise InputError(describe("verbose", "0, 1 or 2", repr(verbose)))
    return int(value)


def _frequency(value: Any) -> Callable[[int], bool]:
    """After which epochs, from 0 on, to validate: each of so many, or those of a collection (from 1 on)."""
    if isinstance(value, (list, tuple, set, frozenset, range, np.ndarray)):
        wanted = {check_count("validation_freq: an epoch", v) for v in value}
        return lambda epoch: epoch + 1 in wanted
    every = check_count("validation_freq", value)
    return lambda epoch: (epoch + 1) % every == 0


def _check_queue(max_queue_size: Any, workers: Any, use_multiprocessing: Any) -> None:
    """Arguments that say how another Keras makes batches ahead."""
    check_count("max_queue_size", max_queue_size)
    check_count("workers", workers, 0)
    check_flag("use_multiprocessing", use_multiprocessing)


def _refuse(method: str, given: Mapping[str, Any]) -> None:
    """Arguments that say nothing beside an object of batches."""
    wrong = [name for name, value in given.items() if value is not None]
    if wrong:
        raise InputError(
            describe(
                f"{method} on an object of batches",
                "no " + ", no ".join(given),
                ", ".join(wrong),
                "The batches themselves say it.",
            )
        )


def _old_epochs(epochs: Any, old: dict[str, Any]) -> Any:
    """Keras 1's spelling of epochs."""
    if "nb_epoch" in old:
        warnings.warn("fit: nb_epoch is Keras 1's name of epochs", stacklevel=3)
        epochs = old.pop("nb_epoch")
    if old:
        raise InputTypeError(describe("fit", "the arguments of Keras' fit", ", ".join(map(repr, old))))
    return epochs
