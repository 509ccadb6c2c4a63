"""Steps of a model of its own: train_step, test_step, predict_step, compute_loss, and gradients in them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import step_scripts

from kcompile import keras, keras3, tf_keras
from kcompile.interpreted import InterpreterEngine
from kcompile.ir.tensor import Tensor
from kcompile.keras.gradient_tape import GradientTape
from kcompile.keras.tensors import Variable
from kcompile_runtime.errors import InputError, KcompileError, ModelError, NotCompiledError, UnsupportedError

EDITIONS = {"keras3": (keras3, keras3.ops), "tf_keras": (tf_keras, tf_keras.backend)}
ops, layers = keras3.ops, keras3.layers
X, Y = step_scripts.data(3), step_scripts.data(1, seed=1)


def answers(edition: str) -> Any:
    path = Path(__file__).parent / f"steps_of_{edition}.json"
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("script", step_scripts.SCRIPTS, ids=lambda script: script.__name__)
@pytest.mark.parametrize("edition", list(EDITIONS))
def test_scripts_end_in_the_losses_of_real_keras(edition: str, script: Callable[..., Any]) -> None:
    found, right = script(*EDITIONS[edition], GradientTape), answers(edition)[script.__name__]
    assert found.keys() == right.keys()
    for name, values in right.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-6, err_msg=name)


# ---------------------------------------------------------------- small models


def linear(step: Callable[..., Any], **members: Any) -> Any:
    """A model y = w x, w = [1, 2, 3], whose train_step is this."""
    kind = type("Linear", (keras3.Model,), {"train_step": step, **members})
    start = keras3.Input((3,))
    model = kind(start, layers.Dense(1, use_bias=False)(start))
    model.set_weights([np.array([[1.0], [2.0], [3.0]], "float32")])
    model.compile("sgd")
    return model


def logs(step: Callable[..., Any], *data: Any, **members: Any) -> dict[str, Any]:
    """What a step reports for a batch."""
    found: dict[str, Any] = linear(step, **members).train_on_batch(*(data or (X, Y)), return_dict=True)
    return found


def test_gradients_are_those_of_what_the_tape_noted() -> None:
    def step(self: Any, data: Any) -> Any:
        x, y = data
        outside = self(x)
        w = self.trainable_variables[0]
        with GradientTape(persistent=True) as tape:
            tape.watch(x)
            inside = self(x)
            loss = ops.sum(outside * inside)
            with tape.stop_recording():
                paused = ops.sum(self(x))
        after = ops.sum(self(x))
        return {
            "half": ops.sum(tape.gradient(loss, w)),
            "by_x": ops.sum(tape.gradient(loss, [x])[0]),
            "weighed": ops.sum(tape.gradient(inside, w, output_gradients=3.0 * y)),
            "two": ops.sum(tape.gradient([loss, inside], {"w": w})["w"]),
            "zero": ops.sum(tape.gradient(after, w, unconnected_gradients="zero")),
            "none": float(tape.gradient(paused, w) is None) + float(tape.gradient(loss, y) is None),
        }

    found = logs(step)
    w = np.array([[1.0], [2.0], [3.0]])
    half = (X.T @ (X @ w)).sum()
    right = {
        "half": half,
        "by_x": (X @ w).sum() * w.sum(),
        "weighed": (X.T @ (3 * Y)).sum(),
        "two": half + X.sum(),
        "zero": 0.0,
        "none": 2.0,
    }
    for name, value in right.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)


def test_a_tape_in_a_tape_gives_second_derivatives() -> None:
    def step(self: Any, data: Any) -> Any:
        (w,) = self.trainable_variables
        with GradientTape() as outer:
            with GradientTape() as inner:
                loss = ops.sum(ops.exp(self(data[0])))
            squares = ops.sum(ops.square(inner.gradient(loss, w)))
        return {"second": ops.sum(outer.gradient(squares, w))}

    w = np.array([[1.0], [2.0], [3.0]])
    e = np.exp(X @ w)
    gradient, hessian = X.T @ e, X.T @ (e * X)
    np.testing.assert_allclose(logs(step)["second"], (2 * hessian @ gradient).sum(), rtol=1e-4)


@pytest.mark.parametrize("seed", [0, 1])
def test_gradients_by_finite_differences(seed: int) -> None:
    """Through two layers, of which one is used twice, a norm with statistics of the batch, and a softmax."""
    inner = layers.Dense(3, activation="tanh")

    def loss_of(self: Any, x: Any) -> Any:
        z = inner(inner(x))
        z = z / ops.sqrt(ops.mean(ops.square(z), axis=0, keepdims=True) + 0.1)
        return ops.mean(ops.log(ops.softmax(z, -1)[:, 0]) * self(x)[:, 0])

    def step(self: Any, data: Any) -> Any:
        with GradientTape() as tape:
            loss = loss_of(self, data)
        return {"loss": loss, "gradient": tape.gradient(loss, inner.kernel)}

    x = np.random.RandomState(seed).randn(6, 3).astype("float32")
    model = linear(step)
    model.use_engine(InterpreterEngine(model, "float64"))
    found = model.train_on_batch(x, return_dict=True)["gradient"]
    kernel, estimate = inner.kernel.numpy(), np.zeros((3, 3))
    for place in np.ndindex(3, 3):
        sides = []
        for change in (1e-2, -1e-2):
            moved = kernel.copy()
            moved[place] += change
            inner.kernel.assign(moved)
            sides.append(model.train_on_batch(x, return_dict=True)["loss"])
        estimate[place] = (sides[0] - sides[1]) / 2e-2
    np.testing.assert_allclose(found, estimate, rtol=2e-2, atol=1e-4)


def test_what_follows_an_update_sees_it() -> None:
    def step(self: Any, data: Any) -> Any:
        (w,) = self.trainable_variables
        before = ops.sum(w)
        self.optimizer.apply_gradients([(ops.ones_like(w), w)])
        w.assign_add(ops.ones_like(w))
        return {"before": before, "after": ops.sum(w), "steps": self.optimizer.iterations}

    found = logs(step)
    assert found == pytest.approx({"before": 6.0, "after": 6.0 - 0.03 + 3.0, "steps": 1.0})


@pytest.mark.parametrize("way", ["cond", "switch", "K.switch"])
def test_what_a_branch_assigns_counts_where_it_is_chosen(way: str) -> None:
    """Gradients are applied at every third batch: here the sum of ones."""
    total, count = (keras3.backend.variable(np.zeros(s, "float32")) for s in ((3, 1), ()))

    def step(self: Any, data: Any) -> Any:
        (w,) = self.trainable_variables

        def apply() -> Any:
            self.optimizer.apply_gradients([(total, w)])
            total.assign(ops.zeros_like(total))
            count.assign(0.0)
            return ops.sum(w)

        def wait() -> Any:
            return ops.sum(w) * 0.0

        count.assign_add(1.0)
        total.assign_add(ops.ones_like(w))
        due = ops.equal(count, 3.0)
        if way == "cond":
            found = ops.cond(due, apply, wait)
        elif way == "switch":
            found = ops.switch(ops.cast(due, "int32") + 1, [wait, wait, apply])
        else:
            found = keras3.backend.switch(due, apply, wait)
        return {"w": ops.sum(w), "found": found, "steps": self.optimizer.iterations}

    model = linear(step)
    model.compile(keras3.optimizers.SGD(0.5))
    found = [model.train_on_batch(X, return_dict=True) for _ in range(7)]
    assert [f["w"] for f in found] == [6.0, 6.0, 1.5, 1.5, 1.5, -3.0, -3.0]
    assert [f["found"] for f in found] == [0.0, 0.0, 1.5, 0.0, 0.0, -3.0, 0.0]
    assert [f["steps"] for f in found] == [0, 0, 1, 1, 1, 2, 2]


def test_numbers_are_drawn_anew_in_each_step() -> None:
    def step(self: Any, data: Any) -> Any:
        size = ops.shape(data)[0]
        noise = keras3.random.normal(shape=(size, 2000))
        other = keras3.random.uniform(shape=(size, 2000))
        return {"mean": ops.mean(noise), "square": ops.mean(ops.square(noise)), "other": ops.mean(other)}

    model = linear(step)
    first, second = (model.train_on_batch(X, return_dict=True) for _ in range(2))
    assert first["mean"] != second["mean"] and first["other"] != second["other"]
    for found in (first, second):
        assert abs(found["mean"]) < 0.01 and abs(found["square"] - 1) < 0.02
        assert abs(found["other"] - 0.5) < 0.01


def test_losses_of_layers_and_regularizers() -> None:
    class Noted(keras3.layers.Layer):
        def call(self, inputs: Any) -> Any:
            self.add_loss(ops.sum(inputs))
            return inputs

    noted = Noted()
    dense = layers.Dense(1, kernel_regularizer=keras3.regularizers.L2(0.5), kernel_initializer="ones")

    class Model(keras3.Model):
        def __init__(self) -> None:
            super().__init__()
            self.noted, self.dense = noted, dense

        def train_step(self, data: Any) -> Any:
            self.dense(self.noted(2.0 * data))
            self.dense(self.noted(data))
            return {"all": sum(self.losses), "noted": self.noted.losses[0], "dense": self.dense.losses[0]}

    model = Model()
    model.compile("sgd")
    found = model.train_on_batch(X, return_dict=True)
    np.testing.assert_allclose(found["noted"], X.sum(), rtol=1e-5)
    np.testing.assert_allclose(found["dense"], 1.5, rtol=1e-5)
    np.testing.assert_allclose(found["all"], X.sum() + 1.5, rtol=1e-5)


def test_data_keep_their_structure() -> None:
    seen = []

    def step(self: Any, data: Any) -> Any:
        seen.append(data)
        return {"loss": 0.0}

    model = linear(step)
    whole = np.arange(len(X))
    model.fit({"b": X, "a": whole}, [X, (Y[:, 0], Y > 0.5)], verbose=0)
    x, (first, (second, third)) = seen[-1]
    assert list(x) == ["a", "b"] and [t.dtype for t in x.values()] == ["int32", "float32"]
    assert [(t.rank, t.dtype) for t in (first, second, third)] == [
        (2, "float32"),
        (1, "float32"),
        (2, "bool"),
    ]
    model.fit(X.astype("float64"), verbose=0)
    assert (seen[-1].rank, seen[-1].dtype) == (2, "float32")
    count = len(seen)
    model.fit(X[:7], verbose=0, batch_size=3)  # of the same signature
    model.fit(iter([X[:4], X[:4]]), steps_per_epoch=2, verbose=0)
    assert len(seen) == count


def test_the_number_of_samples_may_be_a_number() -> None:
    """Where the code needs it so, there is a graph for each number that comes."""
    sizes = []

    def step(self: Any, data: Any) -> Any:
        n = data.shape[0]
        products = ops.matmul(data, ops.transpose(data)) + ops.eye(n)
        sizes.append(n)
        return {"trace": ops.sum(products * ops.eye(n))}

    model = linear(step)
    history = model.fit(X[:11], batch_size=4, shuffle=False, verbose=0, epochs=2).history["trace"]
    np.testing.assert_allclose(history, [(X[8:11] ** 2).sum() + 3] * 2, rtol=1e-5)
    assert sizes == [4, 3]
    np.testing.assert_allclose(model.train_on_batch(X[:5]), (X[:5] ** 2).sum() + 5, rtol=1e-5)


def test_callbacks_and_validation_have_what_each_step_returns() -> None:
    class Model(keras3.Model):
        def train_step(self, data: Any) -> Any:
            return {"z": ops.sum(data[0]), "a": {"inner": ops.max(data[1])}}

        def test_step(self, data: Any) -> Any:
            return {"other": ops.min(data[0]), "vector": ops.sum(data[0], axis=0)}

    start = keras3.Input((3,))
    model = Model(start, layers.Dense(1)(start))
    model.compile("sgd")
    batches: list[dict[str, float]] = []
    watch = keras3.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: batches.append(dict(logs)))
    history = model.fit(
        X, Y, batch_size=40, shuffle=False, verbose=0, validation_split=0.5, callbacks=[watch]
    )
    assert set(history.history) == {"z", "inner", "val_other", "val_vector"}
    np.testing.assert_allclose(batches[0]["z"], X[:40].sum(), rtol=1e-5)
    np.testing.assert_allclose(history.history["val_vector"][0], X[40:].sum(0), rtol=1e-5)
    assert model.evaluate(X, Y, verbose=0, return_dict=True).keys() == {"other", "vector"}
    assert len(model.evaluate(X, Y, verbose=0)) == 2


def test_a_step_of_a_copy_goes_on() -> None:
    """`deepcopy` and `compile` make graphs anew; weights and the optimizer's state go along."""

    def step(self: Any, data: Any) -> Any:
        with GradientTape() as tape:
            loss = ops.mean(ops.square(self(data[0]) - data[1]))
        self.optimizer.apply_gradients(
            zip(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        )
        return {"loss": loss}

    model = linear(step)
    model.compile(keras3.optimizers.SGD(0.1, momentum=0.9))
    model.train_on_batch(X, Y)
    twin = copy.deepcopy(model)
    assert [model.train_on_batch(X, Y) for _ in range(3)] == [twin.train_on_batch(X, Y) for _ in range(3)]
    model.optimizer.learning_rate = 0.0
    assert model.train_on_batch(X, Y) != model.train_on_batch(X, Y)  # momentum goes on
    model.compile(keras3.optimizers.SGD(0.0))
    assert model.train_on_batch(X, Y) == model.train_on_batch(X, Y)
    model.optimizer = keras3.optimizers.SGD(0.1)
    assert model.train_on_batch(X, Y) > model.train_on_batch(X, Y)


@pytest.mark.parametrize("edition", list(EDITIONS))
def test_labels_meet_outputs_of_one_axis_more(edition: str) -> None:
    """Labels [n] and outputs [n, 1], as losses and metrics since tf.keras take them."""
    script = EDITIONS[edition][0]

    def step(self: Any, data: Any) -> Any:
        x, y = data
        self.mae.update_state(y, self(x))
        return {"mse": script.losses.MeanSquaredError()(y, self(x)), "mae": self.mae.result()}

    start = script.Input((3,))
    model = type("Model", (script.Model,), {"train_step": step})(start, script.layers.Dense(1)(start))
    model.mae = script.metrics.MeanAbsoluteError()
    model.compile("sgd")
    found = model.train_on_batch(X, Y[:, 0], return_dict=True)
    off = model.predict(X) - Y
    np.testing.assert_allclose([found["mse"], found["mae"]], [(off**2).mean(), abs(off).mean()], rtol=1e-5)


def test_metrics_of_compile_in_a_step() -> None:
    """For several outputs, with weights of samples, they are what fit reports without a step of one's own."""

    class Model(keras3.Model):
        def train_step(self, data: Any) -> Any:
            return super().train_step(data)

    def made(kind: Any) -> Any:
        start = keras3.Input((3,))
        first = layers.Dense(1, kernel_initializer="ones", name="first")(start)
        second = layers.Dense(4, activation="softmax", kernel_initializer="ones", name="second")(start)
        model = kind(start, [first, second])
        model.compile(
            "sgd",
            ["mse", "sparse_categorical_crossentropy"],
            loss_weights=[1.0, 0.5],
            metrics=[["mae"], ["accuracy", keras3.metrics.SparseTopKCategoricalAccuracy(2)]],
            weighted_metrics=[[keras3.metrics.MeanSquaredError()], []],
        )
        return model

    labels = [Y, (Y[:, 0] * 4).astype("int32")]
    weights = [step_scripts.data(seed=5), step_scripts.data(seed=6)]
    found, right = (
        made(kind).fit(X, labels, sample_weight=weights, epochs=2, shuffle=False, verbose=0).history
        for kind in (Model, keras3.Model)
    )
    assert found.keys() == right.keys()
    for name, values in right.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, err_msg=name)


# ---------------------------------------------------------------- refused


def branches(self: Any, data: Any) -> Any:
    loss = ops.mean(self(data[0]))
    if loss > 0:
        return {"loss": loss}
    return {"loss": -loss}


def returns_nothing(self: Any, data: Any) -> Any:
    self(data[0])


def value_of_each_sample(self: Any, data: Any) -> Any:
    return {"loss": self(data[0])}


def asks_twice(self: Any, data: Any) -> Any:
    with GradientTape() as tape:
        loss = ops.mean(self(data[0]))
    return {"loss": ops.sum(tape.gradient(loss, self.weights)[0] + tape.gradient(loss, self.weights)[0])}


def as_numpy(self: Any, data: Any) -> Any:
    return {"loss": float(ops.mean(self(data[0])))}


def no_gradient(self: Any, data: Any) -> Any:
    with GradientTape() as tape:
        loss = ops.mean(data[0])
    weights = self.trainable_variables
    self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
    return {"loss": loss}


def as_torch(self: Any, data: Any) -> Any:
    ops.mean(self(data[0])).backward()
    return {}


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (branches, "no truth value"),
        (returns_nothing, "a dict of values by name"),
        (value_of_each_sample, "Take the mean"),
        (asks_twice, "persistent=True"),
        (as_numpy, "no data yet"),
        (no_gradient, "Compute the loss from the variables inside the tape"),
        (as_torch, "tape.gradient"),
    ],
)
def test_what_cannot_be_traced_is_refused_with_a_remedy(step: Any, message: str) -> None:
    with pytest.raises((KcompileError, TypeError), match=message) as caught:
        logs(step)
    assert "train_step: " in str(caught.value)


def test_steps_of_other_ways_are_refused() -> None:
    def of_jax(self: Any, state: Any, data: Any) -> Any: ...

    with pytest.raises(UnsupportedError, match=r"give the live Keras model to kcompile\.compile"):
        linear(of_jax)
    with pytest.raises(UnsupportedError, match="make_train_function"):
        linear(branches, make_train_function=lambda self: None)
    with pytest.raises(UnsupportedError, match="kcompile run --keras 3"):
        kind = type("Model2", (keras.models.Model,), {"train_step": branches})
        start = keras.layers.Input((3,))
        kind(start, keras.layers.Dense(1)(start))


def test_a_tape_that_was_not_begun_or_asked_too_much() -> None:
    with pytest.raises(ModelError, match="not begun"):
        GradientTape().jacobian(None, None)
    x = Variable(np.ones((50, 50)), "x")
    with GradientTape() as tape:
        y = x * 2.0
    with pytest.raises(UnsupportedError, match="1024"):
        tape.jacobian(y, x)
    with GradientTape() as tape:
        y = x * 2.0
    tape.gradient(y, x)
    with pytest.raises(ModelError, match="persistent"):
        tape.gradient(y, x)


def test_gradients_of_ones_own_need_not_be_linear() -> None:
    """Clipped on the way back, in fit; the losses of Keras 3 on JAX."""

    @keras3.ops.custom_gradient
    def clipped(x: Any) -> Any:
        def grad(*args: Any, upstream: Any = None) -> Any:
            given = args[0] if upstream is None else upstream
            return keras3.ops.clip(given, -0.01, 0.01) * keras3.ops.sign(x + 10)

        return x * 1.0, grad

    class Clipped(keras3.layers.Layer):
        def call(self, x: Any) -> Any:
            return clipped(x)

    start = keras3.Input((4,))
    y = Clipped()(keras3.layers.Dense(5, activation="tanh")(start))
    model = keras3.Model(start, keras3.layers.Dense(1)(y))
    draws = [np.random.RandomState(k).normal(size=w.shape) for k, w in enumerate(model.get_weights())]
    model.set_weights([d.astype("float32") for d in draws])
    model.compile(keras3.optimizers.SGD(0.1), "mse")
    rng = np.random.RandomState(0)
    x, y = rng.normal(size=(16, 4)).astype("float32"), rng.normal(size=(16, 1)).astype("float32") * 5
    losses = model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(losses, [21.938622, 16.047134, 15.161698], rtol=1e-5)


def test_a_step_before_compile_and_before_data() -> None:
    start = keras3.Input((3,))
    kind = type("Linear", (keras3.Model,), {"train_step": asks_twice})
    model = kind(start, layers.Dense(1)(start))
    with pytest.raises(NotCompiledError):
        model.fit(X, Y)
    model.compile("sgd")
    with pytest.raises(InputError, match="same number of samples"):
        model.fit(X, Y[:3])
    with pytest.raises(InputError, match="32 bits"):
        model.fit(np.full((3, 1), 2**40))
    with pytest.raises(ModelError, match="follows from data"):
        model.traced_step("train")


def test_a_model_without_call_gives_no_outputs() -> None:
    class Steps(keras3.Model):
        def train_step(self, data: Any) -> Any:
            return {"mean": ops.mean(data)}

    model = Steps()
    model.compile("sgd")
    assert model.fit(X, shuffle=False, verbose=0).history["mean"] == [pytest.approx(X[64:].mean(), rel=1e-5)]
    with pytest.raises(ModelError, match="no call"):
        model.predict(X)


@pytest.mark.parametrize(("keras", "kind"), [(keras3, dict), (tf_keras, Tensor)])
def test_one_array_of_weights_is_that_of_each_label(keras: Any, kind: type) -> None:
    """In Keras 3, where arrays are cut into batches; tf.keras gives it as it is."""
    seen: list[Any] = []

    class Steps(keras.Model):  # type: ignore[name-defined, misc]
        def train_step(self, data: Any) -> Any:
            seen.append(data[2])
            return {"first": ops.mean(data[0])}

    model = Steps()
    model.compile("sgd")
    labels = {"a": X[:, :1], "b": X[:, :2]}
    model.fit(X, labels, sample_weight=np.ones(len(X), "float32"), verbose=0)
    assert isinstance(seen[-1], kind)
    assert not isinstance(seen[-1], dict) or seen[-1].keys() == labels.keys()


def test_an_optimizer_takes_a_step_on_arrays() -> None:
    """Outside of a step gradients are arrays, and the variables change at once."""
    layer = layers.Dense(1, use_bias=False, kernel_initializer="ones")
    layer.build((None, 2))
    optimizer = keras3.optimizers.SGD(0.5, momentum=0.5)
    for _ in range(2):
        optimizer.apply([np.array([[1.0], [2.0]], "float32")], layer.trainable_variables)
    np.testing.assert_allclose(layer.get_weights()[0][:, 0], [1 - 0.5 - 0.75, 1 - 1.0 - 1.5])
    assert int(optimizer.iterations.numpy()) == 2
    with pytest.raises(ModelError, match="as many gradients as variables"):
        optimizer.apply([], layer.trainable_variables)
