"""What trains, evaluates and runs a model, over an engine.

Enters: a model, what `compile` said, and data. Leaves: values, arrays, a `History`. Data are checked whole
before the first step (`adapter`); loops are the runtime's (`kcompile_runtime.training`); the steps are the
engine's. This module decides nothing about numbers: they are in the graphs (`graphs`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any

from kcompile.ir.specs import spec_of
from kcompile.keras import callbacks as events
from kcompile.keras import graphs, teams
from kcompile.keras.adapter import Adapter
from kcompile.keras.compiled_steps import CompiledSteps
from kcompile.keras.copying import restore, state_of
from kcompile.keras.editions import edition
from kcompile.keras.engines import Engines
from kcompile.keras.feeding import Batches, Rows
from kcompile.keras.given_tensors import takes_data
from kcompile.keras.graphs import CompileArguments
from kcompile.keras.lengths import Lengths, lengths_of
from kcompile.keras.metric import Metric, keeps_state, reset
from kcompile.keras.operands import map_leaves
from kcompile.keras.optimizer_protocol import applies_itself
from kcompile.keras.resolving import Objects, resolve_arguments
from kcompile.keras.results import bearers, held_by
from kcompile.keras.step_choice import needs_steps
from kcompile.keras.step_data import Signature, packed, weighted
from kcompile.keras.stored import leaves, len_of, whole
from kcompile.keras.target_tensors import check_targets, held_labels
from kcompile.keras.tensors import one_or_list
from kcompile.keras.topology import trainers
from kcompile.keras.trainable import Trainable
from kcompile.keras.trainer_feeds import Data, Feed, OfData, Validation, refuse
from kcompile.keras.training_state import Keeping, keeping
from kcompile_runtime import training as loops
from kcompile_runtime.arrays import Array, gives_batches
from kcompile_runtime.batching import no_samples
from kcompile_runtime.errors import ModelError

COUNTED = 100_000  # epochs that are looked at, to know how many batches their validations take


class Trainer(OfData):
    """Trains and runs one model. arguments: those of `compile`, None before it."""

    def __init__(self, model: Trainable) -> None:
        self.model = model
        self.engines = Engines(model)
        self.adapter = Adapter(model, self.training_changed)
        self.arguments: dict[str, Any] | None = None
        self.target_tensors: Any = None  # of `compile`
        self._resolved: CompileArguments | None = None
        self._report: loops.Results | None = None
        self._objects: Objects = {}  # metrics that `compile` was given by name or class
        self._compared = False  # what is trained now, with what was at `compile`
        self._running: loops.Averages | None = None  # over batches, see `batch`
        self._met_data = False  # whether it was trained or evaluated since `compile`
        self._latest: tuple[int, Array] | None = None  # the samples and results of the batch that began them
        self._passed = False  # whether states of metrics are those of a pass over data, see `batch`
        self._slicers: dict[str, loops.TimeSlicer] = {}  # the pace of each entry
        self.compiled_steps: CompiledSteps | None = None
        self.told: tuple[Sequence[str], Sequence[Any]] | None = None  # the last results, by name
        self.by_steps: bool | None = None  # see `needs_steps`; None: not known yet
        self.others: teams.Together = teams.ALONE  # of the call of `fit` or `evaluate` that is running
        self._forget_steps()
        trainers.add(self)

    def _forget_steps(self, entries: Iterable[str] = ("predict", "test", "train")) -> None:
        """Drop the traces of the model's own steps."""
        gone = set(entries)
        if gone >= {"predict", "test", "train"}:
            self.signatures: dict[str, Signature] = {}  # of the data seen last, by entry
            self.step_traces: dict[tuple[str, Signature], Any] = {}
            self.fixed_steps: set[tuple[str, Signature]] = (
                set()
            )  # those with a trace for each number of samples
            return
        for entry in gone:
            self.signatures.pop(entry, None)
        self.step_traces = {key: v for key, v in self.step_traces.items() if key[0] not in gone}
        self.fixed_steps = {key for key in self.fixed_steps if key[0] not in gone}

    def saved_state(self) -> dict[str, Any]:
        """The state that pickle and copy keep: nothing of this process."""
        parts = ("signatures", "step_traces", "fixed_steps", "others")
        return state_of(self, "model", "engines", "adapter", "_report", "_slicers", *parts)

    def take(self, state: dict[str, Any]) -> None:
        """Go on where the trainer with this state was."""
        restore(self, state, others=teams.ALONE)
        self._forget_steps()
        if self.arguments is not None:
            self.arguments["optimizer"].listeners.add(self.training_changed)

    # ---- what to train

    def changed(self, entries: Iterable[str]) -> None:
        """Graphs of these entries are out of date: layers, what is trainable, or `compile` changed."""
        self._slicers = {}
        self._compared = False
        self.adapter.forget_targets()
        self._forget_steps(entries)
        if "predict" in entries:  # layers changed: outputs, what is trained, and all that follows
            self.adapter.forget()
            self._resolved = None
        self._report = None
        self.engines.reset(entries)

    def training_changed(self) -> None:
        self.changed(("test", "train"))

    def compile(self, arguments: dict[str, Any], target_tensors: Any = None) -> None:
        """Train as the arguments of `compile` say from now on. Raises ModelError, ValueError."""
        check_targets(target_tensors)
        self.by_steps = True if applies_itself(arguments["optimizer"]) else None
        resolved: CompileArguments | None = None
        objects: Objects = {}
        if self.model.built and not self.owns("train"):
            resolved = resolve_arguments(self.model, arguments, objects)
            held_labels(target_tensors, self.model.output_labels)  # raises
        if self.arguments is not None:
            self.arguments["optimizer"].listeners.remove(self.training_changed)
        arguments["optimizer"].listeners.add(self.training_changed)
        self.arguments, self._resolved, self._objects = arguments, resolved, objects
        self.target_tensors, self._met_data = target_tensors, False
        self.compiled_steps = CompiledSteps(self.model, arguments) if self.model.has_steps else None
        self.training_changed()

    @property
    def compile_arguments(self) -> CompileArguments | None:
        """The arguments of `compile` for each output, None before it. Layers added since count."""
        if self._resolved is None and self.arguments is not None:
            if not self.model.built:
                raise ModelError(
                    f"model {self.model.name!r} is not built: its input shape is not known. "
                    "Give the first layer an input_shape, or call build"
                )
            self._resolved = resolve_arguments(self.model, self.arguments, self._objects)
        return self._resolved

    def owns(self, entry: str) -> bool:
        """Whether the graph of an entry is traced by a step of the model's own."""
        return entry in self.model.own_steps

    def names(self, lengths: Lengths = ()) -> list[str]:
        """Names of what is reported: "loss", then the metrics. Raises NotCompiledError."""
        if self.owns("test"):
            return [metric.name for metric in self.model.metrics]
        return list(self.report("test", lengths).names)

    def known_names(self) -> list[str]:
        """The same as far as the model's Keras knows them: since tf.keras those of outputs' losses, and in
        tf.keras all of `compile`, when there were data; in Keras 3 the metrics of `compile` are one."""
        style = edition(self.model.vintage)
        if not style.eager or self.owns("test") or (self._met_data and not style.operations):
            return self.names()
        given, told = self.arguments or {}, []
        if given and style.operations:
            chosen = any(given.get(key) is not None for key in ("metrics", "weighted_metrics"))
            told = ["loss", *(["compile_metrics"] if chosen else [])]
            told += graphs.names_of_losses(self.model) if self._met_data else []
        return [*told, *(m.name for layer in bearers(self.model) for m in held_by(layer))]

    def report(self, entry: str, lengths: Lengths = ()) -> loops.Results:
        """What is reported: the loss, then the metrics; of a step of the model's own, what it returned for
        the data seen last. Raises NotCompiledError."""
        if self.owns(entry):
            own: loops.Results = self.model.traced_step(entry).report
            return own
        graphs.compile_arguments(self.model)  # raises before `compile`
        if self._report is None:
            self._report = graphs.reported(self.model, lengths)
        return self._report

    @property
    def states(self) -> list[Any]:
        """The metrics that keep a state."""
        if self.owns("train"):
            return list(self.model.metrics)
        found = graphs.compile_arguments(self.model)
        every = (
            m for each in zip(found.metrics, found.weighted_metrics) for several in each for m in several
        )
        kept = {id(m): m for m in every if keeps_state(m)}
        return [*kept.values(), *graphs.held_states(self.model)]

    def reset_states(self) -> None:
        """Begin the states of metrics anew, as an epoch or a pass begins."""
        self._passed, self._running, self._latest, self._met_data = True, None, None, True
        for metric in self.states:
            reset(metric)

    # ---- one batch

    def batch(
        self, entry: str, x: Any, y: Any, sample_weight: Any, class_weight: Any, reset: bool, by_name: bool
    ) -> Any:
        """One step on one batch: the loss, or the list of all values, or a dict. reset: begin values over
        several batches anew after it."""
        self._met_data = True
        if self.owns_for(entry, x):
            return self._own_batch(entry, x, y, sample_weight, class_weight, reset, by_name)
        if entry == "train" and not self._compared:
            self._compare_trained()
        plain = sample_weight is None and class_weight is None
        arrays = self.adapter.conforming(x, y) if plain and self.by_steps is not None else None
        if arrays is None:
            data = whole(x), whole(y), whole(sample_weight)
            arrays, n = self.adapter.batch(*data, class_weight)
            needs_steps(self, entry, data, class_weight, (arrays, n))
            if self.owns(entry):
                return self._own_batch(entry, x, y, sample_weight, class_weight, reset, by_name)
        else:
            n = len(arrays[0])
        self.adapter.size(n, n)
        engine = self.engines.found() or self.engines.needed()
        report = self._report or self.report(entry)
        before = reset and self._resets_before
        if report.kept and (self._passed or before):
            self._reset_after_batches()
        results = engine.run(entry, n, arrays)[0]
        if before:
            self._running, self._latest = None, (n, results.copy())
            values = report.values(results)
        elif self._running is None and reset:
            values = report.values(results)
        else:
            values = self._over_batches(n, results, reset)
        if report.kept and reset and not before:
            self._reset_after_batches()
        self.told = report.names, values
        if by_name:
            return report.named(values)
        return values[0] if len(values) == 1 else values

    def _own_batch(
        self, entry: str, x: Any, y: Any, sample_weight: Any, class_weight: Any, reset: bool, by_name: bool
    ) -> Any:
        """The same by a step of the model's own."""
        data = tuple(map(whole, (x, y, sample_weight)))
        arrays, n = self.model.see(entry, weighted(packed(*data), class_weight))
        before = self._resets_before
        if reset if before else self._passed:
            self._reset_after_batches()
        results = self.engines.needed().run(entry, n, arrays)[0]
        report = self.report(entry)
        values = report.values(results)
        if reset and not before:
            self._reset_after_batches()
        if by_name:
            return report.named(values)
        return values[0] if len(values) == 1 else values

    def _compare_trained(self) -> None:
        """Warn where other weights are trainable than are trained."""
        self._compared = True
        if self.owns("train"):
            return
        resolved = graphs.compile_arguments(self.model)  # raises before `compile`
        if len(resolved.trainable) != len(self.model.trainable_weights):
            warnings.warn(
                f"model {self.model.name!r}: `trainable` of a layer was set after compile. It counts from "
                "the next compile on",
                stacklevel=4,
            )

    @property
    def _resets_before(self) -> bool:
        """Whether values over several batches begin anew with the batch that asks for it, not after it."""
        return self.model.semantics.batch_metrics_reset == "before"

    def _reset_after_batches(self) -> None:
        """Begin the states of metrics anew, where single batches do so: not of layers, of Keras 2.2."""
        self._passed = False
        for metric in self.states:
            if isinstance(metric, Metric):
                reset(metric)

    def _over_batches(self, n: int, results: Array, reset: bool) -> list[Any]:
        """The values over the batches since they were last reset, and this one."""
        running = self._running or loops.Averages(self.report("test"))
        if self._running is None and self._latest is not None:
            running.add(self._latest[0], self._latest[0], self._latest[1].reshape(1, -1))
        running.add(n, n, results.reshape(1, -1))
        self._running = None if reset else running
        return running.values()

    def reset_metrics(self) -> None:
        """Begin values over several batches anew."""
        self._running = self._latest = self.told = None
        if self.compiled_steps is not None:
            self.compiled_steps.reset_state()
        if self.arguments is not None and (self.model.built or self.owns("train")):
            self._reset_after_batches()

    def predict_on_batch(self, x: Any) -> Any:
        """The output for all samples of x, as one batch."""
        if self.owns_for("predict", x):
            arrays, n = self.model.see("predict", packed(whole(x)))
            return self.packed(self.engines.needed().run("predict", n, arrays))
        arrays, n = self.adapter.inputs(whole(x))
        if not n:
            return self._no_samples(arrays)
        self.adapter.size(n, n)
        self._find_quick()
        return self.predictions(self.engines.needed().run("predict", n, arrays))

    # ---- all data

    def fit(
        self,
        data: Data,
        validation: Validation,
        callbacks: Sequence[events.Callback],
        verbose: int,
        shuffle: Any,
        epochs: int,
        initial_epoch: int,
        resume: Any = None,
    ) -> events.History:
        """Train for passes over the data. Raises InputError, InputTypeError, ModelError before the first."""
        with self._together("fit"), ExitStack() as opened:
            callbacks = self.others.callbacks(callbacks)
            kept = keeping(callbacks, resume) if self.others.keeps else None
            self.others.begun()
            span = range(initial_epoch, epochs)
            passes = max(0, epochs - initial_epoch)
            feed, rest, lengths = self._training_feed(data, validation, shuffle, passes, opened)
            self._compare_trained()
            if passes <= COUNTED:
                passes = sum(map(validation.after, span))
            held = self._held(validation, rest, data.queue, passes, opened)
            return self._fit(feed, held, lengths, validation, callbacks, verbose, shuffle, span, kept)

    def _fit(
        self,
        feed: Feed,
        held: Feed | None,
        lengths: Lengths,
        validation: Validation,
        callbacks: Sequence[events.Callback],
        verbose: int,
        shuffle: Any,
        span: range,
        kept: Keeping | None,
    ) -> events.History:
        """Train on a feed, and validate on another, in the epochs of a span."""
        others, given = self.others, {"epochs": span, "shuffle": shuffle, "validates": validation.after}
        verbose = others.verbose(verbose)
        report = self.report("train", lengths)
        names = list(report.names)
        tested = names if held is None else list(self.report("test", lengths).names)
        history = self.model.history = events.History()
        bar = [events.ProgbarLogger()] if verbose else []
        eager = edition(self.model.vintage).eager  # where the bar shows what callbacks add to the logs
        callback_list = events.Events(
            [*callbacks, *bar, history] if eager else [*bar, *callbacks, history],
            self.model,
            {
                **self._params(feed),
                "epochs": span.stop,
                "verbose": verbose,
                "do_validation": held is not None,
                "metrics": names + [f"val_{name}" for name in tested] if held else names,
            },
        )
        for callback in callback_list.callbacks:
            callback.validation_data = held.arrays if type(held) is Rows else None
            callback._resumes = kept is not None and kept.resumes
        style = edition(self.model.vintage).bar
        if verbose and isinstance(held, Rows) and isinstance(feed, Rows) and style == "samples":
            print(f"Train on {feed.samples} samples, validate on {held.samples} samples")
        others.agree(given, feed, held, lengths)
        self.engines.needed().prepare("train", lengths)  # what cannot be compiled is told before it begins
        self.model.stop_training = False
        self._first_epoch: int | None = None
        if kept is not None:
            of = {"shuffle": shuffle, "initial_epoch": span.start, "metrics": " ".join(names)}
            validated = ",".join(str(epoch) for epoch in range(64) if validation.after(epoch))
            of |= {"the epochs with validation": validated if held else "none"}
            of |= {f"{what} of the data": v for what, v in self._params(feed).items()}
            of |= {f"{what} of the validation data": v for what, v in (held.params if held else {}).items()}
            feeds = {"train": feed, **({} if held is None else {"test": held})}
            of |= {f"the kind of the {name} data": found.kind for name, found in feeds.items()}
            kept.join(self, of, lengths, feeds, callback_list)
        keeper, told = others.settled(kept), others.events(callback_list)
        told.begin()
        begin = self._first_epoch or span.start
        feed.fit(
            report,
            told,
            shuffle,
            epochs=span.stop,
            initial_epoch=keeper.start.epoch if keeper is not None and keeper.start is not None else begin,
            keeper=keeper,
            validates=validation.after,
            begin=self.reset_states,
            validate=None if held is None else lambda: self._validated(held, tested, lengths, told),
        )
        for optimizer in self.model.own_optimizers if span else ():
            optimizer.settle()
        if span and not self.owns("train"):
            last = [f"val_{name}" for name in tested] if held else names
            self.told = tested, [history.history.get(name, [0.0])[-1] for name in last]
        told.end()
        return history

    @contextmanager
    def _together(self, what: str) -> Iterator[None]:
        """Around a call that trains or evaluates: with the others, where this process has a team."""
        before = self.others
        with teams.together(self, what) as self.others:
            try:
                yield
            finally:
                self.others = before

    def begin_at(self, epoch: int) -> None:
        """Let the training that begins now go on with this epoch: for a callback's on_train_begin."""
        self._first_epoch = epoch

    def _validated(
        self, held: Feed, names: Sequence[str], lengths: Lengths, callback_list: events.Events
    ) -> dict[str, Any]:
        """The values of a pass over the validation data by name."""
        report = self.report("test", lengths)
        found = dict(zip(names, self._test(held, report, callback_list.within("test"))))
        return {name: found[name] for name in sorted(found)} if report.by_name else found

    def evaluate(
        self, data: Data, callbacks: Sequence[events.Callback], verbose: int
    ) -> tuple[list[str], list[Any]]:
        """The names and the values of loss and metrics over all samples."""
        with self._together("evaluate"):
            return self._evaluated_on(data, callbacks, verbose)

    def _evaluated_on(
        self, data: Data, callbacks: Sequence[events.Callback], verbose: int
    ) -> tuple[list[str], list[Any]]:
        data = self._of_tensors(data, "steps")
        if gives_batches(data.x):
            given = {"y": data.y, "sample_weight": data.sample_weight, "batch_size": data.batch_size}
            refuse(self.model.vintage, "evaluate", **given)
            batches = Batches(self, data.x, data.steps, "steps", queue=data.queue)
            with closing(batches):
                lengths = self._lengths("test", batches.first("test"))
                return self._evaluated(batches, lengths, callbacks, verbose)
        if self._by_rows("test", data.x, data.y, data.sample_weight):
            rows, lengths = self._stored(data, "test", "steps")
            with closing(rows):
                return self._evaluated(rows, lengths, callbacks, verbose)
        arrays, n = self._arrays("test", data)
        feed = self._over(arrays, n, data.batch_size, data.steps, "steps")
        return self._evaluated(feed, self._lengths("test", arrays), callbacks, verbose)

    def _evaluated(
        self, feed: Feed, lengths: Lengths, callbacks: Sequence[events.Callback], verbose: int
    ) -> tuple[list[str], list[Any]]:
        others, report = self.others, self.report("test", lengths)
        others.agree({}, None, feed, lengths)
        others.settled(None)
        self.engines.needed().prepare("test", lengths)
        told = self._progress(others.callbacks(callbacks), others.verbose(verbose), feed, "test")
        found = self._test(feed, report, others.events(told))
        self.told = None if self.owns("test") else (report.names, found)
        return list(report.names), found

    def predict(self, data: Data, callbacks: Sequence[events.Callback], verbose: int) -> Any:
        """The output for all samples, computed batch by batch."""
        data = self._of_tensors(data, "steps")
        if gives_batches(data.x):
            refuse(self.model.vintage, "predict", batch_size=data.batch_size)
            batches = Batches(self, data.x, data.steps, "steps", queue=data.queue)
            with closing(batches):
                batches.first("predict")
                return self._predicted(batches, callbacks, verbose)
        if self._by_rows("predict", data.x) and len_of(leaves(data.x)[0]):
            with closing(self._stored(data, "predict", "steps")[0]) as rows:
                return self._predicted(rows, callbacks, verbose)
        if self.owns_for("predict", data.x):
            arrays, n = self.model.see("predict", packed(whole(data.x)), data.batch_size or 32)
        else:
            arrays, n = self.adapter.inputs(whole(data.x))
        if not n:
            return self._no_samples(arrays)
        feed = self._over(arrays, n, data.batch_size, data.steps, "steps", shared=False)
        return self._predicted(feed, callbacks, verbose)

    def _predicted(self, feed: Feed, callbacks: Sequence[events.Callback], verbose: int) -> Any:
        callback_list = self._progress(callbacks, verbose, feed, "predict")
        self.engines.needed()
        callback_list.begin()
        outputs = feed.predict(callback_list)
        callback_list.end()
        self._find_quick()
        return self.predictions(outputs)

    # ---- parts of the above

    def packed(self, outputs: Sequence[Any]) -> Any:
        """Outputs as `predict_on_batch` gives them."""
        if self.owns("predict"):
            values = iter(outputs)
            return map_leaves(lambda _: next(values), self.model.traced_step("predict").outputs)
        return self.formed(outputs)

    def formed(self, outputs: Sequence[Any]) -> Any:
        """Outputs as a call of the model gives them: one, a list, a tuple, or a dict in its own order."""
        keys, gives = self.model.output_keys, self.model.gives
        if self.model._nests:
            return self.model._in_places(outputs)
        if keys is not None:
            return self.in_order(dict(zip(keys, outputs)))
        a_tuple = gives is tuple and edition(self.model.vintage).eager
        return tuple(outputs) if a_tuple else one_or_list(outputs)

    def in_order(self, outputs: Any) -> Any:
        """A dict of outputs in the order in which the model says them."""
        gives = self.model.gives
        ordered = isinstance(outputs, dict) and isinstance(gives, tuple) and set(gives) == outputs.keys()
        return {key: outputs[key] for key in gives} if ordered else outputs

    def predictions(self, outputs: Sequence[Any]) -> Any:
        """What `predict` gives: as `packed`, but a dict in the order of its keys in Keras 3."""
        found = self.packed(outputs)
        if isinstance(found, dict) and not self.owns("predict") and edition(self.model.vintage).operations:
            return {key: found[key] for key in sorted(found)}
        return found

    def _no_samples(self, arrays: Sequence[Array]) -> Any:
        """The outputs for no samples."""
        kinds = graphs.output_types(self.model, lengths_of(self.model, arrays))
        return self.predictions(
            no_samples([spec_of(*named) for named in zip(self.model.output_labels, kinds)])
        )

    def slicer(self, entry: str) -> loops.TimeSlicer:
        """How fast an entry was so far."""
        return self._slicers.setdefault(entry, loops.TimeSlicer())

    def _find_quick(self) -> None:
        """Take the engine's predictor where the model may have one: a conforming array is all of x."""
        model = self.model
        if (
            not self.owns("predict")
            and takes_data(model)
            and model.prelude is None
            and not model.varies
            and not self.adapter.fixed_size
            and model.output_keys is None
        ):
            engine = self.engines.needed()
            if len(model.inputs) == len(model.outputs) == 1:
                engine.quick = engine.predictor()
            elif not model._nests:
                engine.quick_list = engine.list_predictor()

    def _test(self, feed: Feed, report: loops.Results, callback_list: events.Events) -> list[Any]:
        self.engines.needed()
        self.reset_states()
        callback_list.begin()
        values = feed.evaluate(report, callback_list)
        callback_list.end(dict(zip(report.names, values)))
        return values

    def _params(self, feed: Feed) -> dict[str, Any]:
        """What callbacks are told of a feed; since tf.keras that is always how many steps there are."""
        params = dict(feed.params)
        rows = params["steps"] is None and params["samples"] is not None
        if rows and self.model.semantics.batch_logs == "averages":
            params["steps"] = -(-params["samples"] // params["batch_size"])
        return params

    def _progress(
        self, callbacks: Sequence[events.Callback], verbose: int, feed: Feed, mode: str
    ) -> events.Events:
        line = 2 if edition(self.model.vintage).eager else 1  # Keras 2 shows nothing for verbose=2
        bar = [events.BatchProgress()] if 1 <= verbose <= line else []
        params = {**self._params(feed), "verbose": verbose}
        if mode == "test":
            params["metrics"] = self.names()
        return events.Events([*bar, *callbacks], self.model, params, mode)
