"""Callbacks: what is told of training, and may stop it or change the learning rate.

Enters: events of the loops in `kcompile_runtime.training`, with logs (values by name). Names, arguments
and order are those of Keras 2.3. Batch events cost Python time for each batch, so the loop only sends them
when some callback defines one; bars are told of progress between many batches.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kcompile.keras import metrics
from kcompile.keras.copying import restore, state_of
from kcompile.keras.editions import edition
from kcompile.keras.semantics import Semantics
from kcompile_runtime.checks import check_number, check_text
from kcompile_runtime.errors import InputTypeError, ModelError, describe
from kcompile_runtime.progress import Progbar
from kcompile_runtime.training import Logs

Report = Mapping[str, Any] | None


class Callback:
    """Base of callbacks: every method may be defined, none has to be.

    params: dict with batch_size, epochs, steps, samples, verbose, do_validation, metrics.
    model: the model in training. validation_data: arrays x, y, w of the validation, or None.
    """

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
        names = [f"on_{mode}_batch_begin", f"on_{mode}_batch_end"]
        if mode == "train":
            names += ["on_batch_begin", "on_batch_end"]
        return any(
            getattr(getattr(self, name), "__func__", None) is not getattr(Callback, name) for name in names
        )


class CallbackList:
    """Several callbacks told as one, in one mode: "train", "test" or "predict"."""

    def __init__(
        self, callbacks: Sequence[Callback], model: Any, params: dict[str, Any], mode: str = "train"
    ) -> None:
        self.callbacks = list(callbacks)
        self.model = model
        self.mode = mode
        for callback in self.callbacks:
            callback.set_params(params)
            callback.set_model(model)

    def within(self, mode: str) -> CallbackList:
        """The same callbacks, not told their params and model again, in another mode."""
        other = CallbackList([], self.model, {}, mode)
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
        self._tell(f"on_{self.mode}_end", logs or {})

    def epoch_begin(self, epoch: int) -> None:
        self._tell("on_epoch_begin", epoch, {})

    def epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        self._tell("on_epoch_end", epoch, logs)

    def batch_begin(self, batch: int, logs: dict[str, Any]) -> None:
        self._tell(f"on_{self.mode}_batch_begin", batch, logs)

    def batch_end(self, batch: int, logs: dict[str, Any]) -> None:
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


class BaseLogger(Callback):
    """Fits Keras scripts that name it: averages over the epoch are made by the loop itself, whatever
    stateful_metrics says."""

    def __init__(self, stateful_metrics: Any = None) -> None:
        super().__init__()


class History(Callback):
    """epoch: the numbers of the epochs; history: the values of each epoch by name."""

    def on_train_begin(self, logs: Report = None) -> None:
        self.epoch: list[int] = []
        self.history: Logs[list[Any]] = Logs()

    def on_epoch_end(self, epoch: int, logs: Report = None) -> None:
        self.epoch.append(epoch)
        for key, value in (logs or {}).items():
            self.history.setdefault(key, []).append(value)


class Bar(Callback):
    """A callback that shows how far a pass is, in the modes `modes`."""

    modes: tuple[str, ...] = ()

    def progress(self, samples: int, values: Callable[[], list[float]]) -> None:
        """Show that `done` samples are done; values() gives the averages so far."""
        raise NotImplementedError


class ProgbarLogger(Bar):
    """Prints "Epoch 1/5" and the progress bar (verbose 1), or one line an epoch (verbose 2).

    count_mode: "samples" (as the vintage of the model counts), or "steps". stateful_metrics: averages are
    made by the loop, whatever this says.
    """

    modes = ("train",)

    def __init__(self, count_mode: str = "samples", stateful_metrics: Any = None, verbose: int = 1) -> None:
        super().__init__()
        if not isinstance(count_mode, str) or count_mode not in ("samples", "steps"):
            raise ModelError(describe("ProgbarLogger: count_mode", "'samples' or 'steps'", repr(count_mode)))
        self.count_mode = count_mode
        self.verbose = verbose

    def on_epoch_begin(self, epoch: int, logs: Report = None) -> None:
        if self.verbose:
            print(f"Epoch {epoch + 1}/{self.params['epochs']}")
        self.bar = progbar(self.model, self.params, self.verbose, self.count_mode == "steps")

    def progress(self, samples: int, values: Callable[[], list[float]]) -> None:
        # the line of a finished epoch also has the validation, and is written at its end
        if samples < self.bar.target and self.bar.due(samples):
            self.bar.update(samples, list(zip(self.params["metrics"], values())))

    def on_epoch_end(self, epoch: int, logs: Report = None) -> None:
        names = self.params["metrics"]
        self.bar.update(self.bar.target, [(k, v) for k, v in (logs or {}).items() if k in names])


class BatchProgress(Bar):
    """The bar of evaluate and predict."""

    modes = ("test", "predict")

    def progress(self, samples: int, values: Callable[[], list[float]]) -> None:
        self.bar.update(samples)

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        self.bar = progbar(model, self.params, 1)


def progbar(model: Any, params: Mapping[str, Any], verbose: int, steps: bool = False) -> Progbar:
    """The bar of a pass over params["samples"], or where these are unknown over params["steps"], as the
    vintage of the model shows it."""
    style, samples = edition(model.vintage).bar, params["samples"]
    if steps and style == "samples":
        style = "steps"
    return Progbar(
        params["steps"] if samples is None else samples,
        verbose,
        style=style,
        batch_size=params["batch_size"] or 1,
    )


# ---------------------------------------------------------------- given by the user


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


def _check_mode(kind: str, mode: Any) -> str:
    if not isinstance(mode, str) or mode not in ("auto", "min", "max"):
        raise ModelError(describe(f"{kind}: mode", "'auto', 'min' or 'max'", repr(mode)))
    return mode


def _goes_up(callback: Any, how: str) -> bool:
    """Whether larger values of what a callback monitors are better. how: `Semantics.monitored_up`."""
    kind, mode, monitor = type(callback).__name__, callback.mode, callback.monitor
    if mode != "auto":
        return bool(mode == "max")
    if how == "acc inside":
        return "acc" in monitor
    if how == "acc at the end":
        return bool(monitor.endswith(("acc", "accuracy", "auc")))
    found = _metric_goes_up(callback.model, monitor.removeprefix("val_"))
    if found is None:
        raise ModelError(
            describe(
                f"{kind}: mode", f"'min' or 'max', as nobody knows which is better for {monitor!r}", "'auto'"
            )
        )
    return found


def _metric_goes_up(model: Any, name: str) -> bool | None:
    """The same of a value that a model reports; None for what nobody knows of."""
    if name in ("loss", *(f"{output}_loss" for output in model.output_names)):
        return False
    resolved = model.compile_arguments
    for k, output in enumerate(model.output_names):
        for metric in (*resolved.metrics[k], *resolved.weighted_metrics[k]):
            label = metric if isinstance(metric, str) else metrics.name_of(metric)
            if name in (label, f"{output}_{label}", f"weighted_{label}", f"{output}_weighted_{label}"):
                return metrics.more_is_better(metric)
    return None


def _better(up: bool, value: float, than: float, margin: float) -> bool:
    """Whether a value is better than another by more than a margin."""
    return value - margin > than if up else value + margin < than


class EarlyStopping(Callback):
    """Stops when `monitor` has not improved by min_delta for `patience` epochs.

    mode: "min", "max", or "auto": as the name or the metric says. baseline: a value to be better than.
    restore_best_weights: go back to the weights of the best epoch. start_from_epoch: epochs before this
    one are not looked at. What these mean exactly the vintage of the model says (`semantics`).
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__()
        self.start_from_epoch = start_from_epoch
        self.monitor = check_text("EarlyStopping: monitor", monitor)
        self.min_delta = abs(check_number("EarlyStopping: min_delta", min_delta))
        self.patience = check_number("EarlyStopping: patience", patience, 0)
        self.verbose = verbose
        self.baseline = None if baseline is None else check_number("EarlyStopping: baseline", baseline)
        self.restore_best_weights = restore_best_weights
        self.mode = _check_mode("EarlyStopping", mode)

    def on_train_begin(self, logs: Report = None) -> None:
        self._meaning: Semantics = self.model.semantics
        self._up = _goes_up(self, self._meaning.monitored_up)
        self.wait = 0
        self.stopped_epoch = 0
        self.best_weights: list[np.ndarray] | None = None
        self.best: float = -np.inf if self._up else np.inf
        if self.baseline is not None and self._meaning.baseline == "as best":
            self.best = self.baseline

    def on_epoch_end(self, epoch: int, logs: Report = None) -> None:
        logs = logs or {}
        current = logs.get(self.monitor)
        if epoch < self.start_from_epoch:
            return
        if current is None:
            warnings.warn(
                f"Early stopping conditioned on metric `{self.monitor}` which is not "
                f"available. Available metrics are: {', '.join(logs)}",
                stacklevel=2,
            )
            return
        beside = self._meaning.baseline == "beside best"
        if self.restore_best_weights and self.best_weights is None and beside:
            self.best_weights = self.model.get_weights()
        self.wait += 1
        if _better(self._up, current, self.best, self.min_delta):
            self.best = current
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if (
                self.baseline is None
                or not beside
                or _better(self._up, current, self.baseline, self.min_delta)
            ):
                self.wait = 0
        elif self.wait >= self.patience and (epoch > 0 or self._meaning.first_epoch_stops):
            self.stopped_epoch = epoch
            self.model.stop_training = True
            if self._meaning.best_weights_back == "when stopped":
                self._bring_back()

    def _bring_back(self) -> None:
        if self.best_weights is not None:
            if self.verbose:
                print("Restoring model weights from the end of the best epoch")
            self.model.set_weights(self.best_weights)

    def on_train_end(self, logs: Report = None) -> None:
        if self.stopped_epoch and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1:05d}: early stopping")
        if self._meaning.best_weights_back == "at the end":
            self._bring_back()


class LearningRateScheduler(Callback):
    """Before each epoch sets the learning rate to schedule(epoch, rate), or schedule(epoch)."""

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        super().__init__()
        if not callable(schedule):
            raise InputTypeError(
                describe(
                    "LearningRateScheduler: schedule",
                    "a function of the epoch, or of the epoch and the rate",
                    repr(schedule),
                )
            )
        self.schedule = schedule
        self.verbose = verbose

    def on_epoch_begin(self, epoch: int, logs: Report = None) -> None:
        rate = float(self.model.optimizer.lr.value)
        try:
            new = self.schedule(epoch, rate)
        except TypeError:  # Keras 2.0's schedules take the epoch alone
            new = self.schedule(epoch)
        if not isinstance(new, (float, np.floating)):
            raise ModelError(describe("LearningRateScheduler: the result of schedule", "a float", repr(new)))
        self.model.optimizer.lr = new
        if self.verbose:
            print(f"\nEpoch {epoch + 1:05d}: LearningRateScheduler setting learning rate to {new}.")

    def on_epoch_end(self, epoch: int, logs: Report = None) -> None:
        if isinstance(logs, dict):
            logs[edition(self.model.vintage).rate_log] = float(self.model.optimizer.lr.value)


class ReduceLROnPlateau(Callback):
    """Multiplies the learning rate by `factor` when `monitor` has not improved by min_delta for
    `patience` epochs; then waits for `cooldown` epochs. Not below min_lr. epsilon: min_delta, as Keras 2.0
    called it."""

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0,
        epsilon: float | None = None,
    ) -> None:
        super().__init__()
        kind = "ReduceLROnPlateau"
        self.factor = check_number(f"{kind}: factor", factor, 0)
        if not factor < 1:
            raise ModelError(describe(f"{kind}: factor", "below 1", repr(factor)))
        if epsilon is not None:
            warnings.warn(f"{kind}: epsilon is Keras 2.0's name of min_delta", stacklevel=2)
        self.monitor = check_text(f"{kind}: monitor", monitor)
        self.patience = check_number(f"{kind}: patience", patience, 0)
        self.verbose = verbose
        self.min_delta = check_number(f"{kind}: min_delta", min_delta if epsilon is None else epsilon)
        self.cooldown = check_number(f"{kind}: cooldown", cooldown, 0)
        self.min_lr = check_number(f"{kind}: min_lr", min_lr, 0)
        self.wait = 0
        self.cooldown_counter = 0.0
        self.mode = _check_mode(kind, mode)

    def in_cooldown(self) -> bool:
        """Whether the rate was reduced fewer than `cooldown` epochs ago."""
        return self.cooldown_counter > 0

    def on_train_begin(self, logs: Report = None) -> None:
        how = self.model.semantics.monitored_up
        self._up = _goes_up(self, how if how == "by metric" else "acc inside")  # all before Keras 3
        self.wait, self.cooldown_counter = 0, 0.0
        self.best = -np.inf if self._up else np.inf

    def on_epoch_end(self, epoch: int, logs: Report = None) -> None:
        if not isinstance(logs, dict):
            return
        rate = logs[edition(self.model.vintage).rate_log] = float(self.model.optimizer.lr.value)
        current = logs.get(self.monitor)
        if current is None:
            warnings.warn(
                f"Reduce LR on plateau conditioned on metric `{self.monitor}` which is not "
                f"available. Available metrics are: {', '.join(logs)}",
                stacklevel=2,
            )
            return
        if self.cooldown_counter:
            self.cooldown_counter -= 1
            self.wait = 0
        if _better(self._up, current, self.best, self.min_delta):
            self.best, self.wait = current, 0
        elif not self.cooldown_counter:
            self.wait += 1
            if self.wait >= self.patience and rate > self.min_lr:
                new = max(rate * self.factor, self.min_lr)
                self.model.optimizer.lr = new
                self.cooldown_counter, self.wait = self.cooldown, 0
                if self.verbose:
                    print(f"\nEpoch {epoch + 1:05d}: ReduceLROnPlateau reducing learning rate to {new}.")


class TerminateOnNaN(Callback):
    """Stops training when the loss of a batch is NaN or infinite."""

    def on_batch_end(self, batch: int, logs: Report = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is not None and not np.isfinite(loss):
            print(f"Batch {batch}: Invalid loss, terminating training")
            self.model.stop_training = True
