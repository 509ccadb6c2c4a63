"""Networks as estimators of scikit-learn: its own checks of estimators, and what people do with them."""

from __future__ import annotations

import functools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kcompile.keras.layers import Conv1D, Dense, Flatten, Input
from kcompile.keras.models import Model

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import kcompile
import kcompile_runtime as rt
from kcompile.sklearn import EXCEPTIONS, Classifier, Regressor

rng = np.random.default_rng(0)
X = rng.normal(size=(120, 4))
KINDS = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)
NAMES = np.array(["ash", "beech", "oak"])[KINDS]
classifier = functools.partial(
    Classifier, (16,), epochs=30, batch_size=16, learning_rate=0.01, random_state=1
)
regressor = functools.partial(Regressor, (16,), epochs=30, batch_size=16, learning_rate=0.01, random_state=1)


@parametrize_with_checks(
    [Classifier((32,), epochs=40, learning_rate=0.01), Regressor((32,), epochs=40, learning_rate=0.01)],
    expected_failed_checks=lambda estimator: EXCEPTIONS,
)
def test_they_keep_the_contract_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


def test_labels_go_in_and_labels_come_out() -> None:
    found = classifier().fit(X, NAMES)
    assert found.classes_.tolist() == ["ash", "beech", "oak"] and found.n_features_in_ == 4
    assert set(found.predict(X)) <= set(NAMES) and found.score(X, NAMES) > 0.9
    np.testing.assert_allclose(found.predict_proba(X).sum(axis=1), 1, rtol=1e-6)
    assert len(found.history_["loss"]) == 30
    assert found.history_["loss"][-1] < found.history_["loss"][0]


def test_two_classes_are_one_probability_and_several_labels_one_each() -> None:
    two = classifier().fit(X, NAMES == "oak")
    assert two.network_.output_shape == (None, 1) and two.predict(X).dtype == bool
    assert two.predict_proba(X).shape == (120, 2) and two.score(X, NAMES == "oak") > 0.9
    labels = np.stack([X[:, 0] > 0, X[:, 1] > 0, X[:, 0] > X[:, 1]], axis=1).astype(int)
    several = classifier().fit(X, labels)
    assert several.predict(X).shape == (120, 3) and several.score(X, labels) > 0.8
    assert several.network_.loss == "binary_crossentropy"
    with pytest.raises(ValueError, match="one class a sample"):
        classifier().fit(X, np.stack([KINDS, KINDS], axis=1))


def test_a_regressor_has_targets_of_the_shape_that_it_was_given() -> None:
    one = regressor().fit(X, X[:, 0])
    assert one.predict(X).shape == (120,) and one.score(X, X[:, 0]) > 0.9
    two = regressor().fit(X, X[:, :2])
    assert two.predict(X).shape == (120, 2) and two.score(X, X[:, :2]) > 0.9


def test_a_state_gives_the_same_bits_and_leaves_the_global_generator_alone() -> None:
    np.random.seed(5)
    state = np.random.get_state()[1].copy()
    first, second = (classifier(dropout=0.2, epochs=3).fit(X, NAMES).predict_proba(X) for _ in range(2))
    other = classifier(dropout=0.2, epochs=3, random_state=2).fit(X, NAMES).predict_proba(X)
    assert (first == second).all() and (first != other).any()
    assert (np.random.get_state()[1] == state).all()
    shared = np.random.RandomState(3)
    a, b = (classifier(random_state=shared, epochs=1).fit(X, NAMES).predict_proba(X) for _ in range(2))
    assert (a != b).any(), "a RandomState moves on"
    np.random.seed(5)
    one = classifier(random_state=None, epochs=1).fit(X, NAMES).predict_proba(X)
    np.random.seed(5)
    assert (one == classifier(random_state=None, epochs=1).fit(X, NAMES).predict_proba(X)).all()


def test_a_warm_start_and_parts_go_on_and_a_pickle_goes_on_alike() -> None:
    warm = classifier(epochs=2, warm_start=True).fit(X, NAMES)
    network = warm.network_
    copy = pickle.loads(pickle.dumps(warm))
    assert (copy.predict_proba(X) == warm.predict_proba(X)).all()
    warm.fit(X, NAMES), copy.fit(X, NAMES)
    assert warm.network_ is network and len(warm.history_["loss"]) == 4
    assert (copy.predict_proba(X) == warm.predict_proba(X)).all(), "of the optimizer and the seeds, too"
    with pytest.raises(ValueError, match="known before"):
        warm.fit(X, KINDS)
    cold = classifier(epochs=2).fit(X, NAMES)
    network = cold.network_
    assert cold.fit(X, NAMES).network_ is not network and len(cold.history_["loss"]) == 2

    parts = classifier().partial_fit(X[:40], NAMES[:40], classes=["ash", "beech", "oak", "yew"])
    parts.partial_fit(X[40:], NAMES[40:])
    assert parts.predict_proba(X).shape == (120, 4) and len(parts.history_["loss"]) == 2
    with pytest.raises(ValueError, match="known before"):
        classifier().partial_fit(X, NAMES, classes=["ash", "oak"])
    labels = np.stack([X[:, 0] > 0, X[:, 1] > 0], axis=1).astype(int)
    of_labels = classifier().partial_fit(X, labels)
    for other in (NAMES, labels[:, :1], np.hstack([labels, labels])):
        with pytest.raises(ValueError, match="known before"):
            of_labels.partial_fit(X, other)
    with pytest.raises(ValueError, match="balanced"):
        classifier(class_weight="balanced").partial_fit(X, NAMES)
    numbers = regressor().partial_fit(X, X[:, 0]).partial_fit(X, X[:, 0])
    assert len(numbers.history_["loss"]) == 2
    with pytest.raises(ValueError, match="first fit"):
        numbers.partial_fit(X, X[:, :2])


def test_weights_of_classes_and_samples_count() -> None:
    rare = (np.arange(120) % 10 == 0).astype(int)  # nothing to learn from
    plain, even = classifier().fit(X, rare), classifier(class_weight="balanced").fit(X, rare)
    assert even.predict_proba(X)[:, 1].mean() > plain.predict_proba(X)[:, 1].mean() + 0.1
    by_hand = classifier().fit(X, rare, sample_weight=np.where(rare, 5, 5 / 9))
    assert (by_hand.predict_proba(X) == even.predict_proba(X)).all()
    given = classifier(class_weight={0: 5 / 9, 1: 5}).fit(X, rare)
    np.testing.assert_allclose(given.predict_proba(X), even.predict_proba(X), rtol=1e-4)


def convolution(inputs: tuple[int, ...], outputs: int, filters: int = 2) -> Model:
    entry = Input(inputs)
    x = Flatten()(Conv1D(filters, 3, activation="relu")(entry))
    return Model(entry, Dense(outputs, activation="softmax" if outputs > 1 else "linear")(x))


def compiled(inputs: tuple[int, ...], outputs: int) -> Model:
    entry = Input(inputs)
    network = Model(entry, Dense(max(outputs, 2), activation="softmax")(entry))
    network.compile("sgd", "categorical_crossentropy", metrics=["acc"])
    return network


class Narrow(Regressor):
    """A parameter of one's own, in the way of scikit-learn."""

    def __init__(self, units: int = 2, *, epochs: int = 2, random_state: Any = None) -> None:
        super().__init__(epochs=epochs, random_state=random_state)
        self.units = units

    def make_network(self, inputs: tuple[int, ...], outputs: int) -> Model:
        entry = Input(inputs)
        return Model(entry, Dense(outputs)(Dense(self.units)(entry)))


def test_networks_of_ones_own() -> None:
    rows = np.stack([X, X[::-1], -X], axis=2)  # [120, 4, 3]
    assert classifier(network=convolution, epochs=2).fit(rows, NAMES).network_.layers[1].filters == 2
    assert Classifier((4,), epochs=1).fit(rows, NAMES).predict(rows).shape == (120,)
    for y in (NAMES, NAMES == "oak"):
        own = Classifier(network=compiled, epochs=5).fit(X, y)
        assert set(own.history_) == {"loss", "acc"} and own.predict(X).dtype == y.dtype
        assert own.history_["acc"][-1] == pytest.approx(own.score(X, y), abs=0.15)
    narrow = clone(Narrow(units=3)).fit(X, X[:, 0])
    assert narrow.network_.layers[1].units == 3 and narrow.get_params()["units"] == 3
    with pytest.raises(ValueError, match=r"network: expected a model with one output of shape \(None, 3\)"):
        Classifier(network=lambda inputs, outputs: convolution(inputs, 5)).fit(rows, NAMES)
    with pytest.raises(ValueError, match="network"):
        Classifier(network=lambda inputs, outputs: None).fit(X, NAMES)


def test_in_a_pipeline_a_search_and_two_processes() -> None:
    pipeline = make_pipeline(StandardScaler(), classifier(epochs=4))
    grid = {"classifier__hidden": [(2,), (16,)]}
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=2).fit(X, NAMES)
    assert search.best_params_ == {"classifier__hidden": (16,)}
    alone = GridSearchCV(pipeline, grid, cv=2).fit(X, NAMES)
    assert (search.predict_proba(X) == alone.predict_proba(X)).all()
    for key in ("split0_test_score", "split1_test_score"):
        assert (search.cv_results_[key] == alone.cv_results_[key]).all()
    options = {"network": [functools.partial(convolution, filters=f) for f in (1, 3)]}
    rows = X.reshape(120, 4, 1)
    found = GridSearchCV(classifier(epochs=1), options, cv=2).fit(rows, NAMES)
    assert found.best_estimator_.network_.layers[1].filters in (1, 3)


def test_threads_of_joblib_give_the_same_bits(tmp_path: Path) -> None:
    import joblib

    with joblib.parallel_backend("threading", n_jobs=2):
        side = cross_val_score(regressor(epochs=2), X, X[:, 0], cv=3, n_jobs=2)
    assert (side == cross_val_score(regressor(epochs=2), X, X[:, 0], cv=3)).all()
    fitted = regressor(epochs=2).fit(X, X[:, 0])
    joblib.dump(fitted, tmp_path / "fitted.joblib")
    assert (joblib.load(tmp_path / "fitted.joblib").predict(X) == fitted.predict(X)).all()


def test_a_fitted_network_is_exported(tmp_path: Path) -> None:
    fitted = classifier(epochs=1).fit(X, NAMES)
    kcompile.export(fitted.network_, tmp_path / "trees.so")
    found = rt.load(tmp_path / "trees.so").predict(X.astype("f"))
    np.testing.assert_allclose(found, fitted.predict_proba(X), rtol=1e-5, atol=1e-6)


def test_keras_arguments_arrive() -> None:
    from kcompile.keras.callbacks import EarlyStopping
    from kcompile.keras.optimizers import SGD

    stopping = EarlyStopping(monitor="val_loss", min_delta=1e9)
    optimizer = SGD(momentum=0.9)
    found = regressor(callbacks=[stopping], validation_split=0.2, optimizer=optimizer, loss="mae").fit(
        X, X[:, 0]
    )
    assert len(found.history_["val_loss"]) == 2, "stopped early"
    assert found.network_.loss == "mae" and found.network_.optimizer is not optimizer
    assert found.network_.optimizer.get_config()["momentum"] == pytest.approx(0.9)
    assert found.network_.optimizer.get_config()["learning_rate"] == pytest.approx(0.01)
