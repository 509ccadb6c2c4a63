"""Callbacks: what is told of training, and may stop it or change the learning rate.

Enters: events of the loops in `kcompile_runtime.training`, with logs (values by name). Names, arguments
and order are those of Keras 2.3. Batch events cost Python time for each batch, so the loop only sends them
when some callback defines one; bars are told of progress between many batches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kcompile.keras.callbacks.charts import plotted
from kcompile.keras.copying import restore, state_of
from kcompile.keras.editions import Edition, edition
from kcompile.keras.settings import vintage
from kcompile.keras.tensors import one_or_list
from kcompile_runtime.checks import check_path
from kcompile_runtime.errors import InputTypeError, ModelError, describe
from kcompile_runtime.training import Logs

Report = Mapping[str, Any] | None


class Callback:
    """Base of callbacks: every method may be defined, none has to be.

    params: dict with batch_size, epochs, steps, samples, verbose, do_validation, metrics.
    model: the model in training. validation_data: arrays x, y, w of the validation, or None.

    What a callback keeps over epochs is its `state()`, which `Checkpoint` writes down and `load_state` takes
    back.
    """

    _kept: tuple[str, ...] = ()  # the attributes that are its state
    _resumes = False  # whether the training that begins goes on from a state, which is loaded next

    def __init__(self) -> None:
        self.model: Any = None
        self.params: dict[str, Any] = {}
        self.validation_data: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**state_of(self), "model": None, "validation_data": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        restore(self, state)

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params

    def set_model(self, model: Any) -> None:
        self.model = model

    def on_epoch_begin(self, epoch: int, logs: Report = None) -> None: ...
    def on_epoch_end(self, epoch: int, logs: Report = None) -> None: ...
    def on_batch_begin(self, batch: int, logs: Report = None) -> None: ...
    def on_batch_end(self, batch: int, logs: Report = None) -> None: ...

    def on_train_batch_begin(self, batch: int, logs: Report = None) -> None:
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Report = None) -> None:
        self.on_batch_end(batch, logs)

    def on_test_batch_begin(self, batch: int, logs: Report = None) -> None: ...
    def on_test_batch_end(self, batch: int, logs: Report = None) -> None: ...
    def on_predict_batch_begin(self, batch: int, logs: Report = None) -> None: ...
    def on_predict_batch_end(self, batch: int, logs: Report = None) -> None: ...
    def on_train_begin(self, logs: Report = None) -> None: ...
    def on_train_end(self, logs: Report = None) -> None: ...
    def on_test_begin(self, logs: Report = None) -> None: ...
    def on_test_end(self, logs: Report = None) -> None: ...
    def on_predict_begin(self, logs: Report = None) -> None: ...
    def on_predict_end(self, logs: Report = None) -> None: ...

    def wants_batches(self, mode: str) -> bool:
        """Whether the callback defines an event for batches of "train", "test" or "predict"."""
        return hears_batches(self, Callback, mode)

    def state(self) -> dict[str, Any]:
        """What it keeps between two events, by name: None, numbers, texts, arrays, and lists, tuples and
        dicts of them. Those with something to keep define this and `load_state`."""
        return {name: getattr(self, name) for name in self._kept if hasattr(self, name)}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on with what `state` gave. A training that goes on calls it after `on_train_begin`; within an
        epoch after `on_epoch_begin` too."""
        for name in self._kept:
            if name in state:
                setattr(self, name, state[name])


def hears_batches(callback: Any, base: type, mode: str) -> bool:
    """Whether a callback, by its class or of its own, defines an event for batches that its base, of any
    Keras, leaves empty."""
    names = [f"on_{mode}_batch_begin", f"on_{mode}_batch_end"]
    if mode == "train":
        names += ["on_batch_begin", "on_batch_end"]
    return any(
        getattr(getattr(callback, name), "__func__", None) is not getattr(base, name) for name in names
    )


class Events:
    """The events of one mode of a loop ("train", "test" or "predict"), told to several callbacks."""

    def __init__(
        self, callbacks: Sequence[Callback], model: Any, params: dict[str, Any], mode: str = "train"
    ) -> None:
        self.callbacks = list(callbacks)
        self.model = model
        self.mode = mode
        self._last_epoch: Report = None
        for callback in self.callbacks:
            callback.set_params(params)
            callback.set_model(model)

    def within(self, mode: str) -> Events:
        """The same callbacks, not told their params and model again, in another mode."""
        other = Events([], self.model, {}, mode)
        other.callbacks = self.callbacks
        return other

    def change_params(self, **changed: Any) -> None:
        """Tell all that some of what they know of the training is different now."""
        for callback in self.callbacks:
            callback.set_params({**callback.params, **changed})

    @property
    def wants_batches(self) -> bool:
        return any(c.wants_batches(self.mode) for c in self.callbacks)

    @property
    def stopped(self) -> bool:
        return bool(self.model.stop_training)

    def _tell(self, event: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(*arguments)

    def begin(self) -> None:
        self._tell(f"on_{self.mode}_begin", {})

    def end(self, logs: Report = None) -> None:
        last = self._last_epoch if self._averages else None
        self._tell(f"on_{self.mode}_end", logs or last or {})

    def epoch_begin(self, epoch: int) -> None:
        self._tell("on_epoch_begin", epoch, {})

    @property
    def _averages(self) -> bool:
        """Whether logs of batches have the averages so far."""
        return bool(self.model.semantics.batch_logs == "averages")

    def epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        if self.model.semantics.validation_logs == "first":
            logs = Logs(sorted(logs.items(), key=lambda entry: not entry[0].startswith("val_")))
        self._last_epoch = dict(logs)  # callbacks add to theirs
        self._tell("on_epoch_end", epoch, logs)

    def batch_begin(self, batch: int, logs: dict[str, Any]) -> None:
        self._tell(f"on_{self.mode}_batch_begin", batch, {} if self._averages else logs)

    def batch_end(self, batch: int, logs: dict[str, Any], values: Callable[[], list[float]]) -> None:
        if self.model.semantics.batch_logs == "averages of metrics" and "outputs" not in logs:
            names = [name for name in logs if name not in ("batch", "size")]
            logs = Logs({**logs, **dict(list(zip(names, values()))[1:])})
        elif self._averages:
            names = [name for name in logs if name not in ("batch", "size")]
            logs = (
                {"outputs": one_or_list(logs["outputs"])} if "outputs" in logs else Logs(zip(names, values()))
            )
        self._tell(f"on_{self.mode}_batch_end", batch, logs)

    def progress(self, samples: int, values: Callable[[], list[float]]) -> None:
        for callback in self.callbacks:
            if isinstance(callback, Bar) and self.mode in callback.modes:
                callback.progress(samples, values)


def check(callbacks: Any) -> list[Callback]:
    """The callbacks a user gave, as a list. Raises ModelError for anything else."""
    given = (
        list(callbacks)
        if isinstance(callbacks, (list, tuple))
        else ([] if callbacks is None else [callbacks])
    )
    for callback in given:
        if not isinstance(callback, Callback):
            raise ModelError(
                describe(
                    "callbacks",
                    "Callback objects",
                    repr(callback),
                    "Derive it from kcompile.keras.callbacks.Callback.",
                )
            )
    return given


# ---------------------------------------------------------------- always there


def names_of(what: str, given: Any) -> set[str]:
    """Names in a list; None is none. Raises InputTypeError."""
    given = () if given is None else given
    if not isinstance(given, (list, tuple, set, frozenset)) or not all(isinstance(n, str) for n in given):
        raise InputTypeError(describe(what, "a list of names", repr(given)))
    return set(given)


class BaseLogger(Callback):
    """Adds the averages over the batches of an epoch to its logs, weighted by their sizes; of the
    stateful_metrics the last values. `fit` makes averages itself, so this is for loops of the user's own."""

    _kept = ("seen", "totals")

    def __init__(self, stateful_metrics: Any = None) -> None:
        super().__init__()
        self.stateful_metrics = names_of("BaseLogger: stateful_metrics", stateful_metrics)

    def wants_batches(self, mode: str) -> bool:
        return False  # `fit` knows the averages

    def on_epoch_begin(self, epoch: int, logs: Report = None) -> None:
        self.seen = 0
        self.totals: dict[str, float] = {}

    def on_batch_end(self, batch: int, logs: Report = None) -> None:
        logs = logs or {}
        size = logs.get("size", 0)
        self.seen += size
        for name, value in logs.items():
            last = name in self.stateful_metrics
            self.totals[name] = value if last else self.totals.get(name, 0) + value * size

    def on_epoch_end(self, epoch: int, logs: Report = None) -> None:
        if not isinstance(logs, dict) or not self.totals:
            return
        for name in self.params.get("metrics", ()):
            if name in self.totals and name not in logs:
                total = self.totals[name]
                logs[name] = total if name in self.stateful_metrics else total / max(self.seen, 1)


class History(Callback):
    """epoch: the numbers of the epochs; history: the values of each epoch by name."""

    _kept = ("epoch", "history")

    def __init__(self) -> None:
        super().__init__()
        self.epoch: list[int] = []
        self.history: Logs[list[Any]] = Logs()

    def on_train_begin(self, logs: Report = None) -> None:
        self.epoch, self.history = [], Logs()

    def on_epoch_end(self, epoch: int, logs: Report = None) -> None:
        self.epoch.append(epoch)
        for key, value in (logs or {}).items():
            self.history.setdefault(key, []).append(value)

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.history = Logs(self.history)

    def plot(self, names: Sequence[str] | str | None = None, to_file: Any = None) -> Any:
        """A chart of what was logged, a panel for each of the logs with that of validation in it: a figure of
        matplotlib where that is installed (extra `plot`), else a `charts.Chart`, SVG that notebooks show.

        names: of logs, default all that are numbers. to_file: where to write it too; without matplotlib a
        name that ends in .svg. Raises InputError for names that are none, and before training.
        """
        made = plotted(self.epoch, self.history, names)
        if to_file is not None:
            made.savefig(check_path("plot: to_file", to_file))
        return made


def edition_of(model: Any) -> Edition:
    """The Keras of a model that a callback is told of; of the script for what says none."""
    return edition(getattr(model, "vintage", vintage()))


def epoch_said(model: Any, epoch: int) -> str:
    """An epoch, as its Keras prints it."""
    return f"Epoch {epoch + 1}" if edition_of(model).eager else f"Epoch {epoch + 1:05d}"


class Bar(Callback):
    """A callback that shows how far a pass is, in the modes `modes`."""

    modes: tuple[str, ...] = ()

    def progress(self, samples: int, values: Callable[[], list[float]]) -> None:
        """Show that `done` samples are done; values() gives the averages so far."""
        raise NotImplementedError


class LambdaCallback(Callback):
    """A callback made of functions: on_epoch_begin(epoch, logs), on_epoch_end(epoch, logs),
    on_batch_begin(batch, logs), on_batch_end(batch, logs), on_train_begin(logs), on_train_end(logs)."""

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_batch_begin: Callable[..., Any] | None = None,
        on_batch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        **others: Any,
    ) -> None:
        super().__init__()
        given = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_batch_begin": on_batch_begin,
            "on_batch_end": on_batch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            **others,
        }
        for name, function in given.items():
            if not name.startswith("on_") or not hasattr(Callback, name):
                raise InputTypeError(describe("LambdaCallback", "events of a Callback", repr(name)))
            if function is not None and not callable(function):
                raise InputTypeError(describe(f"LambdaCallback: {name}", "a function", repr(function)))
            if function is not None:
                setattr(self, name, function)
