"""Metrics: like losses, functions of (y_true, y_pred) over ops, one number for each sample [n, ...].

A metric function may also leave a scalar (a value of the whole batch) or a dict of such results by
name. What a model reports is the average over samples; metrics with a state of their own give their result
instead (`metric`). `accuracy` is chosen by the loss and the output,
as Keras does. Formulas are those of `keras/metrics.py` in Keras 2.3.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor
from kcompile.keras import backend, loss_options, losses
from kcompile.keras.confusion import (
    AUC,
    FalseNegatives,
    FalsePositives,
    Precision,
    PrecisionAtRecall,
    Recall,
    RecallAtPrecision,
    SensitivityAtSpecificity,
    SpecificityAtSensitivity,
    TrueNegatives,
    TruePositives,
    weights_of,
)
from kcompile.keras.editions import edition
from kcompile.keras.layer_arguments import show_parameters
from kcompile.keras.losses import Loss, _like, indices
from kcompile.keras.mean_metrics import Mean as Mean
from kcompile.keras.mean_metrics import MeanRelativeError, MeanTensor, Sum
from kcompile.keras.metric import Metric, keeps_state, measured
from kcompile.keras.operands import lift, tensor
from kcompile.keras.score_metrics import (
    BinaryIoU,
    F1Score,
    FBetaScore,
    IoU,
    MeanIoU,
    OneHotIoU,
    OneHotMeanIoU,
    R2Score,
    RootMeanSquaredError,
)
from kcompile.keras.semantics import Semantics, semantics
from kcompile.keras.settings import epsilon, floatx, meaning, snake_case, uncounted
from kcompile.keras.tensors import is_integer
from kcompile.keras.utils.serialization import custom_names
from kcompile_runtime.checks import check_text
from kcompile_runtime.errors import InputTypeError, ModelError, describe

MetricFunction = Callable[[Any, Any], Any]


def binary_accuracy(y_true: Any, y_pred: Tensor, threshold: float = 0.5) -> Tensor:
    """The share of elements where y_true is 1 and y_pred above the threshold, or 0 and not above. In Keras 2
    y_pred is rounded, unless there is another threshold than 0.5. In Keras 3: 1 for each such element."""
    hits = _binary_hits(y_true, y_pred, threshold)
    return hits if meaning().binary_accuracy_of == "elements" else ops.reduce_mean(hits, -1)


def _binary_hits(y_true: Any, y_pred: Tensor, threshold: float = 0.5) -> Tensor:
    """1 for each element where they agree, else 0."""
    rounded = threshold == 0.5 and meaning().binary_accuracy == "rounded"
    said = backend.round(y_pred) if rounded else ops.cast(y_pred > threshold, y_pred.dtype)
    return _share(ops.equal(_like(y_true, y_pred), said), y_pred)


def categorical_accuracy(y_true: Any, y_pred: Tensor) -> Tensor:
    """1 where the largest score is at the largest label."""
    return _share(ops.equal(ops.argmax(_like(y_true, y_pred)), ops.argmax(y_pred)), y_pred)


def sparse_categorical_accuracy(y_true: Any, y_pred: Tensor) -> Tensor:
    """1 where the largest score is at the class number."""
    return _share(ops.equal(indices(y_true, y_pred), ops.argmax(y_pred)), y_pred)


def top_k_categorical_accuracy(y_true: Any, y_pred: Tensor, k: int = 5) -> Tensor:
    """1 where fewer than k classes score higher than the class of the largest label."""
    return sparse_top_k_categorical_accuracy(ops.argmax(_like(y_true, y_pred)), y_pred, k)


def sparse_top_k_categorical_accuracy(
    y_true: Any, y_pred: Tensor, k: int = 5, from_sorted_ids: bool = False
) -> Tensor:
    """1 where fewer than k classes score higher than the class number's. from_sorted_ids: y_pred holds class
    numbers, the best first."""
    if from_sorted_ids:
        y_true = ops.reshape(tensor(y_true), (*y_pred.shape[:-1], 1))
        found = ops.equal(y_pred[..., :k], ops.cast(y_true, y_pred.dtype))
        return ops.reduce_max(ops.cast(found, floatx()), -1)
    return _share(backend.in_top_k(y_pred, indices(y_true, y_pred), k), y_pred)


def _share(hit: Tensor, like: Tensor) -> Tensor:
    return ops.cast(hit, like.dtype)


def cosine_similarity(y_true: Any, y_pred: Tensor, axis: Any = -1) -> Tensor:
    """The cosine of the angle between y_true and y_pred, along an axis, or several; the batch is one too. The
    loss of this name is minus it."""
    return losses._cosine_along(y_true, y_pred, axis)


def cosine_proximity(y_true: Any, y_pred: Tensor, axis: int = -1) -> Tensor:
    """The same; in Keras 2.2 minus it, as the loss of this name."""
    value = cosine_similarity(y_true, y_pred, axis)
    return value if meaning().cosine_proximity == "plus" else -value


def accuracy(y_true: Any, y_pred: Tensor) -> Tensor:
    """1 where y_true and y_pred are equal."""
    return _share(ops.equal(_like(y_true, y_pred), y_pred), y_pred)


def pearson_correlation(y_true: Any, y_pred: Tensor, axis: Any = -1) -> Tensor:
    """The correlation of y_true and y_pred along an axis, or several (Pearson); the batch is one too."""
    parts = [y - ops.reduce_mean(y, axis, True) for y in (_like(y_true, y_pred), y_pred)]
    first, second = (y / ops.sqrt(ops.reduce_mean(ops.square(y), axis, True)) for y in parts)
    return ops.reduce_mean(first * second, axis)


def concordance_correlation(y_true: Any, y_pred: Tensor, axis: Any = -1) -> Tensor:
    """The correlation of y_true and y_pred along an axis, or several, less where their means or variances
    differ (Lin), as Keras 3 has it: it takes the distances of both from the mean of y_pred."""
    y_true = _like(y_true, y_pred)
    first, second = (ops.reduce_mean(y, axis, True) for y in (y_true, y_pred))
    spread = ops.square(first - second)
    for y, mean in ((y_true, first), (y_pred, second)):
        spread = spread + ops.reduce_mean(ops.square(y - mean), axis, True)
    return ops.reduce_mean((y_true - second) * (y_pred - second) * 2.0 / (spread + epsilon()), axis)


lift(globals(), "y_true", "y_pred")


class MeanMetricWrapper(Mean):
    """The mean of a function of (y_true, y_pred, **arguments). In a model its values are averaged, and
    nothing is kept; called on arrays it is a `Mean` of them."""

    function: MetricFunction

    def __init__(
        self, fn: MetricFunction, name: str | None = None, dtype: Any = None, **arguments: Any
    ) -> None:
        if not callable(fn):
            raise ModelError(describe("MeanMetricWrapper: fn", "a function of (y_true, y_pred)", repr(fn)))
        self.function = fn
        self._begin(name, dtype, arguments)

    def _begin(self, name: str | None, dtype: Any, arguments: dict[str, Any]) -> None:
        name = check_text(f"{type(self).__name__}: name", name, optional=True)
        super().__init__(name, dtype)
        self.arguments = arguments

    def is_averaged(self) -> bool:
        """Whether no subclass says otherwise what is reported than by the mean of the function, and that has
        a value for each sample, of the numbers that models compute in."""
        mine = type(self).update_state, type(self).result
        axis = self.arguments.get("axis", -1)
        return (
            mine == (MeanMetricWrapper.update_state, MeanMetricWrapper.result)
            and self.dtype == floatx()
            and is_integer(axis)
            and (axis == -1 or axis > 0)
            and self.arguments.get("ignore_class") is None
        )

    @property
    def asks_for_weights(self) -> bool:
        """Whether its value depends on whether weights are given, be they all 1."""
        always = semantics(self.vintage).ignored_class == "left out"
        return self.arguments.get("ignore_class") is not None and not always

    def values(self, y_true: Any, y_pred: Any) -> Any:
        """The values of which the mean is reported."""
        return self.function(y_true, y_pred, **self.arguments)

    def update_state(  # type: ignore[override]  # it takes what the function does
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        squeezed = semantics(self.vintage).means_count == "elements"
        y_true, y_pred = losses.same_rank(y_true, ops.cast(tensor(y_pred), self.dtype), squeezed)
        ignored, values = self.arguments.get("ignore_class"), self.values(y_true, y_pred)
        always = semantics(self.vintage).ignored_class == "left out"
        if ignored is not None and (always or sample_weight is not None):
            there = ops.cast(ops.not_equal(indices(y_true, y_pred), ignored), self.dtype)
            given = getattr(sample_weight, "given", True)
            if isinstance(given, Tensor) and not always:
                there = ops.select(given > 0.5, there, ops.ones_like(there))
            sample_weight = there if sample_weight is None else there * weights_of(sample_weight, there)
        super().update_state(values, sample_weight)

    def get_config(self) -> dict[str, Any]:
        own = {"fn": serialize(self.function)} if type(self) is MeanMetricWrapper else self._defaults()
        return {**super().get_config(), **own, **self.arguments}

    def _defaults(self) -> dict[str, Any]:
        """The options of the function that are not given, as far as configurations of all editions may have
        them: Keras 2's constructors do not take those that came later."""
        if not edition(self.vintage).eager:
            return {}
        options = {p.name: p.default for p in loss_options.options_of(type(self).function)}
        return {key: value for key, value in options.items() if key != "from_sorted_ids"}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Metric:
        fn = {"fn": get(config["fn"])} if "fn" in config else {}
        return cls(**{**config, **fn})


_PLAIN = inspect.Parameter.POSITIONAL_OR_KEYWORD
_NAME, _DTYPE = (inspect.Parameter(key, _PLAIN, default=None) for key in ("name", "dtype"))


def _class(
    cls: str, function: MetricFunction, label: str | None = None, behind: tuple[str, ...] = ()
) -> type[MeanMetricWrapper]:
    """The class of a metric function; its constructor takes name, dtype and the function's options.
    label: the name that it has by default. behind: options that Keras has before the name."""
    options = loss_options.options_of(function)
    parameters = [
        *(p for p in options if p.name in behind),
        _NAME.replace(default=label or function.__name__),
        _DTYPE,
        *(p for p in options if p.name not in behind),
    ]

    def __init__(self: MeanMetricWrapper, *args: Any, **kwargs: Any) -> None:
        given = loss_options.bound_options(cls, parameters, args, kwargs)
        name, dtype = check_text(f"{cls}: name", given.pop("name", None), True), given.pop("dtype", None)
        self._begin(name or label or function.__name__, dtype, loss_options.checked_options(cls, given))

    show_parameters(__init__, [inspect.Parameter("self", _PLAIN), *parameters])
    return type(
        cls,
        (MeanMetricWrapper,),
        {
            "__init__": __init__,
            "__doc__": function.__doc__,
            "__module__": __name__,
            "function": staticmethod(function),
        },
    )


Accuracy = _class("Accuracy", accuracy)
BinaryAccuracy = _class("BinaryAccuracy", binary_accuracy)
BinaryAccuracy.values = lambda self, y_true, y_pred: _binary_hits(y_true, y_pred, **self.arguments)  # type: ignore[method-assign]
CategoricalAccuracy = _class("CategoricalAccuracy", categorical_accuracy)
SparseCategoricalAccuracy = _class("SparseCategoricalAccuracy", sparse_categorical_accuracy)
TopKCategoricalAccuracy = _class("TopKCategoricalAccuracy", top_k_categorical_accuracy, behind=("k",))
SparseTopKCategoricalAccuracy = _class(
    "SparseTopKCategoricalAccuracy", sparse_top_k_categorical_accuracy, behind=("k",)
)
MeanSquaredError = _class("MeanSquaredError", losses.mean_squared_error)
MeanAbsoluteError = _class("MeanAbsoluteError", losses.mean_absolute_error)
MeanAbsolutePercentageError = _class("MeanAbsolutePercentageError", losses.mean_absolute_percentage_error)
MeanSquaredLogarithmicError = _class("MeanSquaredLogarithmicError", losses.mean_squared_logarithmic_error)
LogCoshError = _class("LogCoshError", losses.logcosh)
Poisson = _class("Poisson", losses.poisson)
KLDivergence = _class("KLDivergence", losses.kullback_leibler_divergence)
Hinge = _class("Hinge", losses.hinge)
SquaredHinge = _class("SquaredHinge", losses.squared_hinge)
CategoricalHinge = _class("CategoricalHinge", losses.categorical_hinge)
CosineSimilarity = _class("CosineSimilarity", cosine_similarity)
PearsonCorrelation = _class("PearsonCorrelation", pearson_correlation)
ConcordanceCorrelation = _class("ConcordanceCorrelation", concordance_correlation)
BinaryCrossentropy = _class("BinaryCrossentropy", losses.binary_crossentropy)
CategoricalCrossentropy = _class("CategoricalCrossentropy", losses.categorical_crossentropy)
SparseCategoricalCrossentropy = _class(
    "SparseCategoricalCrossentropy", losses.sparse_categorical_crossentropy
)

mse = MSE = mean_squared_error = losses.mean_squared_error
mae = MAE = mean_absolute_error = losses.mean_absolute_error
mape = MAPE = mean_absolute_percentage_error = losses.mean_absolute_percentage_error
msle = MSLE = mean_squared_logarithmic_error = losses.mean_squared_logarithmic_error
kld = KLD = kl_divergence = kullback_leibler_divergence = losses.kullback_leibler_divergence
cosine = cosine_proximity
hinge = losses.hinge
squared_hinge = losses.squared_hinge
categorical_hinge = losses.categorical_hinge
log_cosh = logcosh = losses.logcosh
huber = losses.huber_loss
binary_focal_crossentropy = losses.binary_focal_crossentropy
categorical_focal_crossentropy = losses.categorical_focal_crossentropy
poisson = losses.poisson
binary_crossentropy = losses.binary_crossentropy
categorical_crossentropy = losses.categorical_crossentropy
sparse_categorical_crossentropy = losses.sparse_categorical_crossentropy

# What a name means here before it means a loss: accuracies, and what has another sign as a loss.
FUNCTIONS: dict[str, MetricFunction] = {
    f.__name__: f
    for f in (
        binary_accuracy,
        categorical_accuracy,
        sparse_categorical_accuracy,
        top_k_categorical_accuracy,
        sparse_top_k_categorical_accuracy,
        cosine_similarity,
        cosine_proximity,
        pearson_correlation,
        concordance_correlation,
    )
}
FUNCTIONS["cosine"] = cosine_proximity
CLASSES: dict[str, type[Metric]] = {
    c.__name__: c
    for c in (
        Mean,
        MeanMetricWrapper,
        MeanRelativeError,
        MeanTensor,
        AUC,
        FalseNegatives,
        FalsePositives,
        Precision,
        PrecisionAtRecall,
        Recall,
        RecallAtPrecision,
        SensitivityAtSpecificity,
        SpecificityAtSensitivity,
        TrueNegatives,
        TruePositives,
        BinaryIoU,
        F1Score,
        FBetaScore,
        IoU,
        MeanIoU,
        OneHotIoU,
        OneHotMeanIoU,
        R2Score,
        RootMeanSquaredError,
        Sum,
        PearsonCorrelation,
        ConcordanceCorrelation,
        Accuracy,
        BinaryAccuracy,
        CategoricalAccuracy,
        SparseCategoricalAccuracy,
        TopKCategoricalAccuracy,
        SparseTopKCategoricalAccuracy,
        MeanSquaredError,
        MeanAbsoluteError,
        MeanAbsolutePercentageError,
        MeanSquaredLogarithmicError,
        LogCoshError,
        Poisson,
        KLDivergence,
        Hinge,
        SquaredHinge,
        CategoricalHinge,
        CosineSimilarity,
        BinaryCrossentropy,
        CategoricalCrossentropy,
        SparseCategoricalCrossentropy,
    )
}


def serialize(metric: Any) -> Any:
    """A function's name, or {"class_name", "config"} of an object."""
    if isinstance(metric, (Metric, Loss)):
        return {"class_name": type(metric).__name__, "config": metric.get_config()}
    return losses.serialize(metric)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The inverse of `serialize`. Raises ModelError for an unknown name, or options that do not fit."""
    custom = custom_names(custom_objects)
    name = config.get("class_name") if isinstance(config, Mapping) else config
    if not isinstance(name, str):
        raise _unknown(config)
    if isinstance(config, Mapping):
        found = custom.get(name, CLASSES.get(name, losses.CLASSES.get(name)))
        if found is None:
            raise _unknown(name)
        return found.from_config(config.get("config") or {})
    found = custom.get(name, FUNCTIONS.get(name, losses.FUNCTIONS.get(name, losses.ALIASES.get(name))))
    found = CLASSES.get(name, _by_words().get(name)) if found is None else found
    if found is None:
        raise _unknown(name)
    return found() if isinstance(found, type) else found


def _unknown(name: Any) -> ModelError:
    known = ("accuracy", "crossentropy", *FUNCTIONS, *losses.FUNCTIONS)
    return ModelError(
        describe(
            "unknown metric",
            f"one of {', '.join(known)}, a Metric, or a function of (y_true, y_pred)",
            repr(name),
        )
    )


@functools.cache
def _by_words() -> dict[str, type[Metric]]:
    """The classes by the words of their names, by which Keras 3 knows them too: root_mean_squared_error."""
    return {snake_case(name): found for name, found in CLASSES.items()}


def seen(identifier: Any) -> Any:
    """What `get` gives, to be asked what it is: an object that is made takes no number for its name."""
    with uncounted():
        return get(identifier)


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


def _kind(loss: Any, y_true: Tensor, y_pred: Tensor, meaning: Semantics) -> str:
    """The kind of accuracy or crossentropy that fits an output: "binary", "categorical" or "sparse".

    Keras 2 looks at the loss, Keras 3 at the shapes alone.
    """
    function, by_loss = losses.base_function(loss), meaning.accuracy_by == "loss"
    if y_pred.shape[-1] == 1 or (by_loss and function is losses.binary_crossentropy):
        return "binary"
    if losses.takes_classes(loss):
        return "sparse"
    if not by_loss and y_true.shape != y_pred.shape:
        return "sparse"
    return "categorical"


BY_KIND: dict[str, dict[str, MetricFunction]] = {
    "acc": {
        "binary": binary_accuracy,
        "categorical": categorical_accuracy,
        "sparse": sparse_categorical_accuracy,
    },
    "ce": {
        "binary": losses.binary_crossentropy,
        "categorical": losses.categorical_crossentropy,
        "sparse": losses.sparse_categorical_crossentropy,
    },
}
CHOSEN = {"accuracy": "acc", "acc": "acc", "ACC": "acc", "crossentropy": "ce", "ce": "ce"}


def resolve(metric: Any, loss: Any, y_true: Tensor, y_pred: Tensor, meaning: Semantics) -> MetricFunction:
    """The function of a metric of an output trained with `loss`."""
    if isinstance(metric, str) and metric in CHOSEN:
        return BY_KIND[CHOSEN[metric]][_kind(loss, y_true, y_pred, meaning)]
    function: MetricFunction = get(metric)
    return function


def name_in(metric: Any, meaning: Semantics) -> str:
    """The name by which a model reports a metric.

    Names are those of Keras 2.2: "acc" for accuracy, a function's own name for the rest; for a model
    whose Keras reports names as given the text that was given.
    """
    if isinstance(metric, str) and metric in CHOSEN:
        return CHOSEN[metric] if meaning.metric_names == "own" else metric
    function = seen(metric)
    if isinstance(metric, str) and (
        meaning.metric_names == "given"
        or (meaning.metric_names == "given function" and not isinstance(function, (Metric, Loss)))
    ):
        return metric
    return _name_of(function, meaning.name)


# Those of which more is better; of a function of the user's own nobody knows.
_MORE_IS_BETTER = frozenset((accuracy, *FUNCTIONS.values()))


def _base(metric: Any) -> Any:
    """The function of a metric, without the options and names around it."""
    found = seen(metric)
    return found.function if isinstance(found, MeanMetricWrapper) else losses.base_function(found)


def is_ours(metric: Any) -> bool:
    """Whether a metric is one of ours, and so has one result."""
    if isinstance(metric, str) and metric in CHOSEN:
        return True
    if keeps_state(metric):
        return False
    return _base(metric) in _MORE_IS_BETTER or _base(metric) in losses.FUNCTIONS.values()


def more_is_better(metric: Any) -> bool | None:
    """Whether more of a metric is better than less; None where that is not known."""
    if isinstance(metric, str) and metric in CHOSEN:
        return CHOSEN[metric] == "acc"
    function = _base(metric)
    if function in _MORE_IS_BETTER:
        return True
    return False if function in losses.FUNCTIONS.values() else None


def _name_of(function: Any, vintage: str) -> str:
    """The name of a metric function or object: Keras 3 names functions as it does classes, and objects that
    have no name are named by their class, since tf.keras so too."""
    given, named = getattr(function, "name", None), getattr(function, "__name__", None)
    if given or (named and not edition(vintage).operations):
        return str(given or named)
    name = str(named or type(function).__name__)
    return snake_case(name, vintage) if edition(vintage).eager else name


def evaluate(
    function: MetricFunction, name: str, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
) -> list[tuple[str, Tensor]]:
    """The results of a metric, by name: values for the model to average, or (sample_weight is for these) what
    its state gives. Raises InputTypeError for a result that is no tensor."""
    if keeps_state(function):
        result = measured(function, y_true, y_pred, sample_weight)
    elif isinstance(function, (Loss, MeanMetricWrapper)):
        result = function.values(y_true, y_pred)
    else:
        result = function(y_true, y_pred)
    named = result.items() if isinstance(result, Mapping) else [(name, result)]
    for key, value in named:
        if not isinstance(value, Tensor):
            raise InputTypeError(
                describe(
                    f"metric {name!r}",
                    "a symbolic tensor, or a dict of them by name, as result",
                    f"{key}={value!r}",
                    "Write it over K functions.",
                )
            )
    return list(named)
