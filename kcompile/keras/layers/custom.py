"""What a layer class of a user's is too: it holds the layers and variables in its attributes, and its `call`
takes any arguments that are tensors, or hold some.

Enters: a class whose `call` runs over symbolic tensors. Leaves: the same class with `Custom` among its bases.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from kcompile.keras.editions import edition
from kcompile.keras.engine import Layer, Variable
from kcompile.keras.layer_arguments import ConfigurationError, parameters
from kcompile.keras.layers.forms import Formed
from kcompile.keras.layers.held import Holder, forget_place, layers_in
from kcompile.keras.names_of_scripts import kept_for_us

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_OF_LAYER = frozenset(inspect.signature(Layer.__init__).parameters)
_SIMPLE = (type(None), bool, int, float, str)


def constructor_arguments(made: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the constructor of a class by their names, with its defaults, but those of all layers;
    {} where they do not fit, as the constructor says itself."""
    try:
        bound = inspect.signature(type(made).__init__).bind(made, *args, **kwargs)
    except (TypeError, ValueError):
        return {}
    bound.apply_defaults()
    kinds = {name: p.kind for name, p in bound.signature.parameters.items()}
    own = [k for k in list(bound.arguments)[1:] if k not in _OF_LAYER]
    several = inspect.Parameter.VAR_POSITIONAL
    return {
        k: bound.arguments[k]
        for k in own
        if kinds[k] in _NAMED or (kinds[k] is several and bound.arguments[k])
    }


def check_given(owner: Any, given: Mapping[str, Any]) -> None:
    """Raises ConfigurationError for arguments of a constructor that JSON does not hold, or without names."""
    names = parameters(type(owner))
    odd = [k for k, v in given.items() if not _is_simple(v) or k not in names]
    if odd:
        raise ConfigurationError(
            f"{owner.label}: its configuration cannot hold the argument {odd[0]!r} of its constructor: "
            f"{given[odd[0]]!r}. Define get_config (and from_config, where the constructor "
            "does not take what it gives)"
        )


class Custom(Formed, Holder):
    """The part of a user's layer that is about what it holds and how it is called."""

    _given: Mapping[str, Any] = {}  # the arguments of the constructor

    def __new__(cls, *args: Any, **kwargs: Any) -> Custom:
        made: Custom = super().__new__(cls)
        vars(made)["_given"] = constructor_arguments(made, args, kwargs)
        return made

    def get_config(self) -> dict[str, Any]:
        """With what the constructor was given, of a class that does not define it itself, as tf.keras and
        Keras 3 have it. Raises ConfigurationError in these for an argument that JSON does not hold, and for
        arguments without names."""
        config = super().get_config()
        if type(self).get_config is not Custom.get_config:
            return config
        eager = edition(self.vintage).eager
        if eager:
            check_given(self, self._given)
        known = set(parameters(Layer)) if eager else {*config, *parameters(Layer)}
        kept = {k: v for k, v in self._given.items() if k not in known and _is_simple(v)}
        return config | {k: list(v) if isinstance(v, tuple) else v for k, v in kept.items()}

    # ---- what it holds

    @property
    def parts(self) -> list[Layer]:
        """The layers in the attributes, in the order in which these were first set; none in Keras 2.2, and in
        Keras 2.3 those that are attributes themselves."""
        known = self.semantics.layers_in_layers
        values = [value for name, value in vars(self).items() if name != "_given" and not kept_for_us(name)]
        found = (
            list(layers_in(values, self.semantics))
            if known.startswith("nested")
            else [value for value in values if known == "attributes" and isinstance(value, Layer)]
        )
        return list({id(layer): layer for layer in found if layer is not self}.values())

    def __setattr__(self, name: str, value: Any) -> None:
        """A variable in an attribute is a weight of the layer."""
        forget_place(self, name, value)
        super().__setattr__(name, value)
        if not isinstance(value, Variable) or "_non_trainable" not in vars(self):
            return
        known = self.semantics.layers_in_layers != "none"
        if known and not any(value is v for v in (*self._trainable, *self._non_trainable)):
            (self._trainable if value.trainable else self._non_trainable).append(value)

    @property
    def trainable_weights(self) -> list[Variable]:
        found: list[Variable] = Holder.trainable_weights.fget(self)  # type: ignore[attr-defined]
        return found

    @trainable_weights.setter
    def trainable_weights(self, variables: Sequence[Variable]) -> None:
        """The layer's own, as custom layers of Keras 1 and 2 set them in `build`."""
        held = {id(v) for part in self.parts for v in part.weights}
        self._trainable = [v for v in variables if id(v) not in held]


def _is_simple(x: Any) -> bool:
    """Whether JSON holds it."""
    if isinstance(x, Mapping):
        return all(isinstance(key, str) and _is_simple(value) for key, value in x.items())
    return all(map(_is_simple, x)) if isinstance(x, (list, tuple)) else isinstance(x, _SIMPLE)


def adopt(cls: Any) -> None:
    """Make a class `Custom` too, if it holds no layers of its own."""
    if not issubclass(cls, Holder):
        cls.__bases__ = (Custom, *cls.__bases__)


Layer.adopt_layer = staticmethod(adopt)
