"""What questions of `kcompile.keras.semantics` are put to, a Keras of any kind, and the cases by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Kit:
    """A Keras, and what makes a model of it one that is run.

    real: it is no edition of ours. old: it has Keras 2's graphs, which know no eager runs. optimizers: its
    module of optimizers. ready: a function of each model, before the model is run.
    """

    keras: Any
    real: bool = True
    old: bool = False
    optimizers: Any = None
    ready: Callable[[Any], Any] = lambda model: model

    @property
    def layers(self) -> Any:
        return self.keras.layers

    def run(self, model: Any) -> Any:
        """The model, ready to predict."""
        if self.real and not self.old:
            model.run_eagerly = True
        return self.ready(model)

    def model(self, inputs: Any, outputs: Any) -> Any:
        return self.keras.models.Model(inputs, outputs)

    def compiled(self, model: Any, optimizer: Any = "sgd", loss: Any = "mse", **options: Any) -> Any:
        """The model, ready to train and test."""
        if self.real and not self.old:
            options["run_eagerly"] = True
        model.compile(optimizer, loss, **options)
        return self.ready(model)

    def predicted(self, inputs: Any, output: Any, values: Any) -> list[float]:
        """Outputs, all in one list."""
        return np.ravel(self.run(self.model(inputs, output)).predict_on_batch(values)).tolist()

    def total(self, y: Any) -> Any:
        """The sum of all features over the steps that are there."""
        return self.layers.SimpleRNN(
            1, activation="linear", use_bias=False, kernel_initializer="ones", recurrent_initializer="ones"
        )(y)

    def one(self, units: int = 1, **options: Any) -> Any:
        """A Dense of ones."""
        return self.layers.Dense(units, kernel_initializer="ones", use_bias=False, **options)

    def make(self, kind: str, *arguments: Any, **options: Any) -> Any:
        """An optimizer."""
        return getattr(self.optimizers or self.keras.optimizers, kind)(*arguments, **options)


@dataclass(frozen=True)
class Case:
    """observe: what a Keras does. answers: that, by the answer of the table. live: whether it can be asked of
    a live model of the library (its own classes in scripts cannot be compiled)."""

    observe: Callable[[Kit], Any]
    answers: Mapping[Any, Any]
    live: bool = True
    optimizer: bool = False


CASES: dict[str, Case] = {}
# What Keras 3 computes otherwise on TensorFlow by a fault of that backend, as no vintage does: the answers of
# "right" and "on TensorFlow"
FAULTS: dict[str, Case] = {}


def case(
    answers: Mapping[Any, Any], of: dict[str, Case] = CASES, **options: Any
) -> Callable[[Callable[[Kit], Any]], Any]:
    def register(function: Callable[[Kit], Any]) -> Any:
        of[function.__name__] = Case(function, answers, **options)
        return function

    return register


def number(value: Any) -> float:
    """A loss, of a list that begins with it too."""
    return float(np.ravel(value)[0])
