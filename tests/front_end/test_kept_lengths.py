"""What is kept of models whose inputs leave sizes unknown: code for every length within a bound of memory,
and one block of prepared weights for all of them. Compilations are counted, never timed."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile.codegen.binary import jit
from kcompile.interpreted import InterpreterEngine
from kcompile.keras import backend as K
from kcompile.keras import layers as L
from kcompile.keras import lengths as sizes
from kcompile.keras.models import Input, Model, Sequential
from kcompile_runtime import Prepared

WIDTH = 3


@pytest.fixture
def compiles(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each compilation that is not in the disk cache."""
    made: list[int] = []
    original = jit.compile_apart

    def counted(*args: Any) -> Any:
        made.append(1)
        return original(*args)

    monkeypatch.setattr(jit, "compile_apart", counted)
    monkeypatch.setenv("KC_CACHE", "off")
    return made


def counted_fills(monkeypatch: pytest.MonkeyPatch) -> list[Prepared]:
    """Grows with each block that is prepared anew."""
    filled: list[Prepared] = []
    update = Prepared.update

    def noted(self: Prepared) -> None:
        if self.stale and self.fill is not None:
            filled.append(self)
        update(self)

    monkeypatch.setattr(Prepared, "update", noted)
    return filled


def recurrent() -> Any:
    return Sequential([L.LSTM(20, input_shape=(None, WIDTH)), L.Dense(2)])


def convolution() -> Any:
    return Sequential(
        [
            L.Conv1D(16, 5, padding="same", activation="relu", input_shape=(None, WIDTH)),
            L.GlobalMaxPooling1D(),
            L.Dense(2),
        ]
    )


def data(length: int, n: int = 2) -> tuple[Any, Any]:
    rng = np.random.default_rng(length)
    return rng.normal(size=(n, length, WIDTH)).astype("f"), rng.normal(size=(n, 2)).astype("f")


def agree(model: Any, *lengths: int) -> None:
    for length in lengths:
        x, _ = data(length)
        [right] = InterpreterEngine(model).run("predict", len(x), [x])
        np.testing.assert_allclose(model.predict(x), right, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("make", "count"), [(recurrent, 10), (convolution, 40)])
def test_many_lengths_compile_once(
    make: Callable[[], Any], count: int, compiles: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = range(6, 46, 40 // count)
    model, filled = make(), counted_fills(monkeypatch)
    first = [model.predict(data(length)[0]) for length in lengths]
    assert len(compiles) == count
    blocks = {id(block) for block in filled}
    assert len(filled) == len(blocks) <= 2  # a convolution has one for direct code and one for Winograd's
    second = [model.predict(data(length)[0]) for length in lengths]
    assert len(compiles) == count and len(filled) == len(blocks)
    for a, b in zip(first, second):
        assert a.tobytes() == b.tobytes()
    agree(model, 6, lengths[1], lengths[-1])
    model.set_weights([2 * w for w in model.get_weights()])
    agree(model, *lengths[:: count // 5])
    assert len(compiles) == count and len(filled) == 2 * len(blocks)


def test_every_entry_keeps_its_lengths(compiles: list[int]) -> None:
    model = convolution()
    model.compile("sgd", "mse")
    for _ in range(2):
        for length in (4, 5, 6):
            model.train_on_batch(*data(length))
            model.test_on_batch(*data(length))
            agree(model, length)
    assert len(compiles) == 9


def test_training_at_one_length_reaches_the_code_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    for make in (recurrent, convolution):
        model, filled = make(), counted_fills(monkeypatch)
        model.compile("sgd", "mse")
        agree(model, 5, 9, 13)
        for round in range(2):
            before = len(filled)
            model.fit(*data(5 + round), verbose=0)
            agree(model, 9, 5, 13)
            assert len(filled) == before + 1  # lengths 5, 9, 13 prepare the same
            model.set_weights([w + np.float32(0.125) for w in model.get_weights()])
            agree(model, 13, 5, 9)
            assert len(filled) == before + 2


def test_several_inputs_and_axes(compiles: list[int]) -> None:
    a, b = Input((None, WIDTH)), Input((None, None, 2))
    y = L.Concatenate()([L.GRU(6)(a), L.GlobalAveragePooling2D()(L.Conv2D(6, 3, padding="same")(b))])
    model = Model([a, b], L.Dense(2)(y))
    shapes = [(i, 5 + j, 4 + k) for i in (3, 4) for j in (0, 1) for k in (0, 2)]
    for _ in range(2):
        for t, h, w in shapes:
            x = [data(t)[0], np.ones((2, h, w, 2), "f")]
            [right] = InterpreterEngine(model).run("predict", 2, x)
            np.testing.assert_allclose(model.predict(x), right, rtol=1e-4, atol=1e-5)
    assert len(compiles) == len(shapes)


def test_a_function_of_a_backend_keeps_them_too(compiles: list[int]) -> None:
    model = convolution()
    function = K.function([model.input], [model.output])
    for _ in range(2):
        for length in range(5, 25):
            function([data(length)[0]])
    assert len(compiles) == 20


# ---------------------------------------------------------------- memory


def bounded(monkeypatch: pytest.MonkeyPatch, engine: Any, count: int) -> None:
    """A bound that holds so many of the programs that there are."""
    each = max(made.nbytes for made in engine._made.values())
    monkeypatch.setattr(sizes, "MEMORY", engine._shared_bytes() + count * each + each // 2)


def test_what_was_used_longest_ago_is_forgotten_first(
    compiles: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = recurrent()
    engine = kcompile.compile(model).engine
    agree(model, 5, 6, 7)
    bounded(monkeypatch, engine, 3)
    agree(model, 5, 6, 7, 5)
    assert len(compiles) == 3
    agree(model, 8)
    assert len(compiles) == 4 and [key[1] for key in engine._made.order()] == [((7,),), ((5,),), ((8,),)]
    agree(model, 5, 7, 8)
    assert len(compiles) == 4
    agree(model, 6)  # forgotten: made again, and 5 is forgotten
    assert len(compiles) == 5 and ("predict", ((5,),)) not in engine._made.order()


def test_the_last_of_each_entry_stays_however_large(
    compiles: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizes, "MEMORY", 0)
    model = recurrent()
    model.compile("sgd", "mse")
    for _ in range(3):
        model.train_on_batch(*data(5))
        model.test_on_batch(*data(5))
        model.predict(data(6)[0])
    assert len(compiles) == 3
    model.predict(data(7)[0])
    model.predict(data(6)[0])
    assert len(compiles) == 5
    fixed = Sequential([L.Dense(2, input_shape=(3,))])
    fixed.compile("sgd", "mse")
    for _ in range(2):
        for call in (fixed.train_on_batch, fixed.test_on_batch):
            call(np.ones((2, 3), "f"), np.ones((2, 2), "f"))
        fixed.predict(np.ones((2, 3), "f"))
    assert len(compiles) == 8


def test_workspaces_that_grew_count(compiles: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    model = recurrent()
    engine = kcompile.compile(model).engine
    agree(model, 5, 6, 7)
    monkeypatch.setattr(sizes, "MEMORY", sum(made.nbytes for made in engine._made.values()) + 2**20)
    model.predict(np.ones((20000, 6, WIDTH), "f"), batch_size=20000)
    assert len(engine._made.order()) == 3
    agree(model, 7)
    assert [key[1] for key in engine._made.order()] == [((7,),)]


def test_what_is_forgotten_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """But not the block that the others prepared with its code."""
    monkeypatch.setattr(sizes, "MEMORY", 0)
    model = recurrent()
    engine = kcompile.compile(model).engine
    agree(model, 5)
    blocks = [engine.program("predict", 5).block]
    agree(model, 6)
    blocks.append(engine.program("predict", 6).block)
    gc.collect()
    assert [key[1] for key in engine._made.order()] == [((6,),)]
    model.set_weights([2 * w for w in model.get_weights()])
    agree(model, 6, 7)
    assert len(engine._made.order()) == 1 and len(engine._blocks) == 1


def test_a_block_is_shared_only_where_it_is_the_same() -> None:
    """Models of one shape have one digest, and variables of their own."""
    one, two = Sequential([recurrent()]), recurrent()
    engine = kcompile.compile(Model(one.input, [one.output, two(one.input)])).engine
    x = data(5)[0]
    found = engine.run("predict", 2, [x])
    for made, model in zip(found, (one, two)):
        np.testing.assert_allclose(made, model.predict(x), rtol=1e-5, atol=1e-6)
    engines = [kcompile.compile(m).engine for m in (one, two)]
    blocks = [e.program("predict", 5).block for e in engines]
    assert blocks[0] is not blocks[1]
    assert engines[0].program("predict", 6).block is blocks[0]


# ---------------------------------------------------------------- disk

SCRIPT = """
import numpy as np
from kcompile.codegen.binary import jit
made, original = [], jit.compile_apart
jit.compile_apart = lambda *args: made.append(1) or original(*args)
from kcompile.keras import layers as L
from kcompile.keras.models import Sequential
model = Sequential([L.LSTM(20, input_shape=(None, 3)), L.Dense(2)])
model.compile("sgd", "mse")
for length in LENGTHS:
    model.predict(np.ones((2, length, 3), "f"))
    model.train_on_batch(np.ones((2, length, 3), "f"), np.ones((2, 2), "f"))
blocks = {id(model.engine.program("predict", length).block) for length in LENGTHS}
print(len(made), len(blocks))
"""


def test_another_process_finds_every_length(tmp_path: Path) -> None:
    def run(*lengths: int) -> list[int]:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT.replace("LENGTHS", repr(lengths))],
            check=True,
            env={**os.environ, "KC_CACHE": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        return [int(word) for word in done.stdout.split()]

    assert run(5, 6, 7) == [6, 1]
    assert run(7, 5, 8) == [2, 1]
    assert run(8, 7, 6, 5) == [0, 1]
