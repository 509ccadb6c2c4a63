"""Asking JAX: functions traced into programs, and single equations evaluated. The only module that imports
it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompile.ir.types import TensorType, bind
from kcompile.jaxpr.sizes import Pair, Sizes
from kcompile_runtime.errors import UnsupportedError


def jax() -> Any:
    """The package. Raises UnsupportedError where it is not installed."""
    try:
        import jax as package
    except ImportError:
        raise UnsupportedError(
            'a function of JAX is traced by JAX, which is not installed: pip install "kcompile[jax]"'
        ) from None
    return package


def traced(
    function: Callable[..., Any], arguments: Any, types: Sequence[TensorType], sizes: Sizes
) -> tuple[Pair, Any]:
    """The program of function(arguments, *inputs) for inputs of these types, once for each size of the batch;
    and the tree of its results, with shapes and dtypes."""
    package = jax()
    made = []
    for n in sizes.traced:
        inputs = [package.ShapeDtypeStruct(bind(t.shape, n), np.dtype(t.dtype)) for t in types]
        made.append(package.make_jaxpr(function, return_shape=True)(arguments, *inputs))
        if sizes.traced[0] == sizes.traced[1]:
            made *= 2
            break
    (first, tree), (second, _) = made
    return Pair(first, second), tree


def evaluate(equation: Any, values: Sequence[Any]) -> list[Any]:
    """What an equation makes of arrays that are known."""
    package = jax()
    kept = [
        package.numpy.asarray(v, dtype=var.aval.dtype) if isinstance(v, np.ndarray) else v
        for v, var in zip(values, equation.invars)
    ]
    with package.ensure_compile_time_eval():
        return _bound(equation, kept)


def _bound(equation: Any, values: Sequence[Any]) -> list[Any]:
    """The primitive of an equation, applied to values of JAX."""
    found = equation.primitive.get_bind_params(equation.params)
    functions, params = found if isinstance(found, tuple) else ((), found)
    made = equation.primitive.bind(*functions, *values, **params)
    return list(made) if equation.primitive.multiple_results else [made]


def line_of(equation: Any) -> str:
    """The user's line that an equation comes from, "" where it is not known."""
    try:
        from jax._src import source_info_util

        return str(source_info_util.summarize(equation.source_info))
    except Exception:  # it is no public interface, and only the text of an error needs it
        return ""


def is_of_jax(program: Any) -> bool:
    """Whether a function with a gradient of its own is one of JAX's, whose gradient is that of what it
    computes."""
    inner = getattr(program, "jaxpr", program)
    source = str(getattr(getattr(inner, "debug_info", None), "func_src_info", ""))
    return "/jax/_src/" in source.replace("\\", "/")


def tangent_programs(first: Any, second: Any, moving: Sequence[int]) -> Pair:
    """For a function with a gradient of its own, twice: the program that takes its operands and changes of
    those which move, and gives the changes of its results that are floats, by the function's own rule."""
    return Pair(_tangents(first, moving), _tangents(second, moving))


def _tangents(equation: Any, moving: Sequence[int]) -> Any:
    package = jax()
    avals = [package.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in equation.invars]

    def call(*moved: Any, held: Sequence[Any]) -> Any:
        values = list(held)
        for place, value in zip(moving, moved):
            values[place] = value
        return [y for y in _bound(equation, values) if np.issubdtype(np.dtype(y.dtype), np.floating)]

    def changes(*operands: Any) -> Any:
        held, moves = operands[: len(avals)], operands[len(avals) :]
        points = [held[k] for k in moving]
        if "jvp" in equation.primitive.name:
            return package.jvp(lambda *m: call(*m, held=held), points, list(moves))[1]
        results, back = package.vjp(lambda *m: call(*m, held=held), *points)
        forth = package.linear_transpose(lambda cotangents: back(cotangents), results)
        return forth(tuple(moves))[0]

    return package.make_jaxpr(changes)(*avals, *(avals[k] for k in moving))
