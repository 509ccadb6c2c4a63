"""The thin `tensorflow` that scripts find under `kcompile run`.

Enters: names of TensorFlow, as scripts of tf.keras and Keras 3 write them around their models. Leaves:
functions of keras.ops and keras.random with TensorFlow's arguments (`functions`, `networks`, `images`,
`augmenting`, `matrices`, `places`, `clipping`, `further`), which are traced in layers, losses and metrics,
are layers on tensors of a model, and are computed at once on values, as tensors with the method `numpy`;
functions of values alone (`of_values`, `drawing`, `checks`), of texts (`texts`, `tables`) and of files
(`files`, and `examples` by `protos`); lists of tensors (`lists`); what holds variables, and keeps them in
files (`modules`); `tf.summary` (`summaries`); `tf.data` over numpy (`kcompile.keras.pipelines`, `records`);
switches that do no harm (`around`). All else is refused by name, with what to write instead (`absent`).
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

import numpy as np

from kcompile.keras.eager import as_tensors
from kcompile.keras.operands import here, leaves, map_leaves
from kcompile.keras.settings import kept_widths
from kcompile.keras.tracing import current
from kcompile.tensorflow import (
    around,
    augmenting,
    checks,
    clipping,
    drawing,
    examples,
    files,
    functions,
    further,
    images,
    lists,
    matrices,
    modules,
    networks,
    of_values,
    places,
    records,
    summaries,
    tables,
    texts,
    traced_functions,
)
from kcompile.tensorflow.absent import why_absent

__all__ = ["names", "why_absent"]


def names(path: str) -> dict[str, Any]:
    """The names of `tensorflow`, or of a module below it: "nn", "data.experimental"."""
    return _NAMES.get(path, {})


# First operands that are no tensors: shapes, numbers, lists of tensors
_SHAPES = frozenset(
    {"shape", "dims", "num_rows", "start", "values", "inputs", "t_list", "fn", "pred", "args", "indices"}
)


def _of_tensors(function: Any) -> Any:
    """A function whose results on values are tensors of TensorFlow, and that takes lists for its first
    operand."""
    first = next(iter(inspect.signature(function).parameters), "args")

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = map_leaves(here, args), map_leaves(here, kwargs)
        if first not in _SHAPES:
            if args and isinstance(args[0], (list, tuple)):
                args = (_given(args[0]), *args[1:])
            elif isinstance(kwargs.get(first), (list, tuple)):
                kwargs[first] = _given(kwargs[first])
        if current() is not None:
            return function(*args, **kwargs)
        with kept_widths():
            return as_tensors(function(*args, **kwargs))

    return call


def _given(values: Any) -> Any:
    """Nested numbers as a tensor; anything else as it is."""
    plain = all(isinstance(x, (bool, int, float, str, bytes, np.generic)) for x in leaves(values))
    return around.constant(values) if plain else values


_CLASSES = (
    *(drawing.NAMES, examples.NAMES, lists.NAMES, modules.NAMES, summaries.NAMES),
    traced_functions.NAMES,
)


def _collected() -> dict[str, dict[str, Any]]:
    made: dict[str, dict[str, Any]] = {"": {}}
    found: list[dict[str, Any]] = [functions.FUNCTIONS, networks.FUNCTIONS, images.FUNCTIONS]
    found += [matrices.FUNCTIONS, places.FUNCTIONS, augmenting.FUNCTIONS, of_values.FUNCTIONS]
    found += [further.FUNCTIONS, drawing.FUNCTIONS, clipping.FUNCTIONS]
    plain = (around.NAMES, checks.NAMES, of_values.NEST, files.NAMES, tables.NAMES, records.NAMES, *_CLASSES)
    for table in (*found, texts.FUNCTIONS, *plain):
        for dotted, value in table.items():
            place, _, name = dotted.rpartition(".")
            wrapped = callable(value) and not any(table is one for one in plain)
            function = _of_tensors(value) if wrapped else value
            if table is clipping.FUNCTIONS:
                function = clipping.before_values(value, function)
            made.setdefault(place, {})[name] = function
    for dotted in texts.ON_TEXTS:
        place, _, name = dotted.rpartition(".")
        made[place][name] = texts.also_texts(dotted, made[place][name])
    return made


_NAMES = _collected()
MODULES = frozenset(
    path for place in _NAMES for path in (place, place.rpartition(".")[0]) if path
)  # below tensorflow
