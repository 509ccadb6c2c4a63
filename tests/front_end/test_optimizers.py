"""Optimizers: every formula against plain numpy, and 50 steps against real Keras."""

from typing import Any

import numpy as np
import pytest

from kcompile import keras, keras3, tf_keras
from kcompile.interpreted import InterpreterEngine
from kcompile.keras import backend as K
from kcompile.keras import optimizer, optimizers, schedules
from kcompile.keras.layers import Dense
from kcompile.keras.models import Sequential

STEPS = 6


def model_of(optimizer, vintage="keras2", units=3):
    """One dense layer with the loss sum(w * y): its gradient is chosen by the labels."""
    model = Sequential([Dense(units, input_shape=(2,))], vintage=vintage)
    model.compile(optimizer, lambda y_true, y_pred: y_true * y_pred)
    model.use_engine(InterpreterEngine(model))
    return model


def run(optimizer, vintage="keras2", steps=STEPS, scale=1.0):
    """Weights after each step, and the gradients that were applied: for the kernel."""
    rng = np.random.default_rng(3)
    np.random.seed(3)  # of the initial weights
    model = model_of(optimizer, vintage)
    weights, gradients = [model.get_weights()[0]], []
    for _ in range(steps):
        x, y = rng.normal(size=(4, 2)).astype("f"), rng.normal(size=(4, 3)).astype("f") * scale
        model.train_on_batch(x, y)
        gradients.append((x.T.astype(float) @ y) / 4 / 3)
        weights.append(model.get_weights()[0])
    return weights, gradients


def reference(step, weights, gradients, **state):
    """The weights that `step(w, g, t, state)` gives."""
    w, result = weights[0].astype(float), []
    state = {key: np.full(w.shape, value) for key, value in state.items()}
    for t, g in enumerate(gradients, 1):
        w = step(w, g, t, state)
        result.append(w)
    return result


def sgd(w, g, t, s, lr=0.1, momentum=0.0, nesterov=False, decay=0.0):
    lr = lr / (1 + decay * (t - 1))
    s["m"] = momentum * s["m"] - lr * g
    return w + (momentum * s["m"] - lr * g if nesterov else s["m"])


def rmsprop(w, g, t, s, inside=False):
    s["a"] = 0.9 * s["a"] + 0.1 * g * g
    return w - 0.01 * g / (np.sqrt(s["a"] + 1e-7) if inside else np.sqrt(s["a"]) + 1e-7)


def adam(w, g, t, s, amsgrad=False):
    s["m"] = 0.9 * s["m"] + 0.1 * g
    s["v"] = 0.999 * s["v"] + 0.001 * g * g
    s["h"] = np.maximum(s["h"], s["v"])
    lr = 0.01 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    return w - lr * s["m"] / (np.sqrt(s["h"] if amsgrad else s["v"]) + 1e-7)


def adagrad(w, g, t, s):
    s["a"] = s["a"] + g * g
    return w - 0.01 * g / (np.sqrt(s["a"]) + 1e-7)


def adadelta(w, g, t, s):
    s["a"] = 0.95 * s["a"] + 0.05 * g * g
    u = g * np.sqrt(s["d"] + 1e-7) / np.sqrt(s["a"] + 1e-7)
    s["d"] = 0.95 * s["d"] + 0.05 * u * u
    return w - u


def adamax(w, g, t, s):
    s["m"] = 0.9 * s["m"] + 0.1 * g
    s["u"] = np.maximum(0.999 * s["u"], np.abs(g))
    return w - 0.002 / (1 - 0.9**t) * s["m"] / (s["u"] + 1e-7)


def nadam(w, g, t, s):
    """As Keras 2 writes it, with its momentum_cache and m_schedule."""
    now, following = (0.9 * (1 - 0.5 * 0.96 ** (k * 0.004)) for k in (t, t + 1))
    s["p"] = s["p"] * now
    s["m"] = 0.9 * s["m"] + 0.1 * g
    s["v"] = 0.999 * s["v"] + 0.001 * g * g
    bar = (1 - now) * g / (1 - s["p"]) + following * s["m"] / (1 - s["p"] * following)
    return w - 0.002 * bar / (np.sqrt(s["v"] / (1 - 0.999**t)) + 1e-7)


FORMULAS = {
    "sgd": (lambda: optimizers.SGD(lr=0.1), sgd, {"m": 0}),
    "sgd decay": (lambda: optimizers.SGD(lr=0.1, decay=0.5), lambda *a: sgd(*a, decay=0.5), {"m": 0}),
    "sgd momentum": (lambda: optimizers.SGD(0.1, 0.9), lambda *a: sgd(*a, momentum=0.9), {"m": 0}),
    "sgd nesterov": (
        lambda: optimizers.SGD(0.1, 0.9, nesterov=True),
        lambda *a: sgd(*a, momentum=0.9, nesterov=True),
        {"m": 0},
    ),
    "rmsprop": (lambda: optimizers.RMSprop(0.01), rmsprop, {"a": 0}),
    "adam": (lambda: optimizers.Adam(0.01), adam, {"m": 0, "v": 0, "h": 0}),
    "adam amsgrad": (
        lambda: optimizers.Adam(0.01, amsgrad=True),
        lambda *a: adam(*a, amsgrad=True),
        {"m": 0, "v": 0, "h": 0},
    ),
    "adagrad": (optimizers.Adagrad, adagrad, {"a": 0}),
    "adadelta": (optimizers.Adadelta, adadelta, {"a": 0, "d": 0}),
    "adamax": (optimizers.Adamax, adamax, {"m": 0, "u": 0}),
    "nadam": (optimizers.Nadam, nadam, {"m": 0, "v": 0, "p": 1}),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_formula(name):
    make, step, state = FORMULAS[name]
    weights, gradients = run(make())
    expected = reference(step, weights, gradients, **state)
    for found, right in zip(weights[1:], expected):
        np.testing.assert_allclose(found, right, rtol=1e-4, atol=2e-6)


def test_rmsprop_of_keras_3_has_epsilon_inside_the_root():
    weights, gradients = run(optimizers.RMSprop(0.01), "keras3", scale=1e-3)
    expected = reference(lambda *a: rmsprop(*a, inside=True), weights, gradients, a=0)
    np.testing.assert_allclose(weights[-1], expected[-1], rtol=1e-5)
    apart = run(optimizers.RMSprop(0.01), "keras2", scale=1e-3)[0]
    assert np.abs(apart[-1] - weights[-1]).max() > 1e-4


def test_clipnorm_is_of_all_gradients_in_keras_2_and_of_each_in_keras_3():
    for vintage, shared in (("keras2", True), ("keras3", False)):
        model = model_of(optimizers.SGD(lr=1.0, clipnorm=0.5), vintage)
        before = model.get_weights()
        model.train_on_batch(np.full((4, 2), 2.0), np.ones((4, 3)))
        steps = [a - b for a, b in zip(before, model.get_weights())]
        norms = [np.linalg.norm(s) for s in steps]
        if shared:
            np.testing.assert_allclose(np.linalg.norm(norms), 0.5, rtol=1e-5)
        else:
            np.testing.assert_allclose(norms, [0.5, 0.5], rtol=1e-5)


def test_an_optimizer_may_have_a_vintage_of_its_own():
    """The legacy ones of tf.keras have Keras 2's epsilon, and clip each gradient."""
    own = optimizers.RMSprop(0.01, vintage="tf_keras2.10")
    assert own.get_config()["vintage"] == "tf_keras2.10"
    weights = run(own, "keras3", scale=1e-3)[0]
    right = run(optimizers.RMSprop(0.01), "keras2", scale=1e-3)[0]
    np.testing.assert_array_equal(weights[-1], right[-1])
    own = run(optimizers.SGD(0.1, clipnorm=0.05, vintage="tf_keras2.10"), "keras2")[0]
    right = run(optimizers.SGD(0.1, clipnorm=0.05), "keras3")[0]
    np.testing.assert_array_equal(own[-1], right[-1])
    with pytest.raises(ValueError, match=r"vintage: expected one of keras2\.2, keras2, tf_keras"):
        optimizers.SGD(vintage="keras9")


def test_clipping_leaves_small_gradients_alone():
    clipped = run(optimizers.SGD(lr=0.1, clipnorm=1e3, clipvalue=1e3))[0]
    np.testing.assert_allclose(clipped[-1], run(optimizers.SGD(lr=0.1))[0][-1], rtol=1e-6)


def test_clipvalue():
    weights, gradients = run(optimizers.SGD(lr=0.1, clipvalue=0.05))
    expected = reference(lambda w, g, t, s: sgd(w, np.clip(g, -0.05, 0.05), t, s), weights, gradients, m=0)
    np.testing.assert_allclose(weights[-1], expected[-1], rtol=1e-5)


def test_learning_rate_is_set_without_a_new_graph():
    model = model_of(optimizers.SGD(lr=0.1))
    x, y = np.ones((4, 2), "f"), np.ones((4, 3), "f")
    model.train_on_batch(x, y)
    graph = model.engine.graph("train")
    model.optimizer.lr = 0.0
    before = model.get_weights()[0]
    model.train_on_batch(x, y)
    assert model.engine.graph("train") is graph
    np.testing.assert_array_equal(model.get_weights()[0], before)
    model.optimizer.learning_rate.assign(1.0)
    model.train_on_batch(x, y)
    assert np.abs(model.get_weights()[0] - before).max() > 0.1


def test_other_options_drop_the_graph():
    model = model_of(optimizers.SGD(lr=0.1, momentum=0.5))
    x, y = np.ones((4, 2), "f"), np.ones((4, 3), "f")
    model.train_on_batch(x, y)
    graph = model.engine.graph("train")
    model.optimizer.momentum = 0.9
    assert model.engine.graph("train") is not graph


def test_state_can_be_read_and_set():
    first = model_of(optimizers.Adam(0.01))
    x, y = np.ones((4, 2), "f"), np.ones((4, 3), "f")
    for _ in range(3):
        first.train_on_batch(x, y)
    state = first.optimizer.get_weights()
    assert state[0] == 3 and [s.shape for s in state[1:]] == [(2, 3), (3,), (2, 3), (3,)]
    second = model_of(optimizers.Adam(0.01))
    second.set_weights(first.get_weights())
    second.optimizer.build(second.trainable_weights)
    second.optimizer.set_weights(state)
    for model in (first, second):
        model.train_on_batch(x, y)
    for a, b in zip(first.get_weights(), second.get_weights()):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match=r"expected 5 arrays. Received: 1"):
        second.optimizer.set_weights(state[:1])


@pytest.mark.parametrize("name", optimizers.CLASSES)
def test_configuration(name):
    made = optimizers.get(name)
    again = optimizers.deserialize(optimizers.serialize(made))
    assert type(again) is type(made) and again.get_config() == made.get_config()
    assert type(made).from_config({"lr": 0.5}).lr.value == np.float32(0.5)


def test_configurations_of_keras_3_are_read():
    config = {
        "name": "adam",
        "learning_rate": 0.01,
        "weight_decay": None,
        "clipnorm": None,
        "global_clipnorm": None,
        "clipvalue": None,
        "use_ema": False,
        "ema_momentum": 0.99,
        "ema_overwrite_frequency": None,
        "loss_scale_factor": None,
        "gradient_accumulation_steps": None,
        "beta_1": 0.8,
        "amsgrad": True,
    }
    made = optimizers.Adam.from_config(config)
    assert made.beta_1 == 0.8 and made.amsgrad
    with pytest.raises(TypeError, match="jit_compile"):
        optimizers.Adam.from_config({**config, "jit_compile": 3})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optimizers.SGD(lr=-1), "of at least 0"),
        (lambda: optimizers.SGD(momentum=2), "from 0 to 1"),
        (lambda: optimizers.SGD(lr=0.1, learning_rate=0.1), "not both"),
        (lambda: optimizers.Adam(rho=0.1), "'rho' is not supported"),
        (lambda: optimizers.Adam(lambda step: 0.1), "LearningRateScheduler"),
        (lambda: optimizers.get("mistake"), r"unknown optimizer.*'mistake'"),
        (lambda: optimizers.get(3), "unknown optimizer"),
        (lambda: optimizers.Adam(clipnorm=-1.0), "clipnorm: expected"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


class Warm(schedules.LearningRateSchedule):
    """A schedule as scripts write them."""

    def __init__(self, peak, steps=3):
        self.peak, self.steps = peak, steps

    def __call__(self, step):
        step = K.cast(step, "float32") + 1.0
        return self.peak * K.minimum(step / self.steps, K.sqrt(self.steps / step))

    def get_config(self):
        return {"peak": self.peak, "steps": self.steps}


RATES = {
    "own": (Warm(0.6), [0.2, 0.4, 0.6, 0.6 * 0.75**0.5]),
    "exponential": (schedules.ExponentialDecay(0.8, 2, 0.25), [0.8, 0.4, 0.2, 0.1]),
    "staircase": (schedules.ExponentialDecay(0.8, 2, 0.25, staircase=True), [0.8, 0.8, 0.2, 0.2]),
    "pieces": (schedules.PiecewiseConstantDecay([0, 2], [1.0, 0.5, 0.1]), [1.0, 0.5, 0.5, 0.1]),
    "polynomial": (schedules.PolynomialDecay(1.0, 2, 0.5), [1.0, 0.75, 0.5, 0.5]),
    "inverse": (schedules.InverseTimeDecay(1.0, 1, 1.0), [1.0, 1 / 2, 1 / 3, 1 / 4]),
    "cosine": (schedules.CosineDecay(1.0, 2, 0.5), [1.0, 0.75, 0.5, 0.5]),
    "warm-up": (schedules.CosineDecay(0.0, 2, warmup_target=1.0, warmup_steps=2), [0.0, 0.5, 1.0, 0.5]),
    "restarts": (schedules.CosineDecayRestarts(1.0, 1, m_mul=0.5), [1.0, 0.5, 0.25, 0.25]),
}


@pytest.mark.parametrize("name", RATES)
def test_rates_of_schedules(name):
    """The step of a weight whose gradient is -1 is the rate, which the compiled step counts itself."""
    schedule, expected = RATES[name]
    model = model_of(optimizers.SGD(schedule))
    places = []
    for _ in range(5):
        places.append(model.get_weights()[1][0])
        model.train_on_batch(np.zeros((4, 2)), np.full((4, 3), -3.0))
    np.testing.assert_allclose(np.diff(places), expected, rtol=1e-5, atol=1e-6)
    assert float(model.optimizer.lr) == pytest.approx(float(K.eval(schedule(5.0))))
    with pytest.raises(TypeError, match="the learning rate is a schedule"):
        model.optimizer.lr = 0.1
    config = model.optimizer.get_config()
    again = optimizers.deserialize({"class_name": "SGD", "config": config}, {"Warm": Warm})
    assert again.get_config() == config


def test_gradients_of_several_batches_make_one_step():
    weights, _ = run(optimizers.SGD(0.1, gradient_accumulation_steps=2), steps=4)
    _, gradients = run(optimizers.SGD(0.1), steps=4)
    np.testing.assert_array_equal(weights[1], weights[0])
    expected = weights[0] - 0.1 * (gradients[0] + gradients[1]) / 2
    np.testing.assert_allclose(weights[2], expected, rtol=1e-5, atol=1e-6)


def test_weights_decay_but_for_those_that_are_excluded():
    for excluded, factor in (((), 0.95), (("kernel",), 1.0)):
        optimizer = optimizers.SGD(0.1, weight_decay=0.5)
        optimizer.exclude_from_weight_decay(var_names=list(excluded))
        weights, gradients = run(optimizer, steps=1)
        np.testing.assert_allclose(weights[1], weights[0] * factor - 0.1 * gradients[0], rtol=1e-5, atol=1e-6)


def test_the_moving_average_becomes_the_weights_when_fit_ends():
    model = model_of(optimizers.SGD(1.0, use_ema=True, ema_momentum=0.75), "keras3")
    start = model.get_weights()[1]
    model.fit(np.zeros((8, 2)), np.full((8, 3), -3.0), batch_size=4, verbose=0)
    first, second = start + 1, start + 2  # the biases after each step
    np.testing.assert_allclose(model.get_weights()[1], 0.75 * first + 0.25 * second, rtol=1e-5)


# ---------------------------------------------------------------- real Keras

KERAS = {
    "SGD": {"learning_rate": 0.05},
    "SGD momentum": {"learning_rate": 0.05, "momentum": 0.9},
    "SGD nesterov": {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True},
    "RMSprop": {"learning_rate": 0.01},
    "Adam": {"learning_rate": 0.01},
    "Adam amsgrad": {"learning_rate": 0.01, "amsgrad": True},
    "Adam clipnorm": {"learning_rate": 0.01, "clipnorm": 0.1},
    "SGD global_clipnorm": {"learning_rate": 0.05, "global_clipnorm": 0.1},
    "SGD clipvalue": {"learning_rate": 0.05, "clipvalue": 0.01},
    "Adagrad": {"learning_rate": 0.05, "initial_accumulator_value": 0.1},
    "Adadelta": {"learning_rate": 1.0},
    "Adamax": {"learning_rate": 0.01},
    "Nadam": {"learning_rate": 0.01},
}


@pytest.mark.keras
@pytest.mark.parametrize("name", KERAS)
def test_50_steps_are_those_of_keras(name):
    import keras

    rng = np.random.default_rng(1)
    kind = name.split()[0]
    ours = Sequential(
        [Dense(16, activation="tanh", input_shape=(8,)), Dense(4, activation="softmax")], vintage="keras3"
    )
    ours.compile(getattr(optimizers, kind)(**KERAS[name]), "categorical_crossentropy")
    ours.use_engine(InterpreterEngine(ours))
    theirs = keras.Sequential(
        [
            keras.layers.Input((8,)),
            keras.layers.Dense(16, activation="tanh"),
            keras.layers.Dense(4, activation="softmax"),
        ]
    )
    theirs.set_weights(ours.get_weights())
    theirs.compile(getattr(keras.optimizers, kind)(**KERAS[name]), "categorical_crossentropy")
    found, expected = [], []
    for _ in range(50):
        x = rng.normal(size=(16, 8)).astype("f")
        y = np.eye(4, dtype="f")[np.abs(x[:, :4]).argmax(1)]
        found.append(ours.train_on_batch(x, y))
        theirs.reset_metrics()
        expected.append(float(theirs.train_on_batch(x, y)))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    for a, b in zip(ours.get_weights(), theirs.get_weights()):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize(
    ("by_position", "by_name"),
    [
        (
            optimizers.SGD(0.01, 0.9, 1e-6, True),
            optimizers.SGD(0.01, momentum=0.9, decay=1e-6, nesterov=True),
        ),
        (
            optimizers.RMSprop(0.01, 0.8, 1e-6, 1e-5),
            optimizers.RMSprop(0.01, rho=0.8, epsilon=1e-6, decay=1e-5),
        ),
        (optimizers.Adagrad(0.01, 1e-6, 1e-5), optimizers.Adagrad(0.01, epsilon=1e-6, decay=1e-5)),
        (
            optimizers.Adadelta(0.01, 0.8, 1e-6, 1e-5),
            optimizers.Adadelta(0.01, rho=0.8, epsilon=1e-6, decay=1e-5),
        ),
        (
            optimizers.Adam(1e-3, 0.8, 0.99, 1e-8, 1e-5, True),
            optimizers.Adam(1e-3, beta_1=0.8, beta_2=0.99, epsilon=1e-8, decay=1e-5, amsgrad=True),
        ),
        (
            optimizers.Adamax(1e-3, 0.8, 0.99, 1e-8, 1e-5),
            optimizers.Adamax(1e-3, beta_1=0.8, beta_2=0.99, epsilon=1e-8, decay=1e-5),
        ),
        (
            optimizers.Nadam(1e-3, 0.8, 0.99, 1e-8, 1e-5),
            optimizers.Nadam(1e-3, beta_1=0.8, beta_2=0.99, epsilon=1e-8, schedule_decay=1e-5),
        ),
    ],
)
def test_arguments_by_position_are_those_of_keras_2(by_position, by_name):
    assert by_position.get_config() == by_name.get_config()


@pytest.mark.parametrize("kind", optimizers.CLASSES.values())
def test_each_optimizer_says_what_others_call_its_slots(kind):
    """Without that, a live optimizer could not be followed, nor its state be written and read."""
    flags = {name: True for name in optimizer.FLAGS if name in kind.options}
    used = kind(**({"momentum": 0.9} if "momentum" in kind.options else {}), **flags).slots()
    assert list(used) == [slot.name for slot in kind.known_slots]
    for words in zip(*kind.known_slots):
        assert len(set(words)) == len(kind.known_slots) and all(words)


# ---------------------------------------------------------------- the state as scripts see it


@pytest.mark.parametrize(
    "edition, names",
    [
        (keras3, ["iteration", "learning_rate", "net_d_kernel_momentum", "net_d_kernel_velocity"]),
        (tf_keras, ["iteration:0", "Adam/m/d/kernel:0", "Adam/v/d/kernel:0", "Adam/m/d/bias:0"]),
        (keras, ["training/Adam/iteration:0", "training/Adam/d/kernel/m:0", "training/Adam/d/bias/m:0"]),
    ],
)
def test_variables_of_an_optimizer_are_those_of_its_keras(edition, names):
    model = edition.models.Sequential([edition.layers.Dense(2, input_shape=(3,), name="d")], name="net")
    optimizer = edition.optimizers.Adam(0.01)
    assert not optimizer.built
    optimizer.build(model.trainable_weights)
    assert optimizer.built and [v.name for v in optimizer.variables][: len(names)] == names


@pytest.mark.parametrize("edition", [keras3, tf_keras])
def test_weights_files_hold_the_state_of_the_optimizer(edition, tmp_path):
    def made():
        model = edition.models.Sequential([edition.layers.Dense(1, input_shape=(2,))])
        model.compile(edition.optimizers.Adam(0.1), "mse")
        return model

    path, x, y = tmp_path / "a.weights.h5", np.ones((4, 2)), np.ones((4, 1)) * 3
    model, other = made(), made()
    model.train_on_batch(x, y)
    model.save_weights(path)
    with pytest.warns(UserWarning, match="skipping variable loading for optimizer"):
        other.load_weights(path)
    other.optimizer.build(other.trainable_variables)
    other.load_weights(path)
    assert int(other.optimizer.iterations.value) == 1
    for _ in range(2):
        assert other.train_on_batch(x, y) == model.train_on_batch(x, y)


def test_iterations_are_steps_and_schedules_count_batches_where_several_make_a_step() -> None:
    """What Keras 3 gave; a step of one's own sees the number of steps too."""

    class Growing(keras3.optimizers.SGD):
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            steps = keras3.ops.cast(self.iterations, "float32")
            self.assign_sub(variable, gradient * learning_rate * (1.0 + steps))

    def trained(optimizer: Any, batches: int) -> Any:
        model = keras3.Sequential([keras3.Input((3,)), keras3.layers.Dense(1, kernel_initializer="ones")])
        model.compile(optimizer, "mse")
        x = np.ones((batches, 3), np.float32)
        model.fit(x, x[:, :1], batch_size=1, shuffle=False, verbose=0)
        return model.get_weights()[0]

    schedule = keras3.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    optimizer = keras3.optimizers.SGD(schedule, gradient_accumulation_steps=3)
    trained(optimizer, 5)
    assert int(optimizer.iterations) == 1
    np.testing.assert_allclose(float(np.asarray(optimizer.learning_rate)), 0.0177, 1e-2)
    growing = Growing(0.01, gradient_accumulation_steps=2)
    np.testing.assert_allclose(trained(growing, 9), np.full((3, 1), 0.69969153), 1e-5)
    assert int(growing.iterations) == 4


def test_configurations_have_the_keys_of_their_keras():
    """Recorded from Keras 3.15, and from tf_keras 2.21 and its `legacy`."""
    common = {"weight_decay": None, "clipnorm": None, "global_clipnorm": None, "clipvalue": None}
    common |= {"use_ema": False, "ema_momentum": 0.99, "ema_overwrite_frequency": None}
    own = {"learning_rate": 0.5, "momentum": 0.0, "nesterov": False}
    last = {"loss_scale_factor": None, "gradient_accumulation_steps": None}
    wanted = {"name": "sgd", **common, **last, **own}
    keras3.backend.clear_session()  # names are numbered
    assert keras3.optimizers.SGD(0.5).get_config() == wanted
    keras3.backend.clear_session()
    model = keras3.Sequential([keras3.layers.Dense(1)])
    model.compile("sgd", "mse")  # by name too
    model.optimizer.learning_rate = 0.5
    assert model.optimizer.get_config() == wanted
    last = {"jit_compile": False, "is_legacy_optimizer": False}
    assert tf_keras.optimizers.SGD(0.5, jit_compile=True).get_config() == {
        "name": "SGD",
        **common,
        **last,
        **own,
    }
    legacy = tf_keras.optimizers.legacy
    assert legacy.SGD(0.5).get_config() == {"name": "SGD", "decay": 0.0, **own}
    assert legacy.Nadam.from_config({"decay": 0.25}).get_config()["decay"] == 0.25  # its schedule_decay
    assert legacy.Nadam(schedule_decay=0.25).decay == 0.0

    class Own(keras3.optimizers.SGD):
        def get_config(self):
            return {**super().get_config(), "momentum": 0.25}

    assert Own.from_config(Own().get_config()).momentum == 0.25
