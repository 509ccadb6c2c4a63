"""Contractions in words of two numbers of bfloat16: loops evaluated in numpy on any machine, and run where
the processor has the instructions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompile.codegen import targets
from kcompile.codegen.contraction.nests import lower_contraction
from kcompile.codegen.contraction.plan import in_halves, panel_width
from kcompile.codegen.contraction.winograd import choose_tiling
from kcompile.codegen.groups.operands import Epilogue, Source
from kcompile.codegen.loops import Buffer, Var, dot_halves, evaluate, halves, indexing, load
from kcompile.compiler import compile_graph
from kcompile.compiler import load as loaded
from kcompile.ir import ops
from kcompile.ir.contraction import Contraction, matmul, reference
from kcompile.ir.graph import Graph
from kcompile.ir.op import OPS
from kcompile.ir.ops.contraction import same_padding
from kcompile.ir.ops.halves import nearest_bfloat16, numbers_of, words_of
from kcompile.ir.precision import in_precision
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType, bind

N = Batch()
# A processor with the instructions, whether or not this is one
WITH = replace(targets.named("x86-64-v4"), bfloat16_dots=True)
needs_dots = pytest.mark.skipif(
    not targets.native().bfloat16_dots, reason="needs a processor with AVX512_BF16"
)


def conv(x: TensorType, w: TensorType, **attrs: Any) -> Contraction:
    rule = OPS["conv"].contraction
    assert rule is not None
    return rule(x, w, **attrs)


def whole(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers that round to small whole ones: sums of their products are exact."""
    rng = np.random.default_rng(seed)
    return (rng.integers(-3, 4, shape) * (1 + 2.0**-9)).astype(np.float32)


def made(spec: Contraction, a: TensorType, b: TensorType, n: int, packed: bool) -> tuple[np.ndarray, ...]:
    """(what the loops compute, the meaning) on numbers whose sums are exact."""

    def source(name: str, type: TensorType) -> Source:
        buffer = Buffer(name, type.dtype)
        return Source(
            lambda index, mask: load(buffer, indexing.flatten(index, type.shape), mask),
            buffer,
            type.shape,
            dtype=type.dtype,
        )

    x, y = whole(0, bind(a.shape, n)), whole(1, bind(b.shape, n))
    expected = reference(spec.bind(n), nearest_bfloat16(x), nearest_bfloat16(y))
    words, width = in_halves(spec, WITH, True), None
    assert words is not None and words == spec.in_halves
    if packed:
        width = panel_width(words, WITH, True, "uint32")
        attrs = {"spec": spec.of_b, "width": width, "words": True}
        y, b = OPS["pack_panels"].numpy(y, **attrs), OPS["pack_panels"].types([b], attrs)[0]
    out = Buffer("out", "float32")
    kernel = lower_contraction(
        "kernel",
        spec,
        source("a", a),
        source("b", b),
        Epilogue((out,), lambda sums, row, column, mask: (sums,), True),
        WITH,
        b_panels=width,
        words=True,
    )
    result = np.full(expected.shape, np.nan, np.float32)
    extent = kernel.iterations.at(n)
    (loop,) = kernel.function.body
    function = replace(kernel.function, body=(replace(loop, stop=indexing.extent(extent)),))  # type: ignore[type-var]
    evaluate.run(function, [x, np.ascontiguousarray(y), result], n)
    return result, expected


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(("rows", "depth", "columns"), [(3, 1 + 1, 5), (5, 7, 20), (17, 33, 16), (2, 64, 33)])
def test_dense(rows: int, depth: int, columns: int, packed: bool) -> None:
    a, b = TensorType((N, depth)), TensorType((depth, columns))
    np.testing.assert_array_equal(*made(matmul(a, b, False, False), a, b, rows, packed))
    b = TensorType((columns, depth))
    np.testing.assert_array_equal(*made(matmul(a, b, False, True), a, b, rows, packed))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(("channels", "filters", "stride"), [(3, 5, 1), (6, 18, 2)])
def test_convolutions_and_their_data_gradients(
    channels: int, filters: int, stride: int, packed: bool
) -> None:
    x, w = TensorType((N, 5, 4, channels)), TensorType((3, 2, channels, filters))
    pads = tuple(same_padding(s, t, stride) for s, t in zip((5, 4), (3, 2)))
    attrs = {"strides": (stride, stride), "padding": pads, "dilation": (1, 1)}
    spec = conv(x, w, **attrs)
    np.testing.assert_array_equal(*made(spec, x, w, 2, packed))
    rule, g = OPS["conv_data_gradient"].contraction, TensorType(spec.shape)
    assert rule is not None
    back = rule(g, w, sizes=(5, 4), **attrs)
    np.testing.assert_array_equal(*made(back, g, w, 2, packed))


@pytest.mark.parametrize("n", [1, 4, 5])
@pytest.mark.parametrize("multiple", [1, 2, 3])
def test_sums_over_the_batch(n: int, multiple: int) -> None:
    """Words of neighbours, of which the last may have but one."""
    a, b = TensorType((Batch(multiple), 18)), TensorType((Batch(multiple), 20))
    np.testing.assert_array_equal(*made(matmul(a, b, True, False), a, b, n, False))


@pytest.mark.parametrize(("n", "channels"), [(1, 6), (4, 6), (3, 1)])
def test_gradients_of_kernels(n: int, channels: int) -> None:
    x, g = TensorType((N, 5, 4, channels)), TensorType((N, 3, 2, 18))
    rule = OPS["conv_filter_gradient"].contraction
    assert rule is not None
    attrs = {"strides": (2, 2), "padding": ((1, 1), (0, 1)), "dilation": (1, 1)}
    spec = rule(x, g, taps=(3, 2), **attrs)
    np.testing.assert_array_equal(*made(spec, x, g, n, False))


@pytest.mark.parametrize("transposed", [True, False])
def test_a_product_for_each_sample(transposed: bool) -> None:
    a = TensorType((N, 2, 17, 9))
    b = TensorType((N, 2, 20, 9) if transposed else (N, 2, 9, 20))
    rule = OPS["batch_matmul"].contraction
    assert rule is not None
    spec = rule(a, b, transpose_a=False, transpose_b=transposed)
    np.testing.assert_array_equal(*made(spec, a, b, 2, False))


def test_which_have_no_words() -> None:
    """Groups, kernels of few rows, single columns, and processors without the instruction."""
    a, b = TensorType((N, 8)), TensorType((8, 8))
    plain = matmul(a, b, False, False)
    assert in_halves(plain, WITH, True) is not None
    assert in_halves(plain, targets.named("x86-64-v4"), True) is None
    assert in_halves(matmul(a, TensorType((N, 8)), True, False), WITH, False) is None  # of 8 rows
    few = matmul(TensorType((4, 8)), b, False, False)
    assert in_halves(few, WITH, True) is not None and in_halves(few, WITH, False) is None
    assert in_halves(matmul(a, TensorType((8, 1)), False, False), WITH, True) is None
    x = TensorType((N, 5, 8))
    grouped = conv(x, TensorType((3, 4, 6)), strides=(1,), padding=((0, 0),), dilation=(1,), groups=2)
    assert in_halves(grouped, WITH, True) is None


def test_winograds_algorithm_must_save_more_than_half() -> None:
    x, w = TensorType((N, 26, 26, 32)), TensorType((5, 5, 32, 64))
    attrs = {"strides": (1, 1), "padding": ((0, 0),) * 2, "dilation": (1, 1)}
    spec = conv(x, w, **attrs)
    assert choose_tiling(spec, WITH) is not None and choose_tiling(spec, WITH, in_halves=True) is None
    spec = conv(TensorType((N, 32, 32, 128)), TensorType((3, 3, 128, 128)), **attrs)
    assert choose_tiling(spec, WITH) == choose_tiling(spec, WITH, in_halves=True) is not None


@given(size=st.integers(2, 9), columns=st.integers(1, 4), seed=st.integers(0, 2**31 - 1))
@settings(max_examples=20)
def test_words_hold_their_numbers(size: int, columns: int, seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(2, size, columns)).astype("float32")
    words = words_of(x)
    assert words.shape == (2, (size + 1) // 2, columns)
    np.testing.assert_array_equal(numbers_of(words, size), nearest_bfloat16(x))
    low, high = x[:, : words.shape[1]], np.zeros_like(x[:, : words.shape[1]])
    high[:, : size // 2] = x[:, words.shape[1] :]
    pair = halves(*(Var(name, "float32", columns) for name in ("low", "high")))
    np.testing.assert_array_equal(evaluate.evaluate(pair, {"low": low, "high": high}), words)


@needs_dots
def test_the_instructions_are_what_the_language_says() -> None:
    from compiled import elementwise

    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=512) * 2.0 ** rng.integers(-20, 20, 512) for _ in range(2))
    x, y = (v.astype("float32") for v in (x, y))
    x[:8] = [np.nan, np.inf, -np.inf, 1e-40, -1e-40, 3.4e38, 0.0, -0.0]
    names = [Var(name, kind, 16) for name, kind in (("a", "float32"), ("b", "float32"))]
    pairs = elementwise(halves, ["float32"] * 2, "uint32", 16, targets.native())(x, y)
    np.testing.assert_array_equal(pairs, evaluate.evaluate(halves(*names), {"a": x, "b": y}))
    words = [words_of(rng.normal(size=(2, 512)).astype("float32"))[0] for _ in range(2)]
    sums = rng.normal(size=512).astype("float32")
    made = elementwise(dot_halves, ["uint32", "uint32", "float32"], "float32", 16, targets.native())
    np.testing.assert_array_equal(made(*words, sums), evaluate.dot_halves(*words, sums))
    narrow = elementwise(dot_halves, ["uint32", "uint32", "float32"], "float32", 4, targets.native())
    np.testing.assert_array_equal(narrow(*words, sums), evaluate.dot_halves(*words, sums))


@needs_dots
def test_layers_use_them() -> None:
    """Also behind a reshape, and of a sum that is rounded once more."""
    graph = Graph("g")
    x = Tensor(graph, graph.input("x", TensorType((N, 5, 24))))
    w = Tensor(graph, graph.variable("w", TensorType((24, 32))))
    graph.outputs = {"y": ops.matmul(ops.reshape(x, (Batch(5), 24)), w).value}
    compiled = compile_graph(in_precision(graph, "bfloat16"), "predict", targets.native(), frozen=True)
    assert "dpbf16ps" in compiled.text and "round_bfloat16" not in str(compiled.run.text())
    value = whole(0, (24, 32))
    given = whole(1, (3, 5, 24))
    (y,) = loaded(compiled, {"w": np.ascontiguousarray(value)}).run("predict", 3, [given])
    np.testing.assert_array_equal(y, np.round(given.reshape(-1, 24)) @ np.round(value))
