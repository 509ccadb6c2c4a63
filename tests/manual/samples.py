"""What tests of the manual's samples share: our Keras as `keras`, places in the documents, small data.

A place is `document:first-last`: the number of a document and the lines where a sample stands in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kcompile.run import as_keras

with as_keras():
    import keras
    from keras.layers import Dense
    from keras.models import Model, Sequential

__all__ = ["Model", "Sequential", "classified", "covered", "keras", "places", "sample"]

HERE = Path(__file__).resolve().parent
_PLACE = re.compile(r"\b00[0-4]:\d+-\d+\b")


def sample(*where: str) -> Callable[[Any], Any]:
    """Says which samples of the documents a test runs. where: their places."""
    assert where and all(_PLACE.fullmatch(place) for place in where)
    return lambda test: test


def places() -> dict[str, str]:
    """Every sample of the documents: place -> why it cannot be run by nature, "" where it can."""
    rows = (line.partition(" ") for line in (HERE / "places.txt").read_text().splitlines())
    return {place: why for place, _, why in rows}


def covered() -> list[str]:
    """The places that the tests of this folder name, as often as they do."""
    return [
        place
        for file in sorted([*HERE.glob("test_*.py"), *HERE.glob("*_signatures.txt")])
        for place in _PLACE.findall(file.read_text())
    ]


def classified(functional: bool = False) -> tuple[Any, np.ndarray, np.ndarray]:
    """A model of 5 inputs and 3 classes, and 40 rows of data for it."""
    x, y = np.random.rand(40, 5), np.eye(3)[np.random.randint(0, 3, 40)]
    head = Dense(3, activation="softmax", input_dim=5)
    if not functional:
        return Sequential([head]), x, y
    inputs = keras.layers.Input((5,))
    return Model(inputs, head(inputs)), x, y
