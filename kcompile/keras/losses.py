"""Losses: written over ops on symbolic tensors, so that they differentiate and compile as layers do.

A loss function takes y_true and y_pred of shape [n, ..., d] and leaves one number for each sample (and
each position of the axes between): [n, ...]. Labels of another dtype are cast to that of y_pred. A
`Loss` object adds the reduction. Formulas are those of `keras/losses.py` in Keras 2.3; Keras 3 has the
same values. Crossentropies of probabilities clip at 1e-7, as Keras does.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

from kcompile.ir import ops
from kcompile.ir.tensor import Tensor, as_tensor
from kcompile.keras.crossentropy import (
    binary_terms,
    classes_on,
    clipped,
    log_probabilities,
    logits_behind,
    smoothed,
    spread,
)
from kcompile.keras.editions import edition
from kcompile.keras.layer_arguments import show_parameters
from kcompile.keras.loss_options import Reduction as Reduction
from kcompile.keras.loss_options import bound_options, checked_options, number_type, options_of
from kcompile.keras.newer_losses import circle, ctc, dice, tversky
from kcompile.keras.operands import lift, over
from kcompile.keras.settings import OfScript, epsilon, floatx, meaning, running, vintage_made, vintage_running
from kcompile.keras.tensors import is_integer
from kcompile.keras.utils.serialization import custom_names
from kcompile.keras.utils.serialization import serialize as serialize_object
from kcompile_runtime.checks import check_text
from kcompile_runtime.errors import ModelError, UnsupportedError, describe

LossFunction = Callable[[Any, Any], Tensor]


def _like(y_true: Any, y_pred: Tensor) -> Tensor:
    """Labels as a tensor of the outputs' dtype, in Keras 3 [n] beside [n, 1] as [n, 1]."""
    y_true = ops.cast(as_tensor(y_pred.graph, y_true), y_pred.dtype)
    column = y_true.rank == 1 and y_pred.rank == 2 and y_pred.shape[-1] == 1
    if column and edition(vintage_running()).operations:
        return ops.reshape(y_true, (*y_true.shape, 1))
    return y_true


def same_rank(y_true: Any, y_pred: Tensor, squeezed: bool = False) -> tuple[Any, Tensor]:
    """Both with as many axes, where the last one of either has size 1 and is all that the other lacks: since
    tf.keras. squeezed: without that axis, also where they are vectors then, as metrics of tf.keras have them;
    else vectors get one."""
    if not edition(vintage_running()).eager:
        return y_true, y_pred
    y_true = as_tensor(y_pred.graph, y_true)
    if y_true.rank == y_pred.rank - 1 and y_pred.shape[-1] == 1:
        if squeezed:
            return y_true, ops.reshape(y_pred, y_pred.shape[:-1])
        return ops.reshape(y_true, (*y_true.shape, 1)), y_pred
    if y_true.rank == y_pred.rank + 1 and y_true.shape[-1] == 1:
        return (
            (y_true, ops.reshape(y_pred, (*y_pred.shape, 1)))
            if y_pred.rank == 1 and not squeezed
            else (ops.reshape(y_true, y_true.shape[:-1]), y_pred)
        )
    return y_true, y_pred


def _feature_axis(name: str, axis: Any, y_pred: Tensor) -> int:
    """An axis of y_pred that is not the batch's, from 0 on; of a vector (K.flatten gives one) the only
    one. Raises ModelError for any other."""
    rank = y_pred.rank
    if is_integer(axis) and -rank <= axis < rank and (axis % rank or rank == 1):
        return int(axis) % rank
    raise ModelError(describe(f"{name}: axis", f"an axis of {y_pred.type} other than the batch", repr(axis)))


# ---------------------------------------------------------------- regression


def mean_squared_error(y_true: Any, y_pred: Tensor) -> Tensor:
    """mean((y_pred - y_true)^2)"""
    return ops.reduce_mean(ops.square(y_pred - _like(y_true, y_pred)), -1)


def mean_absolute_error(y_true: Any, y_pred: Tensor) -> Tensor:
    """mean(|y_pred - y_true|)"""
    return ops.reduce_mean(ops.abs(y_pred - _like(y_true, y_pred)), -1)


def mean_absolute_percentage_error(y_true: Any, y_pred: Tensor) -> Tensor:
    """100 mean(|y_true - y_pred| / max(|y_true|, 1e-7))"""
    y_true = _like(y_true, y_pred)
    share = ops.abs((y_true - y_pred) / ops.maximum(ops.abs(y_true), epsilon()))
    return ops.reduce_mean(share, -1) * 100.0


def mean_squared_logarithmic_error(y_true: Any, y_pred: Tensor) -> Tensor:
    """mean((log(y_pred + 1) - log(y_true + 1))^2), both at least 1e-7."""
    y_true = _like(y_true, y_pred)
    first, second = (ops.log(ops.maximum(y, epsilon()) + 1.0) for y in (y_pred, y_true))
    return ops.reduce_mean(ops.square(first - second), -1)


def logcosh(y_true: Any, y_pred: Tensor) -> Tensor:
    """mean(log(cosh(y_pred - y_true))), without overflow."""
    x = y_pred - _like(y_true, y_pred)
    return ops.reduce_mean(x + ops.softplus(x * -2.0) - math.log(2.0), -1)


def huber_loss(y_true: Any, y_pred: Tensor, delta: float = 1.0) -> Tensor:
    """mean of e^2 / 2 where |e| <= delta, and delta |e| - delta^2 / 2 elsewhere."""
    error = ops.abs(y_pred - _like(y_true, y_pred))
    near = ops.minimum(error, delta)
    return ops.reduce_mean(ops.square(near) * 0.5 + (error - near) * delta, -1)


def poisson(y_true: Any, y_pred: Tensor) -> Tensor:
    """mean(y_pred - y_true log(y_pred + 1e-7))"""
    return ops.reduce_mean(y_pred - _like(y_true, y_pred) * ops.log(y_pred + epsilon()), -1)


def cosine_proximity(y_true: Any, y_pred: Tensor, axis: int = -1) -> Tensor:
    """Minus the cosine of the angle between y_true and y_pred; since tf.keras also along the batch, where
    there is one for each feature."""
    across = edition(vintage_running()).eager and is_integer(axis) and axis in (0, -y_pred.rank)
    along = 0 if across else _feature_axis("cosine_similarity", axis, y_pred)
    return -_cosine_along(y_true, y_pred, along)


def is_across_batch(loss: Any, rank: int) -> bool:
    """Whether a loss of outputs of this rank is no value of each sample, but of the batch."""
    return isinstance(loss, CosineSimilarity) and loss.arguments.get("axis") in (0, -rank)


def _cosine_along(y_true: Any, y_pred: Tensor, axis: Any) -> Tensor:
    """The cosine of the angle between y_true and y_pred along an axis, or several; the batch is one too."""
    first, second = (
        y * ops.rsqrt(ops.maximum(ops.reduce_sum(ops.square(y), axis, True), 1e-12))
        for y in (_like(y_true, y_pred), y_pred)
    )
    return ops.reduce_sum(first * second, axis)


# ---------------------------------------------------------------- margins


def _signed(y_true: Any, y_pred: Tensor) -> Tensor:
    """Labels as -1 and 1: labels of 0 and 1 are converted when the whole batch holds no other (not in Keras
    2.2)."""
    y_true = _like(y_true, y_pred)
    if meaning().hinge_labels == "as given":
        return y_true
    binary = ops.logical_or(ops.equal(y_true, 0.0), ops.equal(y_true, 1.0))
    every = ops.reduce_min(ops.cast(binary, y_pred.dtype))
    return ops.select(every > 0.5, y_true * 2.0 - 1.0, y_true)


def hinge(y_true: Any, y_pred: Tensor) -> Tensor:
    """mean(max(1 - y_true y_pred, 0)), for labels of -1 and 1 (or 0 and 1)."""
    return ops.reduce_mean(ops.maximum(1.0 - _signed(y_true, y_pred) * y_pred, 0.0), -1)


def squared_hinge(y_true: Any, y_pred: Tensor) -> Tensor:
    """mean(max(1 - y_true y_pred, 0)^2), for labels of -1 and 1 (or 0 and 1)."""
    margin = ops.maximum(1.0 - _signed(y_true, y_pred) * y_pred, 0.0)
    return ops.reduce_mean(ops.square(margin), -1)


def categorical_hinge(y_true: Any, y_pred: Tensor) -> Tensor:
    """max(0, 1 + the largest score of another class - the score of the class)."""
    y_true = _like(y_true, y_pred)
    score = ops.reduce_sum(y_true * y_pred, -1)
    other = ops.reduce_max((1.0 - y_true) * y_pred, -1)
    return ops.maximum(other - score + 1.0, 0.0)


# ---------------------------------------------------------------- crossentropies


def categorical_crossentropy(
    y_true: Any, y_pred: Tensor, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Tensor:
    """-sum(y_true log(p)) over the axis of the classes: y_true one-hot (or any distribution), y_pred
    probabilities or logits."""
    axis = _feature_axis("categorical_crossentropy", axis, y_pred)
    y_true = smoothed(_like(y_true, y_pred), label_smoothing, spread(y_pred, axis))
    return -ops.reduce_sum(y_true * log_probabilities(y_pred, from_logits, axis), axis)


def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Tensor,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """-sum(alpha (1 - p)^gamma y_true log(p)): what is predicted well counts less (arXiv 1708.02002)."""
    axis = _feature_axis("categorical_focal_crossentropy", axis, y_pred)
    y_true = smoothed(_like(y_true, y_pred), label_smoothing, classes_on(y_pred))
    y_pred, from_logits = logits_behind(y_pred, from_logits)
    if from_logits:
        y_pred = ops.softmax(y_pred, axis)
    p = clipped(y_pred / ops.reduce_sum(y_pred, axis, keepdims=True))
    return -ops.reduce_sum(ops.pow(1.0 - p, gamma) * alpha * y_true * ops.log(p), axis)


def categorical_generalized_cross_entropy(y_true: Any, y_pred: Tensor, q: float = 0.5) -> Tensor:
    """(1 - p[y_true]^q) / q, of class numbers and probabilities (arXiv 1805.07836)."""
    chosen = ops.value_at(y_pred, ops.checked_places(indices(y_true, y_pred), classes_on(y_pred)))
    return (1.0 - ops.pow(chosen, q)) / q


def indices(y_true: Any, y_pred: Tensor) -> Tensor:
    """Class numbers [n, ...] or [n, ..., 1], whole numbers of any dtype, as int32 [n, ...]."""
    y_true = as_tensor(y_pred.graph, y_true)
    return ops.cast(ops.reshape(y_true, y_pred.shape[:-1]), "int32")


def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Tensor, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1
) -> Tensor:
    """-log(p[y_true]): y_true holds class numbers, [n, ...] or [n, ..., 1]. What is of the class
    ignore_class, which may be none of y_pred's, counts as 0."""
    if axis not in (-1, y_pred.rank - 1):
        raise UnsupportedError(describe("sparse_categorical_crossentropy: axis", "the last axis", repr(axis)))
    classes, count = indices(y_true, y_pred), classes_on(y_pred)
    logs = log_probabilities(y_pred, from_logits, sparse=True)
    if ignore_class is None:
        return -ops.value_at(logs, ops.checked_places(classes, count))
    ignored = ops.equal(classes, ignore_class)
    classes = ops.select(ignored, ops.zeros_like(classes), classes)
    each = -ops.value_at(logs, ops.checked_places(classes, count))
    return ops.select(ignored, ops.zeros_like(each), each)


def binary_crossentropy(
    y_true: Any, y_pred: Tensor, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Tensor:
    """mean(-t log(p) - (1 - t) log(1 - p)): y_pred probabilities or logits."""
    y_true = smoothed(_like(y_true, y_pred), label_smoothing, 2)
    each = binary_terms(y_true, y_pred, from_logits)
    return ops.reduce_mean(each, _feature_axis("binary_crossentropy", axis, y_pred))


def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Tensor,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """mean((1 - q)^gamma binary crossentropy), where q is the probability of the label; class 1 weighs
    alpha, class 0 the rest, with apply_class_balancing (arXiv 1708.02002)."""
    y_true = smoothed(_like(y_true, y_pred), label_smoothing, 2)
    p = ops.sigmoid(y_pred) if from_logits else y_pred
    q = y_true * p + (1.0 - y_true) * (1.0 - p)
    each = ops.pow(1.0 - q, gamma) * binary_terms(y_true, p)
    if apply_class_balancing:
        each = each * (y_true * alpha + (1.0 - y_true) * (1.0 - alpha))
    return ops.reduce_mean(each, _feature_axis("binary_focal_crossentropy", axis, y_pred))


def kullback_leibler_divergence(y_true: Any, y_pred: Tensor) -> Tensor:
    """sum(t log(t / p)), both clipped to [1e-7, 1]."""
    first, second = (ops.clip(y, epsilon(), 1.0) for y in (_like(y_true, y_pred), y_pred))
    return ops.reduce_sum(first * ops.log(first / second), -1)


lift(globals(), "y_true", "y_pred")

# ---------------------------------------------------------------- objects


MEANS = ("sum_over_batch_size", "mean")  # two names
REDUCTIONS = (*MEANS, "mean_with_sample_weight", "sum", "none")


class Loss:
    """A loss with its reduction over the batch: "sum_over_batch_size" (the mean), "sum", or
    "mean_with_sample_weight", the sum of weighted losses over that of the weights. dtype: what it computes
    in; None: the dtype of the outputs.

    Subclasses define `call(y_true, y_pred)`, one number for each sample.
    """

    vintage = OfScript()
    number_type: str | None = None

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = None, dtype: Any = None
    ) -> None:
        if reduction is None or isinstance(reduction, str):
            reduction = {"auto": "sum_over_batch_size", None: "none"}.get(reduction, reduction)
        if not isinstance(reduction, str) or reduction not in REDUCTIONS:
            raise ModelError(
                describe(
                    f"{type(self).__name__}: reduction",
                    "one of " + ", ".join(map(repr, REDUCTIONS)),
                    repr(reduction),
                )
            )
        self.reduction: str = reduction
        self.name = check_text(f"{type(self).__name__}: name", name, optional=True) or type(self).__name__
        self.vintage = vintage_made(self)
        self.number_type = number_type(type(self).__name__, dtype)
        self.dtype = self.number_type or floatx()

    def values(self, y_true: Any, y_pred: Tensor) -> Tensor:
        """What `call` gives, in the dtype of the loss."""
        return self.call(y_true, y_pred if self.number_type is None else ops.cast(y_pred, self.number_type))

    def call(self, y_true: Any, y_pred: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} must define call(y_true, y_pred)")

    @over("y_true", "y_pred", "sample_weight")
    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The reduced loss; sample_weight broadcasts to the losses of the samples."""
        with running(self.vintage):
            return self._reduced(y_true, y_pred, sample_weight)

    def _reduced(self, y_true: Any, y_pred: Any, sample_weight: Any) -> Any:
        y_true, y_pred = same_rank(y_true, y_pred)
        each = self.values(y_true, y_pred)
        weight = None if sample_weight is None else _like(sample_weight, each)
        if weight is not None and weight.rank == each.rank + 1 and weight.shape[-1] == 1:
            if edition(vintage_running()).operations:
                each = ops.reshape(each, (*each.shape, 1))
            else:
                weight = ops.reshape(weight, weight.shape[:-1])
        if weight is not None and weight.rank < each.rank:
            weight = ops.reshape(weight, (*weight.shape, *(1,) * (each.rank - weight.rank)))
        counts = counted(self, y_true, y_pred, each)
        if counts is not None:
            there = ops.reshape(ops.cast(counts, each.dtype), each.shape)
            if self.reduction in MEANS:
                there = there / (ops.reduce_mean(there) + epsilon())
            weight = there if weight is None else weight * there
        if weight is not None:
            each = each * weight
        if self.reduction == "none" or not each.rank:
            return each
        if self.reduction == "mean_with_sample_weight" and weight is not None:
            return ops.reduce_sum(each) / ops.reduce_sum(weight)
        return ops.reduce_sum(each) if self.reduction == "sum" else ops.reduce_mean(each)

    def get_config(self) -> dict[str, Any]:
        typed = {} if self.number_type is None else {"dtype": self.number_type}
        return {"reduction": self.reduction, "name": self.name, **typed}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Loss:
        return cls(**config)


class FunctionLoss(Loss):
    """A loss made of a function of (y_true, y_pred, **arguments). pairs_ranks: since tf.keras labels [n] and
    outputs [n, 1] come to it with as many axes."""

    pairs_ranks = True

    def __init__(
        self,
        function: LossFunction,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
        **arguments: Any,
    ) -> None:
        super().__init__(reduction, name, dtype)
        if name is None:
            self.name = getattr(function, "__name__", type(function).__name__)
        self.function = function
        self.arguments = arguments

    def call(self, y_true: Any, y_pred: Tensor) -> Tensor:
        return self.function(y_true, y_pred, **self.arguments)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.arguments}


def _class(
    name: str,
    function: Callable[..., Tensor],
    label: str | None = None,
    behind: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
    between: tuple[str, ...] = (),
    first: tuple[str, ...] = (),
) -> type[FunctionLoss]:
    """The class of a loss function; its constructor takes the function's options, then a reduction, a name
    and a dtype. label: the name that it has by default. behind: options that stand behind the name; between:
    behind the reduction, before it. without: those of calls alone. first: those that begin."""
    plain = inspect.Parameter.POSITIONAL_OR_KEYWORD
    options = [p for p in options_of(function) if p.name not in without]
    options.sort(key=lambda p: first.index(p.name) if p.name in first else len(first))
    shown_name = label or function.__name__
    reduction, shown, dtype = (
        inspect.Parameter(key, plain, default=value)
        for key, value in (("reduction", MEANS[0]), ("name", shown_name), ("dtype", None))
    )
    middle, last = ([p for p in options if p.name in names] for names in (between, behind))
    others = [p for p in options if p not in middle and p not in last]
    parameters = [*others, reduction, *middle, shown, *last, dtype]

    def __init__(self: FunctionLoss, *args: Any, **kwargs: Any) -> None:
        given = bound_options(type(self).__name__, parameters, args, kwargs)
        reduction = given.pop("reduction", "sum_over_batch_size")
        shown = check_text(f"{name}: name", given.pop("name", None), True) or shown_name
        dtype = given.pop("dtype", None)
        options = checked_options(type(self).__name__, given)
        FunctionLoss.__init__(self, function, reduction, shown, dtype, **options)

    show_parameters(__init__, [inspect.Parameter("self", plain), *parameters])
    return type(
        name, (FunctionLoss,), {"__init__": __init__, "__doc__": function.__doc__, "__module__": __name__}
    )


MeanSquaredError = _class("MeanSquaredError", mean_squared_error)
MeanAbsoluteError = _class("MeanAbsoluteError", mean_absolute_error)
MeanAbsolutePercentageError = _class("MeanAbsolutePercentageError", mean_absolute_percentage_error)
MeanSquaredLogarithmicError = _class("MeanSquaredLogarithmicError", mean_squared_logarithmic_error)
BinaryCrossentropy = _class("BinaryCrossentropy", binary_crossentropy)
CategoricalCrossentropy = _class("CategoricalCrossentropy", categorical_crossentropy)
SparseCategoricalCrossentropy = _class(
    "SparseCategoricalCrossentropy", sparse_categorical_crossentropy, between=("axis",)
)
Hinge = _class("Hinge", hinge)
SquaredHinge = _class("SquaredHinge", squared_hinge)
CategoricalHinge = _class("CategoricalHinge", categorical_hinge)
Poisson = _class("Poisson", poisson)
LogCosh = _class("LogCosh", logcosh)
KLDivergence = _class("KLDivergence", kullback_leibler_divergence)
Huber = _class("Huber", huber_loss)
CosineSimilarity = _class("CosineSimilarity", cosine_proximity, "cosine_similarity")
BinaryFocalCrossentropy = _class("BinaryFocalCrossentropy", binary_focal_crossentropy)
CategoricalFocalCrossentropy = _class("CategoricalFocalCrossentropy", categorical_focal_crossentropy)
CategoricalGeneralizedCrossEntropy = _class(
    "CategoricalGeneralizedCrossEntropy", categorical_generalized_cross_entropy
)

Dice = _class("Dice", dice, behind=("axis",))
Tversky = _class("Tversky", tversky, behind=("axis",))
Circle = _class("Circle", circle, without=("ref_labels", "ref_embeddings"), first=("gamma", "margin"))
CTC = _class("CTC", ctc)

mse = MSE = mean_squared_error
mae = MAE = mean_absolute_error
mape = MAPE = mean_absolute_percentage_error
msle = MSLE = mean_squared_logarithmic_error
kld = KLD = kl_divergence = kullback_leibler_divergence
cosine = cosine_similarity = cosine_proximity
log_cosh = logcosh
huber = huber_loss
bce = BCE = binary_crossentropy

FUNCTIONS: dict[str, LossFunction] = {
    f.__name__: f
    for f in (
        mean_squared_error,
        mean_absolute_error,
        mean_absolute_percentage_error,
        mean_squared_logarithmic_error,
        logcosh,
        huber_loss,
        poisson,
        cosine_proximity,
        hinge,
        squared_hinge,
        categorical_hinge,
        categorical_crossentropy,
        sparse_categorical_crossentropy,
        binary_crossentropy,
        kullback_leibler_divergence,
        binary_focal_crossentropy,
        categorical_focal_crossentropy,
        categorical_generalized_cross_entropy,
        dice,
        tversky,
        circle,
        ctc,
    )
}
ALIASES: dict[str, LossFunction] = {
    **dict.fromkeys(("mse", "MSE"), mse),
    **dict.fromkeys(("mae", "MAE"), mae),
    **dict.fromkeys(("mape", "MAPE"), mape),
    **dict.fromkeys(("msle", "MSLE"), msle),
    **dict.fromkeys(("kld", "KLD", "kl_divergence"), kld),
    **dict.fromkeys(("cosine", "cosine_similarity"), cosine),
    **dict.fromkeys(("bce", "BCE"), bce),
    "log_cosh": logcosh,
    "huber": huber_loss,
}
CLASSES: dict[str, Callable[..., Any]] = {
    c.__name__: c
    for c in (
        MeanSquaredError,
        MeanAbsoluteError,
        MeanAbsolutePercentageError,
        MeanSquaredLogarithmicError,
        BinaryCrossentropy,
        CategoricalCrossentropy,
        SparseCategoricalCrossentropy,
        Hinge,
        SquaredHinge,
        CategoricalHinge,
        Poisson,
        LogCosh,
        KLDivergence,
        Huber,
        CosineSimilarity,
        BinaryFocalCrossentropy,
        CategoricalFocalCrossentropy,
        CategoricalGeneralizedCrossEntropy,
        Dice,
        Tversky,
        Circle,
        CTC,
    )
}


def serialize(loss: Any) -> Any:
    """A function's name, or {"class_name", "config"} of an object."""
    if isinstance(loss, Loss):
        return {"class_name": type(loss).__name__, "config": loss.get_config()}
    return serialize_object(loss)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The inverse of `serialize`. Raises ModelError for an unknown name, or options that do not fit."""
    custom = custom_names(custom_objects)
    name = config.get("class_name") if isinstance(config, Mapping) else config
    if not isinstance(name, str):
        raise _unknown(config)
    if isinstance(config, Mapping):
        found = custom.get(name, CLASSES.get(name))
        if found is None:
            raise _unknown(name)
        return found.from_config(config.get("config") or {})
    found = custom.get(name, FUNCTIONS.get(name, ALIASES.get(name)))
    found = CLASSES.get(name) if found is None else found
    if found is None:
        raise _unknown(name)
    return found() if isinstance(found, type) else found


def _unknown(name: Any) -> ModelError:
    return ModelError(
        describe(
            "unknown loss",
            f"one of {', '.join(FUNCTIONS)}, a Loss, or a function of (y_true, y_pred)",
            repr(name),
        )
    )


def get(identifier: Any) -> Any:
    """A loss by name, config, class, function or object: a function or a `Loss`; None stays None."""
    if identifier is None or isinstance(identifier, Loss):
        return identifier
    if isinstance(identifier, (str, Mapping)):
        return deserialize(identifier)
    if isinstance(identifier, type) and issubclass(identifier, Loss):
        return identifier()
    if callable(identifier):
        return identifier
    raise _unknown(identifier)


def as_loss(identifier: Any) -> Loss | None:
    """The same as an object with a reduction."""
    found = get(identifier)
    if isinstance(found, Loss) and type(found).__call__ is not Loss.__call__:  # it reduces by itself
        made = FunctionLoss(lambda y_true, y_pred: found(y_true, y_pred), name=found.name)
        made.pairs_ranks = False
        return made
    return found if found is None or isinstance(found, Loss) else FunctionLoss(found)


OF_CLASSES = frozenset({sparse_categorical_crossentropy, categorical_generalized_cross_entropy})
OF_ANY_LABELS = frozenset({circle, ctc})  # whose labels are not shaped as the outputs are


def compares_samples(loss: Any) -> bool:
    """Whether a loss looks at all pairs of the samples of a batch."""
    return loss is not None and base_function(loss) is circle


def takes_classes(loss: Any) -> bool:
    """Whether the labels of a loss are class numbers."""
    return base_function(loss) in OF_CLASSES


def ignored_class(loss: Any) -> int | None:
    """The class whose labels do not count, if there is one."""
    found = loss.arguments.get("ignore_class") if isinstance(loss, FunctionLoss) else None
    return None if found is None else int(found)


def counted(loss: Any, y_true: Any, y_pred: Tensor, each: Tensor) -> Tensor | None:
    """Which of the losses count, bool; None: all of them. each: the losses."""
    ignored = ignored_class(loss)
    if ignored is not None:
        return ops.not_equal(indices(y_true, y_pred), ignored)
    return each > 0.0 if base_function(loss) is circle else None


def base_function(loss: Any) -> Any:
    """The function below a loss: what tells sparse from dense labels, and picks the accuracy."""
    return loss.function if isinstance(loss, FunctionLoss) else loss
