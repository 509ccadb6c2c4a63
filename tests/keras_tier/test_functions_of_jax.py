"""Functions of JAX compiled by kcompile give what JAX gives."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile.jaxpr.primitives import supported
from kcompile_runtime.errors import InputError, UnsupportedError

jax = pytest.importorskip("jax")
jnp, lax, nn = jax.numpy, jax.lax, jax.nn
R = np.random.default_rng(0)
X = R.normal(size=(6, 8)).astype("float32")
V = R.normal(size=(4, 6, 8)).astype("float32")
IMAGES = R.normal(size=(2, 9, 10, 3)).astype("float32")
KERNEL = R.normal(size=(3, 3, 3, 5)).astype("float32")
POSITIVE = np.abs(X) + 0.1
PLACES = np.array([3, 0, 7, 7, 2, 5], "int32")
ROWS = np.array([1, 1, 3, 0, 2, 5], "int32")
LAYOUT = ("NHWC", "HWIO", "NHWC")


@jax.custom_jvp
def doubled(x: Any) -> Any:
    return x * 2


@doubled.defjvp
def _(primals: Any, tangents: Any) -> Any:
    return doubled(primals[0]), tangents[0] * 7


@jax.custom_vjp
def straight_through(x: Any) -> Any:
    return jnp.round(x)


straight_through.defvjp(lambda x: (straight_through(x), None), lambda kept, g: (g * 3,))

ACTIVATIONS = [
    "relu", "relu6", "silu", "gelu", "elu", "celu", "selu", "softplus", "mish", "log_sigmoid",
    "hard_sigmoid", "hard_silu", "hard_tanh", "soft_sign", "squareplus", "leaky_relu", "glu", "softmax",
    "log_softmax", "standardize", "sparse_plus"
]  # fmt: skip


def conv(x: Any, w: Any, strides: Any, padding: Any, **options: Any) -> Any:
    return lax.conv_general_dilated(x, w, strides, padding, dimension_numbers=LAYOUT, **options)


def halves(*values: Any) -> list[Any]:
    return [part(z) for z in values for part in (jnp.real, jnp.imag)]


def window(x: Any, start: float, function: Any, size: Any, strides: Any, padding: str, **options: Any) -> Any:
    return lax.reduce_window(x, start, function, (1, *size, 1), (1, *strides, 1), padding, **options)


CASES: dict[str, tuple[Callable[..., Any], Sequence[Any]]] = {
    "functions": (
        lambda x: (jnp.abs(x), jnp.ceil(x), jnp.round(x * 3), lax.round(x * 2), jnp.sinh(x), jnp.cosh(x),
            jnp.arcsinh(x), jnp.tan(x), jnp.cbrt(x), jax.scipy.special.erfinv(jnp.tanh(x)),
            jax.scipy.special.erfc(x), jnp.exp2(x), x**3, x**-2, x % 0.7, x // 0.3, jnp.sign(x),
            jnp.isnan(x), jnp.isfinite(x), jnp.logaddexp(x, 1.0), jnp.clip(x, -0.5, 0.5), jnp.arctan(x),
            jnp.arctan2(x, x + 1), jnp.arcsin(jnp.tanh(x)), jnp.arccos(jnp.tanh(x)), jnp.sinc(x)),
        [X],
    ),
    "of positive numbers": (
        lambda x: (jnp.sqrt(x), lax.rsqrt(x), jnp.log(x), jnp.log1p(x), x**1.7, jnp.arccosh(x + 1),
            jnp.arctanh(x / 10)),
        [POSITIVE],
    ),
    "activations": (lambda x: [getattr(nn, name)(x) for name in ACTIVATIONS], [X]),
    "integers": (
        lambda i: (i // 2, i % 3, -i, jnp.abs(-i), i * i, jnp.minimum(i, 3), (i > 2) & (i < 5), ~(i > 2),
            i.astype("float32") / 2, jnp.where(i > 3, i, 0), i != 2, (i > 2) ^ (i < 6), jnp.dot(i, i)),
        [PLACES],
    ),
    "movement": (
        lambda x: (x.T, x.reshape(2, 3, 8), x[::-1], jnp.concatenate([x, x], 1), jnp.stack([x, x]),
            jnp.pad(x, ((1, 2), (0, 1)), constant_values=2.0), x[1:5:2, 3], jnp.split(x, 4, 1),
            jnp.tile(x, (2, 1)), jnp.repeat(x, 3, 0), jnp.roll(x, 2, 1), jnp.tril(x), jnp.triu(x, 1),
            jnp.pad(x, ((1, 1), (2, 2)), mode="reflect"), jnp.diag(x[:6, :6])),
        [X],
    ),
    "reductions": (
        lambda x: (x.sum(), x.mean(0), x.max(1), x.min(), x.prod(1), x.std(0), x.var(1, ddof=1),
            jnp.any(x > 1, 0), jnp.all(x > -3, 1), x.argmax(1), x.argmin(0), jnp.linalg.norm(x, axis=1),
            nn.logsumexp(x, 1), jnp.median(x, 1), jnp.cumsum(x, 1), jnp.cumprod(x, 0), lax.cummax(x, 1),
            lax.cummin(x, 1), lax.cumlogsumexp(x, 1), lax.cumsum(x, 1, reverse=True)),
        [X],
    ),
    "order": (lambda x: (jnp.sort(x, 1), jnp.argsort(x, 0), lax.top_k(x, 3)), [np.round(X, 1)]),
    "products": (
        lambda x, v: (x @ x.T, v @ x.T, jnp.einsum("abc,bc->a", v, x), jnp.einsum("abc,adc->abd", v, v),
            jnp.einsum("abc,dbc->bad", v, v), jnp.outer(x[0], x[1]), jnp.dot(x[0], x[0]),
            jnp.tensordot(v, v, ((0, 2), (0, 2))), jnp.kron(x[:2, :2], x[:2, :2])),
        [X, V],
    ),
    "convolutions": (
        lambda x, w: (conv(x, w, (1, 1), "SAME"), conv(x, w, (2, 2), "VALID"),
            conv(x, w, (1, 1), ((1, 1), (2, 0)), rhs_dilation=(2, 2)),
            conv(x, w, (2, 1), ((-1, 1), (0, 1)), lhs_dilation=(2, 2)),
            conv(x, w[:, :, :1, :3], (1, 1), "SAME", feature_group_count=3),
            lax.conv_transpose(x, w, (2, 2), "SAME", dimension_numbers=LAYOUT),
            lax.conv_transpose(x, w, (2, 3), "VALID", dimension_numbers=LAYOUT),
            lax.conv_general_dilated(x.transpose(0, 3, 1, 2), w.transpose(3, 2, 0, 1), (1, 1), "SAME")),
        [IMAGES, KERNEL],
    ),
    "windows": (
        lambda x: (window(x, -jnp.inf, lax.max, (2, 2), (2, 2), "SAME"),
            window(x, 0.0, lax.add, (3, 2), (1, 2), "VALID"),
            window(x, jnp.inf, lax.min, (3, 3), (1, 1), "SAME"),
            window(x, 1.0, lax.mul, (2, 2), (1, 1), "VALID"),
            window(x, -jnp.inf, lax.max, (2, 2), (1, 1), "VALID", window_dilation=(1, 2, 2, 1)),
            lax.reduce_window(x, 0.0, lax.add, (1, 2, 2, 3), (1, 2, 2, 1), "SAME")),
        [IMAGES],
    ),
    "gather": (
        lambda x, i, v: (x[i % 6], x[:, i], x[i % 6, i], jnp.take(x, i, axis=1), x[2], x[:, -1], x[i[0] % 6],
            jnp.take_along_axis(x, i[:, None], 1), x[jnp.array([0, 2])], v[i % 4, :, i],
            x[:, jnp.array([1, 4, -1])], jnp.take_along_axis(v, jnp.argsort(v, 1), 1),
            lax.dynamic_slice(x, (i[0] % 3, i[1]), (2, 4)), lax.dynamic_slice(x, (1, 6), (2, 4)),
            jnp.take(x, i + 5, axis=1, mode="clip"), v[1:3, None, 2]),
        [X, PLACES, V],
    ),
    "scatter": (
        lambda x, i, r: (x.at[2].set(0.0), x.at[:, 3].add(1.0), x.at[1:3, 2:5].set(7.0), x.at[r].add(x),
            x.at[:, i].add(x[:, :6]), jax.ops.segment_sum(x, r, 6), x.at[0, 0].multiply(3.0),
            x.at[jnp.array([1, 3])].set(x[:2]), x.at[r[0]].set(5.0), jnp.zeros(8).at[i].add(1.0),
            lax.dynamic_update_slice(x, x[:2, :3], (i[0], 2)), x.at[i[1], r[1]].max(9.0),
            lax.dynamic_update_slice(x, x[:2, :3], (1, 2)), x.at[jnp.array([1, 1])].add(x[:2]),
            x.at[i].add(x, mode="drop")),
        [X, PLACES, ROWS],
    ),
    "loops": (
        lambda x: (lax.fori_loop(0, 4, lambda i, c: c * 0.5 + x[i], x[0]),
            lax.scan(lambda c, y: (c + y, c * y), x[0], x),
            lax.scan(lambda c, y: (c * 0.9 + y, c), x[0], x, reverse=True), lax.map(lambda r: r.sum(), x),
            lax.while_loop(lambda c: c[0] < 5, lambda c: (c[0] + 1, c[1] * 1.1), (0, x))[1],
            lax.while_loop(lambda c: c[0] < 400, lambda c: (c[0] + 1, jnp.cos(c[1])), (0, x))[1],
            lax.fori_loop(0, 3, lambda i, c: lax.fori_loop(0, 2, lambda j, d: d * 0.5 + x[j], c), x[0]),
            lax.associative_scan(jnp.add, x)),
        [X],
    ),
    "branches": (
        lambda x: (lax.cond(x[0, 0] > 0, lambda y: y * 2, lambda y: y - 1, x),
            lax.switch((x[0, 1] > 0).astype(int) + 1, [lambda y: y, jnp.sin, lambda y: y * 3], x),
            jnp.select([x > 1, x > 0], [x, x * 2], -1.0)),
        [X],
    ),
    "gradients of their own": (
        jax.grad(lambda x: (doubled(x) * x).sum() + straight_through(x).sum() + nn.gelu(x @ x.T).sum()),
        [X],
    ),
    "random numbers of known keys": (
        lambda x: (jax.random.normal(jax.random.key(0), (3, 4)),
            jax.random.uniform(jax.random.PRNGKey(3), (5,)),
            jax.random.randint(jax.random.key(1), (6,), 0, 9), jax.random.permutation(jax.random.key(2), 8),
            x + jax.random.bernoulli(jax.random.split(jax.random.key(5))[1], 0.5, (6, 8))),
        [X],
    ),
    "complex numbers": (
        lambda x, y: halves(
            jnp.fft.fft(x), jnp.fft.ifft2(x + 1j * y), jnp.fft.rfft2(x)[:, 1:], jnp.fft.fft(x * 1j, 5, 0),
            (x + 1j * y) * (y - 2j * x) / (1 + 1j * x), (x + 1j * y) @ (y.T - 1j * x.T), (x + 1j * y) ** 3,
            jnp.exp(x + 1j * y), jnp.log(x + 1j * y), jnp.sqrt(x + 1j * y), jnp.sin(x + 1j * y),
            jnp.cosh(x + 1j), jnp.sign(y + 1j * x), jnp.conj(x + 1j * y), (x + 1j * y) ** 0.3,
            jnp.where(x > 0, x + 1j * y, 0).sum(0), jnp.take(x + 1j * y, PLACES, 1)[::-1], 1 / (x + 1j * y),
            jnp.concatenate([x + 1j, jnp.ones((6, 2)) * 1j], 1), (x + 1j * y).at[:, 2].set(1j))
        + [jnp.abs(x + 1j * y), jnp.angle(x + 1j * y), jnp.fft.irfft2(x + 1j * y, (4, 7)), x + 1j == x,
            jnp.linalg.norm(x + 1j * y), jax.grad(lambda z: jnp.abs(jnp.fft.fft(z * 1j)).sum())(x)],
        [X, X[::-1]],
    ),
    "what occurs": (
        lambda i, j: (jnp.unique(i, True, True, True, size=6, fill_value=-1), jnp.nonzero(i > 2, size=5),
            jnp.intersect1d(i, j, size=4), jnp.lexsort((j, i)), jnp.zeros(9).at[i].set(jnp.arange(6.0)),
            jnp.zeros(9, bool).at[i].set(True), jnp.arange(9.0).at[j[1:5]].max(2.0, unique_indices=True),
            jnp.zeros((4, 4)).at[i, j].add(1.0, mode="drop"), jnp.zeros(3).at[jnp.array([1, 5])].add(1.0),
            jnp.ones((4, 4)).at[i, j].get(mode="fill", fill_value=7)),
        [PLACES, ROWS],
    ),
    "vmap": (
        jax.vmap(lambda r, i: r[i] * 2 + jnp.interp(r, jnp.array([-1.0, 0, 1]), jnp.array([0.0, 1, 3]))),
        [X, PLACES],
    ),
    "images and attention": (
        lambda x, v: (jax.image.resize(x, (2, 12, 16, 3), "bilinear"), nn.one_hot(jnp.argmax(x, 1), 8),
            jax.checkpoint(jnp.sin)(x),
            nn.dot_product_attention(*[v[None].transpose(0, 2, 1, 3)] * 3, is_causal=True)),
        [IMAGES, V],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_results_are_those_of_jax(name: str) -> None:
    function, arguments = CASES[name]
    arguments = [jnp.asarray(a) for a in arguments]
    ours = jax.tree.leaves(kcompile.compile_jax(function, arguments)(*arguments))
    theirs = jax.tree.leaves(function(*arguments))
    assert len(ours) == len(theirs)
    for number, (mine, other) in enumerate(zip(ours, theirs)):
        np.testing.assert_allclose(mine, other, rtol=2e-5, atol=2e-5, err_msg=f"result {number}")


SQUARES = R.normal(size=(2, 4, 4)).astype("float32") + 3 * np.eye(4, dtype="float32")
MATRICES: dict[str, Any] = {
    "inv": jnp.linalg.inv,
    "solve": lambda a: jnp.linalg.solve(a, a * a + 1),
    "slogdet": lambda a: jnp.linalg.slogdet(a)[1],
    "cholesky": lambda a: jnp.linalg.cholesky(a @ jnp.swapaxes(a, -1, -2)),
    "triangular": lambda a: jax.vmap(lambda m: jax.scipy.linalg.solve_triangular(m, m + 1, lower=True))(a),
    "qr": lambda a: jnp.linalg.qr(a)[1],
    "eigh": lambda a: jnp.linalg.eigh(a)[0],
    "svd": lambda a: jnp.linalg.svd(a, compute_uv=False),
    "pinv": jnp.linalg.pinv,
    "bits": lambda a: a * ((a * 9).astype(int) ^ 5 | 3 & ~((a * 7).astype(int) << 1) >> 2),
    "gcd": lambda a: a * jnp.gcd((a * 9).astype(int), 6) + jnp.nextafter(a, 1.0),
}


@pytest.mark.parametrize("name", MATRICES)
def test_matrices_and_bits_with_their_gradients(name: str) -> None:
    def function(a: Any) -> Any:
        return MATRICES[name](a)

    def slope(a: Any) -> Any:
        return jax.grad(lambda b: jnp.sum(jnp.sin(function(b))))(a)

    compiled = kcompile.compile_jax(function, [SQUARES])
    np.testing.assert_allclose(compiled(SQUARES), function(SQUARES), 1e-4, 1e-4)
    if name in ("inv", "solve", "cholesky", "svd"):  # JAX's gradient, as code
        np.testing.assert_allclose(
            kcompile.compile_jax(slope, [SQUARES])(SQUARES), slope(SQUARES), 1e-3, 1e-3
        )


def test_rules_are_gradients_of_the_graph() -> None:
    """Not of JAX: the rule of a function is what our gradient of the graph gives."""
    from kcompile.ir import gradient, interpreter, ops
    from kcompile.ir.tensor import Tensor
    from kcompile.jaxpr.functions import FunctionGraph

    made = FunctionGraph(lambda x: doubled(x) * x + straight_through(x), [X], "rules")
    graph = made.traced.graph
    y = Tensor(graph, graph.outputs.pop("y0"))
    (x,) = graph.inputs.values()
    (g,) = gradient.gradient(ops.reduce_sum(y), [Tensor(graph, x)])
    assert g is not None
    graph.outputs["g"] = g.value
    found = interpreter.run(graph, 1, {"x0": X}, {}).outputs["g"]
    np.testing.assert_allclose(found, 2 * X + 7 * X + 3, rtol=1e-5)


def test_structures_and_other_shapes() -> None:
    compiled = kcompile.compile_jax(lambda a, b: {"sum": a["x"] + b, "parts": (b, [a["x"]])}, ({"x": X}, X))
    made = compiled({"x": X}, 2 * X)
    np.testing.assert_allclose(made["sum"], 3 * X, rtol=1e-6)
    np.testing.assert_allclose(made["parts"][1][0], X)
    with pytest.raises(InputError, match=r"shape \(6, 8\)"):
        compiled({"x": X[:3]}, X)
    with pytest.raises(InputError, match="PyTreeDef"):
        compiled(X, X)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (jnp.fft.fft, "give their real and imaginary parts"),
        (lambda x: jnp.prod(x + 1j), "'reduce_prod'.* of complex numbers"),
        (lambda x: lax.fori_loop(0, 3, lambda _, z: z * 2, x + 1j).real, "no loop or branch"),
        (lambda x: jnp.linalg.eig(x @ x.T)[0].real, "'eig'"),
        (lambda x: lax.while_loop(lambda c: c.sum() < 5, lambda c: c + 1, x), "must not depend on the data"),
        (lambda x: lax.bitcast_convert_type(x, jnp.int8), "other sizes"),
    ],
)
def test_what_is_not_supported_is_named(function: Any, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        kcompile.compile_jax(function, [X])


def test_the_documentation_lists_all_primitives() -> None:
    text = (Path(__file__).parents[2] / "docs/design/jax.md").read_text().partition("## Primitives")[2]
    assert re.findall(r"`([\w-]+)`", text) == supported()
