"""Each layer with one value of each of its options beside Keras 3, which opens the files that we write of all
cases of a layer, and compiles them as one model."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opened import Models, opened
from option_cases import Case, data, listed, shapes_of
from options import TABLE
from references import (
    Seen,
    differences,
    is_random,
    joined,
    last_of_each,
    observe,
    only_configured,
    without,
    written,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(autouse=True, scope="module")
def code_that_is_not_optimized() -> Iterator[None]:
    """What is compiled here runs once."""
    jax = pytest.importorskip("jax")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def stateful(case: Case) -> bool:
    return bool(dict(case.given).get("stateful"))


def predicted(models: Models, keras: Any) -> dict[Case, list[np.ndarray]]:
    x = [a for case, model in models.items() for a in data(case, model)[0]]
    outputs = iter(listed(joined(models, keras).predict_on_batch(x)))
    return {case: [np.asarray(next(outputs)) for _ in model.outputs] for case, model in models.items()}


def moved(models: Models, keras: Any) -> dict[Case, list[np.ndarray]]:
    """How far one step of SGD moves each weight."""
    if not models:
        return {}
    start = {case: model.get_weights() for case, model in models.items()}
    whole = joined(models, keras)
    whole.compile(keras.optimizers.SGD(0.5), "mse")
    given = [data(case, model) for case, model in models.items()]
    whole.train_on_batch(*([a for sides in given for a in sides[side]] for side in (0, 1)))
    return {case: [b - a for a, b in zip(start[case], model.get_weights())] for case, model in models.items()}


def observed(models: Models, keras: Any) -> Iterator[tuple[Case, Seen]]:
    """`references.observe` of all cases, but for their losses. States are kept where there are no graphs."""
    alone = {case for case in models if only_configured(case) or stateful(case)}
    run = {case: model for case, model in models.items() if case not in alone}
    outputs = predicted(run, keras) if run else {}
    moves = moved({case: model for case, model in run.items() if not is_random(case)}, keras)
    for case, model in models.items():
        if case in alone:
            yield case, observe(case, keras, model, eager=True, opened=True)
        else:
            config = model.layers[-1].get_config()
            yield case, Seen(config, shapes_of(model), outputs[case], None, moves.get(case, []))


def told(cases: list[Case], folder: Path) -> list[str]:
    """What Keras 3 does otherwise with the cases."""
    theirs, ours = pytest.importorskip("keras"), importlib.import_module("kcompile.keras3")
    suffixes = [suffix for suffix in (".h5", ".keras") if cases[0].row not in NOT_OPENED.get(suffix, ())]
    models, found = opened(cases, ours, theirs, [folder / f"model{suffix}" for suffix in suffixes])
    for case, right in observed(models, theirs):
        found += differences(case, written(case, right), ours, "keras3", theirs.__version__)
    return found


# A size of its own is code of its own: sizes of batches are asked of other Kerases
CASES = {
    name: [
        case
        for case in last_of_each(name)
        if without("keras3", case) is None and "batch" not in dict(case.given)
    ]
    for name in sorted(TABLE)
}
# Keras 3 finds no function by its name there, and takes the last of several axes
NOT_OPENED = {".h5": ("Lambda", "LayerNormalization")}
# Loops take Keras long to compile; `test_recurrent_layers` and `test_attention_with_keras` are in each run
LONG = {
    "Bidirectional(GRU)",
    "Bidirectional(LSTM)",
    "Bidirectional(SimpleRNN)",
    "ConvLSTM1D",
    "ConvLSTM2D",
    "ConvLSTM3D",
    "GRU",
    "GroupedQueryAttention",
    "LSTM",
    "MultiHeadAttention",
    "SimpleRNN",
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name, cases in CASES.items() if cases],
)
def test_options_are_those_of_keras_3(name: str, tmp_path: Path) -> None:
    found = told(CASES[name], tmp_path)
    assert not found, "\n".join(found)
