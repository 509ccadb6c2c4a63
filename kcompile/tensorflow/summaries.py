"""`tf.summary`: what scripts write for TensorBoard themselves, through tensorboardX (extra `tensorboard`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from kcompile.keras.extras import library
from kcompile.keras.tracing import check_repeats
from kcompile.tensorflow.files import path_of
from kcompile.tensorflow.functions import of_values
from kcompile_runtime.errors import InputError, describe

_state: dict[str, Any] = {"writer": None, "step": None, "record": True}


class Writer:
    """A file of events. The arguments behind logdir say when TensorFlow writes, and mean nothing here."""

    def __init__(
        self,
        logdir: Any,
        max_queue: Any = None,
        flush_millis: Any = None,
        filename_suffix: Any = None,
        name: Any = None,
    ) -> None:
        self.made = library("tensorboardX", "tensorboard").SummaryWriter(path_of(logdir))

    @contextmanager
    def as_default(self, step: Any = None) -> Iterator[Writer]:
        """Inside the `with`, functions of tf.summary write here. step: theirs, unless they say one."""
        before = dict(_state)
        _state.update(writer=self, **({} if step is None else {"step": step}))
        try:
            yield self
        finally:
            _state.update(before)

    def set_as_default(self, step: Any = None) -> None:
        """From now on functions of tf.summary write here."""
        _state.update(writer=self, **({} if step is None else {"step": step}))

    def flush(self) -> None:
        """Write what was told so far."""
        self.made.flush()

    def close(self) -> None:
        """Write what was told, and no more."""
        self.made.close()

    init = flush


@contextmanager
def record_if(condition: Any) -> Iterator[None]:
    """Inside the `with`, nothing is written where a condition (or what a function says) does not hold."""
    before = _state["record"]
    _state["record"] = condition
    try:
        yield
    finally:
        _state["record"] = before


def _told(name: str, data: Any, step: Any) -> tuple[Any, int] | None:
    """The writer, and the step; None where nothing is written. Raises InputError without a step."""
    check_repeats(f"tf.summary.{name}")
    of_values(f"summary.{name}", "Use keras.callbacks.TensorBoard, or add_metric", data)
    record = _state["record"]
    if _state["writer"] is None or not bool(np.asarray(record() if callable(record) else record)):
        return None
    number = _state["step"] if step is None else step
    if number is None:
        raise InputError(describe(f"tf.summary.{name}: step", "a number", "None"))
    return _state["writer"].made, int(np.asarray(number))


def scalar(name: str, data: Any, step: Any = None, description: Any = None) -> bool:
    """Write a number. Gives whether it was."""
    told = _told("scalar", data, step)
    if told is not None:
        told[0].add_scalar(name, float(np.asarray(data)), told[1])
    return told is not None


def histogram(name: str, data: Any, step: Any = None, buckets: Any = None, description: Any = None) -> bool:
    """Write how numbers are spread."""
    told = _told("histogram", data, step)
    if told is not None:
        bins = {} if buckets is None else {"max_bins": int(buckets)}
        told[0].add_histogram(name, np.asarray(data), told[1], **bins)
    return told is not None


def image(name: str, data: Any, step: Any = None, max_outputs: int = 3, description: Any = None) -> bool:
    """Write images [n, rows, columns, channels], of fractions or bytes."""
    told = _told("image", data, step)
    if told is not None:
        told[0].add_images(name, np.asarray(data)[: int(max_outputs)], told[1], dataformats="NHWC")
    return told is not None


def text(name: str, data: Any, step: Any = None, description: Any = None) -> bool:
    """Write a text."""
    told = _told("text", data, step)
    if told is not None:
        found = np.asarray(data).item()
        told[0].add_text(name, found.decode() if isinstance(found, bytes) else str(found), told[1])
    return told is not None


def _flushed(writer: Any = None, name: Any = None) -> None:
    known = _state["writer"] if writer is None else writer
    if known is not None:
        known.flush()


class _Step:
    """tf.summary.experimental.set_step and get_step."""

    @staticmethod
    def set(step: Any) -> None:
        _state["step"] = step

    @staticmethod
    def get() -> Any:
        return _state["step"]


NAMES: dict[str, Any] = {
    "summary.create_file_writer": Writer,
    "summary.experimental.get_step": _Step.get,
    "summary.experimental.set_step": _Step.set,
    "summary.flush": _flushed,
    "summary.histogram": histogram,
    "summary.image": image,
    "summary.record_if": record_if,
    "summary.scalar": scalar,
    "summary.text": text,
}
