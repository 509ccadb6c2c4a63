"""Configurations of optimizers: as their Keras writes them, and with what files keep.

Enters: an optimizer. Leaves: a dict by names of arguments, which its class takes again.
"""

from __future__ import annotations

from typing import Any

from kcompile.keras.names_of_scripts import is_ours
from kcompile.keras.optimizer_orders import COMMON, KERAS3, OWN, TF_KERAS
from kcompile.keras.semantics import LEGACY_OPTIMIZERS

_SHARED = "weight_decay clipnorm global_clipnorm clipvalue use_ema ema_momentum ema_overwrite_frequency"
_LAST = {  # what stands behind the options that both have
    "keras3": ("loss_scale_factor", "gradient_accumulation_steps"),
    "tf_keras": ("jit_compile", "is_legacy_optimizer"),
}
_ORDERS = {"keras3": KERAS3, "tf_keras": TF_KERAS}
_NEVER = {"jit_compile": False, "is_legacy_optimizer": False}  # of tf_keras; without effect here
_ABSENT = frozenset({"adaptive_epsilon", "lr", "learning_rate", "name", *_NEVER})


def as_its_keras(optimizer: Any) -> dict[str, Any]:
    """The configuration as its Keras gives it: all options in Keras 3 and tf_keras, those that say
    something in optimizers of tf.keras up to 2.10, the rate as `lr` in Keras 2.2."""
    written: dict[str, Any] = optimizer.written_config()
    home = optimizer.home
    if optimizer.vintage == LEGACY_OPTIMIZERS and home is not None:
        return _of_legacy(written)
    if home not in _ORDERS or optimizer.vintage not in (None, home):
        return written
    own = [key for key in _own(optimizer, home) if key in optimizer.options]
    shared = [*_SHARED.split(), *_LAST[home]]
    first = {"name": written["name"]}
    values: dict[str, Any] = {key: _NEVER.get(key, getattr(optimizer, key, None)) for key in shared}
    rate = {"learning_rate": next(written[key] for key in ("learning_rate", "lr") if key in written)}
    made = {**first, **rate, **values} if home == "keras3" else {**first, **values, **rate}
    made |= {key: written.get(key, getattr(optimizer, key)) for key in own}
    # What its Keras has not stays where it says something
    silent = {"decay": 0.0, "schedule_decay": 0.004}
    said = {k: v for k, v in written.items() if k in silent and v != silent[k]}
    return made | said


def _own(optimizer: Any, home: str) -> list[str]:
    """The options of its own, in the order of its Keras; of a class of a user's, as it lists them."""
    for kind in type(optimizer).__mro__:
        if (order := _ORDERS[home].get(kind.__name__)) is not None:
            common = {*COMMON, *_LAST[home], *_ABSENT} - set(OWN[kind.__name__].split())
            found = [key for key in order if key not in common]
            return found + [key for key in optimizer.options if key not in found and key != "schedule_decay"]
    return list(optimizer.options)


def _of_legacy(written: dict[str, Any]) -> dict[str, Any]:
    """`decay` is Nadam's schedule_decay there."""
    kept = {key: value for key, value in written.items() if key not in ("vintage", "lr", "schedule_decay")}
    decay = written.get("schedule_decay", kept.pop("decay"))
    first = {"name": kept.pop("name"), "learning_rate": kept.pop("learning_rate", written.get("lr"))}
    return {**first, "decay": decay, **kept}


def for_files(optimizer: Any) -> dict[str, Any]:
    """The configuration that files keep: of a user's class its own, else all that says something."""
    of_ours = next(kind for kind in type(optimizer).__mro__ if "get_config" in vars(kind))
    if is_ours(of_ours):
        found: dict[str, Any] = optimizer.written_config()
        if not is_ours(type(optimizer)) and not found.get("decay"):
            found.pop("decay", None)  # which classes of newer Kerases do not take
        return found
    told = dict(optimizer.get_config())
    silent = {**optimizer.silent_options(), **_NEVER}
    return {key: value for key, value in told.items() if key not in silent or value != silent[key]}
