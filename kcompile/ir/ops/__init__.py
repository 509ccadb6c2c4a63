"""All operations. Importing this registers their records; the functions build nodes of a graph."""

from __future__ import annotations

from kcompile.ir.ops import group as group
from kcompile.ir.ops import scan as scan
from kcompile.ir.ops import winograd as winograd
from kcompile.ir.ops.contraction import batch_matmul, conv, matmul, same_padding, window_size
from kcompile.ir.ops.elementwise import (
    abs,
    add,
    cast,
    clip,
    cos,
    count,
    div,
    equal,
    erf,
    exp,
    expm1,
    floor,
    greater,
    greater_equal,
    less,
    less_equal,
    log,
    log1p,
    logical_and,
    logical_not,
    logical_or,
    maximum,
    minimum,
    mul,
    neg,
    not_equal,
    ones_like,
    pow,
    relu,
    rsqrt,
    select,
    sigmoid,
    sign,
    sin,
    softplus,
    sqrt,
    square,
    stop_gradient,
    sub,
    tanh,
    zeros_like,
)
from kcompile.ir.ops.gather import checked_places, gather, scatter_rows
from kcompile.ir.ops.movement import (
    broadcast_to,
    concatenate,
    extent,
    flip,
    iota,
    pad,
    reshape,
    reverse,
    slice_,
    transpose,
)
from kcompile.ir.ops.random import dropout_mask, random_normal, random_uniform
from kcompile.ir.ops.reduction import (
    argmax,
    argmin,
    log_softmax,
    one_hot,
    reduce_max,
    reduce_mean,
    reduce_min,
    reduce_prod,
    reduce_sum,
    softmax,
    value_at,
)
from kcompile.ir.ops.window import average_pool, max_pool
from kcompile.ir.tensor import constant

__all__ = [
    "abs", "add", "argmax", "argmin", "average_pool", "batch_matmul", "broadcast_to", "cast",
    "checked_places", "clip",
    "concatenate", "constant", "conv", "cos", "count", "div", "dropout_mask", "equal", "erf", "exp", "expm1",
    "extent", "flip", "floor", "gather", "greater", "greater_equal", "iota", "less", "less_equal",
    "log", "log1p", "log_softmax", "logical_and", "logical_not", "logical_or", "matmul", "max_pool",
    "maximum", "minimum", "mul", "neg", "not_equal", "one_hot", "ones_like", "pad", "pow",
    "random_normal", "random_uniform", "reduce_max", "reduce_mean", "reduce_min", "reduce_prod", "reduce_sum",
    "relu", "reshape", "reverse", "rsqrt", "same_padding", "scatter_rows", "select", "sigmoid", "sign", "sin",
    "slice_", "softmax", "softplus", "sqrt", "square", "stop_gradient", "sub", "tanh", "transpose",
    "value_at", "window_size", "zeros_like",
]
