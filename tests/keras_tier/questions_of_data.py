"""A small model for each question about objects of batches."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from asking import Kit, case, number
from questions_of_training import linear


@case({True: 3, False: "raises"}, live=False)
def unknown_steps(kit: Kit) -> Any:
    """How many steps an epoch over a generator has that says no number of them."""
    model = kit.compiled(kit.keras.models.Sequential([kit.one(1, input_shape=(2,))]))
    counted: list[int] = []
    count = kit.keras.callbacks.LambdaCallback(on_batch_end=lambda batch, logs: counted.append(batch))
    batches = ((np.ones((4, 2)), np.ones((4, 1))) for _ in range(3))
    try:
        with warnings.catch_warnings():  # that the data have ended
            warnings.simplefilter("ignore")
            getattr(model, "fit_generator" if kit.old else "fit")(
                batches, epochs=1, verbose=0, callbacks=[count]
            )
    except Exception:
        return "raises"
    return len(counted)


def counting(kit: Kit, batch: Any = lambda x: (x, 0 * x)) -> Any:
    """A Sequence of the batches 1 and 2."""

    class Counting(kit.keras.utils.Sequence):  # type: ignore[name-defined, misc]
        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> Any:
            return batch(np.full((2, 1), index + 1, np.float32))

    return Counting()


@case({True: [1.5], False: [4 / 3]}, live=False)
def evaluations_begin_anew(kit: Kit) -> Any:
    """The mean over three of two batches."""
    model = linear(kit, loss="mae")
    with warnings.catch_warnings():  # that the data have ended
        warnings.simplefilter("ignore")
        evaluate = getattr(model, "evaluate_generator" if kit.old else "evaluate")
        return [number(evaluate(counting(kit), steps=3, verbose=0))]


@case({True: [1.0, 1.0, 2.0, 2.0], False: "raises"}, live=False)
def lists_are_batches(kit: Kit) -> Any:
    """Predictions for batches that are lists of two arrays."""
    model = linear(kit)
    try:
        predict = getattr(model, "predict_generator" if kit.old else "predict")
        return [float(v) for v in np.ravel(predict(counting(kit, lambda x: [x, 0 * x]), steps=2, verbose=0))]
    except Exception:
        return "raises"
