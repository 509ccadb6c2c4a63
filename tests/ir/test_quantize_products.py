"""The pass that puts bytes in place of floats: what it takes, and what it moves the rounding across."""

from __future__ import annotations

import numpy as np
import pytest

from kcompile.ir import ops
from kcompile.ir.graph import Graph, Value
from kcompile.ir.interpreter import run
from kcompile.ir.ops.quantized import MOST_DEPTH, pack_words
from kcompile.ir.passes.quantize_products import ByteKernel, ByteRange, find_products, quantize_products
from kcompile.ir.tensor import Tensor, emit
from kcompile.ir.types import Batch, TensorType

N = Batch()


def tensor(graph: Graph, name: str, *shape: int | Batch) -> Tensor:
    return Tensor(graph, graph.input(name, TensorType(shape)))


def weight(graph: Graph, name: str, *shape: int) -> Tensor:
    return Tensor(graph, graph.variable(name, TensorType(shape)))


def names(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.live()]


@pytest.mark.parametrize(
    ("low", "high", "zero", "ends"),
    [
        (0.0, 1.0, 0, (0.0, 1.0)),
        (-1.0, 0.0, 255, (-1.0, 0.0)),
        (2.0, 5.1, 0, (0.0, 5.1)),  # 0.0 is always a byte
        (-1.0, 1.0, 128, (-1.003922, 0.996078)),
        (-3.0e38, 3.0e38, 128, (-3.01e38, 2.99e38)),
    ],
)
def test_ranges(low: float, high: float, zero: int, ends: tuple[float, float]) -> None:
    found = ByteRange.of(low, high)
    assert found is not None and found.zero == zero and np.float32(found.rate) == found.rate
    assert found.ends == pytest.approx(ends, rel=1e-2, abs=1e-6)
    assert found.bytes_of(0.0) == zero and (found.bytes_of(-np.inf), found.bytes_of(np.inf)) == (0, 255)


def test_a_range_that_is_empty_or_too_narrow() -> None:
    assert ByteRange.of(0.0, 0.0) is None and ByteRange.of(0.0, 1e-44) is None


def test_kernels_are_symmetric_for_each_column() -> None:
    kernel = np.array([[1.0, 0.0, -3.0], [-0.5, 0.0, 1.5], [0.0, 0.0, 0.3]], "float32")
    made = ByteKernel.of(kernel)
    whole = made.words.view(np.int8).reshape(1, 3, 4)  # a word of each column
    np.testing.assert_array_equal(whole[0], [[127, -64, 0, 0], [0, 0, 0, 0], [-127, 64, 13, 0]])
    np.testing.assert_array_equal(made.sums, [63, 0, -50])
    np.testing.assert_allclose(made.scales, [1 / 127, 1, 3 / 127])


def test_words_hold_four_channels() -> None:
    bytes_ = np.arange(-12, 12).reshape(2, 6, 2).astype(np.int8)  # taps, channels, columns
    words = pack_words(bytes_)
    assert words.shape == (2, 2, 2) and words.dtype == np.int32
    split = words.view(np.int8).reshape(2, 2, 2, 4)
    np.testing.assert_array_equal(split[1, 0, 1], bytes_[1, :4, 1])
    np.testing.assert_array_equal(split[0, 1, 0], [*bytes_[0, 4:, 0], 0, 0])


def test_products_and_reasons() -> None:
    graph = Graph("g")
    x, image = tensor(graph, "x", N, 6), tensor(graph, "image", N, 8, 8, 4)
    w, tall = weight(graph, "w", 6, 3), weight(graph, "tall", MOST_DEPTH + 1, 1)
    window = {"strides": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}
    graph.outputs = {
        "known": ops.matmul(x, w).value,
        "neither": ops.matmul(x, ops.matmul(x, x, transpose_a=True)).value,
        "turned": ops.matmul(x, weight(graph, "v", 3, 6), transpose_b=True).value,
        "deep": ops.matmul(tensor(graph, "long", N, MOST_DEPTH + 1), tall).value,
        "grouped": ops.conv(image, weight(graph, "k", 3, 3, 2, 6), groups=2, **window).value,
        "ahead": ops.matmul(weight(graph, "a", 2, 6), w).value,
    }
    found = {p.reason for p in find_products(graph)}
    assert len(found) == 5 and "" in found  # the product of weights alone is no product of the run
    assert any("66311" in reason for reason in found) and any("transposed" in reason for reason in found)


def test_rounding_moves_up_to_where_the_floats_are_made() -> None:
    graph = Graph("g")
    x, w = tensor(graph, "x", N, 4, 4, 3), weight(graph, "w", 1, 1, 6, 2)
    window = {"size": (2, 2), "strides": (1, 1), "padding": ((0, 1), (0, 1))}
    pooled = emit("window_max", [ops.minimum(ops.relu(x * 2.0), 6.0)], **window)
    both = ops.concatenate([pooled, ops.reverse(pooled, (1,))])
    wide = ops.pad(both, [0, 1, 0, 0], [0, 0, 1, 0], value=0.5)
    y = ops.conv(wide, w, (1, 1), ((0, 0), (0, 0)), (1, 1))
    graph.outputs = {"y": y.value}
    range_ = ByteRange.of(0.0, 6.0)
    (product,) = find_products(graph)
    generator = np.random.default_rng(0)
    kernel = generator.normal(size=(1, 1, 6, 2)).astype("float32")
    made, arrays = quantize_products(graph, {product.x: range_}, {product.node: ByteKernel.of(kernel)})
    made.verify()
    assert not {"relu", "minimum"} & set(names(made)) and "w" not in made.variables
    kinds = {node.op.name: node.types[0].dtype for node in made.live()}
    assert [kinds[name] for name in ("window_max", "concatenate", "reverse", "pad")] == ["uint8"] * 4
    given = {"x": generator.normal(size=(2, 4, 4, 3)).astype("float32") * 3}
    graph.outputs = {"x": product.x}
    floats = run(graph, 2, given, {"w": kernel}).outputs["x"]
    q = Graph("q")
    wanted = tensor(q, "x", N, 5, 5, 6)
    q.outputs = {"q": ops.quantize(wanted, range_.rate, range_.zero).value}
    of_floats = run(q, 2, {"x": floats}, {}).outputs["q"]
    result = run(made, 2, given, arrays)
    (place,) = (node.inputs[0] for node in made.live() if node.op.name == "conv_bytes")
    np.testing.assert_array_equal(result.values[Value(place.node)][..., :6], of_floats)
