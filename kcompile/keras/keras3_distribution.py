"""keras.distribution: what may be asked about devices, of which a model has one.

What spreads a model over several is refused by name (`keras3_absent`).
"""

from __future__ import annotations

from typing import Any

from kcompile_runtime.errors import UnsupportedError

__all__ = ["distribution", "get_device_count", "list_devices", "set_distribution"]


def list_devices(device_type: str | None = None) -> list[str]:
    """The names of the devices of a type: the processor."""
    return ["cpu:0"] if device_type is None or str(device_type).lower() == "cpu" else []


def get_device_count(device_type: str | None = None) -> int:
    """How many there are."""
    return len(list_devices(device_type))


def distribution() -> None:
    """How models are spread over devices: not at all."""
    return None


def set_distribution(value: Any) -> None:
    """Takes None. Raises UnsupportedError for anything else."""
    if value is not None:
        raise UnsupportedError(
            "distribution.set_distribution: a model is compiled for one device, which its target names"
        )
