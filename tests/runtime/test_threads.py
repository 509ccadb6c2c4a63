"""How many threads there are, and what must not depend on it: numbers, other callers, processes, forks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forks import another_thread, in_child

import kcompile
from kcompile.keras.layers import LSTM, Conv2D, Dense, Flatten
from kcompile.keras.models import Sequential
from kcompile_runtime import InputError, default_threads, load
from kcompile_runtime.processors import quotas, usable_processors

HOST = "22 1 0:20 / / rw - ext4 /dev/vda rw\n"
V2 = "30 22 0:26 {root} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
V1 = "31 22 0:27 {root} /sys/fs/cgroup/cpu\\040time rw - cgroup cgroup rw,cpu,cpuacct\n"
OTHER = "32 22 0:28 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"


def system(folder: Path, mounts: str, groups: str, files: dict[str, str]) -> Path:
    for name, text in {"proc/self/mountinfo": mounts, "proc/self/cgroup": groups, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def v1(group: str, quota: int, period: int = 100000) -> dict[str, str]:
    base = f"sys/fs/cgroup/cpu time/{group}"
    return {f"{base}/cpu.cfs_quota_us": f"{quota}\n", f"{base}/cpu.cfs_period_us": f"{period}\n"}


QUOTAS = {
    "none": (HOST, "", {}, []),
    "version 2, no limit": (V2, "0::/a/b\n", {"sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, []),
    "version 2, in the group": (V2, "0::/a/b\n", {"sys/fs/cgroup/a/b/cpu.max": "150000 100000\n"}, [1.5]),
    "version 2, the group above is smaller": (
        V2,
        "0::/a/b\n",
        {"sys/fs/cgroup/a/b/cpu.max": "400000 100000\n", "sys/fs/cgroup/a/cpu.max": "200000 100000\n"},
        [4.0, 2.0],
    ),
    "version 2, a namespace: its group is the root": (
        V2,
        "0::/\n",
        {"sys/fs/cgroup/cpu.max": "50000 100000\n"},
        [0.5],
    ),
    "version 2, the group is outside of the namespace": (
        V2,
        "0::/../../b\n",
        {"sys/fs/cgroup/cpu.max": "300000 100000\n"},
        [3.0],
    ),
    "version 1, in the group": (V1 + OTHER, "4:cpuset:/x\n3:cpu,cpuacct:/a\n0::/\n", v1("a", 250000), [2.5]),
    "version 1, no limit": (V1, "3:cpu,cpuacct:/a\n", v1("a", -1), []),
    "version 1, the groups above": (
        V1,
        "3:cpu,cpuacct:/a/b/c\n",
        v1("a", 100000) | v1("a/b/c", 700000),
        [7.0, 1.0],
    ),
    "version 1, a container without namespace": (
        V1.replace("{root}", "/docker/1f"),
        "3:cpu,cpuacct:/docker/1f/in\n",
        v1("", 200000) | v1("in", 50000, 50000),
        [1.0, 2.0],
    ),
    "version 1, another's group is mounted": (
        V1.replace("{root}", "/docker/1f"),
        "3:cpu,cpuacct:/elsewhere\n",
        v1("", 200000),
        [2.0],
    ),
    "both versions": (
        HOST + V1 + V2,
        "3:cpu,cpuacct:/a\n0::/b\n",
        v1("a", 300000) | {"sys/fs/cgroup/b/cpu.max": "200000 100000"},
        [3.0, 2.0],
    ),
    "damaged": (
        V2 + "no mount\n - cgroup2\n",
        "nothing\n0::/a\n",
        {"sys/fs/cgroup/cpu.max": "much\n", "sys/fs/cgroup/a/cpu.max": "1 0\n"},
        [],
    ),
}


@pytest.mark.parametrize("name", QUOTAS)
def test_quotas_of_control_groups(name: str, tmp_path: Path) -> None:
    mounts, groups, files, want = QUOTAS[name]
    root = system(tmp_path, mounts.replace("{root}", "/"), groups, files)
    assert list(quotas(root)) == want
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    assert usable_processors(root) == max(1, min([allowed, *(-int(-x // 1) for x in want)]))


def test_the_variable_sets_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, want in (("1", 1), ("7", 7), (" 3 ", 3), ("", usable_processors())):
        monkeypatch.setenv("KC_THREADS", value)
        assert default_threads() == want
    for value in ("0", "-1", "two", "2.5", "99999"):
        monkeypatch.setenv("KC_THREADS", value)
        with pytest.raises(InputError, match="KC_THREADS"):
            default_threads()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity")
def test_the_default_follows_the_affinity_mask() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_processors() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize("threads", [0, -1, 2.5, "2", True, [2], 4097, 10**20])
def test_a_number_of_threads_is_checked_where_it_is_given(threads: Any, tmp_path: Path) -> None:
    model = Sequential([Dense(2, input_shape=(3,))])
    with pytest.raises(InputError, match="threads"):
        kcompile.compile(model, threads=threads)
    path = kcompile.export(model, tmp_path / "model.so")
    with pytest.raises(InputError, match="threads"):
        load(path, threads)


def mlp() -> Sequential:
    return Sequential(
        [
            Dense(300, activation="relu", input_shape=(400,)),
            Dense(300, activation="tanh"),
            Dense(7, activation="softmax"),
        ]
    )


def cnn() -> Sequential:
    return Sequential(
        [
            Conv2D(24, 3, activation="relu", input_shape=(14, 14, 3)),
            Conv2D(16, 3, strides=2),
            Flatten(),
            Dense(5, activation="softmax"),
        ]
    )


def rnn() -> Sequential:
    return Sequential(
        [LSTM(40, return_sequences=True, input_shape=(12, 9)), LSTM(24), Dense(4, activation="softmax")]
    )


MODELS: dict[str, Callable[[], Sequential]] = {"mlp": mlp, "cnn": cnn, "rnn": rnn}


def filled(make: Callable[[], Sequential]) -> Sequential:
    """The model with weights that are always the same."""
    model, rng = make(), np.random.default_rng(11)
    model.set_weights([rng.normal(size=w.shape).astype(np.float32) * 0.1 for w in model.get_weights()])
    return model


def data(model: Sequential, n: int) -> np.ndarray:
    return np.random.default_rng(n).normal(size=(n, *model.input_shape[1:])).astype(np.float32)


@pytest.mark.parametrize("name", MODELS)
def test_same_bits_for_any_number_of_threads(name: str, tmp_path: Path) -> None:
    """Predicting, training and a library, more threads than processors among them."""
    first: Sequence[bytes] = ()
    path = kcompile.export(filled(MODELS[name]), tmp_path / "model.so")
    for threads in range(1, 9):
        model = filled(MODELS[name])
        model.compile("adam", "sparse_categorical_crossentropy")
        compiled, x = kcompile.compile(model, threads=threads), data(model, 96)
        library = load(path, threads)
        got = [
            compiled.predict_on_batch(x).tobytes(),
            compiled.predict_on_batch(x[:1]).tobytes(),
            library.predict_on_batch(x).tobytes(),
        ]
        compiled.fit(x, np.arange(96) % 4, batch_size=48, epochs=2, shuffle=False, verbose=0)
        got += [w.tobytes() for w in model.get_weights()]
        first = first or got
        assert got == first, threads


def predictor(name: str, threads: int) -> Callable[[], bool]:
    """A prediction of a batch, and whether it has the bits of the first."""
    model = filled(MODELS[name])
    compiled = kcompile.compile(model, threads=threads)
    x = data(model, 64)
    want = compiled.predict_on_batch(x).tobytes()
    return lambda: compiled.predict_on_batch(x).tobytes() == want


def at_once(jobs: Sequence[Callable[[], bool]], times: int) -> None:
    """Each job so often, all side by side."""
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(times):
            if not jobs[number]():
                wrong.append(number)

    workers = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(len(jobs))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert not any(worker.is_alive() for worker in workers)
    assert wrong == []


def test_four_python_threads_on_one_model() -> None:
    at_once([predictor("mlp", 3)] * 4, 100)


def test_four_python_threads_on_several_models() -> None:
    at_once([predictor("mlp", 3), predictor("cnn", 3), predictor("rnn", 3), predictor("mlp", 2)], 100)


TWIN = """
import sys
sys.path[:0] = {path!r}
from test_threads import predictor
job = predictor(sys.argv[1], 4)
print("ready", flush=True)
sys.stdin.readline()
print(all(job() for _ in range(200)))
"""


def test_two_processes_at_once() -> None:
    code = TWIN.format(path=sys.path)
    twins = [
        subprocess.Popen(
            [sys.executable, "-c", code, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in ("mlp", "rnn")
    ]
    try:
        for twin in twins:
            assert twin.stdout is not None and twin.stdout.readline() == "ready\n"
        for twin in twins:
            assert twin.stdin is not None
            twin.stdin.write("go\n")
            twin.stdin.flush()
        for twin in twins:
            assert twin.communicate(timeout=120)[0] == "True\n"
    finally:
        for twin in twins:
            twin.kill()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forks in a process with threads
@pytest.mark.parametrize("training", [False, True])
def test_fork_while_another_thread_calls(training: bool) -> None:
    """In the child the same program predicts, and what the other thread held is free."""
    model = filled(mlp)
    model.compile("sgd", "sparse_categorical_crossentropy")
    compiled, x = kcompile.compile(model, threads=3), data(model, 64)
    labels = np.arange(64) % 7
    compiled.train_on_batch(x, labels)
    compiled.predict_on_batch(x)

    def call() -> None:
        compiled.train_on_batch(x, labels) if training else compiled.predict_on_batch(x)

    def child() -> bool:
        first = [compiled.predict_on_batch(x) for _ in range(5)]
        compiled.train_on_batch(x, labels)
        return all(np.isfinite(y).all() and np.array_equal(y, first[-1]) for y in first)

    with another_thread(call):
        for _ in range(10):
            in_child(child)
