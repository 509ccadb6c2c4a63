"""The progress bars of fit, evaluate and predict."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from kcompile.keras.callbacks.base import Bar, Report, names_of
from kcompile.keras.editions import edition
from kcompile.keras.settings import vintage
from kcompile_runtime.errors import ModelError, describe
from kcompile_runtime.progress import Progbar


class ProgbarLogger(Bar):
    """Prints "Epoch 1/5" and the progress bar (verbose 1), or one line an epoch (verbose 2).

    count_mode: "samples" (as the vintage of the model counts), or "steps". stateful_metrics: averages are
    made by the loop, whatever this says. It says as much as `verbose` of the training does.
    """

    modes = ("train",)

    def __init__(self, count_mode: str = "samples", stateful_metrics: Any = None) -> None:
        super().__init__()
        if not isinstance(count_mode, str) or count_mode not in ("samples", "steps"):
            raise ModelError(describe("ProgbarLogger: count_mode", "'samples' or 'steps'", repr(count_mode)))
        self.count_mode = count_mode
        self.use_steps = count_mode == "steps"
        self.stateful_metrics = names_of("ProgbarLogger: stateful_metrics", stateful_metrics)
        self.verbose = 1

    def on_train_begin(self, logs: Report = None) -> None:
        self.verbose = self.params.get("verbose", 1)

    def on_epoch_begin(self, epoch: int, logs: Report = None) -> None:
        told = edition(_vintage(self.model))
        if self.verbose and (not told.eager or self.params["epochs"] > 1):
            print(f"Epoch {epoch + 1}/{self.params['epochs']}")
        self.bar = progbar(self.model, self.params, self.verbose, self.use_steps)
        self.seen = 0

    def progress(self, samples: int, values: Callable[[], list[float]]) -> None:
        self.seen = samples
        # the line of a finished epoch also has the validation, and is written at its end
        if samples < self.bar.target and self.bar.due(samples):
            names = list(self.params["metrics"])
            if edition(_vintage(self.model)).operations:
                names = sorted(name for name in names if not name.startswith("val_"))
            self.bar.update(samples, list(zip(names, values())))

    def on_epoch_end(self, epoch: int, logs: Report = None) -> None:
        shown = [(k, (logs or {})[k]) for k in self.params.get("metrics", ()) if k in (logs or {})]
        if edition(_vintage(self.model)).eager:
            shown = list((logs or {}).items())
        if _unknown(self.params):
            self.bar.target = max(self.seen, 1)
        self.bar.update(self.bar.target, shown)


class BatchProgress(Bar):
    """The bar of evaluate and predict; since tf.keras with the values so far."""

    modes = ("test", "predict")

    def progress(self, samples: int, values: Callable[[], list[float]]) -> None:
        self.seen, self.values = samples, values
        if not _unknown(self.params):
            self.bar.update(samples, self._shown() if self.bar.due(samples) else ())

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        self.bar = progbar(model, self.params, self.params.get("verbose", 1))
        self.seen = 0

    def _shown(self) -> list[tuple[str, float]]:
        told, names = edition(_vintage(self.model)), self.params.get("metrics", ())
        if not told.eager or not names:
            return []
        return list(zip(sorted(names) if told.operations else names, self.values()))

    def _ended(self) -> None:
        if _unknown(self.params) and self.seen:
            self.bar.target = self.seen
            self.bar.update(self.bar.target, self._shown())

    def on_test_end(self, logs: Report = None) -> None:
        self._ended()

    def on_predict_end(self, logs: Report = None) -> None:
        self._ended()


def _unknown(params: Mapping[str, Any]) -> bool:
    """Whether it shows only at the end how many batches a pass has."""
    return params.get("samples") is None and not params.get("steps")


def _vintage(model: Any) -> str:
    return str(getattr(model, "vintage", vintage()))


def progbar(model: Any, params: Mapping[str, Any], verbose: int, steps: bool = False) -> Progbar:
    """The bar of a pass over params["samples"], or where these are unknown over params["steps"], as the
    vintage of the model shows it."""
    style, samples = edition(_vintage(model)).bar, params.get("samples")
    if steps and style == "samples":
        style = "steps"
    return Progbar(
        (params.get("steps") or sys.maxsize) if samples is None else samples,
        verbose,
        style=style,
        batch_size=params.get("batch_size") or 1,
    )
