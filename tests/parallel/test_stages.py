"""A training step cut into stages, computed by the interpreter for several ranks: all of them get what one
process gets of the whole batch, in float64."""

from __future__ import annotations

import numpy as np
import pytest

from kcompile.ir import interpreter
from kcompile.ir.types import bind
from kcompile.keras import backend as K
from kcompile.keras import graphs, models, optimizers, regularizers
from kcompile.keras import layers as L
from kcompile.parallel.sharding import sharding
from kcompile.parallel.stages import FIRST, SAMPLES, stages
from kcompile.testing.models import sample
from kcompile_runtime.errors import UnsupportedError


def sequential(*layers, optimizer="adam", loss="mse", **options):
    model = models.Sequential(list(layers))
    model.compile(optimizer, loss, **options)
    return model


def dense():
    return sequential(
        L.Dense(5, activation="relu", input_shape=(4,), kernel_regularizer=regularizers.l2(0.1)),
        L.BatchNormalization(gamma_regularizer="l2"),
        L.Dropout(0.5),
        L.Dense(3, activation="softmax"),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        optimizer=optimizers.Adam(clipnorm=0.1),
    )


def words():
    return sequential(
        L.Embedding(20, 4, input_length=5, mask_zero=True),
        L.LSTM(3, dropout=0.2, recurrent_dropout=0.3, return_sequences=True),
        L.GRU(3),
        L.Dense(1),
        optimizer="rmsprop",
    )


def images():
    return sequential(
        L.Conv2D(3, 3, input_shape=(6, 6, 2), activity_regularizer="l2"),
        L.BatchNormalization(),
        L.MaxPooling2D(),
        L.SeparableConv2D(2, 2),
        L.GlobalAveragePooling2D(),
        L.GaussianNoise(0.1),
        L.Dense(2),
        optimizer="sgd",
        weighted_metrics=["mae"],
    )


def attention():
    x = L.Input((4, 6))
    y = L.Dense(6)(x)
    a = L.Softmax()(L.Dot(2)([y, x]))
    y = L.Bidirectional(L.SimpleRNN(3, return_sequences=True))(L.Dot(1)([a, y]))
    y = L.TimeDistributed(L.Dense(2))(y)
    model = models.Model(x, [y, L.Flatten()(y)])
    model.compile("nadam", ["mae", "logcosh"], loss_weights=[1.0, 0.3])
    return model


def local():
    return sequential(
        L.LocallyConnected1D(3, 2, input_shape=(5, 2)), L.ZeroPadding1D(1), L.Flatten(), L.Dense(1)
    )


def inputs_of(graph, n):
    rng, found = np.random.default_rng(0), {}
    for name, value in graph.inputs.items():
        type = graph.type(value)
        shape = bind(type.shape, n)
        whole = type.dtype.startswith("int") or name.startswith("w:")
        found[name] = (rng.integers(0, 3, shape) if whole else rng.normal(size=shape)).astype(type.dtype)
    return found


def on_ranks(graph, sizes, inputs, state, own=(), bucket=None):
    """What each rank gets, of parts of these sizes."""
    made, given, first = stages(graph, own, bucket), [], 0
    for n in sizes:
        part = {name: array[first : first + n] for name, array in inputs.items()}
        given.append({**part, SAMPLES: np.int64(sum(sizes)), FIRST: np.int64(first)})
        first += n
    results = []
    for stage in made:
        stage.graph.verify()
        results = [
            interpreter.run(stage.graph, n, {k: rank[k] for k in stage.graph.inputs}, state, "float64")
            for n, rank in zip(sizes, given)
        ]
        for rank, result in zip(given, results):
            rank.update(result.outputs)
        for name in stage.sums:
            total = sum(result.outputs[name] for result in results)
            for rank in given:
                rank[name] = total
    return results, made


def check(model, entry="train", sizes=(3, 4), **options):
    traced = graphs.trace(model, entry)
    inputs = inputs_of(traced.graph, sum(sizes))
    whole = interpreter.run(traced.graph, sum(sizes), inputs, traced.state, "float64")
    results, made = on_ranks(traced.graph, sizes, inputs, traced.state, **options)
    for result in results:
        for name, right in {**whole.outputs, **whole.updates}.items():
            got = {**result.outputs, **result.updates}[name]
            np.testing.assert_allclose(got, right, rtol=1e-7, atol=1e-9, err_msg=name)
    return made


@pytest.mark.parametrize("make", [dense, words, images, attention, local])
def test_ranks_compute_what_one_process_does(make):
    model = make()
    check(model, sizes=(3, 1, 4))
    check(model, "test")


@pytest.mark.parametrize("make", [dense, words])
def test_buckets_cut_the_backward_pass_and_change_nothing(make):
    model = make()
    assert len(check(model, bucket=50)) > len(check(model)) + 1


def test_a_plain_network_is_cut_in_two():
    """Gradients, and updates; and before, what the loss divides by in Keras 2: how many weights are not 0."""
    made = check(sequential(L.Dense(3, input_shape=(4,)), L.Dense(1)))
    assert [len(stage.sums) for stage in made] == [1, 5, 0]
    assert made[1].bytes == 4 * (4 * 3 + 3 + 3 + 1 + 1)
    assert not any(name.startswith("value:") for stage in made for name in stage.graph.outputs)


def test_statistics_of_each_rank():
    """Local batch normalisation: the same updates on all ranks, the mean of moving statistics, and no sums
    but those of the loss and of gradients."""
    model = dense()
    traced = graphs.trace(model, "train")
    inputs = inputs_of(traced.graph, 8)
    (one, other), made = on_ranks(traced.graph, (5, 3), inputs, traced.state, own={model.layers[1].name})
    for name, value in one.updates.items():
        np.testing.assert_array_equal(value, other.updates[name])
    assert len(made) == 3
    alone = [
        interpreter.run(
            traced.graph, n, {k: x[at : at + n] for k, x in inputs.items()}, traced.state, "float64"
        )
        for at, n in ((0, 5), (5, 3))
    ]
    name = f"{model.layers[1].name}/moving_mean"
    mean = (5 * alone[0].updates[name] + 3 * alone[1].updates[name]) / 8
    np.testing.assert_allclose(one.updates[name], mean, rtol=1e-6)


def test_numbers_of_chance_are_those_of_the_whole_batch():
    model = sequential(L.Dropout(0.5, input_shape=(6,)), L.Dense(2))
    made = check(model, sizes=(2, 5))
    assert any(FIRST in stage.graph.inputs for stage in made)


def pairs(x):
    return K.dot(x, K.transpose(K.dot(K.transpose(x), x)))  # sums over samples, and is rows again


def backwards(x):
    return K.reverse(x, 0)


def first_of_all(x):
    return x - K.max(x, axis=0, keepdims=True)


def test_a_layer_that_sums_over_samples_is_like_the_whole():
    check(sequential(L.Lambda(pairs, input_shape=(3,)), L.Dense(1)))


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        (L.Lambda(backwards, input_shape=(3,), name="turned"), "'turned'.*reverse, which moves samples"),
        (L.MixUp(input_shape=(4, 4, 3), name="mixed"), "'mixed'.*gather, which reads rows of other samples"),
        (L.Lambda(first_of_all, input_shape=(3,), name="largest"), "'largest'.*reduce_max, which combines"),
    ],
)
def test_what_mixes_samples_is_refused_by_name(layer, says):
    model = sequential(layer, L.Flatten(), L.Dense(1))
    with pytest.raises(UnsupportedError, match=says):
        sharding(graphs.trace(model, "train").graph)


def test_states_of_samples_are_refused():
    model = sequential(L.LSTM(2, stateful=True, batch_input_shape=(4, 3, 2)), L.Dense(1))
    with pytest.raises(UnsupportedError, match=r"data-parallel.*batch"):
        stages(graphs.trace(model, "train").graph)


def check_random(seed):
    model = sample(seed, compiled=True).model
    for entry in ("train", "test"):
        check(model, entry, sizes=(3, 4))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_some_random_models(seed):
    check_random(seed)


@pytest.mark.slow
def test_random_models():
    for seed in range(4, 150):
        check_random(seed)
