"""Modules that a package has as attributes, and that few scripts use: each loads when it is asked for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType


def lazily(package: str, *names: str) -> tuple[Callable[[str], ModuleType], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package that has modules of these names."""

    def get(name: str) -> ModuleType:
        if name in names:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(
            f"module {package!r} has no attribute {name!r}", name=name, obj=sys.modules[package]
        )

    def known() -> list[str]:
        return sorted({*vars(sys.modules[package]), *names})

    return get, known
