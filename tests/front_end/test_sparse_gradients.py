"""The values behind the gradient of a table: which gradients have them, and what limits make of them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kcompile import tf_keras
from kcompile.interpreted import InterpreterEngine
from kcompile.ir import ops
from kcompile.ir.gradient import gradient
from kcompile.ir.graph import Graph
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import TensorType
from kcompile.keras import sparse_gradients
from kcompile.tensorflow import names

tf = SimpleNamespace(**names(""), linalg=SimpleNamespace(**names("linalg")))
Sum = Callable[[Tensor, Tensor], Tensor]


@pytest.mark.parametrize(
    ("of", "slices"),
    [
        (lambda table, places: ops.gather(table, places), 1),
        (lambda table, places: ops.gather(table, places) * ops.gather(table, places + 1), 2),
        (lambda table, places: ops.gather(table / 2.0, places), 1),
        (lambda table, places: ops.gather(table * table, places), 0),
        (lambda table, places: ops.reduce_sum(ops.gather(table, places)) * table, 0),
        (lambda table, places: table, 0),
    ],
)
def test_gradients_that_are_sums_of_slices(of: Sum, slices: int) -> None:
    graph = Graph()
    table, places = (
        Tensor(graph, graph.input(name, type))
        for name, type in (("table", TensorType((5, 2))), ("places", TensorType((2, 3), "int32")))
    )
    (found,) = gradient(ops.reduce_sum(of(table, places)), [table])
    assert found is not None
    parts = sparse_gradients.slices_of(found)
    assert [part.values.shape for part in parts] == [(6, 2)] * slices
    assert (sparse_gradients.named_rows(found) is None) == (not slices)


def tape_of(names_rows: list[int]) -> tuple[Any, Any]:
    """A variable of four rows, and its gradient by the rows that are named, 1 for each place."""
    table = tf.Variable(np.ones((4, 1), np.float32))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.gather(table, names_rows))
    return table, tape.gradient(loss, table)


def test_functions_of_tf_limit_the_values_of_each_place() -> None:
    def values(x: Any) -> list[float]:
        return np.ravel(np.asarray(x, "float64")).round(6).tolist()

    assert values(tape_of([1, 3, 1, 1])[1]) == [0, 3, 0, 1]
    assert values(tf.clip_by_value(tape_of([1, 3, 1, 1])[1], -1.0, 0.5)) == [0, 1.5, 0, 0.5]
    assert values(tf.clip_by_norm(tape_of([1, 3, 1, 1])[1], 1.0)) == [0, 1.5, 0, 0.5]
    assert values(tf.linalg.global_norm([tape_of([1, 3, 1, 1])[1], None])) == [2.0]
    (limited, none), length = tf.clip_by_global_norm([tape_of([1, 3, 1, 1])[1], None], 1.0)
    assert (values(limited), none, values(length)) == ([0, 1.5, 0, 0.5], None, [2.0])
    # Sums of rows that are no gradient are limited as they are
    sums = names("math")["unsorted_segment_sum"]
    assert values(tf.clip_by_value(sums(np.ones((3, 1), np.float32), [1, 3, 1], 4), 0.0, 1.5)) == [
        0,
        1.5,
        0,
        1,
    ]


def table_after(optimizer: Any, batches: list[list[int]]) -> list[float]:
    """The rows of a table, first 1, after steps by their distance from 0."""
    keras = tf_keras
    model = keras.Sequential(
        [keras.layers.Embedding(4, 1, embeddings_initializer="ones"), keras.layers.Flatten()]
    )
    model.compile(optimizer, "mse")
    model.build((None, len(batches[0])))
    model.use_engine(InterpreterEngine(model))
    for batch in batches:
        model.train_on_batch(np.array([batch]), np.zeros((1, len(batch)), np.float32))
    return np.ravel(model.get_weights()[0]).astype("float64").round(6).tolist()


def test_optimizers_of_tf_keras() -> None:
    """As tf_keras 2.21 has it."""
    made = tf_keras.optimizers
    assert table_after(made.SGD(0.1, clipvalue=0.5), [[1, 1, 1, 2]]) == [1, 0.85, 0.95, 1]
    assert table_after(made.SGD(0.1, clipnorm=0.5), [[1, 1, 1, 2]]) == [1, 0.925, 0.975, 1]
    assert table_after(made.SGD(0.1, momentum=0.5), [[1, 1], [2, 2]]) == [1, 0.7, 0.8, 1]
    assert table_after(made.legacy.SGD(0.1, momentum=0.5), [[1, 1], [2, 2]]) == [1, 0.8, 0.8, 1]
