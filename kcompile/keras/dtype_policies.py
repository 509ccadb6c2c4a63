"""`keras.dtype_policies`: policies as objects and as configurations. Quantized ones are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kcompile.keras.policies import REMEDY, DTypePolicy, policy_of
from kcompile.keras.policies import DTypePolicy as FloatDTypePolicy
from kcompile.keras.settings import dtype_name, dtype_policy
from kcompile_runtime.errors import InputTypeError, UnsupportedError, describe

__all__ = [
    "DTypePolicy",
    "FloatDTypePolicy",
    "QuantizedDTypePolicy",
    "QuantizedFloat8DTypePolicy",
    "deserialize",
    "get",
    "serialize",
]


class QuantizedDTypePolicy(DTypePolicy):
    """Weights of few bits, which are not supported."""

    def __init__(self, mode: Any = None, source_name: Any = None, **options: Any) -> None:
        """Raises UnsupportedError."""
        raise UnsupportedError(describe(type(self).__name__, "a policy of floats", repr(mode), REMEDY))


class QuantizedFloat8DTypePolicy(QuantizedDTypePolicy):
    """Weights and products of 8 bits, which are not supported."""


def serialize(dtype_policy: DTypePolicy) -> dict[str, Any]:
    """The configuration of a policy. Raises InputTypeError for what is none."""
    if not isinstance(dtype_policy, DTypePolicy):
        raise InputTypeError(describe("dtype_policies.serialize", "a DTypePolicy", repr(dtype_policy)))
    return {
        "module": "keras",
        "class_name": "DTypePolicy",
        "config": dtype_policy.get_config(),
        "registered_name": None,
    }


def deserialize(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> DTypePolicy:
    """The inverse of `serialize`. No custom object is a policy that layers here could follow."""
    return policy_of(config)


def get(identifier: Any) -> DTypePolicy:
    """A policy by its name, or that of a dtype; from its configuration; None: that of new layers."""
    return dtype_policy() if identifier is None else policy_of(dtype_name(identifier))
