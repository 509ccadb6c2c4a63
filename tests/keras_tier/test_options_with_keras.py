"""Each layer with one value of each of its options beside Keras 3: it compiles all cases of a layer as one
model."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from option_cases import Case, data, listed, model_of, shapes_of
from options import TABLE
from references import (
    Seen,
    differences,
    is_random,
    joined,
    last_of_each,
    observe,
    only_configured,
    set_weights,
    without,
    written,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
Models = dict[Case, Any]


@pytest.fixture(autouse=True, scope="module")
def code_that_is_not_optimized() -> Iterator[None]:
    """What is compiled here runs once."""
    jax = pytest.importorskip("jax")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def built(cases: list[Case], keras: Any) -> tuple[Models, dict[Case, str]]:
    """The models of the cases, and the refusals of those that a Keras has not."""
    models: Models = {}
    refused = {}
    for case in cases:
        try:
            models[case] = model_of(case, keras)
        except Exception as error:
            refused[case] = f"{type(error).__name__}: {error}"
    return models, refused


def observe_together(models: Models, keras: Any) -> dict[Case, Seen]:
    """`observe` of all cases in Keras 3, but for their losses."""
    start = {case: set_weights(model, case) for case, model in models.items()}
    given = {case: data(case, model) for case, model in models.items()}
    outputs = iter(
        listed(joined(models, keras).predict_on_batch([x for xs, _ in given.values() for x in xs]))
    )
    predicted = {case: [np.asarray(next(outputs)) for _ in model.outputs] for case, model in models.items()}
    trained = {case: model for case, model in models.items() if not is_random(case)}
    if trained:
        whole = joined(trained, keras)
        whole.compile(keras.optimizers.SGD(0.5), "mse")
        whole.train_on_batch(*([a for case in trained for a in given[case][side]] for side in (0, 1)))
    return {
        case: Seen(
            model.layers[-1].get_config(),
            shapes_of(model),
            predicted[case],
            None,
            [b - a for a, b in zip(start[case], model.get_weights())] if case in trained else [],
        )
        for case, model in models.items()
    }


def of_keras_3(cases: list[Case], keras: Any) -> tuple[dict[Case, Seen], dict[Case, str]]:
    models, refused = built(cases, keras)
    alone = {c for c in models if only_configured(c) or "stateful" in dict(c.given)}
    rest = {c: m for c, m in models.items() if c not in alone}
    seen = observe_together(rest, keras) if rest else {}
    return {**seen, **{c: observe(c, keras, models[c], eager=True) for c in alone}}, refused


def told(cases: list[Case]) -> list[str]:
    """What Keras 3 does otherwise with the cases."""
    theirs, ours = pytest.importorskip("keras"), importlib.import_module("kcompile.keras3")
    seen, refused = of_keras_3(cases, theirs)
    found = [f"{case!r}: refused there: {error}" for case, error in refused.items()]
    for case, right in seen.items():
        found += differences(case, written(case, right), ours, "keras3", theirs.__version__)
    return found


def compared(name: str) -> list[Case]:
    return [case for case in last_of_each(name) if without("keras3", case) is None]


def has_size(case: Case) -> bool:
    return "batch" in dict(case.given)


# Loops take Keras long to compile; `test_recurrent_layers` and `test_attention_with_keras` are in each run
LONG = {
    "Bidirectional(GRU)",
    "Bidirectional(LSTM)",
    "Bidirectional(SimpleRNN)",
    "GRU",
    "GroupedQueryAttention",
    "LSTM",
    "MultiHeadAttention",
    "SimpleRNN",
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in sorted(TABLE)]
)
def test_options_are_those_of_keras_3(name: str) -> None:
    found = told([case for case in compared(name) if not has_size(case)])
    assert not found, "\n".join(found)
