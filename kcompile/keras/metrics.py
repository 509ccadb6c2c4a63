"""Metrics: like losses, functions of (y_true, y_pred) over ops, one number for each sample [n, ...].

A metric function may also leave a scalar (a value of the whole batch) or a dict of such results by
name. What a model reports is the average over samples. `accuracy` is chosen by the loss and the output,
as Keras does. Formulas are those of `keras/metrics.py` in Keras 2.3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras import losses
from kcompile.keras.losses import Loss, _like, indices
from kcompile.keras.utils.serialization import custom_names

MetricFunction = Callable[[Any, Any], Any]


def binary_accuracy(y_true: Any, y_pred: Tensor, threshold: float = 0.5) -> Tensor:
    """The share of elements where y_true is 1 and y_pred above the threshold, or 0 and not above."""
    said = ops.cast(y_pred > threshold, y_pred.dtype)
    return ops.reduce_mean(_share(ops.equal(_like(y_true, y_pred), said), y_pred), -1)


def categorical_accuracy(y_true: Any, y_pred: Tensor) -> Tensor:
    """1 where the largest score is at the largest label."""
    return _share(ops.equal(ops.argmax(_like(y_true, y_pred)), ops.argmax(y_pred)), y_pred)


def sparse_categorical_accuracy(y_true: Any, y_pred: Tensor) -> Tensor:
    """1 where the largest score is at the class number."""
    return _share(ops.equal(indices(y_true, y_pred), ops.argmax(y_pred)), y_pred)


def top_k_categorical_accuracy(y_true: Any, y_pred: Tensor, k: int = 5) -> Tensor:
    """1 where fewer than k classes score higher than the class of the largest label."""
    return sparse_top_k_categorical_accuracy(ops.argmax(_like(y_true, y_pred)), y_pred, k)


def sparse_top_k_categorical_accuracy(y_true: Any, y_pred: Tensor, k: int = 5) -> Tensor:
    """1 where fewer than k classes score higher than the class number's."""
    chosen = ops.one_hot(indices(y_true, y_pred), losses._classes(y_pred), y_pred.dtype)
    score = ops.reduce_sum(chosen * y_pred, -1, keepdims=True)
    higher = ops.reduce_sum(_share(y_pred > score, y_pred), -1)
    return _share(higher < float(k), y_pred)


def _share(hit: Tensor, like: Tensor) -> Tensor:
    return ops.cast(hit, like.dtype)


class Metric:
    """A metric function with its options and a name: what is written in compile(metrics=[...])."""

    function: MetricFunction

    def __init__(self, name: str | None = None, **arguments: Any) -> None:
        function = type(self).function
        self.name = name or function.__name__
        self.arguments = arguments

    def __call__(self, y_true: Any, y_pred: Tensor) -> Any:
        return type(self).function(y_true, y_pred, **self.arguments)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, **self.arguments}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Metric:
        return cls(**config)


class BinaryAccuracy(Metric):
    function = staticmethod(binary_accuracy)

    def __init__(self, name: str | None = None, threshold: float = 0.5) -> None:
        super().__init__(name, threshold=threshold)


class CategoricalAccuracy(Metric):
    function = staticmethod(categorical_accuracy)

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)


class SparseCategoricalAccuracy(Metric):
    function = staticmethod(sparse_categorical_accuracy)

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)


class TopKCategoricalAccuracy(Metric):
    function = staticmethod(top_k_categorical_accuracy)

    def __init__(self, k: int = 5, name: str | None = None) -> None:
        super().__init__(name, k=k)


class SparseTopKCategoricalAccuracy(Metric):
    function = staticmethod(sparse_top_k_categorical_accuracy)

    def __init__(self, k: int = 5, name: str | None = None) -> None:
        super().__init__(name, k=k)


mse = MSE = mean_squared_error = losses.mean_squared_error
mae = MAE = mean_absolute_error = losses.mean_absolute_error
mape = MAPE = mean_absolute_percentage_error = losses.mean_absolute_percentage_error
msle = MSLE = mean_squared_logarithmic_error = losses.mean_squared_logarithmic_error
kld = KLD = kullback_leibler_divergence = losses.kullback_leibler_divergence
cosine = cosine_proximity = losses.cosine_proximity
hinge = losses.hinge
squared_hinge = losses.squared_hinge
categorical_hinge = losses.categorical_hinge
logcosh = losses.logcosh
poisson = losses.poisson
binary_crossentropy = losses.binary_crossentropy
categorical_crossentropy = losses.categorical_crossentropy
sparse_categorical_crossentropy = losses.sparse_categorical_crossentropy

ACCURACIES: dict[str, MetricFunction] = {
    f.__name__: f for f in (
        binary_accuracy, categorical_accuracy, sparse_categorical_accuracy,
        top_k_categorical_accuracy, sparse_top_k_categorical_accuracy)}
CLASSES: dict[str, type[Metric]] = {
    c.__name__: c for c in (BinaryAccuracy, CategoricalAccuracy, SparseCategoricalAccuracy,
                            TopKCategoricalAccuracy, SparseTopKCategoricalAccuracy)}


def serialize(metric: Any) -> Any:
    """A function's name, or {"class_name", "config"} of an object."""
    if isinstance(metric, (Metric, Loss)):
        return {"class_name": type(metric).__name__, "config": metric.get_config()}
    return metric.__name__


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The inverse of `serialize`. Raises ValueError for an unknown name."""
    custom = custom_names(custom_objects)
    name = config["class_name"] if isinstance(config, Mapping) else config
    found = custom.get(name, CLASSES.get(name, ACCURACIES.get(name)))
    if found is None:
        try:
            return losses.deserialize(config)
        except ValueError:
            raise _unknown(name) from None
    if isinstance(config, Mapping):
        return found.from_config(config["config"])
    return found() if isinstance(found, type) else found


def _unknown(name: Any) -> ValueError:
    known = ("accuracy", "crossentropy", *ACCURACIES, *losses.FUNCTIONS)
    return ValueError(f"unknown metric. Expected one of {', '.join(known)}, a Metric, or a function "
                      f"of (y_true, y_pred). Received: {name!r}")


def get(identifier: Any) -> Any:
    """A metric by name, config, class, function or object: a callable of (y_true, y_pred)."""
    if isinstance(identifier, (str, Mapping)):
        return deserialize(identifier)
    if isinstance(identifier, type) and issubclass(identifier, (Metric, Loss)):
        return identifier()
    if callable(identifier):
        return identifier
    raise _unknown(identifier)


# ---------------------------------------------------------------- the metrics of a model's output


def _kind(loss: Any, y_true: Tensor, y_pred: Tensor, vintage: str) -> str:
    """Which accuracy or crossentropy belongs to an output: "binary", "categorical" or "sparse".

    Keras 2 looks at the loss, Keras 3 at the shapes alone.
    """
    function = losses.base_function(loss)
    if y_pred.shape[-1] == 1 or (vintage == "keras2" and function is losses.binary_crossentropy):
        return "binary"
    if function is losses.sparse_categorical_crossentropy:
        return "sparse"
    if vintage == "keras3" and y_true.shape != y_pred.shape:
        return "sparse"
    return "categorical"


BY_KIND: dict[str, dict[str, MetricFunction]] = {
    "acc": {"binary": binary_accuracy, "categorical": categorical_accuracy,
            "sparse": sparse_categorical_accuracy},
    "ce": {"binary": losses.binary_crossentropy, "categorical": losses.categorical_crossentropy,
           "sparse": losses.sparse_categorical_crossentropy},
}
CHOSEN = {"accuracy": "acc", "acc": "acc", "crossentropy": "ce", "ce": "ce"}


def resolve(metric: Any, loss: Any, y_true: Tensor, y_pred: Tensor, vintage: str
            ) -> tuple[str, MetricFunction]:
    """The reported name and the function of a metric of an output trained with `loss`.

    Names are those of Keras 2.2: "acc" for accuracy, a function's own name for the rest; for a model
    of vintage keras3 the text that was given.
    """
    if isinstance(metric, str) and metric in CHOSEN:
        short = CHOSEN[metric]
        kind = _kind(loss, y_true, y_pred, vintage)
        return metric if vintage == "keras3" else short, BY_KIND[short][kind]
    function = get(metric)
    if vintage == "keras3" and isinstance(metric, str):
        return metric, function
    return name_of(function), function


def name_of(function: Any) -> str:
    """The name of a metric function or object."""
    return str(getattr(function, "name", None) or getattr(function, "__name__", None)
               or type(function).__name__)


def evaluate(function: MetricFunction, name: str, y_true: Tensor, y_pred: Tensor
             ) -> list[tuple[str, Tensor]]:
    """The results of a metric, by name. Raises TypeError for a result that is no tensor."""
    result = function.call(y_true, y_pred) if isinstance(function, Loss) else function(y_true, y_pred)
    named = result.items() if isinstance(result, Mapping) else [(name, result)]
    for key, value in named:
        if not isinstance(value, Tensor):
            raise TypeError(f"metric {name!r}: expected a symbolic tensor, or a dict of them by name, "
                            f"as result. Received: {key}={value!r}. Write it over K functions.")
    return list(named)
