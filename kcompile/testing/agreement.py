"""What compiled models are held to: other implementations' predictions, and finite differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

import kcompile
from kcompile.interpreted import InterpreterEngine
from kcompile.ir import interpreter
from kcompile.keras.graphs import compile_arguments
from kcompile.keras.lengths import lengths_of
from kcompile.keras.optimizers import SGD
from kcompile.model import CompiledModel
from kcompile_runtime.errors import InputError, describe

SHOWN = 3  # elements of a failed comparison
STEP = 1e-4  # of finite differences in float64, relative to a weight's size and at least absolute


def assert_agrees(
    model: Any, x: Any, against: Any = "interpreter", *, rtol: float = 1e-5, atol: float = 1e-6
) -> None:
    """Compiled predictions are what `against` computes: |got - expected| <= atol + rtol |expected|, element
    by element, and not-a-numbers where it has them.

    model: of kcompile.keras, a compiled one, or a live Keras model, which is compiled. x: an array, list or
    dict, as `predict_on_batch` takes it. against: "interpreter" (in float64; a failure names the first
    layer that differs), something with `predict_on_batch` (a live Keras model, another compiled one), or a
    function of the input arrays, in order, that gives the output arrays. Raises AssertionError with the
    elements that are farthest off, InputError for an `against` of another kind.
    """
    compiled = model if isinstance(model, CompiledModel) else kcompile.compile(model)
    arrays = compiled.model.standardize_inputs(x)
    if isinstance(against, str) and against == "interpreter":
        traced = compiled.engine.traced("predict", lengths_of(compiled.model, arrays) or None)
        graph, state = traced.graph, traced.state
        result = interpreter.run(graph, len(arrays[0]), dict(zip(graph.inputs, arrays)), state, "float64")
        expected: Any = list(result.outputs.values())
    elif hasattr(against, "predict_on_batch"):
        expected = against.predict_on_batch(x)
    elif callable(against):
        expected = against(*arrays)
    else:
        known = '"interpreter", a model with predict_on_batch, or a function'
        raise InputError(describe("against", known, repr(against)))
    got, right = _listed(compiled.predict_on_batch(x)), _listed(expected)
    if len(got) != len(right):
        raise AssertionError(f"the model has {len(got)} outputs, what it is compared with {len(right)}")
    problems = [
        f"output {name!r}: {message}"
        for name, a, b in zip(compiled.model.output_labels, got, right)
        if (message := difference(a, b, rtol, atol))
    ]
    if problems and isinstance(against, str):
        bad = compiled.verify(x).first_bad
        problems.append(
            f"the first layer that differs: {bad.layer if bad else 'none by the tolerances of verify()'}"
        )
    if problems:
        raise AssertionError("\n".join(problems))


def difference(got: np.ndarray, expected: np.ndarray, rtol: float, atol: float) -> str:
    """How two arrays differ beyond the tolerances, "" where they do not."""
    if got.shape != expected.shape:
        return f"its shape is {got.shape}, expected {expected.shape}"
    a, b = got.astype(np.float64), expected.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        excess = np.abs(a - b) - (atol + rtol * np.abs(b))
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    excess = np.where(same, -np.inf, np.where(np.isnan(excess), np.inf, excess))
    wrong = int((excess > 0).sum())
    if not wrong:
        return ""
    worst = np.argsort(-excess, axis=None)[: min(SHOWN, wrong)]
    places = [tuple(map(int, np.unravel_index(i, a.shape))) for i in worst]
    shown = "; ".join(f"{place}: {a[place]:.9g}, expected {b[place]:.9g}" for place in places)
    return f"{wrong} of {a.size} elements differ, most of all at {shown}"


def assert_gradients(
    model: Any,
    x: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    rtol: float = 1e-3,
    atol: float = 1e-5,
    entries: int = 4,
    seed: int = 0,
) -> None:
    """The compiled gradients of the loss (with penalties and added losses) are those of finite differences.

    model: of kcompile.keras, compiled with a loss (`model.compile`); it is left as it was. x, y,
    sample_weight: one batch, as `train_on_batch` takes it. For each trainable weight, its `entries` largest
    gradients and as many others drawn by `seed` are compared with central differences of the interpreter's
    loss in float64: |got - expected| <= atol + rtol |expected|. An entry where the loss has a kink, so that
    two sizes of step differ, is passed over. Random layers draw the same numbers in all of it. Raises
    AssertionError that names weight and entry, InputError for a model with nothing to train,
    NotCompiledError for one that was not compiled.
    """
    if not any(v.dtype.startswith("float") for v in model.trainable_weights):
        raise InputError(describe("assert_gradients", "a model with weights to train", repr(model.name)))
    probe = _Probe(model)
    with _borrowed(model) as put_back:

        def gradients(engine: Any) -> list[np.ndarray]:
            """The momentum that a step of plain SGD leaves, with the sign turned: the gradients."""
            arguments = {**model.compile_arguments.given, "optimizer": SGD(1.0, momentum=0.5)}
            model.compile(**arguments)
            model.use_engine(engine)
            model.train_on_batch(x, y, sample_weight=sample_weight)
            put_back()
            return [-m.array for m in model.optimizer.weights[1:]]  # of iterations and momentums

        native = model.engine
        gradients(probe)  # which keeps what a step is given
        found = gradients(native)
        problems = list(probe.wrong(model.trainable_weights, found, rtol, atol, entries, seed))
    if problems:
        raise AssertionError("\n".join(problems))


class _Probe(InterpreterEngine):
    """An interpreter that keeps what a training step is given, to compute its loss at other weights."""

    def __init__(self, model: Any) -> None:
        super().__init__(model, "float64")
        self.arrays: list[np.ndarray] = []

    def run(self, entry: str, n: int, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        self.arrays = [np.array(a) for a in inputs]
        return super().run(entry, n, inputs)

    def wrong(
        self,
        weights: Sequence[Any],
        gradients: Sequence[np.ndarray],
        rtol: float,
        atol: float,
        entries: int,
        seed: int,
    ) -> Iterator[str]:
        """A line for each entry whose gradient is not the finite difference."""
        loss = self.loss()
        generator = np.random.default_rng(seed)
        for variable, gradient in zip(weights, gradients, strict=True):
            if not gradient.size:
                continue
            largest = np.argsort(-np.abs(gradient), axis=None)[:entries]
            others = generator.choice(gradient.size, min(entries, gradient.size), replace=False)
            compared = 0
            for i in dict.fromkeys(map(int, (*largest, *others))):
                place = tuple(map(int, np.unravel_index(i, gradient.shape)))
                wide, narrow = (_slope(loss, variable, place, size) for size in (STEP, STEP / 4))
                bound = atol + rtol * abs(narrow)
                if not abs(wide - narrow) <= bound:  # a kink
                    continue
                compared += 1
                if not abs(float(gradient[place]) - narrow) <= bound:
                    yield (
                        f"{variable.path}{list(place)}: the gradient is {float(gradient[place]):.6g}, "
                        f"by finite differences {narrow:.6g}"
                    )
            if not compared:
                yield f"{variable.path}: the loss has a kink at every entry that was tried; take other data"

    def loss(self) -> Callable[[Any, np.ndarray], float]:
        """(variable, its value) -> the loss, the other weights being what they are."""
        traced = self.traced("train", lengths_of(self.model, self.arrays) or None)
        graph, names = traced.graph, traced.names
        state, inputs = traced.state, dict(zip(graph.inputs, self.arrays))

        def at(variable: Any, value: np.ndarray) -> float:
            if variable not in names:  # nothing of the loss depends on it
                return 0.0
            given = {**state, names[variable]: value}
            result = interpreter.run(graph, len(self.arrays[0]), inputs, given, "float64")
            return float(np.ravel(result.outputs["results"])[0])

        return at


def _slope(
    loss: Callable[[Any, np.ndarray], float], variable: Any, place: tuple[int, ...], size: float
) -> float:
    """The central difference of the loss by one entry of a weight."""
    value = variable.array.astype(np.float64)
    size *= max(1.0, abs(float(value[place])))
    sides = []
    for sign in (1, -1):
        moved = value.copy()
        moved[place] += sign * size
        sides.append(loss(variable, moved))
    return (sides[0] - sides[1]) / (2 * size)


@contextmanager
def _borrowed(model: Any) -> Iterator[Callable[[], None]]:
    """The model is afterwards what it is before. Gives what puts its weights and random numbers back."""
    arguments, engine = compile_arguments(model).given, model.engine
    weights, drawn = model.get_weights(), model.random_state.step.array.copy()

    def put_back() -> None:
        model.set_weights(weights)
        model.random_state.step.assign(drawn)

    try:
        yield put_back
    finally:
        model.compile(**arguments)
        put_back()
        model.use_engine(engine)


def _listed(values: Any) -> list[np.ndarray]:
    if isinstance(values, dict):
        values = list(values.values())
    return [np.asarray(v) for v in (values if isinstance(values, (list, tuple)) else [values])]
