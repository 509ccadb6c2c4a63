"""What stands in for instructions that a processor lacks gives their results, bit for bit: run here."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
import pytest

from kcompile.codegen import targets
from kcompile.codegen.binary import jit
from kcompile.codegen.llvm import lacking

RNG = np.random.default_rng(3)
WORDS = np.array(
    [0, 1, 2, 3, 7, 2**24 + 1, 2**25 + 2, 2**31, 2**32 - 1, 2**32, 2**53 + 1, 2**62, 2**63 - 1], np.int64
)
TYPES = {"i64": np.int64, "float": np.float32, "double": np.float64}


def function(name: str, result: str, *kinds: str) -> Callable[..., np.ndarray]:
    """A function of `lacking.ll` over arrays, by a loop around it."""
    text = "\n".join(lacking._functions().values())
    loads = [
        f"  %a{i}.at = getelementptr {kind}, ptr %a{i}.all, i64 %i\n"
        f"  %a{i} = load {kind}, ptr %a{i}.at, align {8 if kind != 'float' else 4}"
        for i, kind in enumerate(kinds)
    ]
    given = ", ".join(f"{kind} %a{i}" for i, kind in enumerate(kinds))
    arrays = "".join(f", ptr %a{i}.all" for i in range(len(kinds)))
    loop = "\n".join(
        [
            f"define void @each(i64 %n, ptr %out{arrays}) {{",
            "entry:\n  br label %loop\nloop:",
            "  %i = phi i64 [ 0, %entry ], [ %next, %loop ]",
            *loads,
            f"  %value = call {result} @{name}({given})",
            f"  %at = getelementptr {result}, ptr %out, i64 %i",
            f"  store {result} %value, ptr %at",
            "  %next = add i64 %i, 1\n  %more = icmp slt i64 %next, %n",
            "  br i1 %more, label %loop, label %end\nend:\n  ret void\n}",
        ]
    )
    native = targets.native()
    library = jit.load(jit.optimise_and_compile(f'target triple = "{native.triple}"\n{text}\n{loop}', native))
    call = ctypes.CFUNCTYPE(None, ctypes.c_int64, *[ctypes.c_void_p] * (1 + len(kinds)))(
        library.address("each")
    )

    def over(*given: np.ndarray) -> np.ndarray:
        made = [np.ascontiguousarray(a, TYPES[kind]) for a, kind in zip(given, kinds)]
        out = np.empty(len(made[0]), TYPES[result])
        call(len(out), out.ctypes.data, *(a.ctypes.data for a in made))
        assert library
        return out

    return over


def integers(count: int = 3000) -> np.ndarray:
    """Of all sizes."""
    many = RNG.integers(-(2**63), 2**63, count) >> RNG.integers(0, 63, count)
    return np.concatenate([WORDS, -WORDS, [-(2**63)], many])


def floats() -> np.ndarray:
    """Of every exponent, whole numbers and halves, and what is special."""
    bits = RNG.integers(0, 2**32, 20000, np.uint64).astype(np.uint32).view(np.float32)
    near = np.arange(-40, 40, dtype=np.float32) / 4
    rest = [0.0, -0.0, np.inf, -np.inf, np.nan, 2.0**23 - 0.5, 2.0**23, 2.0**63, -(2.0**63), 2.0**64, 1e-45]
    return np.concatenate([bits, near, np.array(rest, np.float32)])


def same(got: np.ndarray, want: np.ndarray) -> None:
    nan = np.isnan(want)
    np.testing.assert_array_equal(np.isnan(got), nan)
    np.testing.assert_array_equal(got[~nan].view(f"u{got.itemsize}"), want[~nan].view(f"u{got.itemsize}"))


def test_division() -> None:
    a = integers()
    b = np.roll(a, 7)
    a, b = a[b != 0], b[b != 0]
    pairs = [(int(x), int(y)) for x, y in zip(a, b)]
    toward_zero = [(abs(x) // abs(y)) * (1 if (x < 0) == (y < 0) else -1) for x, y in pairs]
    wrapped = [(q + 2**63) % 2**64 - 2**63 for q in toward_zero]
    np.testing.assert_array_equal(function("kc_sdiv", "i64", "i64", "i64")(a, b), wrapped)
    rests = [x - q * y for (x, y), q in zip(pairs, toward_zero)]
    np.testing.assert_array_equal(function("kc_srem", "i64", "i64", "i64")(a, b), rests)
    x, y = a.view(np.uint64), b.view(np.uint64)
    np.testing.assert_array_equal(function("kc_udiv", "i64", "i64", "i64")(a, b).view(np.uint64), x // y)
    np.testing.assert_array_equal(function("kc_urem", "i64", "i64", "i64")(a, b).view(np.uint64), x % y)


def test_numbers_of_integers() -> None:
    a = integers()
    same(function("kc_si64_to_f32", "float", "i64")(a), a.astype(np.float32))
    same(function("kc_ui64_to_f32", "float", "i64")(a), a.view(np.uint64).astype(np.float32))
    same(function("kc_si64_to_f64", "double", "i64")(a), a.astype(np.float64))


def test_integers_of_numbers() -> None:
    """The nearest integer there is, 0 for NaN: as `llvm.fptosi.sat`."""
    x = floats()
    wide = np.trunc(np.where(np.isnan(x), 0, x).astype(np.float64))
    for name, low, high in (("si", -(2**63), 2**63 - 1), ("ui", 0, 2**64 - 1)):
        want = [low if v <= low else high if v >= high else int(v) for v in wide.tolist()]
        got = function(f"kc_f32_to_{name}64", "i64", "float")(x)
        assert [int(v) for v in (got if name == "si" else got.view(np.uint64))] == want


@pytest.mark.parametrize(("name", "of"), [("kc_floor", np.floor), ("kc_sqrt", np.sqrt)])
def test_functions(name: str, of: Callable[[np.ndarray], np.ndarray]) -> None:
    x = floats()
    with np.errstate(invalid="ignore"):
        same(function(name, "float", "float")(x), of(x))


def test_the_larger_of_two() -> None:
    x = floats()
    y = np.roll(x, 1)
    kept = x != y  # zeros of either sign are equal
    same(function("kc_maximum", "float", "float", "float")(x, y)[kept], np.maximum(x, y)[kept])


def test_doubles_that_become_floats() -> None:
    a = RNG.normal(size=5000) * 2.0 ** RNG.integers(-60, 60, 5000)
    b = np.roll(a, 1)
    same(function("kc_fmul_f64", "double", "double", "double")(a, b), a * b)
    same(function("kc_f64_to_f32", "float", "double")(a * b), (a * b).astype(np.float32))
    x = floats()
    normal = ~((abs(x) < np.finfo(np.float32).tiny) & (x != 0)) & ~np.isnan(x)
    same(function("kc_f32_to_f64", "double", "float")(x[normal]), x[normal].astype(np.float64))


def test_text_without_it() -> None:
    text = "  %q = sdiv i64 %a, 6\n  %f = call float @llvm.floor.f32(float %x)\n  %n = sdiv i32 %b, 3\n"
    made = lacking.without(text, ("wide", "floor"))
    assert "%q = call i64 @kc_sdiv(i64 %a, i64 6)" in made and "%n = sdiv i32 %b, 3" in made
    assert "@kc_floor(float %x)" in made and "@kc_udivrem(" in made and "@kc_sqrt" not in made


def test_vectors_lane_by_lane() -> None:
    text = (
        "  %q = srem <2 x i64> %a, splat (i64 6)\n  %f = call <4 x float> @llvm.floor.v4f32(<4 x float> %x)\n"
        "  %i = call <2 x i64> @llvm.fptosi.sat.v2i64.v2f32(<2 x float> <float 1.0, float 2.0>)\n"
    )
    made = lacking.without(text, ("wide", "floor"))
    for line in (
        "%q = call <2 x i64> @kc_srem_v2(<2 x i64> %a, <2 x i64> splat (i64 6))",
        "%f = call <4 x float> @kc_floor_v4(<4 x float> %x)",
        "%i = call <2 x i64> @kc_f32_to_si64_v2(<2 x float> <float 1.0, float 2.0>)",
        "  %f3 = call float @kc_floor(float %x3)",
    ):
        assert line in made
    function = f"define i64 @f(<2 x i64> %a, <4 x float> %x) {{\n{text}  ret i64 0\n}}\n"
    jit.optimised(lacking.without(function, ("wide", "floor")), targets.native())  # is right as LLVM sees it
