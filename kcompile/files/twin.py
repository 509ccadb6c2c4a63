"""A live model of another Keras and ours, kept one model.

Enters: the live model. Leaves: a `Twin`, whose `sync` is called before and after whatever reads or changes
one of the two: what was changed on a side since then counts on the other. Where both sides changed one thing
the live model's value counts.

What is compared is cheap where the other Keras lets it be: the arrays of JAX never change, so a variable
that holds the same array has the same value; the values of all others are compared.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from kcompile.files import emit, live
from kcompile.files.problems import PACKAGES
from kcompile.keras.callbacks import Callback
from kcompile.keras.callbacks.base import hears_batches
from kcompile.keras.optimizer import Optimizer
from kcompile.keras.optimizer_configs import for_files
from kcompile.keras.tensors import Variable
from kcompile_runtime.errors import ModelError, UnsupportedError

IMMUTABLE = ("jaxlib", "jax")  # packages whose arrays never change


class Pair:
    """A variable of ours and a live one."""

    def __init__(self, ours: Variable, theirs: Any) -> None:
        self.ours, self.theirs = ours, theirs
        self._seen = _seen(theirs)
        self._mine_changed = False
        ours.listeners.add(self.mark)

    def mark(self) -> None:
        self._mine_changed = True

    def align(self, mine: bool) -> None:
        """Give both one side's value, whatever was seen before."""
        if not mine:
            self.ours.assign(live.value_of(self.theirs))
        self._mine_changed = mine
        self.sync()

    def sync(self) -> None:
        if not _same(self.theirs, self._seen):
            self._seen = _seen(self.theirs)
            self.ours.assign(live.value_of(self.theirs))
        elif self._mine_changed:
            self.theirs.assign(self.ours.array)
            self._seen = _seen(self.theirs)
        self._mine_changed = False


def _seen(variable: Any) -> Any:
    """A value to compare a live variable with later: its array, where that never changes, or a copy."""
    held = getattr(variable, "_value", None)
    if type(held).__module__.partition(".")[0] in IMMUTABLE:
        return held
    return np.array(live.value_of(variable))


def _same(variable: Any, seen: Any) -> bool:
    if type(seen) is not np.ndarray:
        return getattr(variable, "_value", None) is seen
    now = np.asarray(live.value_of(variable))
    return now.shape == seen.shape and now.dtype == seen.dtype and now.tobytes() == seen.tobytes()


class Twin:
    """See the module. live: the live model. model: ours."""

    def __init__(self, model: Any, examples: Any = None) -> None:
        self.live, self.model = model, live.from_keras(model, examples)
        self._layers = list(model.layers)
        self._weights = [Pair(ours, theirs) for ours, theirs in live.pairs(self.model, model)]
        self._trained: list[Pair] = []  # of the optimizer: its steps, its rate, its slots
        self._flags = [(layer.trainable, wanted) for layer, wanted in _flags(self.model, model)]
        self._note()

    def sync(self, training: bool = True) -> None:
        """Take over what changed. training: also what counts in training alone. Raises ModelError for
        a live model with other layers, UnsupportedError for what it was compiled with since."""
        layers, code = self.live.layers, getattr(self.model, "live_layer", None)
        if (
            len(layers) != len(self._layers)
            or any(a is not b for a, b in zip(layers, self._layers))
            or (code is not None and code.live.flags != code.live.flags_now())
        ):
            raise ModelError(
                f"model {self.live.name!r} has other layers, or trains others, than when it was compiled. "
                "Compile the changed model again"
            )
        for pair in (*self._weights, *self._trained) if training else self._weights:
            pair.sync()
        if training:
            self._sync_flags()
            self._sync_compile_arguments()

    # ---- what is trained, and how

    def _sync_flags(self) -> None:
        """Flags count here from now on, without another `compile`."""
        layers = list(_flags(self.model, self.live))
        theirs = [wanted for _, wanted in layers]
        if theirs != [wanted for _, wanted in self._flags]:
            changed = [layer for layer, wanted in layers if layer.trainable != wanted]
            for layer, wanted in layers:
                layer.trainable = wanted
            if changed and self._arguments is not None:
                self.model.compile(**self._arguments, auto_scale_loss=False)
                self._note()
        elif [layer.trainable for layer, _ in layers] != [mine for mine, _ in self._flags]:
            _set_flags(self.model, self.live)
        self._flags = [(layer.trainable, wanted) for layer, wanted in _flags(self.model, self.live)]

    def _sync_compile_arguments(self) -> None:
        """Copy the arguments of `compile`, options of optimizers set since, and slots made since."""
        if self._steps is not None:
            self._sync_steps(self._steps)
            return
        if not _identical(_compiled_as(self.live), self._live_compiled):
            self._read_compilation()
        elif self.model.trainer.arguments is not self._arguments:
            self._write_compilation()
            self._note(mine=True)
        elif self._arguments is not None and self._live_compiled[0] is not None:
            theirs, ours = _options(self.live.optimizer), _options(self.model.optimizer)
            if theirs != self._options[0]:
                self._read_compilation()
            elif ours != self._options[1]:
                for name in [name for name in ours if ours[name] != self._options[1].get(name)]:
                    setattr(self.live.optimizer, name, ours[name])
                self._note()
            if not self._paired:
                self._pair_slots()

    def _sync_steps(self, steps: Any) -> None:
        """Pair what the live model's steps have made since. Raises ModelError where it was compiled anew:
        the traced steps hold what it was compiled with."""
        changed = not _identical(_compiled_as(self.live), self._live_compiled)
        if changed or self.model.trainer.arguments is not self._arguments:
            raise ModelError(
                f"model {self.live.name!r} trains by steps of its own, and was compiled anew since. Give the "
                "live model to kcompile.compile again"
            )
        for pair in steps.pairs[len(self._trained) :]:
            self._trained.append(Pair(*pair))
            self._trained[-1].align(mine=True)  # ours were trained since they were made

    def _pair_slots(self) -> None:
        """One of the optimizers has made its slots since, or ours was trained."""
        optimizer, trained = self.live.optimizer, int(self.model.optimizer._iterations.array) > 0
        if live.is_built(optimizer):
            self._note()
        elif trained:
            optimizer.build(self.live.trainable_variables)
            self._note(mine=True)

    def _read_compilation(self) -> None:
        arguments = live.compile_arguments(self.live)
        if arguments is not None:
            self.model.compile(**arguments)
        self._note()

    def _write_compilation(self) -> None:
        """Compile the live model as ours is. Raises UnsupportedError where it cannot be."""
        config = emit.compile_config(self.model, "keras3") or {}
        if live.is_tf(self.live):
            config = {k: v for k, v in config.items() if k not in ("jit_compile", "run_eagerly")}
        try:
            self.live.compile_from_config(config)
        except Exception as error:
            raise UnsupportedError(
                f"model {self.live.name!r}: the live model cannot be compiled as ours is: "
                f"{error}. Compile the live model"
            ) from error

    def _note(self, mine: bool = False) -> None:
        """Remember how both are compiled now, and pair what their optimizers hold. mine: our state counts,
        not theirs."""
        self._live_compiled, self._arguments = _compiled_as(self.live), self.model.trainer.arguments
        self._trained, self._paired = [], False
        self._steps = getattr(self.model, "live_steps", None)
        self._options: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
        if self._arguments is None or self._live_compiled[0] is None or self._steps is not None:
            return
        ours, theirs = self.model.optimizer, self.live.optimizer
        self._options, slots = (_options(theirs), _options(ours)), live.slots(self.model, self.live)
        self._paired = live.is_built(theirs)
        live.copy_exclusions(self.model, self.live)
        rate = theirs.learning_rate
        found = [
            (ours._iterations, live.steps_of(theirs)),
            *slots,
            *([(ours.learning_rate_variable, rate)] if _is_set(ours, rate) else []),
        ]
        self._trained = [Pair(*pair) for pair in found]
        for pair in self._trained:
            pair.align(mine)

    # ---- callbacks

    @contextmanager
    def training(
        self, method: Callable[..., Any], args: Any, options: Any
    ) -> Iterator[inspect.BoundArguments]:
        """The arguments for a method of ours that takes callbacks, between two `sync`s. Callbacks of
        the live model's Keras see the live model, which is up to date at the events they listen to."""
        bound = inspect.signature(method).bind(*args, **options)
        self.sync()
        given = bound.arguments.get("callbacks")
        if given is not None:
            several = list(given) if isinstance(given, (list, tuple)) else [given]
            wrapped = [Foreign(c, self) if _is_foreign(c) else c for c in several]
            foreign = [c for c in wrapped if isinstance(c, Foreign)]
            batches = any(c.wants_batches("train") for c in foreign)
            compiled = self._arguments is not None and self._live_compiled[0] is not None
            if foreign and compiled and self._steps is None:
                live.build_metrics(self.model, self.live)
            bound.arguments["callbacks"] = [Syncs(self, batches), *wrapped, Syncs(self, batches)]
        try:
            yield bound
        finally:
            self.sync()


def _is_set(optimizer: Any, rate: Any) -> bool:
    """Whether the rate of a live optimizer is a variable that both may set; tf_keras has one for what a
    schedule gives too."""
    return hasattr(rate, "assign") and optimizer.lr is optimizer.learning_rate_variable


def _identical(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    return len(a) == len(b) and all(x is y for x, y in zip(a, b))


def _compiled_as(model: Any) -> tuple[Any, ...]:
    """Objects that `compile` of a live model makes anew."""
    return getattr(model, "optimizer", None), getattr(model, "_compile_config", None)


def _flags(ours: Any, theirs: Any) -> Iterator[tuple[Any, bool]]:
    """Each layer and weight of ours with the live one's flag."""
    return ((mine, bool(layer.trainable)) for mine, layer in live.flagged_of(ours, theirs))


def _set_flags(ours: Any, theirs: Any) -> None:
    """Give the live layers and weights the flags of ours."""
    for layer, wanted in [(layer, mine.trainable) for mine, layer in live.flagged_of(ours, theirs)]:
        layer.trainable = wanted


def _options(optimizer: Any) -> dict[str, Any]:
    """The arguments of an optimizer, but for the learning rate, which is a variable."""
    config = for_files(optimizer) if isinstance(optimizer, Optimizer) else optimizer.get_config()
    return {k: v for k, v in config.items() if k not in ("learning_rate", "lr", "name")}


# ---------------------------------------------------------------- callbacks


def _is_foreign(callback: Any) -> bool:
    return not isinstance(callback, Callback) and any(
        c.__name__ == "Callback" and c.__module__.partition(".")[0] in PACKAGES
        for c in type(callback).__mro__
    )


class Syncs(Callback):
    """Stands before and behind a user's callbacks, which may read and change the live model."""

    def __init__(self, twin: Twin, batches: bool) -> None:
        super().__init__()
        self._twin, self._batches = twin, batches

    def wants_batches(self, mode: str) -> bool:
        return self._batches and mode == "train"

    def _event(self, *_: Any, **__: Any) -> None:
        self._twin.sync()

    def _batch(self, *_: Any, **__: Any) -> None:
        if self._batches:
            self._twin.sync()

    on_train_begin = on_train_end = on_epoch_begin = on_epoch_end = _event
    on_test_begin = on_test_end = _event
    on_train_batch_begin = on_train_batch_end = _batch


class Foreign(Callback):
    """A callback of another Keras: told all events, about the live model."""

    def __init__(self, callback: Any, twin: Twin) -> None:
        super().__init__()
        self._callback, self._twin = callback, twin

    def set_params(self, params: dict[str, Any]) -> None:
        self._callback.set_params(params)

    @property
    def kind(self) -> str:
        """The name of the class that stands behind it, in states of trainings."""
        return type(self._callback).__name__

    def attributes(self) -> dict[str, Any]:
        """What the callback has, but for its model."""
        left_out = ("_params", "params", "_model", "model")
        return {k: v for k, v in vars(self._callback).items() if k not in left_out}

    def _states(self) -> Any:
        """Its own methods `state` and `load_state`, where a script's class defines both."""
        found = [getattr(self._callback, name, None) for name in ("state", "load_state")]
        return found if all(map(callable, found)) else None

    @property
    def keeps_silently(self) -> bool:
        """Whether it is of a script's class, derived from the base of callbacks alone, that has attributes
        and says nothing of them."""
        kinds = type(self._callback).__mro__
        theirs = next(k for k in kinds if k.__module__.partition(".")[0] in PACKAGES)
        own = theirs is not kinds[0] and theirs.__name__ == "Callback"
        return own and not self._states() and bool(self.attributes())

    def state(self) -> dict[str, Any]:
        """What its own `state` gives; of the callbacks of a Keras the attributes that are plain values:
        numbers, texts, arrays, and lists and dicts of them."""
        if own := self._states():
            found: dict[str, Any] = own[0]()
            return found
        if self.keeps_silently:
            return {}
        return {k: v for k, v in self.attributes().items() if _is_plain(v)}

    def load_state(self, state: dict[str, Any]) -> None:
        if own := self._states():
            own[1](state)
        else:
            self.restore(state)

    def restore(self, attributes: dict[str, Any]) -> None:
        """Give the callback what `attributes` gave."""
        vars(self._callback).update(attributes)

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        self._twin.live.stop_training = False
        self._callback.set_model(self._twin.live)

    def wants_batches(self, mode: str) -> bool:
        base = next(c for c in type(self._callback).__mro__ if c.__name__ == "Callback")
        return hears_batches(self._callback, base, mode)


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return type(value) is dict and all(_is_plain(v) for pair in value.items() for v in pair)
    numbers = (np.ndarray, np.generic)
    plain = value is None or type(value) in (bool, int, float, str)
    return plain or (isinstance(value, numbers) and value.dtype.kind in "biufc")


def _forward(event: str) -> Callable[..., None]:
    def tell(self: Foreign, *arguments: Any) -> None:
        getattr(self._callback, event)(*arguments)
        self.model.stop_training = self.model.stop_training or bool(self._twin.live.stop_training)

    return tell


for _event in [name for name in vars(Callback) if name.startswith("on_")]:
    setattr(Foreign, _event, _forward(_event))
