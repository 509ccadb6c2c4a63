"""The order in which methods of models take arguments by position since tf.keras, and their defaults.

Enters: a method of ours, whose order is Keras 2's. Leaves: one that takes arguments in another order.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kcompile.keras.argument_orders import by_name
from kcompile.keras.editions import edition

# In tf.keras and Keras 3 predictions have a bar too, unless verbose says no
_FIT = (
    "x y batch_size epochs verbose callbacks validation_split validation_data shuffle class_weight "
    "sample_weight initial_epoch steps_per_epoch validation_steps validation_batch_size validation_freq"
)
_AHEAD = "max_queue_size workers use_multiprocessing"
_LOUD = {"verbose": "auto"}
_QUICK = {"run_eagerly": False, "steps_per_execution": 1, "jit_compile": "auto"}
_METHODS: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "tf_keras": {
        "compile": (
            "optimizer loss metrics loss_weights weighted_metrics run_eagerly steps_per_execution "
            "jit_compile pss_evaluation_shards",
            {},
        ),
        "fit": (f"{_FIT} {_AHEAD}", _LOUD),
        "evaluate": (f"x y batch_size verbose sample_weight steps callbacks {_AHEAD} return_dict", _LOUD),
        "predict": (f"x batch_size verbose steps callbacks {_AHEAD}", _LOUD),
        "save": ("filepath overwrite save_format", {}),
        "save_weights": ("filepath overwrite save_format options", {}),
        "load_weights": ("filepath skip_mismatch by_name options", {}),
    },
    "keras3": {
        "compile": (
            "optimizer loss loss_weights metrics weighted_metrics run_eagerly steps_per_execution "
            "jit_compile auto_scale_loss",
            _QUICK,
        ),
        "fit": (_FIT, _LOUD),
        "evaluate": ("x y batch_size verbose sample_weight steps callbacks return_dict", _LOUD),
        "predict": ("x batch_size verbose steps callbacks", _LOUD),
        "train_on_batch": ("x y sample_weight class_weight return_dict", {}),
        "test_on_batch": ("x y sample_weight return_dict", {}),
        "save": ("filepath overwrite zipped", {}),
        "save_weights": ("filepath overwrite max_shard_size", {}),
        "load_weights": ("filepath skip_mismatch", {}),
    },
}
METHODS = {
    vintage: {method: (tuple(names.split()), values) for method, (names, values) in methods.items()}
    for vintage, methods in _METHODS.items()
}


def of_vintage(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of models that takes arguments by position in the order of the model's own Keras."""
    name = method.__name__

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        known = METHODS.get(edition(self.vintage).vintage, {}).get(name)
        if known is None or not args:
            return method(self, *args, **kwargs)
        return method(self, **by_name(name, known[0], args, kwargs), **kwargs)

    return call


def of_edition(method: Callable[..., Any], order: Sequence[str], values: Mapping[str, Any]) -> Any:
    """A method of models that takes arguments in this order, and shows it. values: defaults of its own."""
    parameters = inspect.signature(method).parameters
    own = [p for p in parameters.values() if p.name != "self"]
    common = sum(itertools.takewhile(bool, (a == b.name for a, b in zip(order, own))))
    filled = {k: v for k, v in values.items() if k == "verbose"}

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if len(args) > common:
            kwargs.update(by_name(method.__name__, order, args, kwargs))
            args = ()
        for name, value in filled.items():
            if name not in kwargs and len(args) <= order.index(name):
                kwargs[name] = value
        return method(self, *args, **kwargs)

    shown = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    for name in order:
        default = values.get(name, parameters[name].default)
        shown.append(inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default))
    vars(call)["__signature__"] = inspect.Signature(shown)
    return call
