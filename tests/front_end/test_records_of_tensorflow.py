"""Files of records, and messages in them, that nobody vouches for."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from kcompile.tensorflow import protos
from kcompile_runtime.errors import InputError


def test_bytes_that_are_no_message_are_refused():
    rng = np.random.default_rng(0)
    good = protos.example_bytes({"a": protos.feature_bytes("float", [0.5, 1.0])})
    tensor = protos.tensor_bytes(np.arange(6, dtype="float32").reshape(2, 3))
    for _ in range(2000):
        for held, read in ((good, protos.example_of), (tensor, protos.tensor_of)):
            broken = bytearray(held)
            for _ in range(rng.integers(1, 4)):
                broken[rng.integers(len(broken))] = rng.integers(256)
            with contextlib.suppress(InputError):
                read(bytes(broken[: rng.integers(len(broken) + 1)]))


def test_records_are_checked():
    held = protos.record_bytes(b"abc")
    assert list(protos.records_of(held + held, "f")) == [b"abc", b"abc"]
    for broken in (held[:-1], held[:5], b"\x09" + held[1:], held[:12] + b"x" + held[13:]):
        with pytest.raises(InputError, match="whole records"):
            list(protos.records_of(broken, "f"))
    assert protos.checksum(b"123456789") == ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) % 2**32
