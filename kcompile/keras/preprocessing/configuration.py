"""Configurations that Keras writes as JSON within JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from kcompile_runtime.errors import InputError, describe


def read_configuration(name: str, text: str, inner: Sequence[str]) -> dict[str, Any]:
    """The `config` of a JSON object. inner: entries of it that are JSON again. Raises InputError."""
    try:
        config = dict(json.loads(text)["config"])
        config.update((key, json.loads(config[key])) for key in inner)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(describe(name, "what to_json writes", f"{type(error).__name__}: {error}")) from error
    return config
