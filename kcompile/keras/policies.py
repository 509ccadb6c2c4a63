"""Dtypes as Keras names them, and policies: in which dtype a layer computes, and keeps its weights.

Enters: policies as scripts and files spell them: names, objects, configurations. Leaves: `DTypePolicy`s, and
the dtype that the values of one have here. Half precision is a name alone: it is computed, and kept, in
float32. The log says so once, and what multiplies in bfloat16.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kcompile.ir.types import BYTES, DTYPES, FLOATS
from kcompile_runtime.errors import InputTypeError, ModelError, UnsupportedError, describe

_log = logging.getLogger("kcompile.keras")

HALVES = ("float16", "bfloat16")
WIDE = "float32"  # what halves are computed in
DEFAULT_POLICY = "float32"  # which configurations of models leave out
MIXED = "mixed_"  # before the half that such a policy computes in, with weights of `WIDE`
QUANTIZED = ("int8_", "int4_", "int4/", "float8_", "gptq/", "awq/")  # what their names begin with
FLOAT_NAMES = (*FLOATS, *HALVES, *(MIXED + half for half in HALVES))
NAMES = (*FLOAT_NAMES, *(d for d in DTYPES if d not in FLOATS))
REMEDY = "Quantized weights are not supported: use the model as it was before quantize(...)"
_said: set[str] = set()


def dtype_here(dtype: str) -> str:
    """The dtype that values of a dtype of Keras have here: its own, but for half precision."""
    if not isinstance(dtype, str) or dtype not in HALVES:  # what is no dtype is refused by who asked
        return dtype
    if not _said:
        _log.warning(
            "%s is computed in %s, and weights and results are of %s: ranges and roundings are those of %s. "
            "kcompile.compile(model, precision='bfloat16') multiplies in bfloat16, whatever the policy",
            *(dtype, *[WIDE] * 3),
        )
    _said.add(dtype)
    return WIDE


def common_dtype(dtypes: Sequence[str]) -> str:
    """The dtype that operands of these have in common, as Keras 3 has it: of floats the widest, beside which
    whole numbers ask for no width; of whole numbers, the narrowest that holds the values of all."""
    floats = [d for d in dtypes if d in FLOATS]
    if floats:
        return max(floats, key=BYTES.__getitem__)
    joined = np.result_type(*dtypes).name
    return WIDE if joined in FLOATS else joined  # uint64 and a type with a sign


class DTypePolicy:
    """The dtypes of a layer, by the name of one dtype for both computation and weights, or "mixed_float16",
    "mixed_bfloat16": the half and weights of float32.

    compute_dtype, variable_dtype: their names. Two policies of one name are equal. Raises InputTypeError for
    what is no text, UnsupportedError for quantized ones, and ModelError for other names.
    """

    quantization_mode: str | None = None

    def __init__(self, name: str) -> None:
        if not isinstance(name, str):
            raise InputTypeError(describe("DTypePolicy: name", "the name of a policy", repr(name)))
        if is_quantized(name):
            raise UnsupportedError(describe("DTypePolicy", "a policy of floats", repr(name), REMEDY))
        if name not in NAMES:
            raise ModelError(describe("DTypePolicy", "one of " + ", ".join(map(repr, NAMES)), repr(name)))
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    @property
    def compute_dtype(self) -> str:
        return self._name.removeprefix(MIXED)

    @property
    def variable_dtype(self) -> str:
        return WIDE if self._name.startswith(MIXED) else self._name

    def get_config(self) -> dict[str, Any]:
        return {"name": self._name}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> DTypePolicy:
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DTypePolicy) and other._name == self._name

    def __hash__(self) -> int:
        return hash(self._name)

    def __repr__(self) -> str:
        return f'<DTypePolicy "{self._name}">'


def named(policy: Any) -> Any:
    """The name of a policy in any spelling of configurations; other values as they are. Quantized ones have
    the names that Keras gives them, and a map of policies that of the policy of what it does not list."""
    if isinstance(policy, DTypePolicy):
        return policy.name
    if not isinstance(policy, Mapping):
        return policy
    config = policy.get("config")
    config = config if isinstance(config, Mapping) else {}
    if "mode" in config:
        return f"{config['mode']}_from_{config.get('source_name')}"
    if policy.get("class_name") == "DTypePolicyMap" and not config.get("policy_map"):
        return named(config.get("default_policy"))
    return config.get("name") or policy.get("class_name")


def is_quantized(name: str) -> bool:
    """Whether a policy of this name keeps weights in few bits."""
    return name.startswith(QUANTIZED) or name == "float8"


def policy_of(policy: Any) -> DTypePolicy:
    """A policy from an object, a name or a configuration."""
    return policy if isinstance(policy, DTypePolicy) else DTypePolicy(named(policy))


def is_float(policy: DTypePolicy) -> bool:
    """Whether it computes in floats."""
    return policy.name in FLOAT_NAMES
