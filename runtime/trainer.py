"""Training with an exported model: `load(path).trainer()` of a library that was exported with train=True.

A library keeps nothing itself: what training changes lies in memory of its caller, the state. Enters: a
loaded model, and batches. Leaves: the loss and metrics of each batch, and predictions with what was trained.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kcompile_runtime import batching
from kcompile_runtime.arrays import Array, address, aligned
from kcompile_runtime.checks import check_flag
from kcompile_runtime.contents import results_of
from kcompile_runtime.errors import ArtifactError, InputError, NativeError, describe
from kcompile_runtime.execute import Executor
from kcompile_runtime.spec import TensorSpec, specs_of
from kcompile_runtime.training import Averages

if TYPE_CHECKING:
    from kcompile_runtime.artifact import Artifact


class Trainer:
    """What one model learns. Trainers of one library are independent; calls of one exclude each other.

    model: a loaded one. `inputs`: what a step takes, a `TensorSpec` each: the inputs of the model, then
    labels ("y:..."), then weights of samples ("w:..."). `metrics_names`: of the values that a step gives. It
    begins with the weights as they were exported. Raises InputError for a library without a training step.
    """

    def __init__(self, model: Artifact) -> None:
        step = model.metadata.get("step")
        if step is None:
            wanted = "a library with a training step (exported with train=True)"
            raise InputError(describe("trainer", wanted, model.metadata["name"]))
        self._model = model
        self.inputs = specs_of(step["inputs"])
        self._report = results_of(step["report"])
        self.metrics_names = self._report.names
        self._weights: int = step["weights"]
        size = model._function("state_size", ctypes.c_int64)()
        self._state = aligned(size)
        self._tensors = _tensors(self._state, step["state"])
        self._lock = threading.Lock()
        self._resets_before = step["report"]["resets"] == "before"
        self._train = self._executor(
            "train", self.inputs, specs_of(step["outputs"]), tuple(step["checks"]), self._weights
        )
        self._predict = self._executor("state_run", model.inputs, model.outputs, model._checks, drawing=True)
        self.reset()

    def reset(self) -> None:
        """Begin anew, with the weights as they were exported."""
        self._call("state_init", ctypes.c_int64(self._state.size))
        self._reset_metrics()

    def _reset_metrics(self) -> None:
        self._averages = Averages(self._report)
        self._call("metrics_reset")

    def train_on_batch(
        self, x: Any, y: Any, sample_weight: Any = None, reset_metrics: bool = True, return_dict: bool = False
    ) -> Any:
        """One training step: the loss of this batch before it, or a list of the loss and metrics.

        x: as `Artifact.predict_on_batch` takes it. y: the labels, as the graph has them (class numbers
        [n, 1] of a sparse loss, also [n]; else of the output's shape): an array for a model with one output
        that is trained, else a list. sample_weight: likewise, [n], or [n, steps] where the model was compiled
        so; None: each sample counts as 1. reset_metrics: False for values over the batches so far, since the
        last call that reset them, before or after its own batch as the model's Keras does. return_dict:
        whether the values come by name. Raises InputError and InputTypeError for arrays that do not fit, with
        nothing changed.
        """
        check_flag("reset_metrics", reset_metrics)
        labels = len(self.inputs) - len(self._model.inputs) - self._weights + self._states
        given = [
            *self._own(x),
            *_several("y", y, labels),
            *_several("sample_weight", sample_weight, self._weights),
        ]
        given = [_column(value, spec) for value, spec in zip(given, self.inputs)]
        with self._lock:
            n = self._train.batch_of(given)
            if not n:
                raise InputError(describe("data", "at least one sample", "none"))
            if reset_metrics and self._resets_before:
                self._reset_metrics()
            (results,) = self._train.run(n, given)
            self._averages.add(n, n, results.reshape(1, -1))
            values = self._averages.values()
            if reset_metrics and not self._resets_before:
                self._reset_metrics()
        if return_dict:
            return self._report.named(values)
        return values[0] if len(values) == 1 else values

    def predict_on_batch(self, x: Any) -> Any:
        """The outputs for one batch, with what was trained. x, results and errors as of
        `Artifact.predict_on_batch`."""
        with self._lock:
            return self._model._result(self._predict.call(self._model._arrays(x)))

    __call__ = predict_on_batch

    def predict(self, x: Any, batch_size: int = 32) -> Any:
        """The outputs for any number of samples, with what was trained, computed `batch_size` at a time. x,
        results and errors as of `Artifact.predict`."""
        model = self._model
        with self._lock:
            outputs = batching.predict(
                self._predict.run,
                model.inputs,
                model.outputs,
                model._arrays(x),
                batch_size,
                model.metadata["batch"],
            )
        return model._result(outputs)

    # ---- the state

    @property
    def state(self) -> dict[str, Array]:
        """Copies of all that training changes, by name: weights, what the optimizer keeps of them, its
        learning rate, the number of the step, the seed of random numbers."""
        with self._lock:
            return {name: tensor.copy() for name, tensor in self._tensors.items()}

    def set_state(self, values: Mapping[str, Any]) -> None:
        """Go on with these values, of some or all of `state`; what is not named stays. Raises InputError for
        names and shapes that are not there, with nothing changed."""
        arrays = {}
        for name, value in values.items():
            if name not in self._tensors:
                known = ", ".join(self._tensors)
                raise InputError(describe("set_state", f"names of the state ({known})", repr(name)))
            tensor, array = self._tensors[name], np.asarray(value)
            if array.shape != tensor.shape or not np.can_cast(array.dtype, tensor.dtype, "same_kind"):
                wanted = f"{tensor.dtype} of shape {tensor.shape}"
                raise InputError(describe(f"set_state: {name}", wanted, f"{array.dtype} of {array.shape}"))
            arrays[name] = array
        with self._lock:
            for name, array in arrays.items():
                self._tensors[name][...] = array
            self._call("state_changed")

    def selftest(self) -> float:
        """Train on the sample in the file, from the exported state, apart from this one; return the largest
        |got - expected| / (1 + |expected|) of the losses. Raises NativeError when it exceeds what the
        exporter allowed."""
        return self._model._tested("train_")

    # ---- parts

    @property
    def _states(self) -> int:
        """How many of the model's inputs are states of layers, which a step keeps in its own state."""
        return int(self._model.metadata.get("states", 0))

    def _own(self, x: Any) -> list[Any]:
        """The arrays of the model's inputs, without states of layers."""
        names = [spec.name for spec in self._model.inputs]
        return self._model._arrays(x, names[: len(names) - self._states])

    def _executor(
        self,
        name: str,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        checks: Sequence[str],
        optional: int = 0,
        drawing: bool = False,
    ) -> Executor:
        sizes = {"train": "train_workspace_size", "state_run": "state_workspace_size"}
        size = self._model._function(sizes[name], ctypes.c_int64, ctypes.c_int64, ctypes.c_int32)

        def tail(memory: Array) -> tuple[Any, ...]:
            return (ctypes.c_void_p(address(self._state)), *self._model._tail(memory))

        return Executor(
            self._model.metadata["name"],
            self._model._address(name),
            inputs,
            outputs,
            lambda n: self._model._accepted(int(size(n, self._model.threads)), n),
            tail,
            last=self._model._draw if drawing else None,
            checks=checks,
            optional=optional,
        )

    def _call(self, name: str, *more: Any) -> None:
        """A function of the library that takes the state."""
        function = self._model._function(name, ctypes.c_int32, ctypes.c_void_p, *map(type, more))
        status = function(address(self._state), *more)
        if status:
            raise NativeError(f"{self._model.metadata['name']}: {name} returned status {status}")


def _tensors(state: Array, described: Sequence[Any]) -> dict[str, Array]:
    """The tensors of a state, by name: parts of its memory."""
    found = {}
    for item, spec in zip(described, specs_of(described)):
        end = item["offset"] + spec.nbytes(1)
        if end > state.size:
            raise ArtifactError(f"damaged: its state has no place for {spec.name!r}")
        part = state[item["offset"] : end]
        found[spec.name] = part.view(spec.numpy_dtype).reshape(spec.bind(1))
    return found


def _several(what: str, given: Any, count: int) -> list[Any]:
    """One value for each of several outputs."""
    if given is None:
        if what == "y" and count:
            raise InputError(describe(what, f"labels for {count} output(s)", "None"))
        return [None] * count
    listed = isinstance(given, (list, tuple))
    if count == 1 and not (listed and len(given) == 1 and hasattr(given[0], "shape")):
        return [given]
    if not listed or len(given) != count:
        raise InputError(describe(what, f"a list of {count}", type(given).__name__))
    return list(given)


def _column(value: Any, spec: TensorSpec) -> Any:
    """Labels [n] as the graph has them, [n, 1]."""
    if spec.name.startswith("y:") and spec.shape[1:] == (1,) and np.ndim(value) == 1:
        return np.asarray(value).reshape(-1, 1)
    return value
