"""The progress bars of fit, evaluate and predict."""

from __future__ import annotations

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
        if self.verbose:
            print(f"Epoch {epoch + 1}/{self.params['epochs']}")
        self.bar = progbar(self.model, self.params, self.verbose, self.use_steps)

    def progress(self, samples: int, values: Callable[[], list[float]]) -> None:
        # the line of a finished epoch also has the validation, and is written at its end
        if samples < self.bar.target and self.bar.due(samples):
            self.bar.update(samples, list(zip(self.params["metrics"], values())))

    def on_epoch_end(self, epoch: int, logs: Report = None) -> None:
        shown = [(k, (logs or {})[k]) for k in self.params.get("metrics", ()) if k in (logs or {})]
        self.bar.update(self.bar.target, shown)


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
    style, samples = edition(getattr(model, "vintage", vintage())).bar, params.get("samples")
    if steps and style == "samples":
        style = "steps"
    return Progbar(
        (params.get("steps") or 1) if samples is None else samples,
        verbose,
        style=style,
        batch_size=params.get("batch_size") or 1,
    )
