"""The cases of a row of the table of options in a real Keras, which opens the files that we write of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from option_cases import Case, model_of
from options import scaled
from references import joined, plain, set_weights, within

Models = dict[Case, Any]


def opened(
    cases: Sequence[Case], edition: Any, keras: Any, paths: Sequence[Path]
) -> tuple[Models, list[str]]:
    """The models of the cases, opened by a Keras in the last of the files that our edition writes of all of
    them, and what any file has otherwise than where the constructors are called there."""
    edition.backend.clear_session()
    ours = {case: model_of(case, edition) for case in cases}
    for case, model in ours.items():
        set_weights(model, case)
    whole = joined(ours, edition)
    right, told = _made(cases, keras)
    models: Models = {}
    for path in paths:
        whole.save(path)
        found = keras.models.load_model(path, custom_objects={"scaled": scaled}, compile=False)
        inputs, outputs = iter(found.inputs), iter(found.outputs)
        for case, model in ours.items():
            sides = [next(inputs) for _ in model.inputs], [next(outputs) for _ in model.outputs]
            models[case] = keras.models.Model(*sides)
            told += [
                f"{case!r}: {path.suffix}: {line}" for line in _otherwise(models[case], model, right[case])
            ]
    return models, told


def _made(cases: Sequence[Case], keras: Any) -> tuple[dict[Case, Any], list[str]]:
    """The configurations of the layers that the Keras makes of the cases; None for what it refuses."""
    configs, told = {}, []
    for case in cases:
        try:
            configs[case] = _plain(model_of(case, keras).layers[-1].get_config())
        except Exception as error:
            configs[case] = None
            told.append(f"{case!r}: refused there: {type(error).__name__}: {error}")
    return configs, told


def _otherwise(found: Any, ours: Any, right: Any) -> list[str]:
    """What an opened model has otherwise than the layer that is made there, and than our weights."""
    told = [] if right is None else within(_plain(found.layers[-1].get_config()), right)
    if not all(map(np.array_equal, found.get_weights(), ours.get_weights())):
        told.append("other weights")
    return told


def _plain(config: Any) -> Any:
    """As JSON has it: a tuple is a list."""
    return json.loads(json.dumps(config, default=plain))
