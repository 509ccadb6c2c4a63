"""`compile(target_tensors=...)`: labels that are tensors of the user's own.

Enters: what `compile` was given. Leaves: labels with those filled in that variables hold. A placeholder is
fed like any labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kcompile.keras.inputs import InputLayer
from kcompile.keras.standardize import by_name
from kcompile.keras.tensors import KerasTensor, Variable
from kcompile_runtime.errors import InputError, InputTypeError, UnsupportedError, describe


def check_targets(value: Any) -> None:
    """Raises InputTypeError for what is no tensor, UnsupportedError for tensors that are computed."""
    if value is None:
        return
    several = isinstance(value, (list, tuple, Mapping))
    given = list(value.values() if isinstance(value, Mapping) else value) if several else [value]
    for tensor in given:
        if isinstance(tensor, KerasTensor) and not isinstance(tensor.layer, InputLayer):
            raise UnsupportedError(
                describe(
                    "compile: target_tensors",
                    "variables or placeholders",
                    f"{tensor!r}, which is computed",
                    "Use add_loss, or compute the labels beforehand.",
                )
            )
        if tensor is not None and not isinstance(tensor, (Variable, KerasTensor)):
            raise InputTypeError(
                describe(
                    "compile: target_tensors", "a tensor, a list of tensors or a dict by output", repr(tensor)
                )
            )


def held_labels(value: Any, outputs: Sequence[str]) -> dict[str, Variable]:
    """The variables that hold labels, by the name of their output. Raises InputError where there are not as
    many as outputs, or others."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        named = dict(value)
        wrong = sorted(set(named) - set(outputs))
        if wrong:
            raise InputError(
                describe("compile: target_tensors", f"the names {', '.join(outputs)}", ", ".join(wrong))
            )
    else:
        listed = list(value) if isinstance(value, (list, tuple)) else [value]
        if len(listed) != len(outputs) and listed:
            raise InputError(
                describe(
                    "compile: target_tensors",
                    f"one for each of {len(outputs)} outputs ({', '.join(outputs)})",
                    f"{len(listed)}",
                )
            )
        named = dict(zip(outputs, listed))
    return {name: tensor for name, tensor in named.items() if isinstance(tensor, Variable)}


def with_held(y: Any, held: Mapping[str, Variable], outputs: Sequence[str]) -> Any:
    """Labels y, with those of variables. Raises InputError for labels of an output whose labels a variable
    holds."""
    fed = [name for name in outputs if name not in held]
    if not held:
        return y
    if not fed and y is not None:
        raise InputError(
            describe("y", "None, as variables hold the labels (target_tensors)", type(y).__name__)
        )
    given = dict(zip(fed, by_name(y, fed, "output"))) if fed else {}
    return {**given, **{name: variable.array for name, variable in held.items()}}
