"""`scan`: against a loop in numpy, gradients against finite differences, passes, compiled code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ir.pass_targets import TARGETS, check_each
from ir.scans import counting

from kcompile.codegen import targets
from kcompile.codegen.lower import Kernels
from kcompile.codegen.memory_plan import BodyPlan
from kcompile.codegen.program import buffer_bytes
from kcompile.compiler import compile_graph, load
from kcompile.ir import ops, passes
from kcompile.ir.gradient import gradient
from kcompile.ir.graph import Graph
from kcompile.ir.interpreter import run
from kcompile.ir.ops.scan_build import scan
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType, bind
from kcompile_runtime.arrays import aligned_copy

STEPS, INPUTS, UNITS = 5, 3, 4
Arrays = dict[str, np.ndarray]


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


class Numpy:
    """The few functions that bodies below use, in numpy."""

    matmul, tanh, sigmoid = staticmethod(np.matmul), staticmethod(np.tanh), staticmethod(sigmoid)
    clip = staticmethod(np.clip)

    @staticmethod
    def gate(x: Any, k: int) -> Any:
        return x[:, k * UNITS : (k + 1) * UNITS]


class Symbolic:
    """The same over tensors."""

    matmul, tanh, sigmoid = staticmethod(ops.matmul), staticmethod(ops.tanh), staticmethod(ops.sigmoid)
    clip = staticmethod(ops.clip)

    @staticmethod
    def gate(x: Any, k: int) -> Any:
        return ops.slice_(x, (0, k * UNITS), (x.shape[0], (k + 1) * UNITS))


# Each: (F, states [h, c], elements [x, y], invariants [w, r, b]) -> (new states, outputs).
# x is [n, INPUTS], y [n, UNITS], w [INPUTS, 2 UNITS], r [UNITS, 2 UNITS], b [2 UNITS].


def gated(F: Any, s: Any, e: Any, i: Any) -> Any:
    """A product of elements and invariants, which is moved out; a state used twice."""
    z = F.matmul(e[0], i[0]) + i[2] + F.matmul(s[0], i[1])
    f, g = F.sigmoid(F.gate(z, 0)), F.tanh(F.gate(z, 1))
    c = f * s[1] + (1.0 - f) * g * e[1]
    return [c * F.tanh(s[0]), c], [c * f, g]


def outputs_are_states(F: Any, s: Any, e: Any, i: Any) -> Any:
    h = F.tanh(F.gate(F.matmul(e[0], i[0]), 1) + F.gate(F.matmul(s[0], i[1]), 0))
    return [h, s[1] + h], [h, h]


def unused(F: Any, s: Any, e: Any, i: Any) -> Any:
    """An output nobody reads (see LOSSES), a state that stays, an element that is not read."""
    return [s[0] * 0.5 + F.tanh(F.gate(F.matmul(e[0], i[0]), 0)), s[1]], [s[0] * s[1], e[1]]


def products_of_outputs(F: Any, s: Any, e: Any, i: Any) -> Any:
    """A product that only leaves, which is moved behind the loop."""
    h = F.tanh(s[0] + e[1])
    return [h, h * s[1]], [F.gate(F.matmul(h, i[1]), 1), h]


def squares(F: Any, s: Any, e: Any, i: Any) -> Any:
    """Invariants in products with each other and squared: their gradient is summed step by step."""
    b = (
        F.gate(i[2] * i[2] + s[0][:, :1] * 0.0, 0)
        if F is Numpy
        else F.gate(i[2] * i[2] + ops.broadcast_to(ops.constant(s[0].graph, 0.0), (Batch(), 2 * UNITS)), 0)
    )
    return [F.tanh(s[0] * b), s[1] + b * e[1]], [b, s[1]]


def deep(F: Any, s: Any, e: Any, i: Any) -> Any:
    """Values of different widths that live one after the other."""
    h = F.tanh(s[0] + e[1])
    for k in (0, 1, 0):
        h = F.tanh(F.gate(F.tanh(F.matmul(h, i[1])), k)) * 0.5
    return [h, h + s[1]], [h, h * h]


def clipped(F: Any, s: Any, e: Any, i: Any) -> Any:
    """Cheap operations in a row, of which the gradient reads every result."""
    z = F.matmul(e[0], i[0]) + F.matmul(s[0], i[1])
    a = F.clip(F.gate(z, 0) * 0.25 + 0.5, 0.25, 0.75)
    c = a * s[1] + F.tanh(F.gate(z, 1)) * (1.0 - a)
    return [a * c * e[1], c], [a, c]


BODIES: dict[str, Callable[..., Any]] = {
    f.__name__: f for f in (gated, outputs_are_states, unused, products_of_outputs, squares, deep, clipped)
}
TYPES = {
    "x": TensorType((Batch(), STEPS, INPUTS)),
    "y": TensorType((Batch(), STEPS, UNITS)),
    "h": TensorType((Batch(), UNITS)),
    "c": TensorType((Batch(), UNITS)),
    "w": TensorType((INPUTS, 2 * UNITS)),
    "r": TensorType((UNITS, 2 * UNITS)),
    "b": TensorType((2 * UNITS,)),
}
WEIGHTS = ("w", "r", "b")


def forward(name: str, reverse: bool = False, steps: int = STEPS) -> tuple[Graph, dict[str, Tensor]]:
    """The graph of a scan over the body; outputs h, c (final states) and o0, o1 (sequences)."""
    graph = Graph(name)
    types = {k: t if k not in "xy" else TensorType((Batch(), steps, t.shape[2])) for k, t in TYPES.items()}
    tensors = {
        k: Tensor(graph, graph.variable(k, t) if k in WEIGHTS else graph.input(k, t))
        for k, t in types.items()
    }
    sequences = [ops.transpose(tensors[k], (1, 0, 2)) for k in "xy"]
    finals, outs = scan(
        lambda s, e, i: BODIES[name](Symbolic, s, e, i),
        [tensors[k] for k in "hc"],
        sequences,
        [tensors[k] for k in WEIGHTS],
        reverse=reverse,
    )
    graph.outputs = {"h": finals[0].value, "c": finals[1].value, "o0": outs[0].value, "o1": outs[1].value}
    return graph, tensors


def trained(name: str, reverse: bool = False, steps: int = STEPS, used: str = "h c o0 o1") -> Graph:
    """The loss of the used results, and its gradient by every operand."""
    graph, tensors = forward(name, reverse, steps)
    loss = None
    for number, key in enumerate(used.split()):
        value = Tensor(graph, graph.outputs[key])
        term = ops.reduce_sum(ops.tanh(value * (0.5 + number)))
        loss = term if loss is None else loss + term
    assert loss is not None
    found = gradient(loss, list(tensors.values()))
    graph.outputs["loss"] = loss.value
    graph.outputs |= {f"d{k}": d.value for k, d in zip(tensors, found) if d is not None}
    return graph


def values(n: int, steps: int = STEPS) -> Arrays:
    rng = np.random.default_rng(n)
    return {
        k: rng.normal(size=bind(t.shape if k not in "xy" else (n, steps, t.shape[2]), n)) * 0.7
        for k, t in TYPES.items()
    }


def split(arrays: Arrays) -> tuple[Arrays, Arrays]:
    return (
        {k: v for k, v in arrays.items() if k not in WEIGHTS},
        {k: v for k, v in arrays.items() if k in WEIGHTS},
    )


def loop(name: str, arrays: Arrays, reverse: bool) -> Arrays:
    """The same in numpy."""
    states, outs = [arrays["h"], arrays["c"]], {}
    steps = arrays["x"].shape[1]
    for t in range(steps)[::-1] if reverse else range(steps):
        elements = [arrays["x"][:, t], arrays["y"][:, t]]
        states, outs[t] = BODIES[name](Numpy, states, elements, [arrays[k] for k in WEIGHTS])
    return {
        "h": states[0],
        "c": states[1],
        **{f"o{i}": np.stack([outs[t][i] for t in range(steps)]) for i in (0, 1)},
    }


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", list(BODIES))
def test_values_are_those_of_a_loop(name: str, reverse: bool) -> None:
    graph, _ = forward(name, reverse)
    graph.verify()
    for n in (1, 3):
        arrays = values(n)
        got = run(graph, n, *split(arrays), "float64").outputs
        for key, expected in loop(name, arrays, reverse).items():
            np.testing.assert_allclose(got[key], expected, rtol=1e-12, atol=1e-12, err_msg=key)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("used", ["h c o0 o1", "o0", "c", "h o1"])
@pytest.mark.parametrize("name", list(BODIES))
def test_gradients_are_finite_differences(name: str, used: str, reverse: bool) -> None:
    graph = trained(name, reverse, used=used)
    graph.verify()
    n, step, rng = 2, 1e-5, np.random.default_rng(0)
    arrays = values(n)
    found = run(graph, n, *split(arrays), "float64").outputs
    for key, value in arrays.items():
        direction = rng.uniform(-1, 1, value.shape)

        def loss(by: float, key: str = key, direction: np.ndarray = direction) -> float:
            moved = {**arrays, key: arrays[key] + by * direction}
            return float(run(graph, n, *split(moved), "float64").outputs["loss"])

        numeric = (loss(step) - loss(-step)) / (2 * step)
        analytic = np.sum(found[f"d{key}"] * direction) if f"d{key}" in found else 0.0
        assert abs(analytic - numeric) <= 1e-7 * (1 + abs(numeric)), key


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", list(BODIES))
def test_passes_keep_the_values(name: str, reverse: bool) -> None:
    for frozen in (False, True):
        for target in (TARGETS["native"], TARGETS["sm_80"]):
            check_each(trained(name, reverse), passes.pipeline(target, frozen), 2, *split(values(2)))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", list(BODIES))
def test_compiled_is_interpreter_for_any_batch_and_threads(name: str, reverse: bool, training: bool) -> None:
    graph = trained(name, reverse) if training else forward(name, reverse)[0]
    made = compile_graph(graph, "run", targets.native(), frozen=not training)
    for n in (1, 2, 17):
        inputs, weights = split({k: v.astype(np.float32) for k, v in values(n).items()})
        expected = run(graph, n, inputs, weights, "float64").outputs
        results = []
        for threads in (1, 2):
            table = {k: aligned_copy(weights[k]) for k in made.variables}
            results.append(load(made, table, threads).run("run", n, list(inputs.values())))
        for key, first, second in zip(expected, *results):
            scale = np.abs(expected[key]).max()
            np.testing.assert_allclose(first, expected[key], rtol=2e-5, atol=2e-6 * scale, err_msg=key)
            np.testing.assert_array_equal(first, second)


def test_an_input_projection_is_one_product_before_the_loop() -> None:
    graph, _ = forward("gated")
    (node,) = [m for m in graph.live() if m.op.name == "scan"]
    products = [m for m in node.body.live() if m.op.name == "matmul"]
    assert len(products) == 1  # of the state alone
    assert sum(m.op.name == "matmul" for m in graph.live()) == 1


def test_gradients_of_weights_are_taken_over_all_steps_at_once() -> None:
    graph = trained("outputs_are_states")
    for m in graph.live():
        if m.op.name == "scan":
            for inner in m.body.live():
                assert not (inner.op.name == "matmul" and inner.attrs["transpose_a"])


def test_memory_is_linear_in_the_number_of_steps() -> None:
    sizes = [
        compile_graph(trained("gated", steps=steps), "run", targets.native(), frozen=False)
        .program.entries[-1]
        .arena.at(8)
        for steps in (100, 200, 400)
    ]
    assert sizes[2] - sizes[1] == pytest.approx(2 * (sizes[1] - sizes[0]), rel=0.1)


def test_what_follows_from_saved_values_is_not_saved() -> None:
    """Of a clipped gate (its argument, two comparisons, the result), the argument is enough."""
    graph = passes.merge_scans(trained("clipped", used="h c"))
    scans = [m for m in graph.live() if m.op.name == "scan"]
    forward_scan = next(m for m in scans if len(m.types) > 2 and not m.attrs["reverse"])
    saved = forward_scan.types[forward_scan.attrs["states"] + 2 :]  # after o0, o1
    # the gate's argument, the tanh, both states
    assert [t.shape for t in saved] == [(STEPS, Batch(), UNITS)] * 4


def test_states_must_keep_their_type() -> None:
    graph = Graph("test")
    h = Tensor(graph, graph.input("h", TensorType((Batch(), 2))))
    x = Tensor(graph, graph.input("x", TensorType((3, Batch(), 2))))
    with pytest.raises(ValueError, match="states"):
        scan(lambda s, e, i: ([ops.reduce_sum(s[0])], []), [h], [x])


def test_a_second_derivative() -> None:
    """The gradient of a gradient: scans of scans' gradients."""
    graph, tensors = forward("outputs_are_states")
    loss = ops.reduce_sum(Tensor(graph, graph.outputs["h"]))
    (first,) = gradient(loss, [tensors["r"]])
    assert first is not None
    again = ops.reduce_sum(ops.square(first))
    (second,) = gradient(again, [tensors["r"]])
    assert second is not None
    graph.outputs |= {"again": again.value, "second": second.value}
    n, step, arrays = 2, 1e-5, values(2)
    direction = np.random.default_rng(0).uniform(-1, 1, arrays["r"].shape)

    def at(by: float) -> float:
        moved = {**arrays, "r": arrays["r"] + by * direction}
        return float(run(graph, n, *split(moved), "float64").outputs["again"])

    numeric = (at(step) - at(-step)) / (2 * step)
    found = run(graph, n, *split(arrays), "float64").outputs["second"]
    assert np.sum(found * direction) == pytest.approx(numeric, rel=1e-6)


def test_a_state_that_samples_share() -> None:
    """Threads that run steps on their own must not write it: one would be ahead of another."""
    graph, n = counting(), 50000
    value = np.random.default_rng(0).normal(size=(n, 6, 3)).astype(np.float32)
    program = load(compile_graph(graph, "run", targets.native(), frozen=True), {}, threads=4)
    for y, right in zip(program.run("run", n, [value]), run(graph, n, {"x": value}, {}).outputs.values()):
        np.testing.assert_allclose(y, right, rtol=1e-4, atol=1e-5)


def test_threads_at_different_steps_do_not_meet() -> None:
    """Threads share the rows and run on their own: rows of a value must not lie where another value
    has the rows of another thread, as they would if both shared memory and differed in width."""
    made = compile_graph(trained("deep"), "run", targets.native(), frozen=False)
    bodies = [BodyPlan(m, "body", Kernels(made.target)) for m in made.run.live() if m.op.name == "scan"]
    assert all(body.batch_parallel for body in bodies)
    for body in bodies:
        ends = 0
        for value, where in sorted(body.local.places.items(), key=lambda item: item[1].offset):
            if where.is_sample:
                assert where.offset >= ends
                ends = where.offset + buffer_bytes(body.body.type(value)).per_sample
    assert any(len(body.local.places) > 1 for body in bodies)
