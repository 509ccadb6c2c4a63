"""`tf.keras.optimizers.legacy`: the optimizers of tf.keras up to 2.10, which take `decay` and know no moving
average of weights, nor weights that decay."""

from __future__ import annotations

import functools
from typing import Any

from kcompile.keras import optimizers
from kcompile.keras.optimizer import Optimizer as Optimizer
from kcompile.keras.semantics import LEGACY_OPTIMIZERS


def _legacy(base: type[Optimizer]) -> type[Optimizer]:
    """The class as tf.keras 2.10 has it."""

    @functools.wraps(base.__init__)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        if "schedule_decay" in base.options and "decay" in kwargs:  # the name that configurations have for it
            kwargs.setdefault("schedule_decay", kwargs.pop("decay"))
        base.__init__(self, *args, **{"vintage": LEGACY_OPTIMIZERS, **kwargs})

    members = {"__init__": __init__, "__doc__": base.__doc__, "__module__": __name__}
    return type(base.__name__, (base,), members)


SGD = _legacy(optimizers.SGD)
RMSprop = _legacy(optimizers.RMSprop)
Adagrad = _legacy(optimizers.Adagrad)
Adadelta = _legacy(optimizers.Adadelta)
Adam = _legacy(optimizers.Adam)
Adamax = _legacy(optimizers.Adamax)
Nadam = _legacy(optimizers.Nadam)
Ftrl = _legacy(optimizers.Ftrl)
