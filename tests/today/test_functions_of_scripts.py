"""`tf.function`: called as Python has it, traced, and compiled for each form of its arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kcompile import tf_keras
from kcompile.keras.pipelines import Dataset
from kcompile.tensorflow import names

tf: dict[str, Any] = names("")
function, constant, Variable = tf["function"], tf["constant"], tf["Variable"]


def floats(*values: float) -> Any:
    return constant(np.array(values, np.float32))


def compiled(f: Any) -> list[bool]:
    """Of each form that came, whether there is code."""
    return [form.code is not None for form in f._forms.values()]


def test_each_form_is_compiled_when_it_comes_again() -> None:
    calls = []

    @function
    def scaled(x: Any, by: Any, offset: float = 0.0) -> Any:
        calls.append(1)
        return {"y": x * by + offset, "n": None, "of": [x[0]]}

    by = Variable(2.0)
    for k in range(5):
        found = scaled(floats(1.0, k), by)
        np.testing.assert_array_equal(found["y"], [2.0, 2.0 * k])
        assert found["n"] is None and float(found["of"][0]) == 1.0 and found["y"].numpy().dtype == np.float32
    assert len(calls) == 2 and compiled(scaled) == [True]
    by.assign(3.0)
    np.testing.assert_array_equal(scaled(floats(1.0, 2.0), by)["y"], [3.0, 6.0])
    assert scaled(floats(1.0, 2.0), by, offset=1.0)["y"].tolist() == [4.0, 7.0]
    assert scaled(floats(1.0), by)["y"].shape == (1,)
    assert scaled(floats(1.0), Variable(5.0))["y"].tolist() == [5.0]
    assert compiled(scaled) == [True, False, False, False]


def test_what_asks_for_values_runs_as_python_has_it() -> None:
    @function
    def positive(x: Any) -> Any:
        if tf["reduce_sum"](x) > 0:
            return x
        return -x

    batches = iter(Dataset.from_tensor_slices(np.arange(6, dtype=np.float32)))

    @function
    def following() -> Any:
        return next(batches) * 2.0

    @function
    def total() -> Any:
        found = constant(0.0)
        for x in Dataset.from_tensor_slices(np.arange(3, dtype=np.float32)):
            found = found + x
        return found

    for sign in (1.0, -1.0, 1.0, -1.0):
        assert float(positive(floats(sign * 2))[0]) == 2.0
    assert [float(following()) for _ in range(6)] == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    assert [float(total()) for _ in range(4)] == [3.0] * 4
    assert compiled(positive) == compiled(following) == compiled(total) == [False]
    with pytest.raises(StopIteration):
        following()


def test_updates_draws_and_methods() -> None:
    class Counter(tf["Module"]):
        def __init__(self) -> None:
            super().__init__()
            self.count = Variable(0.0)

        @function
        def add(self, x: Any) -> Any:
            self.count.assign_add(x)
            return self.count * 10.0

    one, other = Counter(), Counter()
    assert [float(one.add(constant(1.0))) for _ in range(4)] == [10.0, 20.0, 30.0, 40.0]
    assert float(other.add(constant(2.0))) == 20.0 and float(one.count) == 4.0

    @function
    def drawn() -> Any:
        return names("random")["normal"]((3,))

    found = {drawn().numpy().tobytes() for _ in range(5)}
    assert len(found) == 5 and compiled(drawn) == [True]


def test_functions_in_layers_and_models_are_traced_with_them() -> None:
    class Doubled(tf_keras.layers.Layer):
        @function
        def call(self, x: Any) -> Any:
            return x * 2.0

    class Own(tf_keras.Model):
        @function
        def train_step(self, data: Any) -> Any:
            return super().train_step(data)

    start = tf_keras.Input((2,))
    model = Own(start, tf_keras.layers.Dense(1, kernel_initializer="ones")(Doubled()(start)))
    x = np.ones((4, 2), np.float32)
    np.testing.assert_array_equal(model.predict(x, verbose=0), np.full((4, 1), 4.0))
    model.compile("sgd", "mse")
    assert model.fit(x, np.zeros((4, 1)), verbose=0).history["loss"] == [16.0]


def test_functions_run_eagerly_where_the_script_says_so() -> None:
    calls = []

    @function
    def f(x: Any) -> Any:
        calls.append(1)
        return x + 1.0

    switch = names("config")["run_functions_eagerly"]
    switch(True)
    try:
        for _ in range(4):
            f(floats(1.0))
    finally:
        switch(False)
    assert len(calls) == 4 and not f._forms
