"""The functions of `maths`: compiled code against references of higher precision, everywhere."""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
import pytest
from codegen.compiled import elementwise

from kcompile.codegen import targets
from kcompile.codegen.loops import Var, maths
from kcompile.codegen.loops.evaluate import evaluate
from kcompile.codegen.loops.maths import ULP_BOUNDS
from kcompile.ir import random

LONG = np.longdouble
INF, NAN = np.inf, np.nan


def _reference_sigmoid(x):
    z = np.exp(-abs(x))
    return np.where(x >= 0, 1, z) / (1 + z)


REFERENCES = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "sigmoid": _reference_sigmoid,
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-abs(x))),
    "erf": lambda x: np.vectorize(math.erf, otypes=[np.float64])(x.astype(np.float64)),
    "sin": np.sin,
    "cos": np.cos,
    "rsqrt": lambda x: 1 / np.sqrt(x),
}
UNARY = sorted(REFERENCES)
CIRCULAR_LIMIT = 2.0**30  # of float64: up to here numpy's long double is a reference


@cache
def compiled(name, dtype="float32", lanes=None, target="native"):
    inputs = [dtype] * (2 if name == "pow" else 1)
    return elementwise(getattr(maths, name), inputs, dtype, lanes, targets.named(target))


def ulps(got, expected, dtype):
    """The error in units in the last place of the exact result; an overflow to infinity counts as
    the power of two that comes after the largest number."""
    limits = np.finfo(dtype)
    top = np.ldexp(LONG(1), limits.maxexp)
    got = np.where(np.isinf(got), np.copysign(top, got), got.astype(LONG))
    expected = np.clip(expected, -top, top)
    exponent = np.maximum(np.frexp(expected)[1] - 1, limits.minexp)
    error = np.ldexp(abs(got - expected), limits.nmant - exponent)
    return np.where(np.isnan(got) & np.isnan(expected), 0, np.where(np.isnan(error), INF, error))


def stratified(dtype, each):
    """Numbers with every sign and exponent, the first, the last and random mantissas of each."""
    integer, exponents = ("uint32", 512) if dtype == "float32" else ("uint64", 4096)
    mantissa = np.finfo(dtype).nmant
    low = np.random.default_rng(0).integers(0, 1 << mantissa, (exponents, each), integer)
    low[:, 0], low[:, 1], low[:, 2] = 0, 1, (1 << mantissa) - 1
    high = np.arange(exponents, dtype=integer)[:, None] << np.array(mantissa, integer)
    x = (low | high).ravel().view(dtype)
    return x[~np.isnan(x)]


def worst(name, x):
    """The largest error over finite and infinite arguments, and where it is."""
    with np.errstate(all="ignore"):
        if name in ("sin", "cos") and x.dtype == np.float64:
            x = x[abs(x) <= CIRCULAR_LIMIT]
        wide = x.astype(np.float64) if x.dtype == np.float32 else x.astype(LONG)
        error = ulps(compiled(name, str(x.dtype))(x), REFERENCES[name](wide).astype(LONG), x.dtype)
    return float(error.max()), float(x[error.argmax()])


@pytest.mark.parametrize("name", UNARY)
def test_error_over_all_exponents(name):
    error, where = worst(name, stratified("float32", 1024))
    assert error <= ULP_BOUNDS["float32"][name], where


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("width", [1, 10, 110])
def test_error_where_the_function_lives(name, width):
    x = np.random.default_rng(1).uniform(-width, width, 300_000).astype(np.float32)
    error, where = worst(name, x)
    assert error <= ULP_BOUNDS["float32"][name], where


@pytest.mark.parametrize("name", UNARY)
def test_error_in_float64(name):
    if np.finfo(LONG).nmant < 60 and name != "erf":
        pytest.skip("no reference of higher precision")
    wide = np.random.default_rng(2).uniform(-40, 40, 100_000)
    error, where = worst(name, np.concatenate([stratified("float64", 20), wide, wide / 40]))
    assert error <= ULP_BOUNDS["float64"][name] + (1 if name == "erf" else 0), where


@pytest.mark.parametrize("name", ["sin", "cos"])
@pytest.mark.parametrize("target", ["native", "x86-64-v2"])
def test_circular_functions_far_out(name, target):
    """Python's own are right to the last digits for any double; 16367173 * 2^72 is the float32 that comes
    closest to a multiple of pi / 2."""
    rng = np.random.default_rng(5)
    x = np.ldexp(rng.uniform(1, 2, 40_000), rng.integers(18, 128, 40_000)).astype(np.float32)
    x = np.concatenate([x, -x, np.array([2.0**20, 16367173 * 2.0**72, 3.4e38, 2.0**127], np.float32)])
    expected = np.array([getattr(math, name)(v) for v in x.tolist()])
    error = ulps(compiled(name, target=target)(x), expected.astype(LONG), "float32")
    assert error.max() <= ULP_BOUNDS["float32"][name] + (target == "x86-64-v2") * maths.WITHOUT_FMA, x[
        error.argmax()
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", UNARY)
def test_error_everywhere(name):
    """All 2^32 arguments; the float64 function, tested above, is the reference."""
    for start in range(0, 1 << 32, 1 << 20):
        x = np.arange(start, start + (1 << 20), dtype=np.uint32).view(np.float32)
        if name in ("sin", "cos") and abs(x[0]) >= 2.0**44:
            continue  # beyond the range of the float64 function; see test_circular_functions_far_out
        with np.errstate(all="ignore"):
            expected = compiled(name, "float64")(x.astype(np.float64)).astype(LONG)
            error = ulps(compiled(name)(x), expected, "float32")
        assert error.max() <= ULP_BOUNDS["float32"][name], x[error.argmax()]


@pytest.mark.parametrize(("name", "where"), [("cos", 993335.5), ("sin", 931878.125)])
def test_error_where_the_quick_reduction_ends(name, where):
    """The largest errors that it had up to 2^20, 1.81 and 1.67 ulp; it ends at 2^19 now."""
    bits = np.float32(where).view(np.uint32)
    x = np.arange(bits - 50_000, bits + 50_000, dtype=np.uint32).view(np.float32)
    error, worst_at = worst(name, x)
    assert error <= 1.6, worst_at


SPECIALS = {
    "exp": [(0.0, 1), (-0.0, 1), (INF, INF), (-INF, 0), (89, INF), (-104, 0), (-1e9, 0), (1e9, INF)],
    "expm1": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -1), (1e-40, 1e-40), (-1e9, -1), (1e9, INF)],
    "log": [(0.0, -INF), (-0.0, -INF), (INF, INF), (-INF, NAN), (1, 0.0), (-1, NAN), (-1e-40, NAN)],
    "log1p": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, NAN), (-1, -INF), (-1.5, NAN), (1e-40, 1e-40)],
    "tanh": [(0.0, 0.0), (-0.0, -0.0), (INF, 1), (-INF, -1), (1e-40, 1e-40), (30, 1), (-30, -1)],
    "sigmoid": [(0.0, 0.5), (INF, 1), (-INF, 0), (100, 1), (-1000, 0), (1000, 1)],
    "softplus": [(INF, INF), (-INF, 0), (1000, 1000), (-1000, 0)],
    "erf": [(0.0, 0.0), (-0.0, -0.0), (INF, 1), (-INF, -1), (5, 1), (-5, -1)],
    "sin": [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN), (1e-40, 1e-40)],
    "cos": [(0.0, 1), (-0.0, 1), (INF, NAN), (-INF, NAN), (1e-40, 1)],
    "rsqrt": [(0.0, INF), (-0.0, -INF), (INF, 0.0), (-INF, NAN), (4, 0.5), (-1, NAN)],
}


def same_bits(a, b):
    """Equal, zeros with their sign, and any NaN like any other."""
    nan = np.isnan(a)
    return bool(
        (nan == np.isnan(b)).all()
        and (a[~nan] == b[~nan]).all()
        and (np.signbit(a[~nan]) == np.signbit(b[~nan])).all()
    )


@pytest.mark.parametrize("name", UNARY)
def test_specials(name):
    x, expected = (np.array(list(v), np.float32) for v in zip(*SPECIALS[name]))
    assert same_bits(compiled(name)(x), expected), (x, compiled(name)(x))


@pytest.mark.parametrize("name", UNARY)
def test_nan_with_any_payload_stays_nan(name):
    patterns = np.arange(0x7F800001, 0x80000000, 65521, np.uint32)
    x = np.concatenate([patterns, patterns | np.uint32(1 << 31)]).view(np.float32)
    assert np.isnan(compiled(name)(x)).all()


@pytest.mark.parametrize("name", ["tanh", "erf", "sin"])
def test_odd_functions_are_odd(name):
    x = stratified("float32", 8)
    assert same_bits(compiled(name)(-x), -compiled(name)(x))


@pytest.mark.parametrize("name", ["exp", "log", "tanh", "sigmoid", "erf"])
def test_monotonic_on_a_grid(name):
    x = np.linspace(-20, 20, 20_001, dtype=np.float32)
    y = compiled(name)(x[x > 0] if name == "log" else x)
    assert (np.diff(y) >= 0).all()


# ---------------------------------------------------------------- pow


def pairs():
    rng = np.random.default_rng(3)
    near_one = (1 + rng.normal(0, 1e-3, 60_000)), rng.normal(0, 4e4, 60_000)
    usual = rng.lognormal(0, 3, 60_000), rng.normal(0, 10, 60_000)
    base = rng.lognormal(0, 20, 60_000)
    large = base, rng.uniform(-110, 110, 60_000) / np.log(base)
    whole = rng.normal(0, 3, 60_000), rng.integers(-20, 20, 60_000)
    x, y = (np.concatenate(v).astype(np.float32) for v in zip(near_one, usual, large, whole))
    return x, y


def test_pow_error():
    x, y = pairs()
    with np.errstate(all="ignore"):
        expected = np.power(x.astype(LONG), y.astype(LONG))
        error = ulps(compiled("pow")(x, y), expected, "float32")
    assert error.max() <= ULP_BOUNDS["float32"]["pow"], (x[error.argmax()], y[error.argmax()])


def test_pow_error_in_float64():
    x, y = (v.astype(np.float64) for v in pairs())
    with np.errstate(all="ignore"):
        expected = np.array([_math_pow(a, b) for a, b in zip(x, y)])
        error = ulps(compiled("pow", "float64")(x, y), expected.astype(LONG), "float64")
    assert error.max() <= ULP_BOUNDS["float64"]["pow"] + 1, (x[error.argmax()], y[error.argmax()])


def _math_pow(a, b):
    try:
        return math.pow(a, b)
    except OverflowError:
        return math.copysign(INF, a) if b % 2 == 1 else INF


def test_pow_specials():
    values = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        2.0,
        -2.0,
        0.5,
        -0.5,
        3.0,
        -3.0,
        1e-40,
        -1e-40,
        1e30,
        -1e30,
        16777217.0,
        INF,
        -INF,
        NAN,
    ]
    x, y = (np.array(v, np.float32) for v in zip(*itertools.product(values, values)))
    with np.errstate(all="ignore"):
        expected = np.power(x.astype(np.float64), y.astype(np.float64)).astype(np.float32)
    got = compiled("pow")(x, y)
    odd_ones = [
        (a, b, g, e)
        for a, b, g, e in zip(x, y, got, expected)
        if not (same_bits(np.array([g]), np.array([e])) or abs(g - e) <= 1e-6 * abs(e))
    ]
    assert not odd_ones


# ---------------------------------------------------------------- the same bits everywhere


@pytest.mark.parametrize("name", [*UNARY, "pow"])
def test_evaluate_and_scalars_have_the_same_bits(name):
    x, y = pairs()
    x = np.concatenate([x[:4000], stratified("float32", 16)])
    y = np.resize(y, len(x))
    arguments = (x, y) if name == "pow" else (x,)
    native = compiled(name)(*arguments)
    expression = getattr(maths, name)(*(Var(v, "float32") for v in "xy"[: len(arguments)]))
    assert same_bits(evaluate(expression, dict(zip("xy", arguments))), native)
    assert same_bits(compiled(name, lanes=1)(*arguments), native)


@pytest.mark.parametrize("name", ["exp", "tanh", "log1p", "sin", "pow"])
def test_other_targets_have_the_same_bits(name):
    if targets.native().triple.split("-")[0] != "x86_64" or not targets.native().fma:
        pytest.skip("needs an x86-64 processor with AVX2")
    x, y = pairs()
    arguments = (x, y) if name == "pow" else (x,)
    assert same_bits(compiled(name, target="x86-64-v3")(*arguments), compiled(name)(*arguments))


@pytest.mark.parametrize("name", [*UNARY, "pow"])
def test_evaluate_has_the_bits_of_compiled_float64(name):
    x, y = (v.astype(np.float64)[::31] for v in pairs())
    arguments = (x, y) if name == "pow" else (x,)
    native = compiled(name, "float64")(*arguments)
    normal = ~((abs(native) < 1e-300) & (native != 0))  # where `fused` rounds once
    expression = getattr(maths, name)(*(Var(v, "float64") for v in "xy"[: len(arguments)]))
    assert same_bits(evaluate(expression, dict(zip("xy", arguments)))[normal], native[normal])


def test_integers_are_refused():
    with pytest.raises(TypeError, match="Received: int64"):
        maths.exp(Var("i"))


# ---------------------------------------------------------------- random numbers

COUNT = 100_003


@cache
def drawn(what):
    def build(index):
        words = maths.random_words(7, 3, 11, index)
        return {
            "bits0": lambda: words[0],
            "bits1": lambda: words[1],
            "uniform": lambda: maths.uniform(words[0]),
            "normal": lambda: maths.normal(*words),
        }[what]()

    out = "uint32" if what.startswith("bits") else "float32"
    draw = elementwise(lambda index, _: build(index), ["float32"], out, indexed=True)
    return draw(np.zeros(COUNT, np.float32))


def test_compiled_bits_are_those_of_the_reference():
    words = random.random_words(7, 3, 11, COUNT)
    assert (drawn("bits0") == words[0]).all()
    assert (drawn("bits1") == words[1]).all()
    assert (drawn("uniform") == random.uniform(words[0])).all()


def test_compiled_normal_is_close_to_the_reference():
    bits0, bits1 = random.random_words(7, 3, 11, COUNT)
    radius = np.sqrt(-2 * np.log(((bits0 >> 8) + 1.0) / 2**24))
    exact = radius * np.cos((bits1 >> 8) * (2 * np.pi / 2**24))
    assert ulps(drawn("normal"), exact.astype(LONG), "float32").max() <= 5
    assert ulps(random.normal(bits0, bits1), exact.astype(LONG), "float32").max() <= 0.5


def test_normal_at_the_ends_of_its_range():
    bits = np.array(
        [0, 0xFF, 0x100, 0x3FFFFFFF, 0x40000000, 0x80000000, 0xBFFFFFFF, 0xC0000000, 0xFFFFFFFF], np.uint32
    )
    bits0, bits1 = (v.ravel() for v in np.meshgrid(bits, bits))
    got = elementwise(maths.normal, ["uint32", "uint32"], "float32")(bits0, bits1)
    assert np.isfinite(got).all()
    assert np.allclose(got, random.normal(bits0, bits1), rtol=1e-6, atol=1e-6)
