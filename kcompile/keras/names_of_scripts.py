"""Attributes and methods of a script's own layers and models, under names that we use and Keras has not.

Enters: a class of a script's that defines such a name, or sets it on an object. Leaves: the script's code
reads what it wrote, ours what we have there. So `self.label = 3` or `def inside(self)` mean nothing to us.
"""

from __future__ import annotations

import sys
from typing import Any

# Of Layer and Model; tests/keras_tier/test_names_of_ours_with_keras.py finds them by comparison with Keras
NAMES = frozenset(
    """
    adapters adds_metrics adopt attributes branches build_for called_losses called_on classes
    compile_arguments compiled_nodes compiled_steps consumers consumes counts emit engine ensure_built
    fed fed_names fixed_step flag flagged_weights functional given_losses given_metrics given_updates
    gives has_steps has_weights infer_types input_tensor inside is_input label likely_shape listed
    meets_samples named_errors nodes number on_arrays one_of operations output_labels own_optimizers
    own_steps owned_layers parts policy positive positives prelude random_state result_names runs see
    sides signature state_variables structure_changed taken_over told_metrics trace traced_step trainer
    twin use_engine varies widened_for widened_to word written_call
    """.split()  # noqa: SIM905
)
_MARK = "_names_of_script"  # in an object: those that its script set


def is_ours(made: Any) -> bool:
    """Whether a class or function is of a module of ours, and not of a script's."""
    return str(made.__module__).startswith("kcompile.")


def _by_us(depth: int) -> bool:
    """Whether the code that reads or writes is ours; methods that hand a write on are passed over."""
    frame = sys._getframe(depth)
    while frame.f_code.co_name in ("__setattr__", "__delattr__") and frame.f_back is not None:
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] in ("kcompile", "kcompile_runtime")


def set_by_script(thing: Any) -> frozenset[str]:
    """The names of NAMES that the script set on an object."""
    found: frozenset[str] = vars(thing).get(_MARK, frozenset())
    return found


def our_key(thing: Any, name: str) -> str:
    """Where an attribute of ours stands among those of an object."""
    return f" {name}" if name in set_by_script(thing) else name


def kept_for_us(key: str) -> bool:
    """Whether a key of an object's attributes is ours alone, beside one of the script's."""
    return key == _MARK or key.startswith(" ")


_ABSENT: Any = object()


class _Shared:
    """A name with two meanings, in a class of a script's. own: what the class itself defines."""

    def __init__(self, name: str, owner: type, own: Any = _ABSENT) -> None:
        self.name, self.owner, self.own = name, owner, own

    def __get__(self, thing: Any, kind: type) -> Any:
        ours = _by_us(2)
        if thing is None:
            if ours or self.own is _ABSENT:
                return getattr(super(self.owner, kind), self.name)
            return self.own.__get__(None, kind) if hasattr(self.own, "__get__") else self.own
        kept = vars(thing)
        if self.name in set_by_script(thing):
            if not ours:
                return kept[self.name]
            return kept[" " + self.name] if " " + self.name in kept else self._inherited(thing)
        if self.own is not _ABSENT and not ours:
            if hasattr(type(self.own), "__set__") or self.name not in kept:
                return self.own.__get__(thing, kind) if hasattr(self.own, "__get__") else self.own
        if self.name in kept and not hasattr(getattr(super(self.owner, kind), self.name, None), "__set__"):
            return kept[self.name]
        return self._inherited(thing)

    def _inherited(self, thing: Any) -> Any:
        return getattr(super(self.owner, thing), self.name)

    def __set__(self, thing: Any, value: Any) -> None:
        kept = vars(thing)
        shared = self.name in set_by_script(thing)
        if _by_us(2):
            inherited: Any = getattr(super(self.owner, type(thing)), self.name, None)
            if hasattr(inherited, "__set__"):
                inherited.__set__(thing, value)
            else:
                kept[" " + self.name if shared else self.name] = value
        elif hasattr(type(self.own), "__set__"):
            self.own.__set__(thing, value)
        else:
            if not shared and self.name in kept:
                kept[" " + self.name] = kept.pop(self.name)
            kept[_MARK] = set_by_script(thing) | {self.name}
            kept[self.name] = value

    def __delete__(self, thing: Any) -> None:
        kept = vars(thing)
        if self.name not in set_by_script(thing) or _by_us(2):
            raise AttributeError(self.name)
        del kept[self.name]
        kept[_MARK] = set_by_script(thing) - {self.name}
        if " " + self.name in kept:
            kept[self.name] = kept.pop(" " + self.name)


def share(kind: type, name: str) -> None:
    """Make a name of a class of a script's one of two meanings."""
    if not any(isinstance(vars(base).get(name), _Shared) for base in kind.__mro__):
        setattr(kind, name, _Shared(name, kind))


class NamesOfScripts:
    """The part of `Layer` that is about attributes of scripts."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not is_ours(cls):
            for name in NAMES & vars(cls).keys():
                if not isinstance(vars(cls)[name], _Shared):
                    setattr(cls, name, _Shared(name, cls, vars(cls)[name]))

    def __setattr__(self, name: str, value: Any) -> None:
        if name in NAMES and not is_ours(type(self)) and not _by_us(2):
            share(type(self), name)
        super().__setattr__(name, value)
