"""The arguments of constructors.

Enters: a class of layers. Leaves: what a configuration may say of it.
"""

from __future__ import annotations

import inspect


def parameters_of(cls: type) -> dict[str, inspect.Parameter | None]:
    """The parameters of a layer class' constructor, by name."""
    made = [vars(base)["__init__"] for base in reversed(cls.__mro__[:-1]) if "__init__" in vars(base)]
    known: dict[str, inspect.Parameter | None] = {"batch_input_shape": None}
    known.update(
        (name, parameter)
        for init in made
        for name, parameter in inspect.signature(init).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    )
    known.pop("weights", None)  # no configuration holds them
    known.pop("self", None)
    return known
