"""Contractions: every kind against the gathered reference, and the same bits for any split."""

from __future__ import annotations

import ctypes
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompile.codegen import loops
from kcompile.codegen.binary import jit
from kcompile.codegen.contraction.nests import lower_contraction
from kcompile.codegen.contraction.plan import panel_width
from kcompile.codegen.groups.operands import Epilogue, Source
from kcompile.codegen.llvm import module
from kcompile.codegen.loops import Buffer, evaluate
from kcompile.codegen.targets import Target, named, native
from kcompile.ir.contraction import Access, Affine, Contraction, gather, matmul, reference, variable
from kcompile.ir.op import OPS
from kcompile.ir.ops.contraction import same_padding
from kcompile.ir.types import Batch, Dim, TensorType, bind
from kcompile.testing.ranges import sizes

N = Batch(1)
SMALL = settings(max_examples=25, deadline=None)


# ---------------------------------------------------------------- specs


def conv2d(
    x: tuple[Dim, ...], w: tuple[int, ...], stride: int, dilation: int, same: bool
) -> tuple[Contraction, tuple[Dim, ...], tuple[int, ...], tuple[int, int]]:
    """NHWC, HWIO. Returns (spec, x shape, w shape, (OH, OW))."""
    n, h, wd, c = x
    kh, kw, _, co = w
    reach = ((kh - 1) * dilation + 1, (kw - 1) * dilation + 1)
    if same:
        out = (-(-h // stride), -(-wd // stride))
        pad = [max((o - 1) * stride + r - s, 0) // 2 for o, r, s in zip(out, reach, (h, wd))]
    else:
        out = ((h - reach[0]) // stride + 1, (wd - reach[1]) // stride + 1)
        pad = [0, 0]
    spec = Contraction(
        (n, *out),
        (kh, kw, c),
        (co,),
        Access(
            0,
            (
                variable(0),
                Affine(((1, stride), (3, dilation)), -pad[0]),
                Affine(((2, stride), (4, dilation)), -pad[1]),
                variable(5),
            ),
            (False, same, same, False),
        ),
        Access(1, (variable(3), variable(4), variable(5), variable(6)), (False,) * 4),
    )
    return spec, x, w, out


def conv2d_input_gradient(x, w, stride, dilation, same):
    """dX[n, h, w, ci] from dY [n, OH, OW, co] and W."""
    forward, _, _, out = conv2d(x, w, stride, dilation, same)
    n, h, wd, c = x
    kh, kw, _, co = w
    pad = [-forward.a.index[1].offset, -forward.a.index[2].offset]
    return (
        Contraction(
            (n, h, wd),
            (kh, kw, co),
            (c,),
            Access(
                0,
                (
                    variable(0),
                    Affine(((1, 1), (3, -dilation)), pad[0], stride),
                    Affine(((2, 1), (4, -dilation)), pad[1], stride),
                    variable(5),
                ),
                (False, True, True, False),
            ),
            Access(1, (variable(3), variable(4), variable(6), variable(5)), (False,) * 4),
        ),
        (n, *out, co),
        w,
    )


def conv2d_kernel_gradient(x, w, stride, dilation, same):
    """dW[kh, kw, ci, co] from X and dY."""
    forward, _, _, out = conv2d(x, w, stride, dilation, same)
    n = x[0]
    kh, kw, c, co = w
    pad = [-forward.a.index[1].offset, -forward.a.index[2].offset]
    return (
        Contraction(
            (kh, kw, c),
            (n, *out),
            (co,),
            Access(
                0,
                (
                    variable(3),
                    Affine(((4, stride), (0, dilation)), -pad[0]),
                    Affine(((5, stride), (1, dilation)), -pad[1]),
                    variable(2),
                ),
                (False, same, same, False),
            ),
            Access(1, (variable(3), variable(4), variable(5), variable(6)), (False,) * 4),
        ),
        x,
        (n, *out, co),
    )


# ---------------------------------------------------------------- running


def plain(name: str, shape: tuple[Dim, ...], fused: bool = False) -> tuple[Source, Buffer]:
    """An operand in memory; `fused`: as an expression that hides the buffer."""
    buffer = Buffer(name, "float32")

    def at(index, mask):
        flat = index[0]
        for i, size in zip(index[1:], shape[1:]):
            flat = flat * (size if isinstance(size, int) else loops.N * size.multiple) + i
        return loops.load(buffer, flat, mask)

    return Source(at, None if fused else buffer, shape), buffer


def identity(acc, row, column, mask):
    return (acc,)


class Compiled:
    """A lowered contraction, callable on arrays."""

    def __init__(
        self,
        spec,
        a_shape,
        b_shape,
        target: Target | None = None,
        values=identity,
        light=True,
        fused=False,
        panels=None,
        extra=0,
        outputs=1,
    ) -> None:
        self.target, self.spec, self.panels = target or native(), spec, None
        a, a_buffer = plain("a", a_shape, fused)
        b, b_buffer = plain("b", b_shape, fused and panels is None)
        if panels:
            self.panels = panel_width(spec, self.target, True)
        out = tuple(Buffer(f"y{i}", "float32") for i in range(outputs))
        self.extras = tuple(Buffer(f"e{i}", "float32") for i in range(extra))
        self.kernel = lower_contraction(
            "kernel",
            spec,
            a,
            b,
            Epilogue(out, values(self.extras) if extra else values, light),
            self.target,
            buffers=(a_buffer, b_buffer, *self.extras, *out),
            b_panels=self.panels,
        )
        self.outputs = outputs
        text = module.emit([self.kernel.function], self.target)
        self.code = jit.optimise_and_compile(text, self.target)
        self.scratch = module.scratch_bytes(self.kernel.function)
        self.library = jit.load(self.code)
        self.call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] + [ctypes.c_int64] * 3 + [ctypes.c_void_p])(
            self.library.address("kernel")
        )

    def pack(self, b: np.ndarray) -> np.ndarray:
        """B as panels, by the reference gather."""
        _, columns, depth = self.spec.sizes
        first, sizes = len(self.spec.m), bind(self.spec.k + self.spec.j, 1)
        full = gather(self.spec.b, b, sizes, range(first, first + len(sizes)))
        full = full.reshape(depth, columns)
        count = -(-columns // self.panels)
        out = np.zeros((count, depth, self.panels), np.float32)
        for j in range(columns):
            out[j // self.panels, :, j % self.panels] = full[:, j]
        return out

    def __call__(self, n, a, b, *extras, parts=1):
        shape = bind(self.spec.shape, n)
        outs = [aligned(shape) for _ in range(self.outputs)]
        if self.panels:
            b = self.pack(b)
        arrays = [align(x) for x in (a, b, *extras)] + outs
        pointers = (ctypes.c_void_p * len(arrays))(*[x.ctypes.data for x in arrays])
        scratch = aligned((self.scratch // 4 + 16,))
        extent = self.kernel.iterations.at(n)
        cuts = [extent * i // parts for i in range(parts + 1)]
        for begin, end in itertools.pairwise(cuts):
            scratch[:] = np.nan
            self.call(pointers, n, begin, end, scratch.ctypes.data)
        return outs[0] if self.outputs == 1 else outs


def aligned(shape) -> np.ndarray:
    size = int(np.prod(shape))
    raw = np.full(size + 16 + 1, np.nan, np.float32)
    start = (-raw.ctypes.data % 64) // 4
    return raw[start : start + size].reshape(shape)


def align(x: np.ndarray) -> np.ndarray:
    out = aligned(x.shape)
    out[...] = x
    return out


def operands(rng, n, *shapes):
    return [rng.standard_normal(bind(s, n)).astype(np.float32) for s in shapes]


def check(spec, a_shape, b_shape, n, seed=0, **options) -> None:
    compiled = Compiled(spec, a_shape, b_shape, **options)
    a, b = operands(np.random.default_rng(seed), n, a_shape, b_shape)
    expected = reference(spec.bind(n), a.astype(np.float64), b.astype(np.float64))
    got = compiled(n, a, b)
    # each element is a chain of K roundings of values of size about sqrt(K)
    depth = max(int(np.prod(bind(spec.k, n))), 1)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=2e-7 * depth + 1e-6)
    for parts in (2, 3):
        np.testing.assert_array_equal(compiled(n, a, b, parts=parts), got)


# ---------------------------------------------------------------- products


@SMALL
@given(
    sizes("batch", 200),
    st.integers(1, 3),
    sizes("units", 600),
    sizes("units", 600),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_dense(n, multiple, k, j, panels, fused, light):
    spec = matmul(TensorType((Batch(multiple), k)), TensorType((k, j)), False, False)
    check(spec, (Batch(multiple), k), (k, j), n, panels=panels, fused=fused, light=light)


@SMALL
@given(
    sizes("units", 300), sizes("units", 600), sizes("units", 600), st.booleans(), st.booleans(), st.booleans()
)
def test_static_product(m, k, j, transpose_a, transpose_b, panels):
    a, b = ((k, m) if transpose_a else (m, k)), ((j, k) if transpose_b else (k, j))
    spec = matmul(TensorType(a), TensorType(b), transpose_a, transpose_b)
    check(spec, a, b, 1, panels=panels)


@SMALL
@given(sizes("batch"), sizes("units", 600), sizes("units", 600), st.booleans(), st.booleans())
def test_weight_gradient_of_dense(n, m, j, fused, light):
    spec = matmul(TensorType((N, m)), TensorType((N, j)), True, False)
    check(spec, (N, m), (N, j), n, fused=fused, light=light)


@SMALL
@given(sizes("batch", 200), sizes("units", 600), sizes("units", 600))
def test_input_gradient_of_dense(n, k, j):
    spec = matmul(TensorType((N, k)), TensorType((j, k)), False, True)
    check(spec, (N, k), (j, k), n)
    check(spec, (N, k), (j, k), n, panels=True)


@pytest.mark.parametrize("transpose_a, transpose_b", [(False, False), (True, True)])
def test_batch_behind_another_dim(transpose_a, transpose_b):
    """Rows in memory are as long as the batch, so no stride is a constant."""
    a = (20, N) if transpose_a else (N, 20)
    b = (24, 20) if transpose_b else (20, 24)
    check(matmul(TensorType(a), TensorType(b), transpose_a, transpose_b), a, b, 19)
    a, b = (30, N), ((24, N) if transpose_b else (N, 24))
    check(matmul(TensorType(a), TensorType(b), False, transpose_b), a, b, 19)


@pytest.mark.parametrize(
    "m, k, j",
    [(N, 512, 512), (N, 1024, 300), (70, 1024, 256), (N, 12000, 40), (200, 64, 1100), (Batch(300), 16, 33)],
)
def test_large_products(m, k, j):
    spec = matmul(TensorType((m, k)), TensorType((k, j)), False, False)
    check(spec, (m, k), (k, j), 9)
    check(spec, (m, k), (k, j), 9, panels=True, light=False)


def test_long_sum_over_the_batch():
    spec = matmul(TensorType((Batch(7), 20)), TensorType((Batch(7), 24)), True, False)
    check(spec, (Batch(7), 20), (Batch(7), 24), 131)


# ---------------------------------------------------------------- convolutions

images = st.tuples(st.just(N), sizes("size", 16), sizes("size", 24), sizes("channels", 40))
kernels = st.tuples(sizes("kernel"), sizes("kernel"), sizes("channels", 70))
strides, dilations = sizes("stride"), sizes("dilation", 3)


@SMALL
@given(st.integers(1, 5), images, kernels, strides, dilations, st.booleans(), st.booleans(), st.booleans())
def test_conv(n, x, kernel, stride, dilation, same, panels, fused):
    kh, kw, co = kernel
    if not same and min(x[1] - (kh - 1) * dilation, x[2] - (kw - 1) * dilation) < 1:
        same = True
    spec, a, b, _ = conv2d(x, (kh, kw, x[3], co), stride, dilation, same)
    check(spec, a, b, n, panels=panels, fused=fused)


@SMALL
@given(st.integers(1, 4), images, kernels, strides, dilations, st.booleans(), st.booleans())
def test_conv_data_gradient(n, x, kernel, stride, dilation, same, panels):
    kh, kw, co = kernel
    if not same and min(x[1] - (kh - 1) * dilation, x[2] - (kw - 1) * dilation) < 1:
        same = True
    spec, a, b = conv2d_input_gradient(x, (kh, kw, x[3], co), stride, dilation, same)
    check(spec, a, b, n, panels=panels)


@SMALL
@given(st.integers(1, 5), images, kernels, strides, dilations, st.booleans(), st.booleans())
def test_conv_filter_gradient(n, x, kernel, stride, dilation, same, fused):
    kh, kw, co = kernel
    if not same and min(x[1] - (kh - 1) * dilation, x[2] - (kw - 1) * dilation) < 1:
        same = True
    spec, a, b = conv2d_kernel_gradient(x, (kh, kw, x[3], co), stride, dilation, same)
    check(spec, a, b, n, fused=fused)


@pytest.mark.parametrize("target", [native(), named("x86-64-v3")], ids=["native", "x86-64-v3"])
@SMALL
@given(
    st.integers(1, 4),
    st.integers(1, 40),
    st.sampled_from([(1, 1), (1, 1), (1, 3), (3, 1), (2, 5), (9, 20)]),
    st.tuples(st.integers(1, 9), st.integers(1, 18)),
    st.tuples(st.integers(1, 4), st.integers(1, 5)),
    st.integers(1, 3),
    st.booleans(),
    st.booleans(),
)
def test_groups(target, n, groups, each, images, taps, stride, same, fused):
    """Convolutions whose groups of columns have channels of their own, and their gradients."""
    sizes = tuple(size + tap for size, tap in zip(images, taps))
    (channels, filters), strides = each, (stride, 1)
    around = tuple(same_padding(*a) for a in zip(sizes, taps, strides)) if same else ((0, 0), (0, 0))
    attrs = {"strides": strides, "padding": around, "dilation": (1, 1), "groups": groups}
    x = TensorType((N, *sizes, channels * groups))
    w = TensorType((*taps, channels, filters * groups))
    conv = OPS["conv"].contraction(x, w, **attrs)
    y = TensorType(conv.shape)
    options = {"fused": fused, "target": target}
    check(conv, x.shape, w.shape, n, **options)
    back = OPS["conv_data_gradient"].contraction(y, w, sizes=sizes, **attrs)
    assert back.shape == x.shape
    check(back, y.shape, w.shape, n, **options)
    of_kernel = OPS["conv_filter_gradient"].contraction(x, y, taps=taps, **attrs)
    assert of_kernel.shape == w.shape
    check(of_kernel, x.shape, y.shape, n, **options)


@pytest.mark.parametrize("target", [native(), named("x86-64-v3")], ids=["native", "x86-64-v3"])
@SMALL
@given(
    st.integers(1, 3),
    st.sampled_from([1, 5, 8, 16, 24, 32, 48, 144]),
    st.lists(st.integers(1, 30), min_size=1, max_size=3),
    st.data(),
    st.booleans(),
)
def test_depthwise(target, n, channels, sizes, data, fused):
    """Each column has its own A, which is read where it is, with zeros around it."""

    def drawn(least, most):
        return tuple(data.draw(st.integers(least, most)) for _ in sizes)

    if len(sizes) == 3:
        sizes = [min(size, 9) for size in sizes]
    taps, strides, dilation = drawn(1, 5), drawn(1, 3), drawn(1, 3)
    padding = tuple(zip(drawn(0, 6), drawn(0, 6)))
    if any(s + sum(p) < (t - 1) * d + 1 for s, p, t, d in zip(sizes, padding, taps, dilation)):
        padding = tuple((t * d, t * d) for t, d in zip(taps, dilation))
    attrs = {"strides": strides, "padding": padding, "dilation": dilation, "groups": channels}
    x, w = TensorType((N, *sizes, channels)), TensorType((*taps, 1, channels))
    conv = OPS["conv"].contraction(x, w, **attrs)
    check(conv, x.shape, w.shape, n, fused=fused, target=target)
    back = OPS["conv_data_gradient"].contraction(TensorType(conv.shape), w, sizes=tuple(sizes), **attrs)
    check(back, conv.shape, w.shape, n, fused=fused, target=target)


@pytest.mark.parametrize(
    "x, w, stride, same",
    [
        ((N, 56, 56, 16), (3, 3, 16, 32), 1, True),
        ((N, 7, 7, 512), (3, 3, 512, 64), 1, True),
        ((N, 32, 32, 3), (7, 7, 3, 16), 2, True),
        ((N, 14, 14, 32), (1, 1, 32, 48), 2, True),
        ((N, 1, 130, 8), (1, 5, 8, 24), 1, True),
        ((N, 28, 28, 40), (1, 1, 40, 64), 1, False),
        ((N, 14, 14, 256), (1, 1, 256, 512), 2, True),
        ((N, 7, 9, 256), (3, 3, 256, 288), 2, True),
    ],
)
def test_layers(x, w, stride, same):
    spec, a, b, _ = conv2d(x, w, stride, 1, same)
    check(spec, a, b, 2, panels=True)
    check(*conv2d_kernel_gradient(x, w, stride, 1, same), 2)
    check(*conv2d_input_gradient(x, w, stride, 1, same), 2, panels=True)


def test_conv1d_over_time():
    """One spatial dim: the only line is cut in pieces."""
    spec = Contraction(
        (N, 126),
        (3, 20),
        (24,),
        Access(0, (variable(0), Affine(((1, 1), (2, 1)), -1), variable(3)), (False, True, False)),
        Access(1, (variable(2), variable(3), variable(4)), (False,) * 3),
    )
    check(spec, (N, 126, 20), (3, 20, 24), 3)


def test_channels_first():
    spec = Contraction(
        (N, 10, 12),
        (3, 3, 5),
        (20,),
        Access(
            0,
            (variable(0), variable(5), Affine(((1, 1), (3, 1)), -1), Affine(((2, 1), (4, 1)), -1)),
            (False, False, True, True),
        ),
        Access(1, (variable(3), variable(4), variable(5), variable(6)), (False,) * 4),
    )
    check(spec, (N, 5, 10, 12), (3, 3, 5, 20), 3)


# ---------------------------------------------------------------- epilogue, targets, plans


@pytest.mark.parametrize("light", [True, False])
@pytest.mark.parametrize("columns", [10, 32, 70])
def test_epilogue_with_bias_residual_and_two_outputs(light, columns):
    def values(extras):
        bias, residual = extras

        def at(acc, row, column, mask):
            y = acc + loops.load(bias, column, mask)
            z = y + loops.load(residual, row * columns + column, mask)
            return y, loops.binary("max", z, 0.0)

        return at

    spec = matmul(TensorType((N, 30)), TensorType((30, columns)), False, False)
    compiled = Compiled(spec, (N, 30), (30, columns), values=values, light=light, extra=2, outputs=2)
    a, b, bias, residual = operands(
        np.random.default_rng(0), 21, (N, 30), (30, columns), (columns,), (N, columns)
    )
    y, z = compiled(21, a, b, bias, residual)
    np.testing.assert_allclose(y, a @ b + bias, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(z, np.maximum(y + residual, 0))


@pytest.mark.parametrize("name", ["x86-64-v3", "x86-64-v4"])
@pytest.mark.parametrize("columns", [10, 24, 64])
def test_other_targets(name, columns):
    if not native().triple.startswith("x86_64") or native().vector_bits < 512:
        pytest.skip("needs a processor with AVX-512")
    target = named(name)
    spec = matmul(TensorType((N, 30)), TensorType((30, columns)), False, False)
    check(spec, (N, 30), (30, columns), 17, target=target)
    check(spec, (N, 30), (30, columns), 17, target=target, panels=True, light=False)
    spec, a, b, _ = conv2d((N, 9, 9, 5), (3, 3, 5, columns), 1, 1, True)
    check(spec, a, b, 2, target=target)
    check(*conv2d_kernel_gradient((N, 9, 9, 5), (3, 3, 5, columns), 1, 1, True), 2, target=target)


@pytest.mark.parametrize("name", ["x86-64-v2", "aarch64", "wasm32"])
def test_code_for_targets_elsewhere(name):
    target = named(name)
    spec, a, b, _ = conv2d((N, 9, 9, 5), (3, 3, 5, 10), 1, 1, True)
    x, _ = plain("a", a)
    w, _ = plain("b", b)
    y = Buffer("y", "float32")
    kernel = lower_contraction("kernel", spec, x, w, Epilogue((y,), identity, True), target)
    assert jit.optimise_and_compile(module.emit([kernel.function], target), target)


def test_same_bits_for_any_batch():
    """A row's result does not depend on its neighbours."""
    spec = matmul(TensorType((N, 50)), TensorType((50, 70)), False, False)
    compiled = Compiled(spec, (N, 50), (50, 70))
    a, b = operands(np.random.default_rng(1), 40, (N, 50), (50, 70))
    whole = compiled(40, a, b)
    for n in range(1, 40):
        np.testing.assert_array_equal(compiled(n, a[:n], b), whole[:n])


def test_machine_code_is_what_the_loops_say():
    spec, a_shape, b_shape, _ = conv2d((N, 5, 6, 3), (3, 3, 3, 20), 1, 1, True)
    compiled = Compiled(spec, a_shape, b_shape)
    a, b = operands(np.random.default_rng(0), 3, a_shape, b_shape)
    out = np.full(bind(spec.m + spec.j, 3), np.nan, np.float32)
    evaluate.run(compiled.kernel.function, [a.reshape(-1), b.reshape(-1), out.reshape(-1)], 3)
    np.testing.assert_array_equal(compiled(3, a, b), out)


def test_wrong_panels_are_refused():
    spec = matmul(TensorType((N, 50)), TensorType((50, 70)), False, False)
    a, _ = plain("a", (N, 50))
    b, _ = plain("b", (50, 70))
    with pytest.raises(ValueError, match="Received: panels of 7"):
        lower_contraction(
            "kernel", spec, a, b, Epilogue((Buffer("y", "float32"),), identity, True), native(), b_panels=7
        )
