"""Numbers of texts: FarmHash's Fingerprint64, SipHash-2-4 with a key, and the cross of fingerprints.

Enters: bytes, or whole numbers. Leaves: numbers of 64 bits. They are those that TensorFlow's
`to_hash_bucket_fast`, `to_hash_bucket_strong` and `cross_hashed` take the remainder of. Sources: Pike and
Alakuijala, FarmHash (farmhashna, 64 bits); Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012.
"""

from __future__ import annotations

from collections.abc import Sequence

_MASK = (1 << 64) - 1
_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F
_CROSS = 0xC6A4A7935BD1E995
CROSS_KEY = 0xDECAFCAFFE  # what a cross begins with


def _word(text: bytes, at: int, size: int = 8) -> int:
    return int.from_bytes(text[at : at + size], "little")


def _turned(x: int, by: int) -> int:
    """64 bits, rotated to the right."""
    x &= _MASK
    return (x >> by | x << (64 - by)) & _MASK


def _mixed(x: int) -> int:
    x &= _MASK
    return x ^ x >> 47


def _of_two(u: int, v: int, factor: int) -> int:
    first = _mixed((u ^ v) * factor)
    return _mixed((v ^ first) * factor) * factor & _MASK


def fingerprint(text: bytes) -> int:
    """FarmHash's Fingerprint64."""
    size = len(text)
    if size > 64:
        return _long(text)
    factor = _K2 + size * 2 & _MASK
    if size > 32:
        return _of_33_to_64(text, factor)
    if size > 16:
        return _of_two(*_ends(text, _K1, factor)[:2], factor)
    if size >= 8:
        a, b = _word(text, 0) + _K2 & _MASK, _word(text, size - 8)
        return _of_two(_turned(b, 37) * factor + a & _MASK, (_turned(a, 25) + b) * factor & _MASK, factor)
    if size >= 4:
        return _of_two(size + (_word(text, 0, 4) << 3), _word(text, size - 4, 4), factor)
    if size:
        low, high = text[0] + (text[size >> 1] << 8), size + (text[-1] << 2)
        return _mixed(low * _K2 ^ high * _K0) * _K2 & _MASK
    return _K2


def _ends(text: bytes, first: int, factor: int) -> tuple[int, int, int]:
    """Two words of the first and the last 16 bytes, and the first of them all."""
    size = len(text)
    a, b = _word(text, 0) * first & _MASK, _word(text, 8)
    c, d = _word(text, size - 8) * factor & _MASK, _word(text, size - 16) * _K2
    low = _turned(a + b, 43) + _turned(c, 30) + d & _MASK
    return low, a + _turned(b + _K2, 18) + c & _MASK, a


def _of_33_to_64(text: bytes, factor: int) -> int:
    size = len(text)
    low, high, a = _ends(text, _K2, factor)
    both = _of_two(low, high, factor)
    e, f = _word(text, 16) * factor & _MASK, _word(text, 24)
    g = (low + _word(text, size - 32)) * factor & _MASK
    h = (both + _word(text, size - 24)) * factor & _MASK
    return _of_two(
        _turned(e + f, 43) + _turned(g, 30) + h & _MASK, e + _turned(f + a, 18) + g & _MASK, factor
    )


def _weak(text: bytes, at: int, a: int, b: int) -> tuple[int, int]:
    """Two words of 32 bytes."""
    w, x, y, z = (_word(text, at + 8 * k) for k in range(4))
    a = a + w & _MASK
    b = _turned(b + a + z, 21)
    end = a + x + y & _MASK
    return end + z & _MASK, b + _turned(end, 44) + a & _MASK


def _long(text: bytes) -> int:
    """Of more than 64 bytes: blocks of 64, and then the last 64."""
    seed, size = 81, len(text)
    y = seed * _K1 + 113 & _MASK
    z = _mixed(y * _K2 + 113) * _K2 & _MASK
    v, w, x = (0, 0), (0, 0), seed * _K2 + _word(text, 0) & _MASK
    end = (size - 1) // 64 * 64
    for at in range(0, end, 64):
        x, y, z, v, w = _block(text, at, (x, y, z), v, w, _K1, 1)
    factor = _K1 + ((z & 0xFF) << 1) & _MASK
    first = w[0] + (size - 1 & 63) & _MASK
    v = v[0] + first & _MASK, v[1]
    w = first + v[0] & _MASK, w[1]
    x, y, z, v, w = _block(text, size - 64, (x, y, z), v, w, factor, 9)
    return _of_two(
        _of_two(v[0], w[0], factor) + _mixed(y) * _K0 + z & _MASK,
        _of_two(v[1], w[1], factor) + x & _MASK,
        factor,
    )


def _block(
    text: bytes,
    at: int,
    state: tuple[int, int, int],
    v: tuple[int, int],
    w: tuple[int, int],
    factor: int,
    weight: int,
) -> tuple[int, int, int, tuple[int, int], tuple[int, int]]:
    x, y, z = state
    x = _turned(x + y + v[0] + _word(text, at + 8), 37) * factor & _MASK
    y = _turned(y + v[1] + _word(text, at + 48), 42) * factor & _MASK
    x ^= w[1] * weight & _MASK
    y = y + v[0] * weight + _word(text, at + 40) & _MASK
    z = _turned(z + w[0], 33) * factor & _MASK
    v = _weak(text, at, v[1] * factor & _MASK, x + w[0] & _MASK)
    w = _weak(text, at + 32, z + w[1] & _MASK, y + _word(text, at + 16) & _MASK)
    return z, y, x, v, w


def keyed(text: bytes, key: Sequence[int]) -> int:
    """SipHash-2-4 with a key of two numbers of 64 bits."""
    k0, k1 = (int(k) & _MASK for k in key)
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]
    whole = len(text) // 8 * 8
    words = [_word(text, at) for at in range(0, whole, 8)]
    words.append(_word(text, whole) | (len(text) & 0xFF) << 56)
    for word in words:
        v[3] ^= word
        _rounds(v, 2)
        v[0] ^= word
    v[2] ^= 0xFF
    _rounds(v, 4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def _rounds(v: list[int], count: int) -> None:
    for _ in range(count):
        v[0] = v[0] + v[1] & _MASK
        v[1] = _turned(v[1], 51) ^ v[0]
        v[0] = _turned(v[0], 32)
        v[2] = v[2] + v[3] & _MASK
        v[3] = _turned(v[3], 48) ^ v[2]
        v[0] = v[0] + v[3] & _MASK
        v[3] = _turned(v[3], 43) ^ v[0]
        v[2] = v[2] + v[1] & _MASK
        v[1] = _turned(v[1], 47) ^ v[2]
        v[2] = _turned(v[2], 32)


def crossed(values: Sequence[int], key: int = CROSS_KEY) -> int:
    """One number of several: whole numbers, or fingerprints of texts."""
    result = key
    for value in values:
        result ^= _CROSS
        result ^= _mixed((int(value) & _MASK) * _CROSS) * _CROSS & _MASK
        result = result * _CROSS & _MASK
        result = _mixed(result) * _CROSS & _MASK
        result = _mixed(result)
    return result
