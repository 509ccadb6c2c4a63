"""Several callbacks as one, for training loops of the user's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kcompile.keras.callbacks.bars import ProgbarLogger
from kcompile.keras.callbacks.base import Callback, History, Report, check
from kcompile_runtime.checks import check_flag


class CallbackList:
    """Callbacks that are told of the same events, by the methods that a `Callback` has.

    add_history, add_progbar: append a `History` and a `ProgbarLogger` where there is none. model, params:
    what the callbacks are told at once. queue_length: over how many batches Keras 2 measures the time that
    callbacks take; they are not measured here.
    """

    def __init__(
        self,
        callbacks: Any = None,
        queue_length: int = 10,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params: Any,
    ) -> None:
        self.callbacks: list[Callback] = check(callbacks)
        self.params: dict[str, Any] = {}
        self.model: Any = None
        self.queue_length = queue_length
        wanted = (History, check_flag("add_history", add_history)), (ProgbarLogger, add_progbar)
        for kind, add in wanted:
            if add and not any(isinstance(callback, kind) for callback in self.callbacks):
                self.callbacks.append(kind())
        if model is not None:
            self.set_model(model)
        if params:
            self.set_params(params)

    def append(self, callback: Any) -> None:
        self.callbacks += check([callback])

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params
        for callback in self.callbacks:
            callback.set_params(params)

    def set_model(self, model: Any) -> None:
        self.model = model
        for callback in self.callbacks:
            callback.set_model(model)

    def __iter__(self) -> Iterator[Callback]:
        return iter(self.callbacks)

    def _tell(self, event: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(*arguments)

    def on_batch_begin(self, batch: int, logs: Report = None) -> None:
        self.on_train_batch_begin(batch, logs)

    def on_batch_end(self, batch: int, logs: Report = None) -> None:
        self.on_train_batch_end(batch, logs)

    def on_epoch_begin(self, epoch: int, logs: Report = None) -> None:
        self._tell("on_epoch_begin", epoch, _or_none_yet(logs))

    def on_epoch_end(self, epoch: int, logs: Report = None) -> None:
        self._tell("on_epoch_end", epoch, _or_none_yet(logs))

    def on_train_batch_begin(self, batch: int, logs: Report = None) -> None:
        self._tell("on_train_batch_begin", batch, _or_none_yet(logs))

    def on_train_batch_end(self, batch: int, logs: Report = None) -> None:
        self._tell("on_train_batch_end", batch, _or_none_yet(logs))

    def on_test_batch_begin(self, batch: int, logs: Report = None) -> None:
        self._tell("on_test_batch_begin", batch, _or_none_yet(logs))

    def on_test_batch_end(self, batch: int, logs: Report = None) -> None:
        self._tell("on_test_batch_end", batch, _or_none_yet(logs))

    def on_predict_batch_begin(self, batch: int, logs: Report = None) -> None:
        self._tell("on_predict_batch_begin", batch, _or_none_yet(logs))

    def on_predict_batch_end(self, batch: int, logs: Report = None) -> None:
        self._tell("on_predict_batch_end", batch, _or_none_yet(logs))

    def on_train_begin(self, logs: Report = None) -> None:
        self._tell("on_train_begin", logs)

    def on_train_end(self, logs: Report = None) -> None:
        self._tell("on_train_end", logs)

    def on_test_begin(self, logs: Report = None) -> None:
        self._tell("on_test_begin", logs)

    def on_test_end(self, logs: Report = None) -> None:
        self._tell("on_test_end", logs)

    def on_predict_begin(self, logs: Report = None) -> None:
        self._tell("on_predict_begin", logs)

    def on_predict_end(self, logs: Report = None) -> None:
        self._tell("on_predict_end", logs)


def _or_none_yet(logs: Report) -> Report:
    """The same object where there is one, as callbacks add to it."""
    return {} if logs is None else logs
