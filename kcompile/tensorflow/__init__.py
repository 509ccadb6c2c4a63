"""The thin `tensorflow` that scripts find under `kcompile run`.

Enters: names of TensorFlow, as scripts of tf.keras and Keras 3 write them around their models. Leaves:
functions of keras.ops and keras.random with TensorFlow's arguments (`functions`, `networks`, `images`,
`augmenting`, `matrices`, `places`), which are traced in layers, losses and metrics, are layers on tensors of
a model, and are computed at once on arrays; `tf.strings` on arrays of texts (`texts`); `tf.data` over numpy
(`kcompile.keras.pipelines`); what holds variables, and keeps them in files (`modules`); lists of tensors
(`lists`); switches that do no harm (`around`). All else is refused by name, with what to write instead
(`absent`).
"""

from __future__ import annotations

from typing import Any

from kcompile.tensorflow import (
    around,
    augmenting,
    functions,
    images,
    lists,
    matrices,
    modules,
    networks,
    places,
    texts,
)
from kcompile.tensorflow.absent import why_absent

__all__ = ["names", "why_absent"]


def names(path: str) -> dict[str, Any]:
    """The names of `tensorflow`, or of a module below it: "nn", "data.experimental"."""
    return _NAMES.get(path, {})


def _collected() -> dict[str, dict[str, Any]]:
    made: dict[str, dict[str, Any]] = {"": {}}
    tables: list[dict[str, Any]] = [functions.FUNCTIONS, networks.FUNCTIONS, images.FUNCTIONS]
    for table in (
        *tables,
        matrices.FUNCTIONS,
        places.FUNCTIONS,
        augmenting.FUNCTIONS,
        texts.FUNCTIONS,
        around.NAMES,
        modules.NAMES,
        lists.NAMES,
    ):
        for dotted, value in table.items():
            place, _, name = dotted.rpartition(".")
            made.setdefault(place, {})[name] = value
    made[""].update((name, texts.also_texts(name, made[""][name])) for name in texts.ON_TEXTS)
    return made


_NAMES = _collected()
MODULES = frozenset(
    path for place in _NAMES for path in (place, place.rpartition(".")[0]) if path
)  # below tensorflow
