"""Whatever a user passes as data, as the arrays that a model's graphs take; or an error beforehand.

Enters: arrays, lists of arrays, dicts by name. Leaves: C-contiguous arrays of the right dtype and shape,
all with the same number of samples. Everything that can be wrong with data is found here, before the
first step, in messages that name the input or output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcompile.ir.specs import spec_of
from kcompile.ir.types import Batch, TensorType
from kcompile.keras import losses
from kcompile.keras.losses import Loss
from kcompile.keras.semantics import Semantics
from kcompile.keras.tensors import KerasTensor
from kcompile_runtime.arrays import Array, as_array, as_input, as_shape
from kcompile_runtime.checks import check_number
from kcompile_runtime.errors import InputError, describe
from kcompile_runtime.spec import TensorSpec

# Losses that take their labels in the output's shape. Others (functions of one's own) take any.
SHAPED = frozenset(losses.FUNCTIONS.values()) - losses.OF_CLASSES - losses.OF_ANY_LABELS


def input_spec(name: str, x: KerasTensor) -> TensorSpec:
    """The spec of a model's input; None is a size that only the data say."""
    known = spec_of(name, x.batch_type)
    dims = tuple(None if i in x.unknown_axes else d for i, d in enumerate(known.shape))
    return TensorSpec(name, dims, known.dtype)


@dataclass(frozen=True)
class Target:
    """The labels of an output: what they look like, and what the loss asks of their values.

    loss: None for an output that has metrics alone. classes: of labels that are class numbers, else 0.
    index: of the output in the model. weights: of the samples, or of their steps. asks: whether what is
    told of it depends on whether weights are given.
    """

    spec: TensorSpec
    weights: TensorSpec
    loss: Loss | None
    output: TensorType
    index: int
    asks: bool = False

    @property
    def classes(self) -> int:
        last = self.output.shape[-1]
        return last if losses.takes_classes(self.loss) and isinstance(last, int) else 0

    @property
    def any_shape(self) -> bool:
        return not self.classes and losses.base_function(self.loss) not in SHAPED


# ---------------------------------------------------------------- names


def by_name(
    value: Any, names: Sequence[str], what: str, optional: bool = False, among: Sequence[str] = ()
) -> list[Any]:
    """The value for each name: from a dict, from a list, or the value itself for a single name.

    what: "input" or "output", for messages. optional: names may be missing from a dict (None then), which
    holds no others. Else a dict may hold more, as in Keras. among: all outputs, of which only `names` are
    looked at; a list may be of these.
    """
    if isinstance(value, Mapping):
        return _from_dict(value, names, what, optional, among)
    listed = value if isinstance(value, (list, tuple)) else None
    if listed is not None and len(listed) == len(among) > len(names) and all(map(_is_data, listed)):
        return [listed[among.index(name)] for name in names]
    if len(names) == 1:
        only = listed is not None and len(listed) == 1 and hasattr(listed[0], "shape")
        return [value[0] if only else value]
    if optional and value is None:
        return [None] * len(names)
    if listed is None or len(listed) != len(names):
        raise InputError(
            describe(
                f"data of the {what}s",
                f"a list of {len(names)} arrays (or a dict) for {', '.join(names)}",
                type(value).__name__ if listed is None else f"a list of {len(listed)}",
            )
        )
    return list(listed)


def _is_data(value: Any) -> bool:
    return value is None or hasattr(value, "shape")


def _from_dict(
    value: Mapping[Any, Any], names: Sequence[str], what: str, optional: bool, among: Sequence[str]
) -> list[Any]:
    missing = [] if optional else [name for name in names if name not in value]
    unknown = [name for name in value if name not in (among or names)] if optional else []
    if missing or unknown:
        raise InputError(
            describe(
                f"data by {what} name",
                f"the names {', '.join(names)}",
                f"the names {', '.join(map(str, value))}",
            )
        )
    return [value.get(name) for name in names]


def common(counts: Mapping[str, int]) -> int:
    """The number of samples that all have. Raises InputError when they differ."""
    if len(set(counts.values())) > 1:
        raise InputError(
            describe(
                "data",
                "the same number of samples in all arrays",
                ", ".join(f"{name}: {n}" for name, n in counts.items()),
            )
        )
    return next(iter(counts.values()))


# ---------------------------------------------------------------- inputs


def inputs(value: Any, specs: Sequence[TensorSpec]) -> tuple[list[Array], int]:
    """The arrays of a model's inputs, and how many samples they have."""
    if value is None:
        raise InputError(describe("x", "data", "None"))
    values = by_name(value, [s.name for s in specs], "input")
    shaped = [as_shape(v, s) for v, s in zip(values, specs)]
    n = common({f"input {s.name!r}": count for s, (_, count) in zip(specs, shaped)})
    for s, (array, _) in zip(specs, shaped):
        if 0 in array.shape[1:] and None in s.shape:
            raise InputError(describe(s.name, f"{s}, no size 0", f"shape {array.shape}"))
    return [as_input(a, s.fitted(a.shape), n) for s, (a, _) in zip(specs, shaped)], n


# ---------------------------------------------------------------- labels


def labels(value: Any, targets: Sequence[Target], outputs: Sequence[str]) -> list[Array]:
    """The arrays of labels, checked against their losses; lengths are not compared yet. outputs: the names
    of all outputs, which may be given labels too."""
    if value is None and targets:
        raise InputError(
            describe("y", "labels", "None", "The model was compiled with a loss, which needs them.")
        )
    values = by_name(value, [t.spec.name for t in targets], "output", among=outputs) if targets else []
    return [_label(v, t) for v, t in zip(values, targets)]


def _label(value: Any, target: Target) -> Array:
    spec = target.spec
    array = as_array(value, f"labels of output {spec.name!r}")
    if spec.samples(array.shape) is None:
        _check_form(array, target)
        array = as_shape(array, TensorSpec(f"labels of output {spec.name!r}", spec.shape, spec.dtype))[0]
    result = as_input(array, spec, len(array))
    if target.classes:
        check_classes(result, target)
    return result


def _check_form(array: Array, target: Target) -> None:
    """The two mistakes that people make with crossentropies, told with their remedy."""
    function = losses.base_function(target.loss)
    full = tuple(target.output.shape[1:])
    subject = f"labels of output {target.spec.name!r}"
    if target.classes and array.shape[1:] == full and target.classes > 1:
        raise InputError(
            describe(
                subject,
                f"class numbers of shape {target.spec.shape}",
                f"shape {array.shape}",
                "For one-hot labels use the loss 'categorical_crossentropy'.",
            )
        )
    if (
        function is losses.categorical_crossentropy
        and array.ndim <= len(full) + 1
        and array.shape[1:] in (full[:-1], (*full[:-1], 1))
    ):
        raise InputError(
            describe(
                subject,
                f"one-hot labels of shape {target.spec.shape}",
                f"shape {array.shape}",
                "For class numbers use the loss 'sparse_categorical_crossentropy', or convert them "
                "with keras.utils.to_categorical.",
            )
        )


def check_classes(array: Array, target: Target) -> None:
    """Raise InputError unless all are class numbers, or the class that does not count. array: int32, C
    order."""
    ignored = losses.ignored_class(target.loss)
    if ignored is not None:
        array = array[array != ignored]
    # seen as unsigned, negative numbers are large: one pass finds both ends
    if array.size and np.maximum.reduce(array.view(np.uint32), None) >= target.classes:
        raise InputError(
            describe(
                f"labels of output {target.spec.name!r}",
                f"class numbers from 0 to {target.classes - 1}, for {target.classes} classes",
                f"numbers from {array.min()} to {array.max()}",
            )
        )


def label_type(value: Any, target: Target) -> TensorType | None:
    """The type of labels of another shape than the output's, for a loss that takes any."""
    array = as_array(value, f"labels of output {target.spec.name!r}")
    if array.ndim == 0 or target.spec.samples(array.shape) is not None:
        return None
    squeezed = array.ndim == len(target.spec.shape) - 1 and target.spec.shape[-1] == 1
    return None if squeezed else TensorType((Batch(), *array.shape[1:]), target.weights.dtype)


# ---------------------------------------------------------------- weights of samples


_ones: dict[tuple[int, str], Array] = {}


def unit_weights(n: int, dtype: str) -> Array:
    """Weights of 1; the same array for the same small n."""
    known = _ones.get((n, dtype))
    if known is None:
        known = np.ones(n, dtype)
        if n <= 4096:
            if len(_ones) > 64:
                _ones.clear()
            _ones[n, dtype] = known
    return known


def sample_weights(
    value: Any,
    class_weight: Any,
    targets: Sequence[Target],
    label_arrays: Sequence[Array],
    n: int,
    outputs: Sequence[str],
    meaning: Semantics,
) -> list[Array]:
    """The weight of every sample (or step) for each output: sample_weight times class_weight (in Keras 2.2
    sample_weight alone where both are given), default 1. outputs: the names of all outputs. Behind them, for
    each output whose loss asks, 1 for every sample where there are weights, else 0."""
    names = [t.spec.name for t in targets]
    given = by_name(value, names, "output", True, outputs) if targets else []
    classes = _class_weights(class_weight, names, outputs)
    result = []
    for weight, mapping, target, y in zip(given, classes, targets, label_arrays):
        array = _weight(weight, target, n)
        if mapping is not None and (weight is None or meaning.class_weight_beside == "factor"):
            array = array * class_factors(mapping, y, target, meaning)
        result.append(array)
    asked = [(t, w is not None or m is not None) for w, m, t in zip(given, classes, targets) if t.asks]
    return [*result, *(np.full(n, there, t.weights.dtype) for t, there in asked)]


def _weight(value: Any, target: Target, n: int) -> Array:
    """The weights of an output. Where steps have weights, that of a sample is that of all its steps."""
    spec, rank = target.weights, len(target.weights.shape)
    if value is None:
        return unit_weights(n, spec.dtype) if rank == 1 else np.ones(spec.bind(n), spec.dtype)
    array = as_array(value, spec.name)
    if rank == 1 and array.ndim == 2 and array.shape[1] > 1:
        raise InputError(
            describe(
                spec.name,
                f"{spec}, a weight for each sample",
                f"shape {array.shape}",
                "For weights of steps, compile with sample_weight_mode='temporal'",
            )
        )
    if rank > 1 and array.shape[1:] in ((), (1,)):
        column = array.reshape(-1, *(1,) * (rank - 1))
        array = np.broadcast_to(column, (len(column), *spec.bind(1)[1:]))
    return as_input(array, spec, n)


def weight_rank(value: Any, target: Target) -> int:
    """How many axes weights have, where an output of several axes has them; the last of size 1 do not
    count."""
    array = as_array(value, target.weights.name)
    rank = array.ndim
    while rank > 1 and array.shape[rank - 1] == 1:
        rank -= 1
    fits = 0 < rank <= target.output.rank and array.shape[1:rank] == target.output.shape[1:rank]
    return rank if fits else 1


def _class_weights(
    value: Any, names: Sequence[str], outputs: Sequence[str]
) -> list[Mapping[Any, float] | None]:
    """The class weights of each output: {class: weight}, or a list or dict of these by output."""
    if value is None:
        return [None] * len(names)
    by_output = isinstance(value, Mapping) and any(isinstance(v, Mapping) for v in value.values())
    if isinstance(value, (list, tuple)) or by_output:
        several = by_output or len(value) in (len(names), len(outputs))
        found: list[Any] = by_name(value, names, "output", True, outputs) if several else [value]
        if len(names) == 1 and isinstance(found[0], (list, tuple)) and len(found[0]) == 1:
            found = list(found[0])
    elif len(names) > 1 and isinstance(value, Mapping):
        raise InputError(
            describe(
                "class_weight",
                f"a dict for each output, by name ({', '.join(names)})",
                "one dict for a model of several outputs",
                "Use {output: {class: weight}}, or sample_weight.",
            )
        )
    else:
        found = [value]
    for mapping in found:
        _check_class_weight(mapping)
    return found


def _check_class_weight(mapping: Any) -> None:
    """Raises InputError unless it is None, or numbers by number."""
    if mapping is not None and not isinstance(mapping, Mapping):
        raise InputError(describe("class_weight", "a dict from class to weight", repr(mapping)))
    for key, weight in (mapping or {}).items():
        check_number("class_weight: a class", key)
        check_number(f"class_weight: the weight of class {key}", weight)


def class_factors(mapping: Mapping[Any, float], y: Array, target: Target, meaning: Semantics) -> Array:
    """The weight of every sample by its class: the largest label of one-hot labels, else the label.

    Raises InputError for labels of several numbers a sample that are not one-hot rows, and, but for
    Keras 3, for a class without a weight.
    """
    rows = y.reshape(len(y), -1) if y.ndim <= 2 and len(target.weights.shape) == 1 else None
    if rows is None:
        raise InputError(
            describe(
                "class_weight",
                f"labels of two axes of output {target.spec.name!r}",
                f"shape {y.shape}",
                "Use sample_weight.",
            )
        )
    classes = rows.argmax(1) if rows.shape[1] > 1 else rows[:, 0]
    present, inverse = np.unique(classes, return_inverse=True)
    missing = [c for c in present.tolist() if c not in mapping]
    if missing and meaning.classes_without_weight != "weigh 1":
        raise InputError(
            describe(
                "class_weight",
                "a weight for every class in the data",
                f"none for {', '.join(f'{c:g}' for c in missing)}",
            )
        )
    from_0 = meaning.classes_without_weight == "from 0 on"
    if from_0 and sorted(mapping) != list(range(len(mapping))):
        raise InputError(
            describe("class_weight", "the classes from 0 on, as tf.keras has it", f"{sorted(mapping)}")
        )
    factors = np.array([mapping.get(c, 1.0) for c in present.tolist()], target.weights.dtype)
    return factors[inverse.reshape(-1)]
