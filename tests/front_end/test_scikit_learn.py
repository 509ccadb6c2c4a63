"""Models as estimators: alone, as Keras has them, and inside scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kcompile.keras.layers import Dense
from kcompile.keras.models import Sequential
from kcompile.keras.utils import to_categorical
from kcompile.keras.wrappers.scikit_learn import KerasClassifier, KerasRegressor

rng = np.random.default_rng(0)
X = rng.normal(size=(120, 4)).astype("f")
KINDS = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)
NAMES = np.array(["ash", "beech", "oak"])[KINDS]


def classifier(hidden: int = 8, loss: str = "categorical_crossentropy", outputs: int = 3) -> Sequential:
    model = Sequential()
    model.add(Dense(hidden, activation="relu", input_dim=4))
    model.add(Dense(outputs, activation="softmax" if outputs > 1 else "sigmoid"))
    model.compile("adam", loss, metrics=["accuracy"])
    return model


def regressor(hidden: int = 8) -> Sequential:
    model = Sequential([Dense(hidden, activation="tanh", input_dim=4), Dense(1)])
    model.compile("adam", "mse")
    return model


class Maker:
    def __call__(self, hidden: int) -> Sequential:
        return classifier(hidden)


class Own(KerasClassifier):
    def __call__(self, hidden: int) -> Sequential:
        return classifier(hidden)


@pytest.mark.parametrize(
    "estimator", [KerasClassifier(classifier, hidden=16), KerasClassifier(Maker(), hidden=16), Own(hidden=16)]
)
def test_labels_go_in_and_labels_come_out(estimator: KerasClassifier) -> None:
    np.random.seed(1)
    estimator.set_params(batch_size=16, epochs=30, verbose=0)
    history = estimator.fit(X, NAMES)
    assert history.epoch == list(range(30))
    assert estimator.classes_.tolist() == ["ash", "beech", "oak"] and estimator.n_classes_ == 3
    assert estimator.predict(X).shape == (120,) and set(estimator.predict(X)) <= set(NAMES)
    np.testing.assert_allclose(estimator.predict_proba(X).sum(1), 1, rtol=1e-5)
    assert estimator.score(X, NAMES) == pytest.approx((estimator.predict(X) == NAMES).mean())
    assert estimator.score(X, NAMES) > 0.6
    assert estimator.model.layers[0].units == 16


def test_one_hot_targets_and_a_single_probability() -> None:
    estimator = KerasClassifier(classifier, epochs=2, verbose=0)
    estimator.fit(X, to_categorical(KINDS))
    assert estimator.classes_.tolist() == [0, 1, 2]
    binary = KerasClassifier(classifier, loss="binary_crossentropy", outputs=1, epochs=2, verbose=0)
    binary.fit(X, KINDS > 0, sample_weight=np.ones(120))
    found = binary.predict_proba(X)
    assert found.shape == (120, 2)
    assert (binary.predict(X)[:, 0] == (found[:, 1] > 0.5)).all()


def test_a_regressor_scores_by_its_loss() -> None:
    estimator = KerasRegressor(regressor, hidden=4)
    estimator.fit(X, X[:, 0], epochs=3, verbose=0)
    found = estimator.predict(X)
    assert found.shape == (120,)
    assert estimator.score(X, X[:, 0], verbose=0) == pytest.approx(-((found - X[:, 0]) ** 2).mean(), rel=1e-4)


def test_arguments_of_a_method_override_parameters_and_only_those_it_takes_are_passed() -> None:
    estimator = KerasClassifier(classifier, hidden=5, epochs=2, batch_size=10)
    assert estimator.get_params() == {"hidden": 5, "epochs": 2, "batch_size": 10, "build_fn": classifier}
    assert estimator.filter_sk_params(Sequential.fit, {"epochs": 7}) == {"epochs": 7, "batch_size": 10}
    assert estimator.filter_sk_params(classifier) == {"hidden": 5}
    with pytest.raises(ValueError, match="'width'"):
        estimator.set_params(width=3)
    with pytest.raises(ValueError, match="'width'"):
        KerasRegressor(regressor, width=3)
    with pytest.raises(ValueError, match="__call__"):
        KerasClassifier(hidden=3)


def test_a_classifier_without_accuracy_has_no_score() -> None:
    estimator = KerasClassifier(regressor, epochs=1, verbose=0)
    estimator.fit(X, KINDS > 0)
    with pytest.raises(ValueError, match="accuracy"):
        estimator.score(X, KINDS > 0)


def test_scikit_learn_searches_parameters() -> None:
    selection = pytest.importorskip("sklearn.model_selection")
    base: Any = pytest.importorskip("sklearn.base")
    estimator = KerasClassifier(classifier, batch_size=20, verbose=0)
    assert base.is_classifier(estimator) and base.is_regressor(KerasRegressor(regressor))
    search = selection.GridSearchCV(estimator, {"hidden": [8], "epochs": [1, 12]}, cv=2, n_jobs=1)
    np.random.seed(0)
    search.fit(X, NAMES)
    assert len(search.cv_results_["params"]) == 2
    assert search.best_params_["epochs"] == 12
    assert search.best_score_ == max(search.cv_results_["mean_test_score"])
    best = search.best_estimator_
    assert best.model.layers[0].units == search.best_params_["hidden"]
    assert best.score(X, NAMES) == pytest.approx((search.predict(X) == NAMES).mean())


def test_scikit_learn_crosses_validation_in_a_pipeline() -> None:
    pytest.importorskip("sklearn")
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scores = cross_val_score(
        make_pipeline(StandardScaler(), KerasRegressor(regressor, epochs=2, verbose=0)), X, X[:, 0], cv=3
    )
    assert scores.shape == (3,) and (scores < 0).all()
