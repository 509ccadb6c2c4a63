"""Targets as data, and what the emitter makes of them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from codegen import test_maths
from codegen.compiled import elementwise

from kcompile.codegen import targets
from kcompile.codegen.binary import jit, link, wasm
from kcompile.codegen.llvm import module
from kcompile.codegen.loops import Buffer, Function, N, Var, const, fma, load, loop, maths, ramp, store
from kcompile.codegen.program import Entry, Launch, Program, Ref, Size

RNG = np.random.default_rng(1)
V2, WASM = targets.named("x86-64-v2"), targets.named("wasm32")


def test_names():
    assert targets.NAMES[:6] == ("x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64", "riscv64", "wasm32")
    assert targets.NAMES[6:] == ("cortex-m4", "cortex-m7", "thumbv7em")
    for name in targets.NAMES:
        assert targets.named(name).name == name
    assert [targets.named(n).pointer_bytes for n in ("aarch64", "riscv64", "wasm32")] == [8, 8, 4]
    with pytest.raises(ValueError, match="native, x86-64-v2"):
        targets.named("sparc")
    with pytest.raises(ValueError, match="sparc"):
        link.check("sparc-sun-solaris")


def test_llvm_knows_the_processors_to_tune_for():
    """It says so on stderr when it does not, and goes on."""
    code = """
import llvmlite.binding as llvm
from kcompile.codegen import targets
llvm.initialize_all_targets()
for target in map(targets.named, targets.NAMES):
    for cpu in target.architecture.tunes:
        llvm.Target.from_triple(target.triple).create_target_machine(cpu=cpu)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def affine_kernel(lanes):
    x, y, i = Buffer("x", "float32"), Buffer("y", "float32"), Var("i")
    body = store(y, ramp(i, lanes), fma(load(x, ramp(i, lanes)), 2.5, 1.0, exact=False))
    return Function("affine", (x, y), (loop(i, 0, N, [body], step=lanes),))


def test_tuning_orders_instructions_and_adds_none():
    target = targets.tuned(targets.named("x86-64-v3"), "znver4")
    assert replace(target, tune="") == targets.named("x86-64-v3")
    text = module.emit([affine_kernel(8)], target)
    assert '"tune-cpu"="znver4"' in text and '"target-cpu"="x86-64-v3"' in text
    assert "zmm" not in jit.assembly(text, target)


def test_pointers_of_four_bytes():
    """Tables of pointers are read and written as wide as the target's pointers."""
    kernel = affine_kernel(4)
    program = Program((Entry("predict", (Launch(kernel, (Ref("input", 1), Ref("output", 2)), Size(0, 1)),)),))
    for target, align in ((WASM, 4), (V2, 8)):
        text = module.emit_program(program, target)
        tables = [line for line in text.splitlines() if "load ptr" in line or "store ptr" in line]
        assert tables and all(line.endswith(f"align {align}") for line in tables)
    assembly = jit.assembly(module.emit_program(program, WASM), WASM)
    assert "v128.load" in assembly and "f32x4.mul" in assembly


def test_wasm_data_in_parts_and_too_much_of_it(tmp_path):
    with open(tmp_path / "data.o", "wb") as file:
        link.write_data_object(file, WASM.triple, [b"abc", memoryview(b"de" * 100)], b"{}")
        with pytest.raises(ValueError, match="weights"):
            wasm.write_data_object(file, [np.zeros(1 << 26, np.uint8).data] * 64, "kc_data", 64, "x", b"")
    data = (tmp_path / "data.o").read_bytes()
    assert data.startswith(b"\0asm") and b"abcdede" in data


# ---------------------------------------------------------------- multiply-add without the instruction


def samples(dtype):
    """Where one rounding and two differ: products that nearly cancel, halves of an ulp, and tiny
    and large numbers."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 4000)).astype(dtype)
    c = np.where(np.arange(4000) % 2, -(a * b), rng.normal(size=4000)).astype(dtype)
    scale = np.ldexp(1.0, rng.integers(-60, 60, 4000)).astype(dtype)
    return a * scale, b, c * scale


@pytest.mark.parametrize("lanes", [1, 4])
def test_exact_multiply_add_of_doubles_rounds_once(lanes):
    a, b, c = samples("float64")
    got = elementwise(fma, ["float64"] * 3, "float64", lanes, V2)(a, b, c)
    exact = [float(Fraction(x) * Fraction(y) + Fraction(z)) for x, y, z in zip(a, b, c)]
    np.testing.assert_array_equal(got, exact)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exact_multiply_add_of_specials(dtype):
    big = np.finfo(dtype).max
    values = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, big, -big, 1e-30], dtype)
    a, b, c = (v.ravel() for v in np.meshgrid(values, values, values))
    if dtype == "float64":  # a product beyond the largest number is inf before c is added
        kept = ~((abs(a) == big) & (abs(b) == big))
        a, b, c = a[kept], b[kept], c[kept]
    got = elementwise(fma, [dtype] * 3, dtype, 2, V2)(a, b, c)
    want = elementwise(fma, [dtype] * 3, dtype, 2, targets.named("x86-64-v3"))(a, b, c)
    np.testing.assert_array_equal(got, want)
    assert (np.signbit(got) == np.signbit(want))[~np.isnan(want)].all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_inexact_multiply_add_rounds_twice_without_the_instruction(dtype):
    a, b, c = samples(dtype)
    got = elementwise(lambda *x: fma(*x, exact=False), [dtype] * 3, dtype, 4, V2)(a, b, c)
    np.testing.assert_array_equal(got, a * b + c)
    constant = elementwise(lambda x: fma(x, const(3.1, dtype), 1.0, exact=False), [dtype], dtype, 2, V2)
    exact = a.astype(np.longdouble) * dtype_of(3.1, dtype) + 1
    assert (abs(constant(a) - exact) <= 2 * np.finfo(dtype).eps * (abs(exact) + 1)).all()


def dtype_of(value, dtype):
    return np.longdouble(np.dtype(dtype).type(value))


def test_a_constant_factor_cancels_without_error():
    """x - n log(2), for the reduction of an exponential's argument."""
    n = np.arange(-150, 150, dtype=np.float32)
    x = (n * np.log(2) + RNG.uniform(-0.3, 0.3, n.size)).astype(np.float32)
    ln2 = float(np.float32(np.log(2)))
    reduce = elementwise(lambda n, x: fma(n, -ln2, x, exact=False), ["float32"] * 2, "float32", 4, V2)
    np.testing.assert_allclose(reduce(n, x), x - n.astype(float) * ln2, rtol=2e-7, atol=2e-9)


# ---------------------------------------------------------------- functions on other targets


@pytest.fixture
def on_v2(monkeypatch):
    """The tests of `test_maths` for a target without fused multiply-add."""
    native = test_maths.compiled
    monkeypatch.setattr(
        test_maths,
        "compiled",
        lambda name, dtype="float32", lanes=None: native(name, dtype, lanes, "x86-64-v2"),
    )


@pytest.mark.parametrize("name", test_maths.UNARY)
def test_functions_without_the_instruction(name, on_v2):
    test_maths.test_specials(name)
    test_maths.test_nan_with_any_payload_stays_nan(name)
    wide = RNG.uniform(-40, 40, 20_000)
    for x in (
        test_maths.stratified("float32", 128),
        wide.astype(np.float32),
        (wide / 40).astype(np.float32),
        np.concatenate([test_maths.stratified("float64", 4), wide]),
    ):
        if name == "erf" and x.dtype == np.float64:
            continue  # its reference is no better
        error, where = test_maths.worst(name, x)
        assert error <= maths.ULP_BOUNDS[str(x.dtype)][name] + maths.WITHOUT_FMA, where


def test_pow_without_the_instruction(on_v2, monkeypatch):
    bound = maths.ULP_BOUNDS["float32"]["pow"] + maths.WITHOUT_FMA
    monkeypatch.setitem(maths.ULP_BOUNDS["float32"], "pow", bound)
    test_maths.test_pow_error()
