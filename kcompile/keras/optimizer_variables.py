"""The state of an optimizer as scripts see it: which variables it lists, in which order, under which names.

Enters: an optimizer that has its slots. Leaves: variables in the order and with the paths of a Keras. The
names are those that Keras 3.15 and tf_keras 2.21 give when they are run; Keras 2's are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from kcompile.keras.editions import edition
from kcompile.keras.layer_calls import numbered
from kcompile.keras.names_of_scripts import is_ours
from kcompile.keras.semantics import Semantics
from kcompile.keras.settings import snake_case
from kcompile.keras.tensors import Variable


class Words(NamedTuple):
    """What tf.keras since 2.11 and Keras 3 call a slot."""

    tf: str
    keras3: str


_MOMENTUM, _VELOCITY = Words("m", "momentum"), Words("v", "velocity")
_MOMENTS = {"m": _MOMENTUM, "v": _VELOCITY}
_COMMON = {"ema": Words("average", "average"), "gradient_sum": Words(*["gradient_accumulator"] * 2)}
_SLOTS: dict[str, dict[str, Words]] = {
    "SGD": {"momentum": _MOMENTUM},
    "RMSprop": {
        "rms": Words("velocity", "velocity"),
        "momentum": Words("momentum", "momentum"),
        "average": Words("average_gradient", "average_gradient"),
    },
    "Adagrad": {"accumulator": Words("accumulator", "accumulator")},
    "Adadelta": {
        "accumulator": Words("accumulated_grad", "accumulated_grad"),
        "delta": Words("accumulated_delta_var", "accumulated_delta_var"),
    },
    "Adam": {**_MOMENTS, "vhat": Words("vhat", "velocity_hat")},
    "Adamax": {"m": _MOMENTUM, "u": Words("u", "norm")},
    "Nadam": _MOMENTS,
    "Ftrl": {"accumulator": Words("accumulator", "accumulator"), "linear": Words("linear", "linear")},
    "Lion": _MOMENTS,
    "Lamb": _MOMENTS,
    "Adafactor": {"v": _VELOCITY},
    "ScheduleFreeAdamW": {"z": _MOMENTUM, "v": _VELOCITY},
    "Muon": _MOMENTS,
}


class Listed(list[Variable]):
    """A list that may be called, as tf.keras' may."""

    def __call__(self) -> Listed:
        return self


def listed(optimizer: Any) -> list[Variable]:
    """The variables of the state: the number of steps, in Keras 3 the rate, then the slots."""
    variables, order = optimizer.built_for, optimizer.naming.optimizer_variables
    if order == "with the rate":
        return Listed(optimizer.stored_state(variables))
    if order == "by variable":
        return Listed([optimizer._iterations, *in_order_of_tf(optimizer, variables)])
    each = (
        optimizer.kept[v][slot]
        for slot in (*optimizer.common_slots(), *optimizer.slots())
        for v in variables
        if slot in optimizer.kept[v]
    )
    return Listed([optimizer._iterations, *optimizer.state(), *each])


def in_order_of_tf(optimizer: Any, variables: Sequence[Variable]) -> list[Variable]:
    """The slots as tf.keras has them since 2.11: without the numbers that Keras 3 has in place of averages
    over rows and columns (Adafactor)."""
    stored = optimizer.stored(variables)
    numbers = {s for v in variables for s in optimizer.kept[v].values() if not s.shape and v.shape}
    return [variable for variable in stored if variable not in numbers]


def usual_name(optimizer: Any) -> str:
    """The name of an optimizer that is given none, before it is numbered: that of its class, in Keras 3 as
    those of layers are; of a class of a script's, before Keras 3, that of the class of ours below it."""
    kind, home = type(optimizer).__name__, optimizer.home
    if home and edition(home).operations:
        return snake_case(kind, home)
    ours = (k.__name__ for k in type(optimizer).__mro__ if is_ours(k) and k.__name__ != "Optimizer")
    return next(ours, kind) if home else kind


def automatic_name(optimizer: Any) -> str:
    """The name of an optimizer that is given none; in Keras 3 the next one of its kind."""
    name, home = usual_name(optimizer), optimizer.home
    return numbered(name, home) if home and edition(home).operations else name


def name_all(optimizer: Any) -> None:
    """Give the variables of the state the paths that they have in their Keras."""
    rules = optimizer.naming
    words = {**_COMMON, **_SLOTS.get(_kind(optimizer), {})}
    for word, variable in optimizer.scalars_kept.items():
        variable.path, variable.vintage = _path_of_scalar(optimizer, word, rules), rules.name
    if optimizer.kept and rules.optimizer_variables != "by slot":
        for variable in optimizer.state():
            variable.path, variable.vintage = "variable", rules.name
    for owner, held in optimizer.kept.items():
        for slot, variable in held.items():
            variable.path = _path(optimizer, owner, slot, words.get(slot, Words(slot, slot)), rules)
            variable.vintage = rules.name


def _kind(optimizer: Any) -> str:
    """The class of ours that the optimizer's is, or is derived from."""
    return next((k.__name__ for k in type(optimizer).__mro__ if k.__name__ in _SLOTS), "")


def _path_of_scalar(optimizer: Any, word: str, rules: Semantics) -> str:
    order, kind = rules.optimizer_variables, type(optimizer).__name__
    if order == "by slot":
        return f"{kind}/iter" if _of_tf(rules) and word == "iteration" else f"training/{kind}/{word}"
    return word if order == "by variable" else f"{snake_case(optimizer.name, rules.name)}/{word}"


def _path(optimizer: Any, owner: Variable, slot: str, words: Words, rules: Semantics) -> str:
    kind, order = type(optimizer).__name__, rules.optimizer_variables
    if order == "by variable":
        return f"{kind}/{words.tf}/{owner.path}"
    if order == "with the rate":
        around = snake_case(optimizer.name, rules.name)
        if slot in ("r", "c"):  # Adafactor names averages over rows and columns as their weight
            last = owner.path.rpartition("/")[2]
            return f"{around}/{last}" if optimizer.kept[owner][slot].shape else last
        return f"{around}/{owner.path.replace('/', '_')}_{words.keras3}"
    if _of_tf(rules):
        return f"{kind}/{owner.path}/{optimizer.stored_words.get(slot, slot)}"
    return f"training/{kind}/{owner.path}/{slot}"


def _of_tf(rules: Semantics) -> bool:
    return bool(edition(rules.name).eager)
