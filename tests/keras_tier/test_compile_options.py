"""Every loss and metric class of the installed Kerases, with each of its options, in live models: the same
value, or a refusal that names the class or the option."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile_runtime.errors import UnsupportedError

pytest.importorskip("keras")
LIBRARIES = {
    name: importlib.import_module(name)
    for name in ("keras", "tf_keras")
    if importlib.util.find_spec(name) is not None
}

# A value for each option that is not its default.
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
    "num_labels": 3,
    "label_weights": [1.0, 2.0, 4.0],
    "average": "macro",
    "top_k": 2,
    "class_id": 1,
    "class_aggregation": None,
    "num_regressors": 2,
    "sparse_y_true": False,
    "sparse_y_pred": False,
}
# What is the default of other classes
MORE = {
    **{(name, "axis"): [-1] for name in ("Dice", "Tversky")},
    **{
        (name, "dtype"): ["float32"] for name in ("IoU", "MeanIoU", "OneHotIoU", "OneHotMeanIoU", "BinaryIoU")
    },
}
NEEDED = {
    "num_classes": 3,
    "target_class_ids": [0],
    "recall": 0.5,
    "precision": 0.5,
    "specificity": 0.5,
    "sensitivity": 0.5,
    "normalizer": [1.0, 2.0, 0.0],
}
BESIDE = {"num_labels": {"multi_label": True}, "label_weights": {"multi_label": True}}  # what an option needs
ABSTRACT = ("Loss", "Metric", "Reduction", "MeanMetricWrapper", "Mean", "Sum", "MeanTensor")
SPARSE = ("SparseCategorical", "SparseTopK", "CategoricalGeneralized")
OF_CLASS_NUMBERS = ("IoU", "MeanIoU")
ONE_HOT = ("OneHotIoU", "OneHotMeanIoU")
POSITIVE = ("MeanAbsolutePercentageError", "MeanSquaredLogarithmicError", "Poisson", "Dice", "Tversky")
HALF = 4e-3  # float16 is computed in float32 here: what its rounding is worth
Case = tuple[str, dict[str, Any]]

# What the library itself does not take
AMISS = {
    *(("tf_keras", kind, "dtype") for kind in ("TopKCategoricalAccuracy", "SparseTopKCategoricalAccuracy")),
    *(("tf_keras", kind, "dtype") for kind in ("F1Score", "FBetaScore", "R2Score")),
    # its result takes the axis of the classes for one of the matrix's diagonal
    *(("keras", kind, "axis") for kind in ("IoU", "MeanIoU", "OneHotIoU", "OneHotMeanIoU")),
    # its result asks a number for its truth where a graph is traced
    *((library, "R2Score", "num_regressors") for library in ("keras", "tf_keras")),
}
# Options that the libraries write into files that they cannot read
UNREADABLE = frozenset({"label_weights", "normalizer"})
# Values [n, 3] that the libraries do not multiply by weights [n]
UNWEIGHTED = {("losses", "keras", "steps"), ("metrics", "tf_keras", "steps")}
UNWEIGHTED_CLASSES = {("tf_keras", "F1Score"), ("tf_keras", "FBetaScore")}
# What is refused here, with an error that names it
REFUSED = {("SparseCategoricalCrossentropy", "axis")}


def cases(library: str, module: str) -> list[tuple[str, Case]]:
    """The classes of a module with each of their options, and the data for them."""
    found: list[tuple[str, Case]] = []
    for name, cls in sorted(vars(getattr(LIBRARIES[library], module)).items()):
        if not inspect.isclass(cls) or name in ABSTRACT or not name[0].isupper():
            continue
        parameters = list(inspect.signature(cls.__init__).parameters)[1:]
        needed = {p: NEEDED[p] for p in parameters if p in NEEDED}
        found.append((data_of(name, ""), (name, needed)))
        for option in parameters:
            if option in OPTIONS and (library, name, option) not in AMISS:
                for value in [OPTIONS[option], *MORE.get((name, option), ())]:
                    given = {**needed, **BESIDE.get(option, {}), option: value}
                    found.append((data_of(name, option), (name, given)))
    return found


def data_of(name: str, option: str) -> str:
    """The kind of data that suits a class with an option."""
    if option == "from_sorted_ids":
        return "sorted"
    if name in OF_CLASS_NUMBERS:
        return {"sparse_y_pred": "sparse", "sparse_y_true": "one-hot and labels", "axis": "labels"}.get(
            option, "labels"
        )
    if name == "BinaryIoU":
        return "column"
    if name in ONE_HOT and option == "sparse_y_pred":
        return "one-hot and labels"
    if name in ("CTC", "Circle"):
        return name
    if name in POSITIVE:
        return "positive"
    if name.startswith(SPARSE):
        return "sparse"
    return "steps" if option == "axis" else "classes"


def batch(kind: str, n: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Labels and outputs."""
    rng = np.random.default_rng(3)
    one_hot, labels, steps = np.eye(3, dtype="f"), rng.integers(0, 3, n), rng.integers(0, 3, (n, 3))
    scores, each = rng.dirichlet(np.ones(3), n).astype("f"), rng.dirichlet(np.ones(3), (n, 3)).astype("f")
    numbers = rng.uniform(0.1, 2, (2, n, 3)).astype("f")
    found = rng.integers(0, 3, (n, 1)).astype("f")
    return {
        "classes": (one_hot[labels], scores),
        "steps": (one_hot[steps], each),
        "positive": (numbers[0], numbers[1]),
        "sparse": (labels, scores),
        "column": (one_hot[labels, :1], scores[:, :1]),
        "labels": (labels[:, None].astype("f"), found),
        "one-hot and labels": (one_hot[labels], found),
        "sorted": (labels[:, None], np.stack([rng.permutation(3) for _ in range(n)]).astype("f")),
        "Circle": (labels, scores / np.linalg.norm(scores, axis=1, keepdims=True)),
        "CTC": (rng.integers(1, 3, (n, 2)), np.log(rng.dirichlet(np.ones(3), (n, 6))).astype("f")),
    }[kind]


def reported(model: Any, x: Any, y: Any, w: Any = None) -> dict[str, Any]:
    return dict(model.evaluate(x, y, sample_weight=w, batch_size=5, verbose=0, return_dict=True))


def compare(found: dict[str, Any], expected: dict[str, Any], half: bool = False) -> None:
    """The same by each name. half: what is of float16, by its name, has fewer digits, and so has the sum."""
    assert found.keys() == expected.keys()
    for name, right in expected.items():
        rough = half and (name == "loss" or "_dtype" in name)
        rtol, atol = (HALF, HALF) if rough else (2e-5, 1e-6)
        assert np.shape(found[name]) == np.shape(right), name
        np.testing.assert_allclose(found[name], right, rtol=rtol, atol=atol, err_msg=name)


def kinds(module: str) -> list[tuple[str, str]]:
    """The libraries, with each kind of data that cases of a module have."""
    return [
        (library, data)
        for library in LIBRARIES
        for data in dict.fromkeys(d for d, _ in cases(library, module))
    ]


def chosen(library: str, module: str, data: str, half: bool = False) -> dict[str, Case]:
    """The cases of a kind of data by names that say what they are of, but for those that are refused. half:
    those of float16 too."""
    found = {}
    for number, (kind, (name, options)) in enumerate(cases(library, module)):
        said = [key for key in options if key not in NEEDED]
        if kind == data and (half or "dtype" not in said) and not {(name, key) for key in said} & REFUSED:
            found["_".join([f"n{number}", name, *said])] = name, options
    return found


def with_losses(library: str, data: str, half: bool = False) -> tuple[Any, Any, Any]:
    """A model with an output for each case of losses; its inputs and labels."""
    module, (y, x), named = LIBRARIES[library], batch(data), chosen(library, "losses", data, half)
    inputs = module.layers.Input(x.shape[1:])
    outputs = [module.layers.Activation("linear", name=name)(inputs) for name in named]
    model = module.models.Model(inputs, outputs)
    model.compile("sgd", {name: getattr(module.losses, kind)(**o) for name, (kind, o) in named.items()})
    return model, x, [y] * len(named)


def with_metrics(
    library: str, data: str, half: bool = False, weighted: bool = False, without: frozenset[str] = frozenset()
) -> tuple[Any, Any, Any]:
    """A model with each case of metrics; its inputs and labels. weighted: and each in weighted_metrics."""
    module, (y, x), every = LIBRARIES[library], batch(data), chosen(library, "metrics", data, half)
    named = {name: case for name, case in every.items() if not case[1].keys() & without}
    inputs = module.layers.Input(x.shape[1:])
    model = module.models.Model(inputs, module.layers.Activation("linear")(inputs))
    plain, more = (
        [
            getattr(module.metrics, kind)(**{**o, "name": way + name})
            for name, (kind, o) in named.items()
            if not (way and (library, kind) in UNWEIGHTED_CLASSES)
        ]
        for way in ("", "weighted_")
    )
    model.compile("sgd", None, metrics=plain, weighted_metrics=more if weighted else None)
    return model, x, y


@pytest.mark.parametrize(("library", "data"), kinds("losses"))
def test_losses(library: str, data: str) -> None:
    model, x, y = with_losses(library, data)
    compare(reported(kcompile.compile(model), x, y), reported(model, x, y))


@pytest.mark.parametrize(("library", "data"), kinds("metrics"))
def test_metrics(library: str, data: str) -> None:
    model, x, y = with_metrics(library, data)
    compare(reported(kcompile.compile(model), x, y), reported(model, x, y))


@pytest.mark.slow
@pytest.mark.parametrize(("library", "data"), kinds("losses"))
def test_losses_with_weights_in_models_and_in_files(library: str, data: str, tmp_path: Path) -> None:
    model, x, y = with_losses(library, data, half=True)
    model.save(tmp_path / "m.keras")
    again = LIBRARIES[library].models.load_model(tmp_path / "m.keras")  # which may know fewer options
    w = np.random.default_rng(1).uniform(0, 2, len(x)).astype("f")
    for given in [None] if ("losses", library, data) in UNWEIGHTED else [[w] * len(y), None]:
        compare(reported(kcompile.compile(model), x, y, given), reported(model, x, y, given), half=True)
        found = reported(kcompile.load(tmp_path / "m.keras"), x, y, given)
        compare(found, reported(again, x, y, given), half=True)


@pytest.mark.slow
@pytest.mark.parametrize(("library", "data"), kinds("metrics"))
def test_metrics_with_weights_in_models_and_in_files(library: str, data: str, tmp_path: Path) -> None:
    model, x, y = with_metrics(library, data, half=True, weighted=True)
    in_files, *_ = with_metrics(library, data, half=True, weighted=True, without=UNREADABLE)
    in_files.save(tmp_path / "m.keras")
    again = LIBRARIES[library].models.load_model(tmp_path / "m.keras")  # which may know fewer options
    w = np.random.default_rng(1).uniform(0, 2, len(x)).astype("f")
    for given in [None] if ("metrics", library, data) in UNWEIGHTED else [w, None]:
        compare(reported(kcompile.compile(model), x, y, given), reported(model, x, y, given), half=True)
        found = reported(kcompile.load(tmp_path / "m.keras"), x, y, given)
        compare(found, reported(again, x, y, given), half=True)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("module", ["losses", "metrics"])
def test_every_option_has_a_value(library: str, module: str) -> None:
    for name, cls in vars(getattr(LIBRARIES[library], module)).items():
        if inspect.isclass(cls) and name not in ABSTRACT:
            parameters = list(inspect.signature(cls.__init__).parameters)[1:]
            assert not [p for p in parameters if p not in OPTIONS and p not in NEEDED], name


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("name", "option"), sorted(REFUSED))
def test_what_is_refused_is_named(library: str, name: str, option: str) -> None:
    y, x = batch("steps")
    for module, place in (("losses", "loss"), ("metrics", "metrics")):
        cls = getattr(getattr(LIBRARIES[library], module), name)
        if option in inspect.signature(cls.__init__).parameters:
            model = live(library, **{place: [cls(**{option: OPTIONS[option]})]})
            with pytest.raises(UnsupportedError, match=option):
                kcompile.compile(model).evaluate(x, y.argmax(-1), verbose=0)


def live(library: str, **compiled: Any) -> Any:
    module = LIBRARIES[library]
    model = module.Sequential([module.layers.Input((3, 3)), module.layers.Activation("linear")])
    model.compile("sgd", **compiled)
    return model


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


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("number", range(len(TWO)))
def test_outputs_with_and_without_losses_and_metrics(library: str, number: int) -> None:
    model = two_outputs(library, **TWO[number])
    x = np.random.default_rng(3).normal(size=(8, 3)).astype("float32")
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
    y, x = batch("steps")
    found = ours.evaluate(x, y * 5, verbose=0)
    expected = model.evaluate(x, y * 5, verbose=0, return_dict=True)
    names = ours.model.trainer.names()
    np.testing.assert_allclose(found, [expected[name] for name in names], rtol=2e-5, atol=1e-6)
    assert names[1:3] == ["near", "cosine_similarity"] and len(names) == len(expected)


def squares(y_true: Any, y_pred: Any) -> Any:
    return (y_true - y_pred) ** 2


def CubesOf(y_true: Any, y_pred: Any) -> Any:
    return abs(y_true - y_pred) ** 3


def of_ones_own(library: str) -> list[tuple[str, dict[str, Any]]]:
    """Losses and metrics of a user's own, by a name of theirs."""

    class Mine(LIBRARIES[library].losses.Huber):  # type: ignore[misc,name-defined]
        pass

    class Own(LIBRARIES[library].losses.Loss):  # type: ignore[misc,name-defined]
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return squares(y_true, y_pred)

    return [
        ("<lambda>", {"loss": lambda t, p: abs(t - p)}),
        ("Mine", {"loss": Mine(0.1)}),
        ("Own", {"loss": Own(reduction="sum", name="mine")}),
        ("squares", {"loss": "mse", "metrics": [squares, CubesOf, lambda t, p: t * p]}),
        ("CubesOf", {"loss": "mse", "weighted_metrics": [CubesOf]}),
    ]


def test_functions_and_losses_of_the_users_own_are_traced() -> None:
    y, x = batch("steps")
    for _, compiled in of_ones_own("keras"):
        model = live("keras", **compiled)
        compare(reported(kcompile.compile(model), x, y), reported(model, x, y))


@pytest.mark.skipif("tf_keras" not in LIBRARIES, reason="Keras 3 on JAX traces all of these")
def test_what_of_the_users_own_cannot_be_traced_is_refused_by_name() -> None:
    class Counts(LIBRARIES["tf_keras"].metrics.MeanMetricWrapper):  # type: ignore[misc,name-defined]
        pass

    for name, options in [
        *of_ones_own("tf_keras"),
        ("Counts", {"loss": "mse", "metrics": [Counts(squares)]}),
    ]:
        with pytest.raises(UnsupportedError, match=name):
            kcompile.compile(live("tf_keras", **options))
