"""Libraries that few scripts need: they are loaded when they are used, and come with an extra of the
package."""

from __future__ import annotations

from typing import Any

from kcompile_runtime import extras


def library(name: str, extra: str) -> Any:
    """The module of this name. Raises ExtraError (an ImportError), which names the extra that brings it."""
    return extras.library(name, extra, "kcompile")
