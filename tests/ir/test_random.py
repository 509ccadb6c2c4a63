"""The reference random numbers: published answers, and that they look random."""

from __future__ import annotations

import numpy as np
import pytest

from kcompile.ir import random

# Known answers of Random123 for threefry2x32 with 20 rounds: counter, key, result.
KNOWN = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_known_answers(counter, key, result):
    assert tuple(int(x) for x in random.threefry(*key, *counter)) == result


def test_an_element_does_not_depend_on_the_count():
    assert (random.random_bits(1, 2, 3, 1000)[:10] == random.random_bits(1, 2, 3, 10)).all()


def test_every_part_of_the_key_matters():
    draws = [random.random_bits(*key, 64) for key in ((1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 4), (3, 2, 1))]
    for i, a in enumerate(draws):
        for b in draws[:i]:
            assert (a != b).mean() > 0.9


def test_uniform():
    x = random.uniform(random.random_bits(5, 0, 0, 1 << 18))
    assert x.dtype == np.float32 and x.min() >= 0 and x.max() < 1
    counts = np.histogram(x, 256, (0, 1))[0]
    assert ((counts - 1024.0) ** 2 / 1024).sum() < 340  # chi squared, 255 degrees, p = 0.0003
    assert abs(np.corrcoef(x[:-1], x[1:])[0, 1]) < 0.01
    assert random.uniform(np.array([0xFFFFFFFF], np.uint32))[0] == np.float32(1 - 2.0**-24)


def test_normal():
    x = random.normal(*random.random_words(5, 0, 0, 1 << 18)).astype(np.float64)
    moments = [(x**k).mean() for k in (1, 2, 3, 4)]
    assert np.allclose(moments, [0, 1, 0, 3], atol=0.05)
    ends = np.array([0, 0xFFFFFFFF], np.uint32)
    assert np.isfinite(random.normal(ends, ends)).all()
    assert random.normal(ends[:1], ends[:1])[0] == np.float32(np.sqrt(48 * np.log(2)))


@pytest.mark.parametrize("key", [(-1, 0, 0), (0, 1 << 32, 0), (0, 0, -5)])
def test_keys_outside_32_bits_are_refused(key):
    with pytest.raises(ValueError, match="2\\^32"):
        random.random_bits(*key, 1)


def test_too_many_elements_are_refused():
    with pytest.raises(ValueError, match="count"):
        random.random_bits(0, 0, 0, (1 << 32) + 1)
