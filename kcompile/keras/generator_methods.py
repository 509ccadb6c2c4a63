"""`fit_generator`, `evaluate_generator` and `predict_generator`, as Keras 2 calls what `fit`, `evaluate` and
`predict` do with an object of batches; with the names that Keras 1 had for their arguments."""

from __future__ import annotations

import warnings
from typing import Any

from kcompile.keras.keras1 import GENERATORS
from kcompile_runtime.arrays import gives_batches
from kcompile_runtime.errors import InputError, InputTypeError, describe


class GeneratorMethods:
    """The part of `Model` that has these methods; it needs those that they are other names of."""

    fit: Any
    evaluate: Any
    predict: Any

    def fit_generator(
        self,
        generator: Any,
        steps_per_epoch: int | None = None,
        epochs: int = 1,
        verbose: Any = 1,
        callbacks: Any = None,
        validation_data: Any = None,
        validation_steps: int | None = None,
        validation_freq: Any = 1,
        class_weight: Any = None,
        max_queue_size: int = 10,
        workers: int = 1,
        use_multiprocessing: bool = False,
        shuffle: Any = True,
        initial_epoch: int = 0,
        **old: Any,
    ) -> Any:
        """Train on batches (x, y) or (x, y, sample_weight) of a generator, or of a `keras.utils.Sequence`,
        and give back the History. Arguments: as those of `fit`; of Keras 1: samples_per_epoch, nb_epoch,
        nb_val_samples, max_q_size, pickle_safe, nb_worker, of which the first and the third count batches
        here, as in Keras 2."""
        given = {
            "steps_per_epoch": steps_per_epoch,
            "epochs": epochs,
            "validation_steps": validation_steps,
            "max_queue_size": max_queue_size,
            "workers": workers,
            "use_multiprocessing": use_multiprocessing,
        }
        return self.fit(
            _batches("fit_generator", generator),
            **_renamed("fit_generator", generator, given, old),
            verbose=verbose,
            callbacks=callbacks,
            validation_data=validation_data,
            validation_freq=validation_freq,
            class_weight=class_weight,
            shuffle=shuffle,
            initial_epoch=initial_epoch,
        )

    def evaluate_generator(
        self,
        generator: Any,
        steps: int | None = None,
        callbacks: Any = None,
        max_queue_size: int = 10,
        workers: int = 1,
        use_multiprocessing: bool = False,
        verbose: Any = 0,
        **old: Any,
    ) -> Any:
        """The loss, or the list of loss and metrics, averaged over the samples of so many batches."""
        given = {
            "steps": steps,
            "max_queue_size": max_queue_size,
            "workers": workers,
            "use_multiprocessing": use_multiprocessing,
        }
        return self.evaluate(
            _batches("evaluate_generator", generator),
            **_renamed("evaluate_generator", generator, given, old),
            callbacks=callbacks,
            verbose=verbose,
        )

    def predict_generator(
        self,
        generator: Any,
        steps: int | None = None,
        callbacks: Any = None,
        max_queue_size: int = 10,
        workers: int = 1,
        use_multiprocessing: bool = False,
        verbose: Any = 0,
        **old: Any,
    ) -> Any:
        """The outputs for so many batches; of a batch (x, y) for x."""
        given = {
            "steps": steps,
            "max_queue_size": max_queue_size,
            "workers": workers,
            "use_multiprocessing": use_multiprocessing,
        }
        return self.predict(
            _batches("predict_generator", generator),
            **_renamed("predict_generator", generator, given, old),
            callbacks=callbacks,
            verbose=verbose,
        )


def _batches(method: str, generator: Any) -> Any:
    """What gives batches. Raises InputError for arrays and others."""
    if not gives_batches(generator):
        raise InputError(
            describe(
                f"{method}: generator",
                "a generator or a keras.utils.Sequence, which gives batches",
                type(generator).__name__,
                f"For arrays use {method.partition('_')[0]}.",
            )
        )
    return generator


def _renamed(method: str, generator: Any, given: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """The arguments of Keras 2, given as such or by their names in Keras 1. Raises InputTypeError."""
    unknown = [name for name in old if GENERATORS.get(name) not in given]
    if unknown:
        raise InputTypeError(
            describe(method, f"the arguments of Keras' {method}", ", ".join(map(repr, unknown)))
        )
    if old:
        pairs = ", ".join(f"{name} is {GENERATORS[name]}" for name in old)
        counts = {"samples_per_epoch", "nb_val_samples", "val_samples"} & old.keys()
        note = f" {' and '.join(sorted(counts))} counted samples; Keras 2 counts batches" if counts else ""
        warnings.warn(f"{method}: names of Keras 1: {pairs}.{note}", stacklevel=3)
    renamed = {GENERATORS[name]: value for name, value in old.items()}
    size = getattr(generator, "batch_size", None)
    if "samples_per_epoch" in old and size:
        renamed["steps_per_epoch"] = old["samples_per_epoch"] // size
    return {**given, **renamed}
