"""What scripts of TensorFlow hold variables in, and keep them by: `tf.Module`, `tf.train.Checkpoint`.

Enters: objects that hold variables in their attributes. Leaves: the variables; files of them, which are
numpy's archives (.npz) beside a text file `checkpoint` that says which is the latest, as TensorFlow has it.
Files of TensorFlow itself are not read.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kcompile.keras.checkpoints import Status, as_text, file_of, latest_checkpoint, note_latest, noted
from kcompile.keras.datasets.stored import read_npz
from kcompile.keras.engine import Layer
from kcompile.keras.metric import Metric
from kcompile.keras.optimizer import Optimizer
from kcompile.keras.settings import snake_case
from kcompile.keras.tensors import Variable
from kcompile.tensorflow.around import Variable as _Variable
from kcompile_runtime.errors import InputError, ModelError, describe
from kcompile_runtime.replacing import replacing


class Module:
    """Base of classes that hold variables. name: default made of the class's name."""

    def __init__(self, name: str | None = None) -> None:
        self._name = name or snake_case(type(self).__name__)

    @property
    def name(self) -> str:
        return getattr(self, "_name", snake_case(type(self).__name__))

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Those in its attributes, in the order of their names, and those of what is held there."""
        return tuple({id(v): v for _, x in _held(self) for v in _variables(x)}.values())

    @property
    def trainable_variables(self) -> tuple[Variable, ...]:
        return tuple(v for v in self.variables if v.trainable)

    @property
    def non_trainable_variables(self) -> tuple[Variable, ...]:
        return tuple(v for v in self.variables if not v.trainable)

    @property
    def submodules(self) -> tuple[Any, ...]:
        """The modules and layers in its attributes, and in theirs."""
        found = [x for _, x in _held(self) if isinstance(x, (Module, Layer))]
        inner = [y for x in found if isinstance(x, Module) for y in x.submodules]
        return tuple({id(x): x for x in [*found, *inner]}.values())

    @classmethod
    def with_name_scope(cls, method: Any) -> Any:
        """The method: names of variables are their own."""
        return method


def _held(owner: Any) -> Iterator[tuple[str, Any]]:
    """What attributes of a module hold, by its path, those of lists and dicts too."""
    for name, value in sorted(vars(owner).items()):
        yield from _inside(name, value)


def _inside(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _inside(f"{path}/{key}", part)
    elif isinstance(value, (list, tuple)):
        for place, part in enumerate(value):
            yield from _inside(f"{path}/{place}", part)
    else:
        yield path, value


def _variables(x: Any) -> Sequence[Variable]:
    """The variables of what a module or a checkpoint holds."""
    if isinstance(x, Variable):
        return [x]
    if isinstance(x, (Layer, Optimizer)):
        found: Sequence[Variable] = x.weights
        return found
    return list(x.variables) if isinstance(x, (Module, Metric)) else []


# ---------------------------------------------------------------- checkpoints


class Checkpoint:
    """Objects by name, whose variables are kept in files: variables, models, layers, modules, optimizers,
    metrics, lists and dicts of them. root: an object whose attributes are these."""

    def __init__(self, root: Any = None, **kwargs: Any) -> None:
        objects = {} if root is None else {"root": root}
        for name, x in {**objects, **kwargs}.items():
            kept = [part for _, part in _inside(name, x)]
            if not kept or not all(
                isinstance(part, (Variable, Layer, Optimizer, Module, Metric, Checkpoint)) for part in kept
            ):
                raise ModelError(
                    describe(f"tf.train.Checkpoint: {name}", "variables, models, optimizers, ...", repr(x))
                )
            setattr(self, name, x)
        self._names = tuple({**objects, **kwargs})
        self.save_counter = _Variable(0, dtype="int64", trainable=False, name="save_counter")

    def save(self, file_prefix: Any, options: Any = None) -> str:
        """Write `file_prefix-N`, N the number of calls, and note it as the latest of its folder."""
        self.save_counter.assign_add(1)
        path = f"{as_text(file_prefix)}-{int(self.save_counter)}"
        self.write(path)
        note_latest([path], Path(path).parent)
        return path

    def write(self, file_prefix: Any, options: Any = None) -> str:
        """Write a file of exactly this name (with .npz behind it)."""
        path = Path(as_text(file_prefix))
        path.parent.mkdir(parents=True, exist_ok=True)
        found = self._by_name()
        arrays = {f"array_{k}": v.numpy() for k, v in enumerate(found.values())}
        with replacing(file_of(path)) as part, open(part, "wb") as file:
            np.savez(file, names=np.array(list(found)), **arrays)  # type: ignore[arg-type]
        return str(path)

    def restore(self, save_path: Any, options: Any = None) -> Status:
        """Read the variables of a file that `save` or `write` made; of None, nothing. Raises InputError for a
        file that is none, and for variables that it lacks or has in other shapes."""
        if save_path is not None:
            self._take(_arrays(as_text(save_path)), as_text(save_path))
        return Status()

    read = restore

    def _objects(self) -> Iterator[tuple[str, Any]]:
        for name in self._names:
            for path, x in _inside(name, getattr(self, name)):
                if isinstance(x, Checkpoint):
                    yield from ((f"{path}/{inner}", y) for inner, y in x._objects())
                else:
                    yield path, x
        yield "save_counter", self.save_counter

    def _by_name(self) -> dict[str, Variable]:
        """The variables by the object that has them, and their number there."""
        return {f"{name}/{k}": v for name, x in self._objects() for k, v in enumerate(_variables(x))}

    def _take(self, arrays: Mapping[str, np.ndarray], path: str) -> None:
        trained = [
            [v for v in _variables(x) if v.trainable]
            for _, x in self._objects()
            if not isinstance(x, (Optimizer, Metric))
        ]
        everything = [v for some in trained for v in some]
        for name, x in self._objects():
            if isinstance(x, Optimizer) and not x.built:
                wanted = [a.shape for a in _numbered(arrays, name)]
                _build(x, [*trained, everything], wanted)
        have = self._by_name()
        wrong = [
            name
            for name in {**have, **{n: None for n in arrays}}
            if name not in have or name not in arrays or have[name].shape != arrays[name].shape
        ]
        if wrong:
            said = ", ".join(wrong[:3]) + (", ..." if len(wrong) > 3 else "")
            raise InputError(
                f"checkpoint {path!r}: its variables are not those of the objects: {said}. Build models "
                "(call them on data) before restore, as they were when it was saved"
            )
        for name, variable in have.items():
            variable.assign(arrays[name])


def _numbered(arrays: Mapping[str, np.ndarray], name: str) -> list[np.ndarray]:
    """The arrays of an object, in their order."""
    found = [(int(key.rpartition("/")[2]), a) for key, a in arrays.items() if key.rpartition("/")[0] == name]
    return [a for _, a in sorted(found, key=lambda pair: pair[0])]


def _build(optimizer: Any, candidates: Sequence[Sequence[Variable]], wanted: Sequence[Any]) -> None:
    """Make an optimizer's slots for the first variables whose slots have the wanted shapes."""
    if [w.shape for w in optimizer.weights] == list(wanted):
        return
    for variables in candidates:
        optimizer.build(variables)
        if [w.shape for w in optimizer.weights] == list(wanted):
            return
    optimizer.build([])


def _arrays(path: str) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint's file. Raises InputError."""
    if not file_of(path).exists():
        theirs = Path(f"{path}.index").exists()
        wanted = "a file that tf.train.Checkpoint of kcompile wrote"
        raise InputError(
            describe(f"checkpoint {path!r}", wanted, "one of TensorFlow itself" if theirs else "no such file")
        )
    (names,) = read_npz(file_of(path), ["names"])
    arrays = read_npz(file_of(path), [f"array_{k}" for k in range(names.size)])
    return dict(zip(names.ravel().tolist(), arrays))


class CheckpointManager:
    """Keeps the last checkpoints of a folder. max_to_keep: how many, None for all."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        directory: Any,
        max_to_keep: int | None,
        keep_checkpoint_every_n_hours: float | None = None,
        checkpoint_name: str = "ckpt",
        step_counter: Any = None,
        checkpoint_interval: int | None = None,
        init_fn: Any = None,
    ) -> None:
        if max_to_keep is not None and max_to_keep < 1:
            raise ModelError(
                describe("CheckpointManager: max_to_keep", "None, or 1 and more", str(max_to_keep))
            )
        self.checkpoint, self.directory = checkpoint, as_text(directory)
        self.max_to_keep, self.checkpoint_interval = max_to_keep, checkpoint_interval
        self._hours, self._name, self._init = keep_checkpoint_every_n_hours, checkpoint_name, init_fn
        self._steps = step_counter
        self._kept_at = time.time()
        self.checkpoints = noted(self.directory)

    @property
    def latest_checkpoint(self) -> str | None:
        return self.checkpoints[-1] if self.checkpoints else None

    def save(self, checkpoint_number: Any = None, check_interval: bool = True, options: Any = None) -> Any:
        """Write the next checkpoint, and remove those that are too many; gives its path. None where the
        interval of the step counter has not gone by."""
        if check_interval and self._steps is not None and self.checkpoint_interval and self._too_soon():
            return None
        counter = self.checkpoint.save_counter
        counter.assign_add(1)
        number = int(counter) if checkpoint_number is None else int(checkpoint_number)
        path = str(Path(self.directory) / f"{self._name}-{number}")
        self.checkpoint.write(path)
        self.checkpoints = [*(p for p in self.checkpoints if p != path), path]
        spare = self.checkpoints[: -self.max_to_keep] if self.max_to_keep else []
        self.checkpoints = self.checkpoints[len(spare) :]
        note_latest(self.checkpoints, self.directory)
        for old in spare:
            if self._hours is not None and time.time() - self._kept_at >= 3600 * self._hours:
                self._kept_at = time.time()
            else:
                file_of(old).unlink(missing_ok=True)
        self._saved_at = None if self._steps is None else int(self._steps)
        return path

    _saved_at: int | None = None

    def _too_soon(self) -> bool:
        last = self._saved_at
        return last is not None and int(self._steps) - last < int(self.checkpoint_interval or 0)

    def restore_or_initialize(self) -> str | None:
        """Restore the latest checkpoint and give its path; where there is none, call init_fn."""
        if self.latest_checkpoint is not None:
            self.checkpoint.restore(self.latest_checkpoint)
        elif self._init is not None:
            self._init()
        return self.latest_checkpoint


NAMES: dict[str, Any] = {
    "Module": Module,
    "train.Checkpoint": Checkpoint,
    "train.CheckpointManager": CheckpointManager,
    "train.latest_checkpoint": latest_checkpoint,
}
