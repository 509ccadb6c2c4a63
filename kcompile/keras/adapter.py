"""From data, as users have them, to the arrays that the graphs of a model take.

Enters: arrays, lists, dicts by name; labels, weights of samples and of classes. Leaves: arrays in the order
of the graph's inputs, checked whole (`standardize`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcompile.ir.specs import spec_of
from kcompile.ir.types import TensorType
from kcompile.keras import graphs, losses, standardize
from kcompile.keras.given_tensors import GivenTensors, takes_data
from kcompile.keras.lengths import Lengths, LruCache, lengths_of
from kcompile.keras.own_code import has_own
from kcompile.keras.standardize import Target
from kcompile.keras.target_tensors import held_labels, with_held
from kcompile.keras.weighing import asks_for_weights
from kcompile_runtime.arrays import Array
from kcompile_runtime.checks import check_count
from kcompile_runtime.errors import InputError, describe
from kcompile_runtime.spec import TensorSpec

Conforming = tuple[tuple[int, ...], "np.dtype[Any]"]


@dataclass(frozen=True)
class Feeds:
    """The specifications of a model's data. fast: the input and the labels of a model with
    one of each, as (shape of a sample, dtype)."""

    inputs: tuple[TensorSpec, ...]
    targets: tuple[Target, ...]
    fast: tuple[Conforming, Conforming] | None

    @staticmethod
    def of(model: Any, lengths: Lengths) -> Feeds:
        specs = input_specs(model)
        resolved = graphs.compile_arguments(model)
        outputs = graphs.output_types(model, lengths)
        targets = tuple(
            Target(
                spec_of(name, kind),
                _weight_spec(name, graphs.weight_type(resolved.weight_ranks[k], output)),
                loss,
                output,
                k,
                asks_for_weights(loss, resolved.weighted_metrics[k], model.semantics),
            )
            for k, (name, kind, loss, output) in enumerate(
                zip(model.output_labels, graphs.label_types(model, outputs), resolved.losses, outputs)
            )
            if kind is not None
        )
        fast = None
        if (
            takes_data(model)
            and len(specs) == len(targets) == 1
            and not lengths
            and model.prelude is None
            and resolved.weight_ranks == [1]
            and not targets[0].asks
        ):
            fast = _sample(specs[0]), _sample(targets[0].spec)
        return Feeds(specs, targets, fast)


def _weight_spec(name: str, type: TensorType) -> TensorSpec:
    return spec_of(f"sample_weight of output {name!r}", type)


def _sample(spec: TensorSpec) -> Conforming:
    return spec.bind(1)[1:], spec.numpy_dtype


def input_specs(model: Any) -> tuple[TensorSpec, ...]:
    return tuple(standardize.input_spec(name, x) for name, x in zip(model.fed_names, model.fed))


class Adapter:
    """The data of one model. changed: called where the training graph has to follow the data (labels of
    another shape, weights of steps)."""

    def __init__(self, model: Any, changed: Callable[[], None]) -> None:
        self._model = model
        self._changed = changed
        self.forget()

    def forget(self) -> None:
        """Layers changed: inputs, and all that follows."""
        self._specs: tuple[TensorSpec, ...] | None = None
        self._given: GivenTensors | None = None
        self._fixed: int | None = None  # of `fixed_size`, 0 for none
        self.forget_targets()

    def forget_targets(self) -> None:
        """Drop the specifications of data: what is trained, or how, has changed."""
        self._feeds: Feeds | None = None  # where all sizes are known
        self._feeds_at: LruCache[Feeds] | None = None  # where they are not

    def feeds(self, lengths: Lengths = ()) -> Feeds:
        if lengths:
            if self._feeds_at is None:
                self._feeds_at = LruCache(lambda feeds: 4096 * (1 + len(feeds.inputs) + len(feeds.targets)))
            key = ("data", lengths)
            return self._feeds_at.get(key) or self._feeds_at.put(key, Feeds.of(self._model, lengths))
        if self._feeds is None:
            self._feeds = Feeds.of(self._model, ())
        return self._feeds

    # ---- numbers of samples

    @property
    def fixed_size(self) -> int | None:
        """The number of samples in each batch of a model that keeps states between batches."""
        if self._fixed is None:
            states = self._model.state_variables
            self._fixed = int(states[0].shape[0]) if states else 0
        return self._fixed or None

    def size(self, batch_size: int | None, n: int) -> int:
        """The batch size, default 32. Raises InputError where a stateful model cannot have it."""
        fixed = self.fixed_size
        size = check_count("batch_size", (fixed or 32) if batch_size is None else batch_size)
        if fixed and (size != fixed or n % fixed):
            raise InputError(
                describe(
                    f"model {self._model.name!r}, which is stateful",
                    f"batch_size={fixed}, and a number of samples that it divides",
                    f"batch_size={size}, {n} samples",
                )
            )
        return size

    # ---- arrays

    def inputs(self, x: Any) -> tuple[list[Array], int]:
        """The inputs of the prediction graph, and the number of samples; builds a model that is not built
        yet. Raises InputError, InputTypeError."""
        if self._model.widened_for(x):
            self._specs = None
        if self._specs is None:
            if not self._model.built:
                self._model.build_for_data(x)
            self._specs = input_specs(self._model)
        given, prelude = self.given, self._model.prelude
        if prelude is not None:
            x = prelude.arrays(x)
        return standardize.inputs(x if given is None else given.filled(x), self._specs)

    @property
    def given(self) -> GivenTensors | None:
        """The inputs that are tensors of K (`given_tensors`), None where there are none."""
        if takes_data(self._model):
            return None
        if self._given is None:
            self._given = GivenTensors(self._model)
        return self._given

    def batch(
        self, x: Any, y: Any, sample_weight: Any = None, class_weight: Any = None
    ) -> tuple[list[Array], int]:
        """All inputs of the training graph: x, y, weights; and the number of samples."""
        model = self._model
        arrays, n = self.inputs(x)
        if model.trainer.target_tensors is not None:
            held = held_labels(model.trainer.target_tensors, model.output_labels)
            y = with_held(y, held, model.output_labels)
        lengths = lengths_of(model, arrays)
        self._adopt_labels(y, lengths)
        self._adopt_weights(sample_weight, lengths)
        if sample_weight is not None or class_weight is not None:
            self._refuse_weights()
        targets = self.feeds(lengths).targets
        labels = standardize.labels(y, targets, model.output_labels)
        counts = {f"input {s.name!r}": len(a) for s, a in zip(self.feeds(lengths).inputs, arrays)}
        counts.update((f"labels of {t.spec.name!r}", len(a)) for t, a in zip(targets, labels))
        if standardize.common(counts) < 1:
            raise InputError(describe("data", "at least one sample, as a loss is a mean over them", "none"))
        weights = standardize.sample_weights(
            sample_weight, class_weight, targets, labels, n, model.output_labels, model.semantics
        )
        return [*arrays, *labels, *weights], n

    def _refuse_weights(self) -> None:
        """Raises InputError where a loss has no value of each sample that a weight could be of."""
        resolved = graphs.compile_arguments(self._model)
        for loss, y in zip(resolved.losses, self._model.outputs):
            if loss is None:
                continue
            if loss.reduction == "none" or losses.is_across_batch(loss, len(y.shape)):
                wanted = "no weights of samples, as it is one number for the batch"
                raise InputError(describe(f"loss {loss.name!r}", wanted, "sample_weight or class_weight"))

    def conforming(self, x: Any, y: Any) -> list[Array] | None:
        """x, y and weights of 1 for a model with one input and one output, when nothing has to be
        converted; else None."""
        feeds = self._feeds or (None if self._model.varies else self.feeds())
        if feeds is None or feeds.fast is None or self._model.trainer.target_tensors is not None:
            return None
        (x_shape, x_dtype), (y_shape, y_dtype) = feeds.fast
        if not (
            type(x) is np.ndarray
            and type(y) is np.ndarray
            and x.shape[1:] == x_shape
            and x.dtype is x_dtype
            and x.flags.carray
            and y.dtype is y_dtype
            and y.flags.carray
        ):
            return None
        n = len(x)
        if y.shape[1:] != y_shape:
            if y.shape != (n,) or y_shape != (1,):
                return None
            y = y.reshape(n, 1)
        if n == 0 or len(y) != n:
            return None
        if feeds.targets[0].classes:
            standardize.check_classes(y, feeds.targets[0])
        return [x, y, standardize.unit_weights(n, feeds.targets[0].weights.dtype)]

    def _adopt_labels(self, y: Any, lengths: Lengths) -> None:
        """A loss of one's own takes labels of any shape: the graph follows the data."""
        targets = self.feeds(lengths).targets
        resolved = graphs.compile_arguments(self._model)
        sees = self._model.semantics.metrics_see_labels == "as given" and has_own(resolved.given)
        if y is None or not (sees or any(t.any_shape for t in targets)):
            return
        names = [t.spec.name for t in targets]
        given = standardize.by_name(y, names, "output", among=self._model.output_labels)
        for value, t in zip(given, targets):
            found = standardize.label_type(value, t) if t.any_shape else None
            if found is not None:
                resolved.targets[t.index] = found
                self._changed()
            flat = sees and np.ndim(value) == 1 and len(t.spec.shape) == 2
            if flat != resolved.flat[t.index]:
                resolved.flat[t.index] = flat
                self._changed()

    def _adopt_weights(self, sample_weight: Any, lengths: Lengths) -> None:
        """After Keras 2, the data alone say that steps have weights."""
        model = self._model
        if sample_weight is None or not model.semantics.step_weights_by_shape:
            return
        targets, ranks = self.feeds(lengths).targets, graphs.compile_arguments(model).weight_ranks
        names = [t.spec.name for t in targets]
        given = standardize.by_name(sample_weight, names, "output", True, model.output_labels)
        for value, t in zip(given, targets):
            rank = 1 if value is None else standardize.weight_rank(value, t)
            if rank > ranks[t.index]:
                ranks[t.index] = rank
                self._changed()
