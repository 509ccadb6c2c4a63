"""Each layer with the ordinary values of its options, alone and two at a time, through the whole line."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from option_cases import Case, cases, check
from options import TABLE

from kcompile.keras import backend as K
from kcompile.keras import layers
from kcompile.keras.layers import elsewhere

PAIRS = 5  # of each row; `cases` with another seed draws others
EXPORTED = 50  # one case of so many is exported too
SAMPLE = 12

WITHOUT = {
    "AbstractRNNCell",
    "InputLayer",
    "InputSpec",
    "Operation",  # of functional models, see test_keras_ops
    "Layer",
    "Wrapper",
    "RNN",
    "Recurrent",
    "StackedRNNCells",
    "SimpleRNNCell",
    "LSTMCell",
    "GRUCell",
    "ConvLSTM2DCell",
    "ConvRNN2D",
    "CuDNNGRU",
    "CuDNNLSTM",
    "TextVectorization",
    *elsewhere.__all__,  # which are refused
    "MaxNumBoundingBoxes",  # of images as they are, see test_preprocessing_layers
    "Pipeline",
    "StringLookup",  # on arrays alone, see test_preprocessing_layers
    "Hashing",
    "HashedCrossing",
}  # no options of their own


def drawn(name: str, seed: int = 0) -> list[Case]:
    """All values alone, and some pairs, in random order."""
    alone = [case for case in cases(TABLE[name], seed) if len(case.given) < 2]
    pairs = [case for case in cases(TABLE[name], seed) if len(case.given) == 2]
    draw = random.Random(f"{name} {seed}")
    found = alone + draw.sample(pairs, min(PAIRS, len(pairs)))
    draw.shuffle(found)
    return found


def failures(found: list[Case], folder: Path) -> list[str]:
    told = []
    for number, case in enumerate(found):
        try:
            check(case, folder, export=number % EXPORTED == 0)
        except Exception as error:
            told.append(f"{case!r}: {type(error).__name__}: {error}")
    return told


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", sorted(TABLE))
def test_options_of(name: str, tmp_path: Path) -> None:
    told = failures(drawn(name), tmp_path)
    assert not told, "\n\n".join(told)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_some_options(tmp_path: Path) -> None:
    names = random.Random(1).sample(sorted(TABLE), SAMPLE)
    told = failures([random.Random(name).choice(drawn(name)) for name in names], tmp_path)
    assert not told, "\n\n".join(told)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_some_layers_in_double_precision(tmp_path: Path) -> None:
    K.set_floatx("float64")
    try:
        told = failures([Case(name, ()) for name in sorted(TABLE)[:: len(TABLE) // SAMPLE]], tmp_path)
    finally:
        K.set_floatx("float32")
    assert not told, "\n\n".join(told)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", sorted(TABLE))
def test_double_precision_of(name: str, tmp_path: Path) -> None:
    K.set_floatx("float64")
    try:
        told = failures([Case(name, ()), *drawn(name)[:3]], tmp_path)
    finally:
        K.set_floatx("float32")
    assert not told, "\n\n".join(told)


def test_every_layer_is_in_the_table() -> None:
    classes = {value.__name__ for name in layers.__all__ if isinstance(value := getattr(layers, name), type)}
    in_the_table = {part for name in TABLE for part in name.rstrip(")").split("(")}
    assert classes - in_the_table == WITHOUT
