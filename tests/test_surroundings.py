"""What surrounds a script and its arrays: an odd locale, no home, processes that compile the same model at
once, the end of a process while it saves, arrays that share memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import kcompile
from kcompile.keras import layers
from kcompile.keras.models import Sequential

SCRIPT = """
import numpy as np
import kcompile
from kcompile.keras import layers
from kcompile.keras.models import Sequential
model = Sequential([layers.Dense(17, activation="tanh", input_shape=(13,)), layers.Dense(2)])
for w in model.weights:
    w.assign(np.full(w.shape, 0.25))
compiled = kcompile.compile(model)
print(float(compiled.predict(np.ones((3, 13)))[0, 0]).hex(), flush=True)
{more}
"""
SAVES = """
import sys
for size in range(200):
    model.layers[1].set_weights([np.full((17, 2), size), np.zeros(2)])
    model.save(sys.argv[1])
    print("saved", flush=True)
"""
LOADS = """
model.save("m.h5")
print(float(kcompile.load("m.h5").predict(np.ones((3, 13)))[0, 0]).hex())
"""


def started(more: str, folder: Path, *arguments: str, **surroundings: str | None) -> subprocess.Popen[str]:
    changed = {**os.environ, "KC_CACHE": str(folder / "cache"), **surroundings}
    return subprocess.Popen(
        [sys.executable, "-X", "utf8=0", "-c", SCRIPT.replace("{more}", more), *arguments],
        env={key: value for key, value in changed.items() if value is not None},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def test_two_processes_that_compile_one_model_at_once_agree(tmp_path: Path) -> None:
    for _ in range(2):  # the second time, from the cache that both have filled
        both = [started("", tmp_path) for _ in range(2)]
        said = [process.communicate(timeout=120) for process in both]
        assert [process.returncode for process in both] == [0, 0], said
        assert len({out for out, _ in said}) == 1 and said[0][0].startswith("0x")


def test_an_odd_locale_and_no_home(tmp_path: Path) -> None:
    odd = {"LC_ALL": "xx_YY.nothing", "LANG": "tr_TR", "PYTHONIOENCODING": "ascii:strict"}
    process = started(LOADS, tmp_path, HOME=None, XDG_CACHE_HOME=None, KC_CACHE=None, **odd)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    first, second = out.split()
    assert first == second
    assert "Traceback" not in errors


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal")
@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_the_end_of_a_process_that_saves_leaves_a_whole_file(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"m.{suffix}"
    process = started(SAVES, tmp_path, str(path))
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline().startswith("0x")
    assert process.stdout.readline() == "saved\n", process.stderr.read()
    time.sleep(0.05)
    process.kill()
    process.communicate()
    (last,) = {float(v) for v in kcompile.load(path).get_weights()[2].ravel()}
    assert last in range(200)


def test_arrays_that_share_memory_are_read_as_they_are() -> None:
    rng = np.random.default_rng(0)
    series = rng.normal(size=40).astype("float32")
    windows = np.lib.stride_tricks.sliding_window_view(series, 5)  # overlapping, and read-only
    x, y = windows[:-1], series[5:, None]

    def losses(x: np.ndarray, y: np.ndarray) -> list[float]:
        model = Sequential([layers.Dense(1, input_shape=(5,), kernel_initializer="ones")])
        model.compile("sgd", "mse")
        return list(model.fit(x, y, epochs=2, batch_size=7, shuffle=False, verbose=0).history["loss"])

    before = series.copy()
    assert losses(x, y) == losses(x.copy(), y.copy())
    np.testing.assert_array_equal(series, before)
    model = kcompile.compile(Sequential([layers.Dense(5, input_shape=(5,))]))
    buffer = np.ascontiguousarray(x)
    reversed_rows = buffer[::-1]
    np.testing.assert_array_equal(model.predict(reversed_rows), model.predict(reversed_rows.copy()))
