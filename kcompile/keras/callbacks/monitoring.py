"""Callbacks that follow a value: they stop training, change the learning rate, and know what is better."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from kcompile.keras import metrics, settings
from kcompile.keras.callbacks.base import Callback, Report, edition_of, epoch_said
from kcompile.keras.editions import edition
from kcompile.keras.optimizer import Optimizer
from kcompile.keras.semantics import Semantics
from kcompile.keras.tensors import Variable
from kcompile_runtime.checks import check_flag, check_number, check_text
from kcompile_runtime.errors import InputTypeError, ModelError, describe


def check_mode(kind: str, mode: Any) -> str:
    """ "auto", "min" or "max"; another text warns, and means "auto" as in Keras."""
    if not isinstance(mode, str):
        raise ModelError(describe(f"{kind}: mode", "'auto', 'min' or 'max'", repr(mode)))
    if mode not in ("auto", "min", "max"):
        text = describe(f"{kind}: mode", "'auto', 'min' or 'max'", repr(mode), "It is taken for 'auto'")
        warnings.warn(text, RuntimeWarning, stacklevel=3)
        return "auto"
    return mode


def meaning_of(model: Any) -> Semantics:
    """How callbacks behave for a model; for what only looks like one, as by default."""
    found: Semantics = getattr(model, "semantics", None) or settings.meaning()
    return found


class Follower(Callback):
    """A callback that follows a value, `monitor`, of which more is better or less is."""

    monitor: str
    mode: str

    def up(self) -> bool:
        """Whether larger values are better."""
        how = meaning_of(self.model).monitored_up
        return goes_up(self, how if how == "by metric" else "acc inside")  # all before Keras 3

    @property
    def monitor_op(self) -> Any:
        """Keras' name of what compares two values."""
        return np.greater if self.up() else np.less


def goes_up(callback: Any, how: str) -> bool:
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
    if name in ("loss", *(f"{output}_loss" for output in model.result_names)):
        return False
    resolved = model.compile_arguments
    for k, output in enumerate(model.result_names):
        for metric in (*resolved.metrics[k], *resolved.weighted_metrics[k]):
            label = metric if isinstance(metric, str) else metrics.name_in(metric, model.semantics)
            if name in (label, f"{output}_{label}", f"weighted_{label}", f"{output}_weighted_{label}"):
                return metrics.more_is_better(metric)
    return None


def better(up: bool, value: float, than: float, margin: float) -> bool:
    """Whether a value is better than another by more than a margin."""
    return value - margin > than if up else value + margin < than


def report_rate(model: Any, logs: dict[str, Any]) -> None:
    """Add the learning rate to the logs. Until Keras 3 it is a float32 there: here the float that has its
    shortest digits, so that tables of values read 0.01 as theirs do."""
    name, rate = edition(getattr(model, "vintage", settings.vintage())).rate_log, float(model.optimizer.lr)
    logs[name] = float(str(np.float32(rate))) if name == "lr" else float(rate)


def set_rate(model: Any, rate: Any) -> None:
    """Write the learning rate of the optimizer."""
    held = model.optimizer.lr
    if isinstance(held, Variable) and not isinstance(model.optimizer, Optimizer):
        held.assign(rate)
    else:
        model.optimizer.lr = rate


class EarlyStopping(Follower):
    """Stops when `monitor` has not improved by min_delta for `patience` epochs.

    mode: "min", "max", or "auto": as the name or the metric says. baseline: a value to be better than.
    restore_best_weights: go back to the weights of the best epoch. start_from_epoch: epochs before this
    one are not looked at. What these mean exactly the vintage of the model says (`semantics`).
    """

    _kept = ("wait", "stopped_epoch", "best_epoch", "best", "best_weights")

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
        self.mode = check_mode("EarlyStopping", mode)
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best_weights: list[np.ndarray] | None = None

    def up(self) -> bool:
        return goes_up(self, meaning_of(self.model).monitored_up)

    def on_train_begin(self, logs: Report = None) -> None:
        self.best_epoch = 0
        self._meaning: Semantics = meaning_of(self.model)
        self._up = self.up()
        self.wait = 0
        self.stopped_epoch = 0
        self.best_weights = None
        self.best: float = -np.inf if self._up else np.inf
        if self.baseline is not None and self._meaning.baseline == "as best":
            self.best = self.baseline

    def on_epoch_end(self, epoch: int, logs: Report = None) -> None:
        if epoch < self.start_from_epoch:
            return
        current = self.get_monitor_value(logs)
        if current is None:
            return
        beside = self._meaning.baseline == "beside best"
        if self.restore_best_weights and self.best_weights is None and beside:
            self.best_weights = self.model.get_weights()
        self.wait += 1
        if better(self._up, current, self.best, self.min_delta):
            self.best, self.best_epoch = current, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if (
                self.baseline is None
                or not beside
                or better(self._up, current, self.baseline, self.min_delta)
            ):
                self.wait = 0
        elif self.wait >= self.patience and (epoch > 0 or self._meaning.first_epoch_stops):
            self.stopped_epoch = epoch
            self.model.stop_training = True
            if self._meaning.best_weights_back == "when stopped":
                self._bring_back()

    def get_monitor_value(self, logs: Report = None) -> Any:
        """What it looks at among the values of an epoch; None, with a warning, where it is not there."""
        logs = logs or {}
        current = logs.get(self.monitor)
        if current is None:
            warnings.warn(
                f"Early stopping conditioned on metric `{self.monitor}` which is not "
                f"available. Available metrics are: {', '.join(logs)}",
                RuntimeWarning,
                stacklevel=3,
            )
        return current

    def _bring_back(self) -> None:
        if self.best_weights is not None:
            if self.verbose:
                which = f": {self.best_epoch + 1}." if edition_of(self.model).eager else ""
                print(f"Restoring model weights from the end of the best epoch{which}")
            self.model.set_weights(self.best_weights)

    def on_train_end(self, logs: Report = None) -> None:
        if self.stopped_epoch and self.verbose:
            print(f"{epoch_said(self.model, self.stopped_epoch)}: early stopping")
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
        rate = float(self.model.optimizer.lr)
        try:
            new = self.schedule(epoch, rate)
        except TypeError:  # Keras 2.0's schedules take the epoch alone
            new = self.schedule(epoch)
        if not isinstance(new, (float, np.floating)):
            raise ModelError(describe("LearningRateScheduler: the result of schedule", "a float", repr(new)))
        set_rate(self.model, new)
        if self.verbose:
            said = epoch_said(self.model, epoch)
            print(f"\n{said}: LearningRateScheduler setting learning rate to {new}.")

    def on_epoch_end(self, epoch: int, logs: Report = None) -> None:
        if isinstance(logs, dict):
            report_rate(self.model, logs)


class ReduceLROnPlateau(Follower):
    """Multiplies the learning rate by `factor` when `monitor` has not improved by min_delta for
    `patience` epochs; then waits for `cooldown` epochs. Not below min_lr. epsilon: min_delta, as Keras 2.0
    called it."""

    _kept = ("wait", "cooldown_counter", "best")

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
        self.mode = check_mode(kind, mode)

    def in_cooldown(self) -> bool:
        """Whether the rate was reduced fewer than `cooldown` epochs ago."""
        return self.cooldown_counter > 0

    def on_train_begin(self, logs: Report = None) -> None:
        self._up = self.up()
        self.wait, self.cooldown_counter = 0, 0.0
        self.best = -np.inf if self._up else np.inf

    def on_epoch_end(self, epoch: int, logs: Report = None) -> None:
        if not isinstance(logs, dict):
            return
        report_rate(self.model, logs)
        rate = float(self.model.optimizer.lr)
        current = logs.get(self.monitor)
        if current is None:
            warnings.warn(
                f"Reduce LR on plateau conditioned on metric `{self.monitor}` which is not "
                f"available. Available metrics are: {', '.join(logs)}",
                RuntimeWarning,
                stacklevel=2,
            )
            return
        if self.cooldown_counter:
            self.cooldown_counter -= 1
            self.wait = 0
        if better(self._up, current, self.best, self.min_delta):
            self.best, self.wait = current, 0
        elif not self.cooldown_counter:
            self.wait += 1
            if self.wait >= self.patience and rate > self.min_lr:
                new = max(rate * self.factor, self.min_lr)
                set_rate(self.model, new)
                self.cooldown_counter, self.wait = self.cooldown, 0
                if self.verbose:
                    said = epoch_said(self.model, epoch)
                    print(f"\n{said}: ReduceLROnPlateau reducing learning rate to {new}.")


class TerminateOnNaN(Callback):
    """Stops training when the loss of a batch is NaN or infinite. raise_error: by a RuntimeError, so that no
    callback is told of an end."""

    def __init__(self, raise_error: bool = False) -> None:
        super().__init__()
        self.raise_error = check_flag("TerminateOnNaN: raise_error", raise_error)

    def on_batch_end(self, batch: int, logs: Report = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is not None and not np.isfinite(loss):
            if self.raise_error:
                raise RuntimeError(f"NaN or Inf loss encountered at batch {batch}. Loss value: {loss}")
            print(f"Batch {batch}: Invalid loss, terminating training")
            self.model.stop_training = True
