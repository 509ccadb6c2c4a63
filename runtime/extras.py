"""Libraries that few need: they are loaded when they are used, and come with an extra of a distribution."""

from __future__ import annotations

import importlib
from typing import Any

from kcompile_runtime.errors import ExtraError


def library(name: str, extra: str, distribution: str = "kcompile-runtime") -> Any:
    """The module of this name. Raises ExtraError (an ImportError), which names the extra that brings it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ExtraError(
            f'{package} cannot be imported ({error}): pip install "{distribution}[{extra}]"'
        ) from error
