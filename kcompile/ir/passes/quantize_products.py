"""quantize_products: contractions by known kernels compute with bytes in place of floats.

    conv(x, w)  ->  dequantize(conv_bytes(quantize(x), bytes of w), scales, corrections)

where q = quantize(x) are unsigned bytes of one scale for the whole of x, and the bytes of w are signed, with
a scale for each column. The sum over (q - zero) w, with the byte `zero` that 0.0 is, is that over q w without
the sum over zero w, which is known: the corrections. All of these are whole numbers of 32 bits, and exact.

It is no step of a pipeline, as it wants numbers: the range of each x, and the kernels' values.
`kcompile.quantization` measures them, does this once, and compiles what it gives like any graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kcompile.ir import ops
from kcompile.ir.graph import Graph, Node, Source, Value
from kcompile.ir.op import OPS
from kcompile.ir.ops.quantized import LEVELS, MOST_DEPTH, WORD, pack_words
from kcompile.ir.rewrite import literal, rebuild, weights_only
from kcompile.ir.tensor import Tensor, emit
from kcompile.ir.types import TensorType, numel, static

SIGNED = 127  # the largest signed byte, and the smallest that is used but for its sign


@dataclass(frozen=True)
class Product:
    """A contraction of a graph. node: its number. sources: of what layers it is. x, kernel: its operands.
    reason: why it stays as it is; empty where it need not. transposed: whether the kernel has the columns
    before what is summed. from_zero: whether x must not go below 0.0, as the byte of 0.0 must be 0."""

    node: int
    sources: tuple[Source, ...]
    x: Value
    kernel: Value
    reason: str = ""
    transposed: bool = False
    from_zero: bool = False

    @property
    def label(self) -> str:
        return ", ".join(map(str, self.sources))


@dataclass(frozen=True)
class ByteRange:
    """How floats become unsigned bytes, see `ops.quantize`. rate: steps to one, a float32. zero: the byte
    that 0.0 is."""

    rate: float
    zero: int

    @staticmethod
    def of(low: float, high: float) -> ByteRange | None:
        """The range from `low` to `high`, and 0.0, in 255 steps; None where it is empty, or too narrow for
        float32 to say its rate."""
        low, high = min(float(low), 0.0), max(float(high), 0.0)
        with np.errstate(all="ignore"):
            rate = float(np.float32(LEVELS / np.float64(high - low)))
        if not 0.0 < rate < np.inf:
            return None
        return ByteRange(rate, min(max(round(-low * rate), 0), LEVELS))

    def bytes_of(self, x: float) -> int:
        """The byte of a number."""
        return int(OPS["quantize"].numpy(np.float32(x), self.rate, self.zero))

    @property
    def ends(self) -> tuple[float, float]:
        """What the first and the last byte stand for."""
        return -self.zero / self.rate, (LEVELS - self.zero) / self.rate


@dataclass(frozen=True)
class ByteKernel:
    """A kernel [taps..., channels, columns] in signed bytes, or that of a transposed convolution, [taps...,
    columns, channels]. words: see `pack_words`; of the transposed one the last two axes are the other way
    round. sums: of the bytes of each column, int32. scales: what one step of each column is, float64."""

    words: np.ndarray
    sums: np.ndarray
    scales: np.ndarray

    @staticmethod
    def of(kernel: np.ndarray, transposed: bool = False) -> ByteKernel:
        """Symmetric for each column: its largest number by size is 127. A column of zeros stays so."""
        kernel = kernel.swapaxes(-1, -2) if transposed else kernel
        columns = kernel.shape[-1]
        largest = np.abs(kernel).reshape(-1, columns).max(0, initial=0.0)
        scales = np.where(largest > 0, largest.astype(np.float64) / SIGNED, 1.0)
        bytes_ = np.clip(np.rint(kernel.astype(np.float64) / scales), -SIGNED, SIGNED).astype(np.int8)
        words = pack_words(bytes_)
        words = np.ascontiguousarray(words.swapaxes(-1, -2)) if transposed else words
        return ByteKernel(words, bytes_.reshape(-1, columns).sum(0, dtype=np.int32), scales)


# ---------------------------------------------------------------- finding


def find_products(graph: Graph) -> list[Product]:
    """The contractions of a frozen graph in its order, and those of the steps of its scans."""
    nodes = graph.live()
    known = weights_only(graph, nodes)
    found = []
    for node in nodes:
        if node.id in known:
            continue
        if node.op.loop and any(m.op.kind == "contraction" for m in node.body.live()):
            reason = "the steps of a loop (recurrent) are float32"
            found.append(Product(node.id, node.sources, node.inputs[0], node.inputs[0], reason))
        elif node.op.kind == "contraction":
            x, kernel, *_ = node.inputs
            sources = node.sources or graph.nodes[kernel.node].sources  # what left a loop has none of its own
            transposed = _is_transposed(node)
            from_zero = transposed and any(s > 1 for s in node.attrs["strides"])
            reason = _reason(graph, node, known)
            found.append(Product(node.id, sources, x, kernel, reason, transposed, from_zero))
    return found


def _is_transposed(node: Node) -> bool:
    """Whether a contraction is the transpose of a convolution, one by its input."""
    return "sizes" in node.attrs and "strides" in node.attrs


def _reason(graph: Graph, node: Node, known: set[int]) -> str:
    """Why a contraction cannot be quantised; empty where it can."""
    x, kernel = (graph.type(v) for v in node.inputs[:2])
    if node.inputs[1].node not in known:
        return "neither factor is known ahead"
    transposed, groups = _is_transposed(node), node.attrs.get("groups", 1)
    if groups > 1 and (transposed or static(kernel.shape)[-2] % WORD):
        return f"depthwise convolutions, and groups of no multiple of {WORD} channels, are float32"
    if 0 not in node.op.rowwise(**node.attrs) or not (transposed or node.op.columnwise(**node.attrs) == 1):
        return "products of transposed matrices are float32"
    if x.dtype != "float32":
        return f"it computes in {x.dtype}"
    depth = numel((*kernel.shape[:-2], kernel.shape[-1]) if transposed else kernel.shape[:-1])
    if not isinstance(depth, int) or depth > MOST_DEPTH:
        return f"sums of more than {MOST_DEPTH} products may not fit into 32 bits"
    return "" if depth and numel(x.shape) else "it is empty"


# ---------------------------------------------------------------- rewriting


def quantize_products(
    graph: Graph, ranges: Mapping[Value, ByteRange], kernels: Mapping[int, ByteKernel]
) -> tuple[Graph, dict[str, np.ndarray]]:
    """The graph with the contractions that `kernels` has, by their numbers, on bytes; and its new variables.

    ranges: of each value that these contractions are of.
    """
    made: dict[str, np.ndarray] = {}
    bytes_of: dict[Value, Tensor] = {}  # of values of the new graph

    def variable(new: Graph, node: Node, name: str, value: np.ndarray) -> Tensor:
        key = f"{node.label or node.op.name}/{name}"
        while key in made or key in graph.variables:
            key += "'"
        made[key] = value
        return Tensor(new, new.variable(key, TensorType(value.shape, value.dtype.name)))

    def rule(new: Graph, node: Node, inputs: tuple[Value, ...]) -> Tensor | None:
        kernel = kernels.get(node.id)
        if kernel is None:
            return None
        range_, rank = ranges[node.inputs[0]], kernel.words.ndim - 2
        if inputs[0] not in bytes_of:
            bytes_of[inputs[0]] = _in_words(_quantized(Tensor(new, inputs[0]), range_))
        plain = {"strides": (1,) * rank, "padding": ((0, 0),) * rank, "dilation": (1,) * rank}
        window = {**plain, **{k: a for k, a in node.attrs.items() if k in (*plain, "groups", "sizes")}}
        product = ops.conv_transpose_bytes if _is_transposed(node) else ops.conv_bytes
        words = variable(new, node, "bytes", kernel.words)
        sums = product(bytes_of[inputs[0]], words, outside=range_.zero, **window)
        corrections = (kernel.sums.astype(np.int64) * range_.zero).astype(np.int32)
        scales = (kernel.scales / range_.rate).astype(np.float32)
        return ops.dequantize(
            sums,
            variable(new, node, "scales", scales),
            variable(new, node, "corrections", corrections) if range_.zero else None,
        )

    new = rebuild(graph, rule)
    read = {v.node for node in new.nodes.values() for v in node.inputs} | {v.node for v in new.results()}
    new.variables = {name: v for name, v in new.variables.items() if v.node in read or name in new.updates}
    return new, made


def _quantized(x: Tensor, range_: ByteRange) -> Tensor:
    """x in bytes. What is only moved is moved in bytes, which are less to write and to read, and maxima are
    taken of them: the largest byte is that of the largest float. What limits x to an end of what bytes have
    is left out, as they do it."""
    node = x.graph.nodes[x.value.node]
    limited = _limited(x.graph, node, range_)
    if limited is not None:
        return _quantized(limited, range_)
    if not node.op.order_only:
        return ops.quantize(x, range_.rate, range_.zero)
    attrs = dict(node.attrs)
    if "value" in attrs:
        attrs["value"] = range_.bytes_of(attrs["value"])
    return emit(node.op, [_quantized(Tensor(x.graph, v), range_) for v in node.inputs], **attrs)


def _limited(graph: Graph, node: Node, range_: ByteRange) -> Tensor | None:
    """What a node limits from below to what the first byte is, or from above to what the last one is."""
    if node.op.name == "relu" and not range_.zero:
        return Tensor(graph, node.inputs[0])
    if node.op.name == "minimum":
        for x, limit in (node.inputs, node.inputs[::-1]):
            high = literal(graph, limit)
            if high is not None and range_.bytes_of(high) == LEVELS:
                return Tensor(graph, x)
    return None


def _in_words(x: Tensor) -> Tensor:
    """With channels that fill words; what is put in does not count, as its weights are zero. Of what comes
    with the call one kernel makes bytes, so floats are padded there."""
    (channels,) = static(x.shape[-1:])
    none, node = [0] * (x.rank - 1), x.graph.nodes[x.value.node]
    low, high = [*none, 0], [*none, -channels % WORD]
    if any(high) and x.graph.nodes[(of := node.inputs[0]).node].op.in_memory:
        return emit(node.op, [ops.pad(Tensor(x.graph, of), low, high)], **node.attrs)
    return ops.pad(x, low, high)
