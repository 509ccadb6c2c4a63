"""Training an Embedding, whose gradient has few rows: as with the whole gradient, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile import keras
from kcompile.codegen import targets
from kcompile.codegen.binary import cache
from kcompile.codegen.program import Launch
from kcompile.compiler import Compiled, compile_graph, load
from kcompile.interpreted import InterpreterEngine
from kcompile.ir import ops, passes
from kcompile.ir.graph import Graph, Value
from kcompile.ir.ops.gather import scatter_add
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType
from kcompile.keras import graphs
from kcompile.keras import layers as L
from kcompile.keras.models import Model, Sequential
from kcompile_runtime.arrays import aligned_copy

WORDS, STEPS = 300, 4  # more words than 32 samples name
Make = Callable[[], Any]

OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "sgd": lambda **o: keras.optimizers.SGD(0.5, **o),
    "decay": lambda **o: keras.optimizers.SGD(0.5, decay=0.1, **o),
    "momentum": lambda **o: keras.optimizers.SGD(0.5, momentum=0.9, **o),
    "nesterov": lambda **o: keras.optimizers.SGD(0.5, momentum=0.9, nesterov=True, **o),
    "rmsprop": lambda **o: keras.optimizers.RMSprop(0.01, **o),
    "adagrad": lambda **o: keras.optimizers.Adagrad(0.01, **o),
    "adadelta": lambda **o: keras.optimizers.Adadelta(1.0, **o),
    "adam": lambda **o: keras.optimizers.Adam(0.01, **o),
    "amsgrad": lambda **o: keras.optimizers.Adam(0.01, amsgrad=True, **o),
    "adamax": lambda **o: keras.optimizers.Adamax(0.01, **o),
    "nadam": lambda **o: keras.optimizers.Nadam(0.01, **o),
}
LIMITS: dict[str, dict[str, float]] = {
    "free": {},
    "clipnorm": {"clipnorm": 0.05},
    "global_clipnorm": {"global_clipnorm": 0.05},
    "clipvalue": {"clipvalue": 0.002},
    "both": {"clipnorm": 0.05, "clipvalue": 0.002},
}


def text(vintage: str = "keras2", width: int = 17, **options: Any) -> Any:
    """A recurrent layer where there is a mask to obey; its code is long, and no matter to the table."""
    table = L.Embedding(WORDS, width, input_length=STEPS, **options)
    reader = [L.GRU(5)] if table.mask_zero else [L.Flatten(), L.Dense(5, activation="tanh")]
    return Sequential([table, *reader, L.Dense(1)], vintage=vintage)


def shared() -> Any:
    """One table for two inputs: its gradient is the sum of two."""
    first, second = L.Input((STEPS,), dtype="int32"), L.Input((3,), dtype="int32")
    table = L.Embedding(WORDS, 17)
    means = [L.GlobalAveragePooling1D()(table(x)) for x in (first, second)]
    return Model([first, second], L.Dense(1)(L.Concatenate()([means[0], L.Activation("tanh")(means[1])])))


NETS: dict[str, Make] = {
    "plain": text,
    "masked": lambda: text(mask_zero=True),
    "keras3": lambda: text("keras3"),
    "narrow": lambda: text(width=1),
    "wide": lambda: text(width=48),
    "regularized": lambda: text(embeddings_regularizer="l2"),
    "constrained": lambda: text(embeddings_constraint="unit_norm"),
    "shared": shared,
}


def batches(
    model: Any, sizes: tuple[int, ...] = (7, 1, 16, 7, 5)
) -> list[tuple[list[np.ndarray], np.ndarray]]:
    """Numbers of which many occur again, also beside those of the batch before."""
    rng = np.random.default_rng(0)
    made = []
    for n in sizes:
        x = [
            rng.choice([0, 0, 0, 1, 2, WORDS - 1, *rng.integers(0, WORDS, 12)], (n, *i.shape[1:])).astype(
                np.int32
            )
            for i in model.inputs
        ]
        made.append((x, rng.normal(size=(n, 1)).astype(np.float32)))
    return made


def trained(net: Make, optimizer: Make, engine: Callable[[Any], Any]) -> list[np.ndarray]:
    """Losses, weights and state of the optimizer after some steps."""
    np.random.seed(1)
    model = net()
    model.compile(optimizer(), "mse")
    runner = engine(model)
    losses = [np.ravel(runner.train_on_batch(x, y)) for x, y in batches(model)]
    state = model.compile_arguments.optimizer.weights
    return [*losses, *(np.array(w) for w in (*model.get_weights(), *(v.numpy() for v in state)))]


def native(threads: int) -> Callable[[Any], Any]:
    return lambda model: kcompile.compile(model, threads=threads)


def interpreted(model: Any) -> Any:
    model.use_engine(InterpreterEngine(model, "float64"))
    return model


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Turn the pass off, and the cache, which does not know of it."""

    def apply() -> None:
        whole = passes.pipeline

        def others(target: passes.PassTarget, frozen: bool) -> tuple[passes.Pass, ...]:
            made = whole(target, frozen)
            left = tuple(step for step in made if step.name != "compact_scatters")
            assert frozen or len(left) == len(made) - 1
            return left

        monkeypatch.setattr(passes, "pipeline", others)
        monkeypatch.setattr(cache, "get", lambda key: None)
        monkeypatch.setattr(cache, "put", lambda key, data: None)

    return apply


def compare(net: str, optimizer: str, limits: str, without: Callable[[], None]) -> None:
    def chosen() -> Any:
        return OPTIMIZERS[optimizer](**LIMITS[limits])

    got = trained(NETS[net], chosen, native(1))
    assert all(np.array_equal(a, b) for a, b in zip(got, trained(NETS[net], chosen, native(2))))
    exact = trained(NETS[net], chosen, interpreted)
    without()
    dense = trained(NETS[net], chosen, native(1))
    for mine, right, whole in zip(got, exact, dense):
        np.testing.assert_allclose(mine, whole, rtol=2e-6, atol=2e-6 * np.abs(whole).max() + 1e-12)
        np.testing.assert_allclose(mine, right, rtol=1e-3, atol=2e-4 * np.abs(right).max() + 1e-9)
    # sums of the same numbers in the same order: the bits are the same
    if limits in ("free", "clipvalue") and net not in ("shared", "regularized"):
        assert all(np.array_equal(a, b) for a, b in zip(got, dense))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer(optimizer: str, without: Callable[[], None]) -> None:
    compare("plain", optimizer, "free", without)


@pytest.mark.parametrize("limits", [limits for limits in LIMITS if limits != "free"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_limited_gradients(optimizer: str, limits: str, without: Callable[[], None]) -> None:
    compare("plain", optimizer, limits, without)


@pytest.mark.parametrize("net", [net for net in NETS if net != "plain"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_every_use_of_a_table(net: str, optimizer: str, without: Callable[[], None]) -> None:
    compare(net, optimizer, "free", without)


@pytest.mark.parametrize("net", ["shared", "keras3", "regularized"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_norms_of_every_form(net: str, optimizer: str, without: Callable[[], None]) -> None:
    compare(net, optimizer, "clipnorm", without)


def test_the_gradient_is_a_difference_of_losses() -> None:
    """One step of SGD at rate 1 moves the table by the gradient, along a random direction."""
    model = text(mask_zero=True)
    model.compile(keras.optimizers.SGD(1.0), "mse")
    (x, y), start = batches(model, (9,))[0], model.get_weights()
    kcompile.compile(model).train_on_batch(x, y)
    moved = start[0].astype(np.float64) - model.get_weights()[0]
    direction = np.random.default_rng(2).normal(size=moved.shape) * (np.abs(moved) > 0)
    model.use_engine(InterpreterEngine(model, "float64"))
    losses = []
    for step in (1e-2, -1e-2):
        model.set_weights([start[0] + step * direction, *start[1:]])
        losses.append(model.test_on_batch(x, y))
    numeric = (losses[0] - losses[1]) / 2e-2
    assert np.count_nonzero(moved.any(1)) > 10
    assert np.sum(moved * direction) == pytest.approx(numeric, rel=2e-3)


# ---------------------------------------------------------------- what is made of it


def compiled_step(net: Any, optimizer: Any) -> Compiled:
    net.compile(optimizer, "mse")
    return compile_graph(graphs.trace(net, "train").graph, "train", targets.named("x86-64-v3"), frozen=False)


def large(made: Compiled) -> set[Value]:
    """The values of the table's size that kernels write."""
    return {
        Value(m.id, i)
        for m in made.run.live()
        if m.op.name == "group"
        for i, t in enumerate(m.types)
        if t.shape[:1] == (WORDS,) and t.dtype == "float32"
    }


def inner_ops(made: Compiled) -> list[str]:
    return [n.op.name for m in made.run.live() if m.op.name == "group" for n in m.body.live()]


CASES = [
    *(("plain", name, "free") for name in OPTIMIZERS if name != "adadelta"),
    *(("plain", name, limits) for name in ("sgd", "adam") for limits in LIMITS if limits != "free"),
    ("keras3", "sgd", "clipnorm"),
    ("keras3", "adam", "clipnorm"),
    ("shared", "sgd", "free"),
    ("shared", "adam", "global_clipnorm"),
]


@pytest.mark.parametrize(("net", "optimizer", "limits"), CASES)
def test_no_gradient_of_all_rows_is_written(net: str, optimizer: str, limits: str) -> None:
    """Of the table's size are new values of variables alone, each in its place. (Adadelta keeps its
    step, which is no gradient, from one sweep to the next.)"""
    made = compiled_step(NETS[net](), OPTIMIZERS[optimizer](**LIMITS[limits]))
    assert large(made) and large(made) <= set(made.run.updates.values())
    launches = made.program.entries[-1].launches
    assert not [x for x in launches if "copy" in x.kernel.name and WORDS in _sizes(x, made)]


@pytest.mark.parametrize(
    ("net", "optimizer", "limits", "count"),
    [
        ("plain", "sgd", "free", 1),
        ("plain", "decay", "both", 1),
        ("shared", "sgd", "clipnorm", 1),
        ("shared", "sgd", "clipvalue", 1),  # of each place of the batch
        ("constrained", "sgd", "free", 0),
        ("regularized", "sgd", "free", 0),
        ("plain", "momentum", "free", 0),
        ("plain", "adam", "free", 0),
        ("plain", "adagrad", "free", 1),
    ],
)
def test_what_is_updated_by_rows(net: str, optimizer: str, limits: str, count: int) -> None:
    """Where the step of every other row is 0: also the squares that Adagrad adds up."""
    made = compiled_step(NETS[net](), OPTIMIZERS[optimizer](**LIMITS[limits]))
    assert inner_ops(made).count("scatter_add") == count


def _sizes(launch: Launch, made: Compiled) -> set[int]:
    """The first sizes of the variables that a launch reads or writes."""
    shapes = [made.graph.type(v).shape for v in made.graph.variables.values()]
    return {shapes[ref.index][0] for ref in launch.buffers if ref.region == "variable" and shapes[ref.index]}  # type: ignore[misc]


def test_plain_descent_is_in_place() -> None:
    made = compiled_step(text(), keras.optimizers.SGD(0.1))
    (launch,) = [x for x in made.program.entries[-1].launches if "scatter_add" in x.kernel.name]
    name = next(name for name in made.variables if name.endswith("embeddings"))
    assert launch.kernel.aliased
    assert [
        ref for ref in launch.buffers if ref.region == "variable" and made.variables[ref.index] == name
    ] == 2 * [launch.buffers[-1]]


def test_a_small_table_has_a_whole_gradient() -> None:
    """A batch would name most of its rows."""
    model = Sequential([L.Embedding(32 * STEPS, 3, input_length=STEPS), L.GRU(5), L.Dense(1)])
    made = compiled_step(model, keras.optimizers.SGD(0.1))
    assert "first_occurrence" not in inner_ops(made) and "scatter_rows" in inner_ops(made)
    larger = Sequential([L.Embedding(32 * STEPS + 1, 3, input_length=STEPS), L.GRU(5), L.Dense(1)])
    assert "first_occurrence" in inner_ops(compiled_step(larger, keras.optimizers.SGD(0.1)))


def test_a_gradient_that_a_product_reads_is_whole() -> None:
    """Only elementwise ops and sums can take rows as they need them."""
    graph = Graph("tied")
    ids = Tensor(graph, graph.input("ids", TensorType((Batch(), 2), "int32")))
    values = Tensor(graph, graph.input("values", TensorType((Batch(), 2, 8))))
    whole = ops.scatter_rows(values, ids, 500)
    graph.outputs["y"] = ops.matmul(ops.transpose(whole, (1, 0)), whole).value
    assert ops_of(passes.compact_scatters(graph)) == ops_of(graph)


def ops_of(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.live()]


def test_a_table_whose_rows_are_read_elsewhere_is_not_updated_in_place() -> None:
    """The rows to add are made of the table's own other rows, as many as it has."""
    graph = Graph("walk")
    ids = Tensor(graph, graph.input("ids", TensorType((40,), "int32")))
    table = Tensor(graph, graph.variable("table", TensorType((40, 20))))
    graph.updates["table"] = scatter_add(table, [(ops.gather(table, ids + 1), ids)]).value
    start = np.random.default_rng(0).normal(size=(40, 20)).astype(np.float32)
    numbers = np.random.default_rng(1).integers(0, 39, 40).astype(np.int32)
    expected = start.copy()
    np.add.at(expected, numbers, start[numbers + 1])
    for threads in (1, 2):
        held = {"table": aligned_copy(start)}
        load(compile_graph(graph, "run", targets.native(), frozen=False), held, threads).run(
            "run", 4, [numbers]
        )
        np.testing.assert_allclose(held["table"], expected, rtol=1e-6)
