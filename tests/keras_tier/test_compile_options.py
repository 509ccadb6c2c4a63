"""Every loss and metric class of the installed Kerases, with each of its options: the same value, or a
refusal that names the class or the option."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile_runtime.errors import UnsupportedError

keras = pytest.importorskip("keras")
tf_keras = pytest.importorskip("tf_keras")
LIBRARIES = {"keras": keras, "tf_keras": tf_keras}

# A value for each option that is not its default. None: there is no other than the default.
OPTIONS: dict[str, Any] = {
    "from_logits": True,
    "label_smoothing": 0.1,
    "axis": 1,
    "delta": 2.0,
    "alpha": 0.3,
    "gamma": 1.0,
    "apply_class_balancing": True,
    "ignore_class": 1,
    "q": 0.3,
    "beta": 0.4,
    "threshold": 0.3,
    "k": 2,
    "from_sorted_ids": True,
    "reduction": "sum",
    "name": "mine",
    "dtype": "float16",
    "margin": 0.3,
    "remove_diagonal": False,
    "num_thresholds": 50,
    "curve": "PR",
    "summation_method": "minoring",
    "thresholds": [0.4, 0.6],
    "multi_label": True,
    "average": "macro",
    "top_k": 2,
    "class_id": 1,
}
NEEDED = {
    "num_classes": 3,
    "target_class_ids": [0],
    "recall": 0.5,
    "precision": 0.5,
    "specificity": 0.5,
    "sensitivity": 0.5,
}
CLASSES_AS_LABELS = ("SparseCategorical", "SparseTopK", "CategoricalGeneralized")
ABSTRACT = (
    "Loss",
    "Metric",
    "Reduction",
    "MeanMetricWrapper",
    "Mean",
    "Sum",
    "MeanTensor",
    "MeanRelativeError",
)
rng = np.random.default_rng(3)
SCORES = rng.uniform(0.05, 1, (10, 4, 3)).astype("float32")
SCORES /= SCORES.sum(-1, keepdims=True)
LABELS = np.eye(3, dtype="float32")[rng.integers(0, 3, (10, 4))]


def cases(kind: str) -> list[tuple[str, str, dict[str, Any]]]:
    found = []
    for library, module in LIBRARIES.items():
        for name, cls in sorted(vars(getattr(module, kind)).items()):
            if not inspect.isclass(cls) or name in ABSTRACT or not name[0].isupper():
                continue
            parameters = list(inspect.signature(cls.__init__).parameters)[1:]
            needed = {p: NEEDED[p] for p in parameters if p in NEEDED}
            found.append((library, name, needed))
            found += [(library, name, {**needed, p: OPTIONS[p]}) for p in parameters if p in OPTIONS]
    return found


def live(library: str, **compiled: Any) -> Any:
    module = LIBRARIES[library]
    model = module.Sequential([module.layers.Input((4, 3)), module.layers.Activation("linear")])
    model.compile("sgd", **compiled)
    return model


def compare(model: Any, name: str, options: dict[str, Any]) -> bool:
    """Whether the model can be compiled here; then its values are compared."""
    labels = LABELS.argmax(-1) if name.startswith(CLASSES_AS_LABELS) else LABELS
    try:
        ours = kcompile.compile(model)
        found = ours.evaluate(SCORES, labels, batch_size=5, verbose=0)
    except UnsupportedError as error:
        assert any(word in str(error) for word in (name, *options)), error
        return False
    expected = model.evaluate(SCORES, labels, batch_size=5, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)
    return True


@pytest.mark.keras
@pytest.mark.parametrize(("library", "name", "options"), cases("losses"))
def test_losses(library: str, name: str, options: dict[str, Any]) -> None:
    loss = getattr(LIBRARIES[library].losses, name)(**options)
    taken = compare(live(library, loss=loss), name, options)
    plain = set(options) <= {"reduction", "name"}
    unknown = ("CTC", "Circle", "Dice", "Tversky")
    assert taken or not plain or name in unknown


@pytest.mark.keras
@pytest.mark.parametrize(("library", "name", "options"), cases("metrics"))
def test_metrics(library: str, name: str, options: dict[str, Any]) -> None:
    metric = getattr(LIBRARIES[library].metrics, name)(**options)
    sparse = name.startswith(CLASSES_AS_LABELS)
    loss = "sparse_categorical_crossentropy" if sparse else "categorical_crossentropy"
    compare(live(library, loss=loss, metrics=[metric]), name, options)


def two_outputs(library: str, **compiled: Any) -> Any:
    module = LIBRARIES[library]
    x = module.layers.Input((3,))
    outputs = [module.layers.Dense(1, name="a")(x), module.layers.Dense(2, activation="softmax", name="b")(x)]
    model = module.Model(x, outputs)
    model.compile("sgd", **compiled)
    return model


CE = "sparse_categorical_crossentropy"
TWO: list[dict[str, Any]] = [
    {"loss": ["mse", CE], "metrics": [["mae"], ["accuracy"]]},
    {"loss": ["mse", CE], "metrics": [None, ["acc"]], "weighted_metrics": [["mae", "mse"], ["acc"]]},
    {"loss": ["mse", CE], "metrics": {"b": ["accuracy"]}, "loss_weights": [0.5, 2.0]},
    {"loss": ["mse", CE], "metrics": ["mse", "accuracy"], "weighted_metrics": [["mse"], None]},
    {"loss": ["mse", None]},
    {"loss": ["mse", None], "metrics": [["mae"], ["accuracy"]]},
    {"loss": [None, CE], "weighted_metrics": {"a": ["mae"], "b": ["accuracy"]}},
]


@pytest.mark.keras
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("number", range(len(TWO)))
def test_outputs_with_and_without_losses_and_metrics(library: str, number: int) -> None:
    model = two_outputs(library, **TWO[number])
    x = rng.normal(size=(8, 3)).astype("float32")
    labels = [x[:, :1], np.arange(8) % 2]
    weights = [np.linspace(0, 1, 8), np.linspace(2, 1, 8)]
    ours = kcompile.compile(model)
    found = ours.evaluate(x, labels, verbose=0, sample_weight=weights)
    expected = model.evaluate(x, labels, verbose=0, sample_weight=weights, return_dict=True)
    values = np.ravel(model.evaluate(x, labels, verbose=0, sample_weight=weights))
    names = ours.model.trainer.names()
    assert set(names) == set(expected)
    np.testing.assert_allclose(np.ravel(found), [expected[name] for name in names], rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(np.ravel(found), values, rtol=2e-5, atol=1e-6)  # in their order too


@pytest.mark.keras
@pytest.mark.parametrize("library", LIBRARIES)
def test_names_given_by_the_user_and_objects_as_functions(library: str) -> None:
    module = LIBRARIES[library]
    model = live(
        library,
        loss=module.losses.Huber(2.0, name="far"),
        metrics=[
            module.metrics.MeanMetricWrapper(module.losses.huber, name="near", delta=0.5),
            "cosine_similarity",
            *(
                [module.losses.cosine_similarity] if library == "keras" else []
            ),  # tf_keras refuses two of a name
            module.losses.mean_squared_error,
            module.metrics.CosineSimilarity(name="cos", axis=1),
        ],
    )
    ours = kcompile.compile(model)
    found = ours.evaluate(SCORES, LABELS * 5, verbose=0)
    expected = model.evaluate(SCORES, LABELS * 5, verbose=0, return_dict=True)
    names = ours.model.trainer.names()
    np.testing.assert_allclose(found, [expected[name] for name in names], rtol=2e-5, atol=1e-6)
    assert names[1:3] == ["near", "cosine_similarity"] and len(names) == len(expected)


@pytest.mark.keras
@pytest.mark.parametrize("library", LIBRARIES)
def test_functions_of_the_users_own_are_refused_by_name(library: str) -> None:
    for compiled, name in (
        ({"loss": lambda t, p: abs(t - p)}, "<lambda>"),
        ({"loss": "mse", "metrics": [compare]}, "compare"),
        ({"loss": type("Mine", (LIBRARIES[library].losses.Huber,), {})()}, "Mine"),
    ):
        with pytest.raises(UnsupportedError, match=name):
            kcompile.compile(live(library, **compiled))
