"""Sequences that come in parts: a model whose layers keep states from one part to the next.

A library keeps nothing itself: the states of its layers are its last inputs and its last outputs. Enters: a
loaded model, and parts in their order. Leaves: the other outputs for each part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kcompile_runtime.arrays import Array
from kcompile_runtime.errors import InputError, describe

if TYPE_CHECKING:
    from kcompile_runtime.artifact import Artifact


class Stream:
    """One sequence, or as many side by side as the model has samples. Streams of one model are independent.

    model: a loaded one. `states`: what its layers keep, an array for each state, zeros at first. Raises
    InputError for a model whose layers keep nothing.
    """

    states: list[Array]

    def __init__(self, model: Artifact) -> None:
        self._count = model.metadata.get("states", 0)
        if not self._count:
            wanted = "a model with layers that keep states (stateful=True)"
            raise InputError(describe("stream", wanted, model.metadata["name"]))
        self._model = model
        self.reset()

    def reset(self) -> None:
        """Begin anew: all states are zeros."""
        batch = self._model.metadata["batch"]
        specs = self._model.inputs[-self._count :]
        self.states = [np.zeros(spec.bind(batch), spec.numpy_dtype) for spec in specs]

    def __call__(self, x: Any) -> Any:
        """The outputs for the next part. x: an array for a model with one input beside its states, else a
        list of arrays, or a dict by their names. Gives an array where there is one output, else a list.
        Raises InputError and InputTypeError for arrays that do not fit; the states are as before then."""
        own = self._model.inputs[: -self._count]
        if isinstance(x, dict):
            names = [spec.name for spec in own]
            if sorted(x) != sorted(names):
                wanted = f"a dict with the keys {names}"
                raise InputError(describe("inputs", wanted, f"keys {sorted(map(str, x))}"))
            given = [x[name] for name in names]
        else:
            given = list(x) if isinstance(x, (list, tuple)) and len(own) > 1 else [x]
        made = self._model.predict_on_batch([*given, *self.states])
        outputs, self.states = made[: -self._count], made[-self._count :]
        return outputs[0] if len(outputs) == 1 else outputs
