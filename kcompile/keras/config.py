"""Keras 3's module of settings; those of Keras 2 are in `backend`.

What means nothing here is kept as it was said: flash attention is a kernel of its own elsewhere, and errors
have no further frames to hide.
"""

from __future__ import annotations

from typing import Any

from kcompile.keras.settings import (
    backend,
    dtype_policy,
    epsilon,
    image_data_format,
    max_epochs,
    set_dtype_policy,
    set_epsilon,
    set_floatx,
    set_image_data_format,
    set_max_epochs,
)
from kcompile.keras.settings import said_floatx as floatx
from kcompile.keras.utils.newer import (
    disable_interactive_logging,
    enable_interactive_logging,
    is_interactive_logging_enabled,
)

__all__ = [
    "backend",
    "disable_flash_attention",
    "disable_interactive_logging",
    "disable_traceback_filtering",
    "dtype_policy",
    "enable_flash_attention",
    "enable_interactive_logging",
    "enable_traceback_filtering",
    "epsilon",
    "floatx",
    "image_data_format",
    "is_flash_attention_enabled",
    "is_interactive_logging_enabled",
    "is_nnx_enabled",
    "is_traceback_filtering_enabled",
    "max_epochs",
    "max_steps_per_epoch",
    "set_dtype_policy",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
    "set_max_epochs",
]
_said: dict[str, Any] = {"flash attention": None, "filtering": True}


def enable_flash_attention() -> None:
    """Attention is computed as before."""
    _said["flash attention"] = None


def disable_flash_attention() -> None:
    """Attention is computed as before."""
    _said["flash attention"] = False


def is_flash_attention_enabled() -> bool | None:
    """False where it was disabled, else None: it may be used."""
    found: bool | None = _said["flash attention"]
    return found


def enable_traceback_filtering() -> None:
    """Errors show the same frames as before."""
    _said["filtering"] = True


def disable_traceback_filtering() -> None:
    """Errors show the same frames as before."""
    _said["filtering"] = False


def is_traceback_filtering_enabled() -> bool:
    """What was said last."""
    return bool(_said["filtering"])


def is_nnx_enabled() -> bool:
    """No: layers are no modules of Flax."""
    return False


def max_steps_per_epoch() -> None:
    """No limit: `fit` takes steps_per_epoch."""
    return None
