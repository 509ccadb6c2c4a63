"""Callbacks that write down what was reached: models, tables of values, messages to a server."""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from kcompile.keras.callbacks.base import Callback, Report, edition_of, epoch_said
from kcompile.keras.callbacks.monitoring import Follower, better, check_mode, meaning_of
from kcompile_runtime.checks import check_count, check_flag, check_number, check_path, check_text
from kcompile_runtime.errors import InputError, InputTypeError, ModelError, UnsupportedError, describe
from kcompile_runtime.training import Logs


class MissingValueError(InputError, KeyError):
    """A file name that asks for a value which is not reported; Keras has a KeyError there."""

    __str__ = Exception.__str__


class ModelCheckpoint(Follower):
    """Saves the model after each `period` epochs, or where save_freq is a number, after so many batches.

    filepath: may name values: "weights.{epoch:02d}-{val_loss:.2f}.hdf5"; epochs count from 1. Folders that
    are not there are made. save_best_only: only when `monitor` is better than ever before, or than
    initial_value_threshold; mode: "min", "max", or "auto", as the name or the metric says. save_weights_only:
    `save_weights` instead of `save`. verbose: 1 prints what is saved. load_weights_on_restart: begin with the
    weights of the file of such a name that was written last, where there is one. options are of TensorFlow's
    own files, and refused.
    """

    _kept = ("best", "epochs_since_last_save", "_batches", "_epoch")

    def __init__(
        self,
        filepath: Any,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        period: int = 1,
        save_freq: Any = "epoch",
        initial_value_threshold: float | None = None,
        load_weights_on_restart: bool = False,
        options: Any = None,
    ) -> None:
        super().__init__()
        kind = "ModelCheckpoint"
        if options is not None:
            wanted = "None: files of TensorFlow are not written"
            raise UnsupportedError(describe(f"{kind}: options", wanted, repr(options)))
        self.load_weights_on_restart = check_flag(f"{kind}: load_weights_on_restart", load_weights_on_restart)
        self.filepath = os.fspath(check_path(f"{kind}: filepath", filepath))
        self.monitor = check_text(f"{kind}: monitor", monitor)
        self.verbose = verbose
        self.save_best_only = check_flag(f"{kind}: save_best_only", save_best_only)
        self.save_weights_only = check_flag(f"{kind}: save_weights_only", save_weights_only)
        self.mode = check_mode(kind, mode)
        self.period = check_count(f"{kind}: period", period)
        by_epoch = isinstance(save_freq, str) and save_freq == "epoch"
        self.save_freq = save_freq if by_epoch else check_count(f"{kind}: save_freq", save_freq)
        if initial_value_threshold is not None:
            check_number(f"{kind}: initial_value_threshold", initial_value_threshold)
        self.best: float | None = initial_value_threshold
        self.epochs_since_last_save = 0
        self._batches = 0  # since the last save
        self._epoch = 0

    def up(self) -> bool:
        return (self.mode == "auto" and self.monitor.startswith("fmeasure")) or super().up()

    def wants_batches(self, mode: str) -> bool:
        listens = self.save_freq != "epoch" or type(self) is not ModelCheckpoint
        return listens and super().wants_batches(mode)

    def on_train_begin(self, logs: Report = None) -> None:
        endings = (".weights.h5",) if self.save_weights_only else (".keras", ".h5")
        if edition_of(self.model).operations and not self.filepath.endswith(endings):
            what = f"ModelCheckpoint: filepath, with save_weights_only={self.save_weights_only}"
            wanted = f"a name that ends in {' or '.join(endings)}, as in Keras 3"
            raise InputError(describe(what, wanted, repr(self.filepath)))
        latest = self._latest() if self.load_weights_on_restart and not self._resumes else None
        if latest is not None:
            self.model.load_weights(latest)

    def _latest(self) -> str | None:
        """The file that was written last of those whose names filepath may stand for, of several of one time
        the last by name; None where there is none."""
        folder, name = os.path.split(self.filepath)
        pattern = re.compile(re.sub(r"\\\{.*\\\}", ".*", re.escape(name)) + r"(\.npz)?")
        with contextlib.suppress(FileNotFoundError):
            found = [os.path.join(folder, n) for n in os.listdir(folder or ".") if pattern.fullmatch(n)]
            files = [path for path in found if os.path.isfile(path)]
            if files:
                last = max(files, key=lambda path: (os.path.getmtime(path), path))
                named = name.endswith((".npz", ".h5", ".keras", ".hdf5"))
                return last if named else last.removesuffix(".npz")
        return None

    def on_epoch_begin(self, epoch: int, logs: Report = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Report = None) -> None:
        super().on_train_batch_end(batch, logs)
        if self.save_freq != "epoch":
            self._batches += 1
            if self._batches >= self.save_freq:
                self._batches = 0
                self._save(self._epoch, {"batch": batch, **(logs or {})}, batch)

    def on_epoch_end(self, epoch: int, logs: Report = None) -> None:
        if self.save_freq != "epoch":
            return
        self.epochs_since_last_save += 1
        if self.epochs_since_last_save >= self.period:
            self.epochs_since_last_save = 0
            self._save(epoch, logs or {})

    def _save(self, epoch: int, logs: Mapping[str, Any], batch: int | None = None) -> None:
        path = self._path(epoch, logs, batch)
        if self.save_best_only and not self._improved(epoch, logs, path):
            return
        if not self.save_best_only and self.verbose:
            print(f"\n{epoch_said(self.model, epoch)}: saving model to {path}")
        folder = os.path.dirname(path)
        if folder:
            os.makedirs(folder, exist_ok=True)
        if self.save_weights_only:
            self.model.save_weights(path, overwrite=True)
        else:
            self.model.save(path, overwrite=True)
        if self.verbose and edition_of(self.model).operations:
            print(f"\n{epoch_said(self.model, epoch)}: finished saving model to {path}")

    def _path(self, epoch: int, logs: Mapping[str, Any], batch: int | None) -> str:
        """The name of the file. Raises a KeyError where a value is not there."""
        counts = {"epoch": epoch + 1} if batch is None else {"epoch": epoch + 1, "batch": batch + 1}
        try:
            return self.filepath.format_map(Logs({**logs, **counts}))
        except KeyError as error:
            raise MissingValueError(
                describe(
                    f"ModelCheckpoint: filepath {self.filepath!r}",
                    f"names among epoch, {', '.join(logs)}",
                    f"{error.args[0]}",
                )
            ) from None
        except (ValueError, IndexError, TypeError, AttributeError) as error:
            raise InputError(
                describe(
                    "ModelCheckpoint: filepath",
                    "a name with values in braces, as in 'weights.{epoch:02d}.hdf5'",
                    f"{self.filepath!r} ({error})",
                )
            ) from error

    def _improved(self, epoch: int, logs: Mapping[str, Any], path: str) -> bool:
        current = logs.get(self.monitor)
        meaning = meaning_of(self.model)
        if current is None:
            saved = meaning.checkpoint_without_value == "saved"
            warnings.warn(
                f"Can save best model only with {self.monitor} available" + ("" if saved else ", skipping."),
                RuntimeWarning,
                stacklevel=2,
            )
            return saved
        if np.ndim(current) and edition_of(self.model).operations:
            warnings.warn(
                f"Can save best model only when {self.monitor} is a number. Received: {current}. It is saved",
                stacklevel=2,
            )
            return True
        up = self.up()
        before = (-np.inf if up else np.inf) if self.best is None else self.best
        good = better(up, current, before, 0)
        if good:
            self.best = current
        if self.verbose:
            known = (
                f"{before:0.5f}" if np.isfinite(before) or not edition_of(self.model).operations else "None"
            )
            did = f"improved from {known} to {current:0.5f}, saving model to {path}"
            text = did if good else f"did not improve from {before:0.5f}"
            print(f"\n{epoch_said(self.model, epoch)}: {self.monitor} {text}")
        return good


class CSVLogger(Callback):
    """Writes the values of each epoch as a line of a table: epoch, then the names in alphabetical order.

    filename: of the table. separator: between two values. append: whether lines are added to a table that is
    there. A value that an epoch does not have is NA; the columns are those of the first epoch. A line appears
    whole or not at all; a training that goes on from a state cuts off the lines that came after it.
    """

    def __init__(self, filename: Any, separator: str = ",", append: bool = False) -> None:
        super().__init__()
        self.filename = check_path("CSVLogger: filename", filename)
        self.sep = check_text("CSVLogger: separator", separator)
        if len(self.sep) != 1:
            raise InputTypeError(describe("CSVLogger: separator", "one character", repr(separator)))
        self.append = check_flag("CSVLogger: append", append)
        self.keys: list[str] | None = None
        self.csv_file: Any = None
        self.append_header = True

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "csv_file": None}

    def on_train_begin(self, logs: Report = None) -> None:
        self._close()
        if self._resumes:  # see `load_state`
            return
        if self.append and os.path.exists(self.filename):
            self.append_header = not os.path.getsize(self.filename)
        self.csv_file = open(self.filename, "ab" if self.append else "wb", 0)  # noqa: SIM115

    def state(self) -> dict[str, Any]:
        size = None if self.csv_file is None else os.fstat(self.csv_file.fileno()).st_size
        return {"keys": self.keys, "append_header": self.append_header, "size": size}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on behind the lines that the table had. Raises ModelError where it has fewer."""
        size, found = state["size"] or 0, 0
        if os.path.exists(self.filename):
            found = os.path.getsize(self.filename)
        if found < size:
            wanted = f"the table that the training wrote, of at least {size} bytes"
            raise ModelError(describe(f"CSVLogger: {self.filename}", wanted, f"{found} bytes"))
        self._close()
        self.csv_file = open(self.filename, "ab", 0)  # noqa: SIM115
        self.csv_file.truncate(size)
        self.keys, self.append_header = state["keys"], state["append_header"]

    def on_epoch_end(self, epoch: int, logs: Report = None) -> None:
        import csv
        import io

        logs = logs or {}
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter=self.sep)
        if self.keys is None:
            self.keys = sorted(logs)
            if meaning_of(self.model).validation_columns and not any(k.startswith("val_") for k in self.keys):
                self.keys += [f"val_{key}" for key in self.keys]
        if self.append_header:
            writer.writerow(["epoch", *self.keys])
        writer.writerow([epoch, *(_as_text(logs.get(key, "NA")) for key in self.keys)])
        self._write(text.getvalue().encode())
        self.append_header = False

    def _write(self, lines: bytes) -> None:
        """Append lines, all or nothing."""
        size = os.fstat(self.csv_file.fileno()).st_size
        try:
            while lines:
                lines = lines[self.csv_file.write(lines) :]
        except OSError:
            with contextlib.suppress(OSError):
                self.csv_file.truncate(size)
            raise

    def on_train_end(self, logs: Report = None) -> None:
        self._close()
        self.keys, self.append_header = None, not self.append

    def _close(self) -> None:
        if self.csv_file is not None:
            self.csv_file.close()
            self.csv_file = None

    def __del__(self) -> None:
        if getattr(self, "csv_file", None) is not None:
            self._close()


def _as_text(value: Any) -> Any:
    """Several values as one of the table."""
    several = isinstance(value, (list, tuple, set)) or (isinstance(value, np.ndarray) and value.ndim)
    return f'"[{", ".join(map(str, value))}]"' if several else value


class RemoteMonitor(Callback):
    """Sends the values of each epoch to a server, which need not be there: then it warns.

    root, path: its address. field: of the form that holds the values as JSON; with send_as_json they are
    the message itself. headers: of the request.
    """

    TIMEOUT = 30  # seconds for an answer

    def __init__(
        self,
        root: str = "http://localhost:9000",
        path: str = "/publish/epoch/end/",
        field: str = "data",
        headers: Mapping[str, str] | None = None,
        send_as_json: bool = False,
    ) -> None:
        super().__init__()
        self.root = check_text("RemoteMonitor: root", root)
        self.path = check_text("RemoteMonitor: path", path)
        self.field = check_text("RemoteMonitor: field", field)
        if headers is not None and not isinstance(headers, Mapping):
            raise InputTypeError(describe("RemoteMonitor: headers", "a dict", repr(headers)))
        self.headers = headers
        self.send_as_json = check_flag("RemoteMonitor: send_as_json", send_as_json)

    def on_epoch_end(self, epoch: int, logs: Report = None) -> None:
        import json
        from urllib.error import HTTPError
        from urllib.parse import urlencode
        from urllib.request import Request, urlopen

        values = json.dumps({"epoch": epoch, **{k: _plain(v) for k, v in (logs or {}).items()}})
        kind = "application/json" if self.send_as_json else "application/x-www-form-urlencoded"
        body = values if self.send_as_json else urlencode({self.field: values})
        headers = {"Content-Type": kind, **(self.headers or {})}
        try:
            urlopen(Request(self.root + self.path, body.encode(), headers), timeout=self.TIMEOUT).close()
        except HTTPError as error:
            error.close()  # the server is there, whatever it thinks of this
        except OSError as error:
            warnings.warn(f"could not reach RemoteMonitor root server at {self.root}: {error}", stacklevel=2)


def _plain(value: Any) -> Any:
    """A value that JSON has."""
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
