"""Names of results follow from losses, metrics and outputs; the traced graph has the same ones."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompile.interpreted import InterpreterEngine
from kcompile.keras import backend as K
from kcompile.keras import graphs, losses, metrics
from kcompile.keras.callbacks import Callback
from kcompile.keras.layers import Dense, Input
from kcompile.keras.models import Model, Sequential
from kcompile.keras.semantics import VINTAGES


def several(y_true: Any, y_pred: Any) -> Any:
    return {"low": K.min(y_pred), "high": K.max(y_pred)}


def own(y_true: Any, y_pred: Any) -> Any:
    return K.mean(y_true - y_pred, axis=-1)


METRICS = (
    "acc",
    "accuracy",
    "ce",
    "mae",
    "mean_squared_error",
    metrics.mean_absolute_error,
    own,
    several,
    metrics.MeanAbsoluteError(),
    metrics.MeanAbsoluteError(name="b_off"),
    metrics.BinaryAccuracy(),
    losses.MeanSquaredError(),
    metrics.MeanMetricWrapper(several, name="both"),
)
chosen = st.lists(st.sampled_from(METRICS), max_size=3)


def model_of(outputs: int, vintage: str) -> Model:
    x = Input((3,), name="x", vintage=vintage)
    made = [Dense(size, name=name, vintage=vintage)(x) for size, name in zip((1, 4, 2), "abc")]
    return Model(x, made[:outputs], vintage=vintage)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_names_are_those_of_the_graph(data: st.DataObject) -> None:
    outputs = data.draw(st.integers(1, 3))
    model = model_of(outputs, data.draw(st.sampled_from(VINTAGES)))
    given_losses = ["mse", *(data.draw(st.sampled_from(["mse", "mae", None])) for _ in range(outputs - 1))]
    if data.draw(st.booleans()):
        model.add_loss(K.sum(model.outputs[0]))
    model.compile(
        "sgd",
        given_losses,
        metrics=[data.draw(chosen) for _ in range(outputs)],
        weighted_metrics=[data.draw(chosen) for _ in range(outputs)],
    )
    assert graphs.reported(model) == graphs.traced_report(model)


def test_names_of_our_metrics_need_no_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(2, VINTAGES[0])
    model.compile("sgd", ["mse", "mae"], metrics=["acc", "mae"], weighted_metrics=[["mse"], []])
    expected = graphs.traced_report(model)

    def traced(*_: Any) -> None:
        raise AssertionError("a graph was traced")

    monkeypatch.setattr(graphs, "_forward", traced)
    assert model.metrics_names == expected.names


def test_a_function_that_speaks_of_the_model_names_its_results_in_the_graph() -> None:
    model = Sequential([Dense(2, input_shape=(3,))])
    model.compile(
        "sgd", "mse", metrics=[lambda y_true, y_pred: {"size": K.sum(model.inputs[0]) + K.sum(y_pred)}]
    )
    assert model.metrics_names == ["loss", "size"]


@pytest.mark.parametrize("entry", ["fit", "evaluate"])
def test_what_is_wrong_with_a_metric_is_told_before_callbacks_are(entry: str) -> None:
    told = []

    class Listener(Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            told.append("train")

        def on_test_begin(self, logs: Any = None) -> None:
            told.append("test")

    def wrong(y_true: Any, y_pred: Any) -> Any:
        raise ValueError("wrong")

    model = Sequential([Dense(1, input_shape=(1,))])
    model.use_engine(InterpreterEngine(model))
    model.compile("sgd", "mse", metrics=[wrong])
    with pytest.raises(ValueError, match="wrong"):
        getattr(model, entry)([[1.0]], [[1.0]], callbacks=[Listener()], verbose=0)
    assert told == []
