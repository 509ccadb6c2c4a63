"""keras.ops that call functions: loops and branches, whose parts are traced; and what asks about operands."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from kcompile.ir import ops
from kcompile.ir.gradient import OwnGradient, pull_back
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import FLOATS, Batch, broadcast_shapes, numel
from kcompile.keras.keras3_ops import run_now
from kcompile.keras.keras3_ops.calls import alike, anywhere, flag, operation, places, with_values
from kcompile.keras.keras3_ops.shapes import reshape, transpose
from kcompile.keras.operands import leaves, map_leaves, sizes, tensor, value_of
from kcompile.keras.settings import running, vintage_running
from kcompile.keras.tensors import KerasTensor
from kcompile.keras.tracing import branched, current, tracing
from kcompile_runtime.errors import UnsupportedError


def is_tensor(x: Any) -> bool:
    """Whether x is a tensor: of a graph, of a model, or what a function of ops gave."""
    return isinstance(x, (Tensor, KerasTensor)) or hasattr(x, "numpy")


def dtype(x: Any) -> str:
    """The dtype's name."""
    return str(x.dtype)


def convert_to_numpy(x: Any) -> np.ndarray:
    """The value of x as an array. Raises ModelError in traced code, where there is none yet."""
    return np.array(value_of(x))


def _tree(function: Callable[..., Any], *trees: Any) -> Any:
    """Results that are nested alike, leaf by leaf."""
    first = trees[0]
    if any(tree is None for tree in trees):
        return function(*trees)
    if isinstance(first, (list, tuple)):
        return type(first)(_tree(function, *parts) for parts in zip(*trees))
    if isinstance(first, dict):
        return {key: _tree(function, *(t[key] for t in trees)) for key in first}
    return function(*trees)


def _chosen(condition: Tensor, a: Any, b: Any) -> Any:
    return _tree(lambda x, y: None if x is None or y is None else ops.select(condition, *alike(x, y)), a, b)


@with_values(run_now.cond, eagerly=True)
@anywhere
def cond(pred: Any, true_fn: Any, false_fn: Any) -> Any:
    """What the one function gives, or the other. Both are computed where the condition is not known now, and
    values that they assign to variables count where they are chosen."""
    if isinstance(pred, (bool, np.bool_)):
        return (true_fn if pred else false_fn)()
    chosen = flag(pred)
    return _chosen(chosen, *branched(chosen, true_fn, false_fn))


@with_values(run_now.switch, eagerly=True)
@anywhere
def switch(index: Any, branches: Any, *operands: Any) -> Any:
    """What the function of this number gives. All are computed."""
    last = len(branches) - 1
    at = ops.minimum(ops.maximum(places(index), 0), last)

    def from_on(number: int) -> Any:
        branch = functools.partial(branches[number], *operands)
        if number == last:
            return branch()
        here = ops.equal(at, number)
        return _chosen(here, *branched(here, branch, functools.partial(from_on, number + 1)))

    return from_on(0)


@with_values(run_now.fori_loop, eagerly=True)
@anywhere
def fori_loop(lower: Any, upper: Any, body_fun: Any, init_val: Any) -> Any:
    """body_fun(i, value) for i from lower up to upper, which are numbers that are known now."""
    if not all(isinstance(v, (int, np.integer)) for v in (lower, upper)):
        raise UnsupportedError(
            "ops.fori_loop: the bounds are numbers that are known when the model is compiled"
        )
    value = init_val
    for i in range(lower, upper):
        value = body_fun(i, value)
    return value


def _rows(xs: Any, axis: int = 0) -> list[Any]:
    """The parts of tensors along an axis, nested as they are."""
    given = [tensor(x) for x in leaves(xs)]
    counts = {x.shape[axis] for x in given}
    if len(counts) != 1 or isinstance(count := counts.pop(), Batch):
        raise UnsupportedError("a loop runs along an axis of a known size, the same of all tensors")

    def row(i: int, x: Any) -> Tensor:
        x = tensor(x)
        part = ops.part_of(x, axis, i, i + 1)
        return ops.reshape(part, [d for a, d in enumerate(x.shape) if a != axis])

    return [map_leaves(functools.partial(row, i), xs) for i in range(count)]


def _stacked(parts: list[Any], axis: int = 0) -> Any:
    def joined(*rows: Any) -> Any:
        made = [ops.reshape(r, (*r.shape[:axis], 1, *r.shape[axis:])) for r in alike(*rows)]
        return made[0] if len(made) == 1 else ops.concatenate(made, axis)

    return _tree(joined, *parts)


@with_values(run_now.map)
@anywhere
def map(f: Any, xs: Any) -> Any:
    """What f gives for each part along the first axis, of a known size."""
    return _stacked([f(row) for row in _rows(xs)])


@anywhere
def vectorized_map(function: Any, elements: Any) -> Any:
    """What the function gives for each part along the first axis, of a known size."""
    return _stacked([function(row) for row in _rows(elements)])


@with_values(run_now.scan)
@anywhere
def scan(
    f: Any, init: Any, xs: Any = None, length: int | None = None, reverse: bool = False, unroll: Any = 1
) -> Any:
    """The last carry, and what f(carry, part) gave beside it, for each part along the first axis. unroll:
    how it is compiled elsewhere; here the loop is written out."""
    rows = [None] * int(length or 0) if xs is None else _rows(xs)
    carry, made = init, []
    for row in reversed(rows) if reverse else rows:
        carry, y = f(carry, row)
        made.append(y)
    made = made[::-1] if reverse else made
    return carry, None if not made or made[0] is None else _stacked(made)


@anywhere
def associative_scan(f: Any, elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """What f makes of all parts up to each, along an axis of a known size."""
    rows = _rows(elems, axis)
    rows = rows[::-1] if reverse else rows
    made = [rows[0]]
    for row in rows[1:]:
        made.append(f(made[-1], row))
    return _stacked(made[::-1] if reverse else made, axis)


@with_values(run_now.while_loop, eagerly=True)
@anywhere
def while_loop(cond: Any, body: Any, loop_vars: Any, maximum_iterations: int | None = None) -> Any:
    """body(*vars) while cond(*vars) holds, at most maximum_iterations times. In a model these must be given:
    all of them are computed, and those after the condition ends change nothing."""
    if maximum_iterations is None:
        raise UnsupportedError(
            "ops.while_loop: give maximum_iterations: how long a program runs is known when it is compiled"
        )
    several = isinstance(loop_vars, (list, tuple))
    values: Any = map_leaves(tensor, loop_vars if several else (loop_vars,))
    for _ in range(int(maximum_iterations)):
        going = flag(cond(*values))
        new = body(*values)
        new = new if isinstance(new, (list, tuple)) else (new,)
        values = _chosen(ops.reshape(going, ()), type(values)(new), values)
    return values if several else values[0]


# ---------------------------------------------------------------- gradients


def _pulled(results: Any, inputs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Numbers in place of the gradients of results, and what they give as those of the inputs."""
    floats = [y for y in leaves([results]) if isinstance(y, Tensor) and y.dtype in FLOATS]
    seeds = [ops.copy(ops.broadcast_to(ops.zeros_like(y), y.shape)) for y in floats]
    made = pull_back(floats, seeds, inputs)
    zeros = [ops.broadcast_to(ops.zeros_like(x), x.shape) for x in inputs]
    return seeds, [z if m is None else m for m, z in zip(made, zeros)]


def _transposed(values: list[Tensor], seeds: list[Tensor], moves: list[Tensor]) -> list[Tensor]:
    """The linear function whose transpose takes `seeds` to `values`, of `moves`: the gradient by the seeds
    of the sum of products."""
    made = pull_back(values, moves, seeds)
    return [ops.broadcast_to(ops.zeros_like(s), s.shape) if m is None else m for m, s in zip(made, seeds)]


def custom_gradient(f: Any) -> Any:
    """Makes a function of one that gives a result and what its gradient is: f(*args) -> (y, grad), where
    grad(upstream) gives the gradients of the arguments; of several results, linear in the upstream ones."""

    @anywhere
    def call(*args: Any) -> Any:
        given = [tensor(x) for x in args]
        results, rule = f(*given)
        results = map_leaves(tensor, results)
        places = [k for k, x in enumerate(given) if x.dtype in FLOATS]
        still = [ops.stop_gradient(x) for x in given]
        floats = [y for y in leaves([results]) if y.dtype in FLOATS]
        seeds = [ops.copy(ops.broadcast_to(ops.zeros_like(y), y.shape)) for y in floats]
        shaped = iter(seeds)
        upstream = map_leaves(lambda y: next(shaped) if y.dtype in FLOATS else y, results)
        made = rule(*upstream) if isinstance(upstream, (list, tuple)) else rule(upstream)
        gradients = list(made) if isinstance(made, (list, tuple)) else [made]
        if len(gradients) != len(given):
            raise ValueError(f"custom_gradient: {len(given)} arguments, and gradients of {len(gradients)}")
        pairs = [(tensor(gradients[k]), given[k] - still[k]) for k in places if gradients[k] is not None]
        added = iter(_transposed([g for g, _ in pairs], seeds, [m for _, m in pairs]))
        found = map_leaves(lambda y: ops.stop_gradient(y) + next(added) if y.dtype in FLOATS else y, results)
        if isinstance(found, Tensor) and floats and not found.graph.region:
            _own_gradient(found, given, rule)
        return found

    return call


def _own_gradient(result: Tensor, arguments: list[Tensor], rule: Any) -> None:
    """Make gradients flow by a rule, which need not be linear: in this graph. (In one that is made of it, by
    what the result is made of.)"""
    graph, vintage = result.graph, vintage_running()

    def gradients(upstream: Tensor) -> list[Tensor | None]:
        with tracing(graph), running(vintage):
            made = rule(upstream)
            parts = list(made) if isinstance(made, (list, tuple)) else [made]
            return [
                None if part is None or x.dtype not in FLOATS else tensor(part)
                for x, part in zip(arguments, parts)
            ]

    graph.own_gradients[result.value.node] = OwnGradient(tuple(x.value for x in arguments), gradients)


@anywhere
def jvp(fun: Any, primals: Any, tangents: Any, has_aux: bool = False) -> Any:
    """fun(*primals), and how it moves where these move by the tangents; has_aux: fun gives more beside its
    result, which comes third."""
    given, moves = [tensor(x) for x in primals], [tensor(t) for t in tangents]
    if len(given) != len(moves) or any(x.shape != t.shape for x, t in zip(given, moves)):
        raise ValueError("jvp: expected tangents of the shapes of the primals")
    inputs = [ops.copy(x) for x in given]
    results, aux = fun(*inputs) if has_aux else (fun(*inputs), None)
    results = map_leaves(tensor, results)
    seeds, values = _pulled(results, inputs)
    moved = iter(_transposed(values, seeds, moves))
    tangent = map_leaves(
        lambda y: next(moved) if y.dtype in FLOATS else ops.broadcast_to(ops.zeros_like(y), y.shape), results
    )
    return (results, tangent, aux) if has_aux else (results, tangent)


def vectorize(pyfunc: Any, *, excluded: Any = None, signature: str | None = None) -> Any:
    """A function of arrays, of one of numbers (or, with a signature as numpy has it, of their last axes):
    it is called for each combination of the other axes, which must be of known sizes in a model."""
    if not callable(pyfunc):
        raise ValueError(f"vectorize: expected a function. Received: {pyfunc!r}")
    known = set(excluded or ())
    inside = (signature or "").replace(" ", "").partition("->")[0]
    ranks = [len([n for n in part.split(",") if n]) for part in inside.strip("()").split("),(")]

    @anywhere
    def call(*args: Any, **kwargs: Any) -> Any:
        places = [k for k in range(len(args)) if k not in known]
        if signature is not None and len(ranks) != len(places):
            raise ValueError(f"vectorize: {signature} is of {len(ranks)} arguments. Received: {len(places)}")
        given = {k: tensor(args[k]) for k in places}
        cores = dict(zip(places, ranks if signature is not None else [0] * len(places)))
        lead = broadcast_shapes(*(x.shape[: x.rank - cores[k]] for k, x in given.items()))
        if any(isinstance(d, Batch) for d in lead):
            raise UnsupportedError("ops.vectorize over the batch: write it over whole tensors, by ops")
        flat = {}
        for k, x in given.items():
            core = x.shape[x.rank - cores[k] :]
            flat[k] = ops.reshape(ops.broadcast_to(x, (*lead, *core)), (numel(lead), *core))
        rows = [
            pyfunc(*(_rows_of(flat[k], i) if k in flat else v for k, v in enumerate(args)), **kwargs)
            for i in range(int(numel(lead)))
        ]
        made = _stacked([map_leaves(tensor, row) for row in rows])
        return map_leaves(lambda y: ops.reshape(y, (*lead, *y.shape[1:])), made)

    return call


def _rows_of(x: Tensor, i: int) -> Tensor:
    return ops.reshape(ops.part_of(x, 0, i, i + 1), x.shape[1:])


def _by_other_operations(function: Any) -> Any:
    """Makes rearrange of a batch whose size is not known reshapes and a transpose: Keras 3.15 has its own
    class for one of a known size alone."""

    @functools.wraps(function)
    def call(tensor: Any, pattern: str, **axes_lengths: Any) -> Any:
        if current() is None and isinstance(tensor, KerasTensor) and list(tensor.shape).count(None) == 1:
            split, order, joined = _rearrangement(tensor.shape, pattern, axes_lengths)
            for shape in (split, joined):
                if sum(size is None or size < 0 for size in shape) > 1:
                    break
            else:
                split, joined = ([-1 if d is None else d for d in shape] for shape in (split, joined))
                flat = reshape(tensor, split) if len(split) > len(tensor.shape) else tensor
                turned = transpose(flat, order) if order != sorted(order) else flat
                return reshape(turned, joined) if len(joined) < len(order) else turned
        return function(tensor, pattern, **axes_lengths)

    call.signature = function.signature  # type: ignore[attr-defined]
    return call


@_by_other_operations
@operation
def rearrange(tensor: Any, pattern: str, **axes_lengths: Any) -> Any:
    """Axes by name in another order, split and joined: "b (h w) c -> b h w c"."""
    return rearranged(tensor, pattern, axes_lengths)


def rearranged(x: Any, pattern: str, lengths: Any) -> Tensor:
    x = tensor(x)
    split, order, joined = _rearrangement(x.shape, pattern, lengths)
    return ops.reshape(ops.transpose(ops.reshape(x, split), order), joined)


def _times(a: Any, b: Any) -> Any:
    """The product of two sizes; None where one is not known."""
    return None if a is None or b is None else a * b


def _rearrangement(shape: Any, pattern: str, lengths: Any) -> tuple[list[Any], list[int], list[Any]]:
    """A shape with all axes apart, their order in the result, and its shape."""
    left, _, right = pattern.partition("->")
    before, behind = _groups(left), _groups(right)
    if len(before) != len(shape):
        raise ValueError(f"rearrange: {pattern!r} names {len(before)} axes of a tensor of shape {shape}")
    known: dict[str, Any] = dict(sizes(lengths))
    for group, size in zip(before, shape):
        open_ = [name for name in group if name not in known]
        rest: Any = 1
        for name in group:
            rest = rest * known.get(name, 1)
        if len(open_) > 1:
            raise ValueError(f"rearrange: {pattern!r}: give the sizes of all but one of {', '.join(open_)}")
        if open_:
            known[open_[0]] = size if rest == 1 or size is None else size // rest
    names = [name for group in before for name in group]
    order = [names.index(name) for group in behind for name in group]
    made = []
    for group in behind:
        total: Any = 1
        for name in group:
            total = _times(known[name], total)
        made.append(total)
    return [known[name] for name in names], order, made


def _groups(text: str) -> list[list[str]]:
    made: list[list[str]] = []
    inside = False
    for word in text.replace("(", " ( ").replace(")", " ) ").split():
        if word in "()":
            inside = word == "("
            if inside:
                made.append([])
        elif inside:
            made[-1].append(word)
        else:
            made.append([] if word == "1" else [word])
    return made
