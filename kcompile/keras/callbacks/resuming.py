"""Callbacks that keep the state of a training: to go on after an interruption, or with averages of
weights."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from typing import Any

import numpy as np

from kcompile.keras.callbacks.base import Callback, Report
from kcompile.keras.saving import files
from kcompile_runtime.checks import check_count, check_flag, check_path
from kcompile_runtime.errors import InputError, ModelError, UnsupportedError, describe
from kcompile_runtime.replacing import replacing

STATE, NOTES = "latest.weights.h5", "training_metadata.json"  # as Keras 3 calls them


class BackupAndRestore(Callback):
    """Writes weights and the optimizer's state down after each epoch, or after so many batches, and goes on
    from there when `fit` begins again: with the epoch that was not finished, from its start.

    backup_dir: the folder of the two files, which Keras 3's callback reads too. save_freq: "epoch" or a
    number of batches. double_checkpoint: keep the files before these too, and read them where the last are
    damaged. delete_checkpoint: whether the folder is deleted when the training comes to its end. Raises
    ModelError for a model that is not built, and where the files are of another model or another kind of
    optimizer; warns where they are of other data, by their samples and batches.
    """

    _kept = ("_epoch", "_batch", "_batches")

    def __init__(
        self,
        backup_dir: Any,
        save_freq: Any = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
        save_before_preemption: bool = False,
    ) -> None:
        super().__init__()
        kind = "BackupAndRestore"
        self.backup_dir = os.fspath(check_path(f"{kind}: backup_dir", backup_dir))
        if not self.backup_dir:
            raise InputError(describe(f"{kind}: backup_dir", "a folder", repr(backup_dir)))
        by_epoch = isinstance(save_freq, str) and save_freq == "epoch"
        self.save_freq = save_freq if by_epoch else check_count(f"{kind}: save_freq", save_freq)
        self.double_checkpoint = check_flag(f"{kind}: double_checkpoint", double_checkpoint)
        self.delete_checkpoint = check_flag(f"{kind}: delete_checkpoint", delete_checkpoint)
        if check_flag(f"{kind}: save_before_preemption", save_before_preemption):
            wanted = "False: nobody announces here that a machine is taken away"
            raise UnsupportedError(describe(f"{kind}: save_before_preemption", wanted, "True"))
        self._epoch, self._batch, self._batches = 0, 0, 0

    def wants_batches(self, mode: str) -> bool:
        listens = self.save_freq != "epoch" or type(self) is not BackupAndRestore
        return listens and super().wants_batches(mode)

    def on_train_begin(self, logs: Report = None) -> None:
        if not self.model.built:
            raise ModelError(
                f"BackupAndRestore: model {self.model.name!r} is not built. Give it an Input, or call build, "
                "before fit"
            )
        try:
            self._restore("")
        except (OSError, ModelError, ValueError):
            if not os.path.exists(self._path(STATE, ".bkp")):
                raise
            self._restore(".bkp")

    def _path(self, name: str, behind: str = "") -> str:
        return os.path.join(self.backup_dir, name + behind)

    def _restore(self, behind: str) -> None:
        state, notes = self._path(STATE, behind), self._path(NOTES, behind)
        epoch: Any = None
        if os.path.exists(notes):
            found = files().reader.read_json(notes)
            if not isinstance(found, dict) or "epoch" not in found:
                raise ModelError(describe(notes, "a JSON object with an epoch", repr(found)[:80]))
            epoch = found["epoch"]
            self._compare(found)
        if os.path.exists(state):
            optimizer = self.model.optimizer
            if optimizer is not None and not optimizer.built:
                optimizer.build(self.model.trainable_weights)
            self.model.load_weights(state)
        if epoch is not None:
            self.model.trainer.begin_at(check_count(f"{notes}: epoch", epoch, 0))

    def _training(self) -> dict[str, Any]:
        """What a training is of, beside its model: the kind of optimizer, how many samples and batches."""
        sizes = {name: self.params.get(name) for name in ("samples", "steps", "batch_size")}
        return {"optimizer": type(self.model.optimizer).__name__, **sizes}

    def _compare(self, notes: Any) -> None:
        """Tell where this training is of something else than that of the files, as these say since they are
        ours."""
        now = self._training()
        odd = [name for name, value in now.items() if name in notes and notes[name] != value]
        if "optimizer" in odd:
            raise ModelError(
                describe(
                    f"BackupAndRestore: {self.backup_dir}",
                    f"the optimizer {now['optimizer']}, with which this model is compiled",
                    f"the state of {notes['optimizer']}",
                    "Compile the model with that one, or delete the folder to begin anew",
                )
            )
        if odd:
            told = ", ".join(f"{name} {now[name]} in place of {notes[name]}" for name in odd)
            warnings.warn(
                f"BackupAndRestore: {self.backup_dir} is of a training on other data: {told}. It goes on "
                "with these",
                stacklevel=2,
            )

    def on_epoch_end(self, epoch: int, logs: Report = None) -> None:
        self._epoch, self._batch = epoch + 1, 0
        if self.save_freq == "epoch":
            self._save()

    def on_train_batch_end(self, batch: int, logs: Report = None) -> None:
        super().on_train_batch_end(batch, logs)
        if self.save_freq == "epoch":
            return
        self._batches += 1
        self._batch = batch
        if self._batches >= self.save_freq:
            self._batches = 0
            self._save()

    def _save(self) -> None:
        os.makedirs(self.backup_dir, exist_ok=True)
        for name in (STATE, NOTES) if self.double_checkpoint else ():
            if os.path.exists(self._path(name)):
                shutil.copyfile(self._path(name), self._path(name, ".bkp"))
        self.model.save_weights(self._path(STATE), overwrite=True)
        with replacing(self._path(NOTES), True) as part, open(part, "w") as file:
            json.dump({"epoch": self._epoch, "batch": self._batch, **self._training()}, file)

    def on_train_end(self, logs: Report = None) -> None:
        if self.delete_checkpoint and os.path.exists(self.backup_dir):
            shutil.rmtree(self.backup_dir)


class SwapEMAWeights(Callback):
    """Evaluates, predicts and (with swap_on_epoch) saves with the moving averages of the weights, which an
    optimizer with use_ema keeps, in their place. Raises ModelError for an optimizer without."""

    _kept = ("_averages_in",)

    def __init__(self, swap_on_epoch: bool = False) -> None:
        super().__init__()
        self.swap_on_epoch = check_flag("SwapEMAWeights: swap_on_epoch", swap_on_epoch)
        self._averages_in = False

    def _pairs(self) -> list[tuple[Any, Any]]:
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        if not getattr(optimizer, "use_ema", False):
            wanted = "an optimizer with use_ema=True"
            raise ModelError(describe("SwapEMAWeights", wanted, type(optimizer).__name__))
        kept = optimizer.kept
        return [(v, kept[v]["ema"]) for v in optimizer.built_for]

    def _swap(self, averages_in: bool) -> None:
        if self._averages_in != averages_in:
            for variable, average in self._pairs():
                value = np.array(variable.array)
                variable.assign(average.array)
                average.assign(value)
            self._averages_in = averages_in

    def on_epoch_begin(self, epoch: int, logs: Report = None) -> None:
        if self.swap_on_epoch:
            self._swap(False)

    def on_epoch_end(self, epoch: int, logs: Report = None) -> None:
        if self.swap_on_epoch:
            self._swap(True)
            if epoch == self.params["epochs"] - 1:
                for variable, average in self._pairs():
                    average.assign(variable.array)

    def on_test_begin(self, logs: Report = None) -> None:
        self._swap(True)

    def on_test_end(self, logs: Report = None) -> None:
        self._swap(False)

    def on_predict_begin(self, logs: Report = None) -> None:
        self._swap(True)

    def on_predict_end(self, logs: Report = None) -> None:
        self._swap(False)
