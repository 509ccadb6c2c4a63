"""Training on several processes over MPI (extra `mpi`): the numbers of one process, the same bits in every
run, and what a rank gets that differs or fails. Skipped where mpi4py and an mpiexec are not there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rank_jobs

pytest.importorskip("mpi4py", reason="mpi4py is not installed (extra `mpi`)")
JOBS = Path(__file__).parent / "rank_jobs.py"
_BESIDE = Path(sys.executable).parent / "mpiexec"
MPIEXEC = str(_BESIDE) if _BESIDE.exists() else shutil.which("mpiexec")
pytestmark = pytest.mark.skipif(MPIEXEC is None, reason="no mpiexec is on the path")


def run(folder, ranks, job, *given, **options):
    """A job on so many ranks (0: this is one process, without MPI): the process that ended."""
    folder.mkdir(exist_ok=True)
    options = {"alone": True} if not ranks else {"patience": 60, **options}
    environment = {**os.environ, "KC_THREADS": "1", "RANK_OPTIONS": json.dumps(options)}
    start = [str(MPIEXEC), "-n", str(ranks)] if ranks else []
    python = [sys.executable, *(["-m", "mpi4py"] if ranks else [])]
    command = [*start, *python, str(JOBS), job, str(folder), *given]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment)


def results(folder, ranks, job, *given, **options):
    """What each rank left."""
    done = run(folder, ranks, job, *given, **options)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(ranks or 1)]


def near(got, right, where="", tolerance=2e-5):
    if isinstance(right, dict):
        assert got.keys() == right.keys(), where
        for key, value in right.items():
            near(got[key], value, f"{where} {key}", tolerance)
    elif isinstance(right, list) and right and isinstance(right[0], (list, dict)):
        for number, (a, b) in enumerate(zip(got, right, strict=True)):
            near(a, b, f"{where} {number}", tolerance)
    else:
        np.testing.assert_allclose(got, right, rtol=tolerance, atol=tolerance, err_msg=where)


@pytest.fixture(scope="module")
def alone():
    return json.loads(json.dumps(rank_jobs.fits()))


@pytest.mark.parametrize("ranks", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_ranks_train_as_one_process(alone, tmp_path, ranks):
    """Losses, metrics and weights, with dropout, batch normalisation, a last batch with fewer samples than
    ranks, weights of samples and classes, limits of the norm, decay, masks: to 2e-5."""
    made = results(tmp_path / "a", ranks, "curves")
    assert len({rank["check"] for rank in made}) == 1
    near(made[0]["found"], alone)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 4])
def test_ten_runs_give_the_same_bits(tmp_path, ranks):
    checks = {results(tmp_path / "a", ranks, "curves")[0]["check"] for _ in range(10)}
    assert len(checks) == 1


@pytest.mark.slow
def test_buckets_give_the_same_bits(tmp_path):
    whole, parts = (results(tmp_path / "a", 2, "curves", bucket=size)[0]["check"] for size in (None, 200))
    assert whole == parts


@pytest.mark.slow
def test_loops_of_all_kinds(tmp_path):
    """Sequences in an order of chance, generators, single batches. Callbacks are told on rank 0, and all have
    what they do; files are rank 0's."""
    (alone,) = results(tmp_path / "a", 0, "loops")
    first, second = results(tmp_path / "b", 2, "loops")
    assert (first.pop("told"), second.pop("told"), alone.pop("told")) == (9, 0, 9)
    assert first == second
    near(first, alone)
    assert (tmp_path / "b" / "0.h5").exists()
    assert not (tmp_path / "b" / "1.h5").exists()


@pytest.mark.slow
def test_shards(tmp_path):
    """Ranks that have rows of their own train on all of them."""
    (alone,) = results(tmp_path / "a", 0, "shards")
    first, second = results(tmp_path / "b", 2, "shards", shards=True)
    assert first == second
    near(first["test"], alone["test"], tolerance=0.2)  # the rows come in another order
    assert np.isfinite(first["batches"]["loss"]).all()


def test_what_differs_is_named_before_the_first_step(tmp_path):
    made = results(tmp_path / "a", 2, "differences")
    expected = {
        "length": "fit: samples of the data: expected the same on all ranks. Received: 50 on rank 0, 51",
        "numbers": "fit: numbers of array 0 of the data: expected the same on all ranks.",
        "batch size": "fit: batch_size of the data: expected the same on all ranks. Received: 8 on rank 0, 9",
        "epochs": "fit: epochs: expected the same on all ranks. Received: range(0, 2) on rank 0, range(0, 3)",
        "model": "fit: layer 0: expected the same on all ranks. Received: Dense with weights [[6, 3], [3]]",
        "momentum": "fit: the options of the optimizer: expected the same on all ranks.",
        "wrong data": "float32 of shape (n, 6). Received: shape (53, 5)",
        "then": "nothing",
    }
    for rank in made:
        for name, text in expected.items():
            assert text in rank[name], name
    assert made[0]["wrong data"].startswith("rank 1: InputError: ")


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("raise", "kcompile: rank 1 of 2 failed in fit: OSError: the disk is gone"),
        pytest.param("kill", "", marks=pytest.mark.slow),
        pytest.param("end", "10 samples on rank 0, no more batch on rank 1", marks=pytest.mark.slow),
        pytest.param("callback", "rank 0 of 2 failed in fit: ValueError", marks=pytest.mark.slow),
        pytest.param("outside", "rank 1 of 2 failed: KeyError", marks=pytest.mark.slow),
    ],
)
def test_a_rank_that_fails_ends_all_in_seconds(tmp_path, how, says):
    begin = time.monotonic()
    done = run(tmp_path / "a", 2, "fails", how)
    assert done.returncode
    assert says.replace("10 samples", "9 samples") in done.stderr
    assert time.monotonic() - begin < 50  # patience is 60


@pytest.mark.slow
def test_nan_on_one_rank_is_nan_for_all(tmp_path):
    first, second = results(tmp_path / "a", 2, "fails", "nan")
    assert np.isnan(first["loss"]).all()
    assert np.isnan(second["loss"]).all()


@pytest.mark.slow
def test_a_training_that_goes_on(tmp_path):
    """With a callback Checkpoint on rank 0, and fit(resume=...): the bits of one that did not end between."""
    first, second = results(tmp_path / "a", 2, "resumes")
    assert first == second
    for kind in ("rows", "batches"):
        assert first[f"{kind} resumed"] == first[f"{kind} whole"]
        assert first[f"{kind} begun"] != first[f"{kind} whole"]


@pytest.mark.slow
def test_steps_of_a_models_own(tmp_path):
    (alone,) = results(tmp_path / "a", 0, "own_steps")
    first, second = results(tmp_path / "b", 2, "own_steps")
    assert first == second
    near(first, alone)


@pytest.mark.slow
def test_run_mpi(tmp_path):
    """A script that knows nothing of ranks; one that ends with a status ends all."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, numpy as np, keras\n"
        "model = keras.models.Sequential([keras.layers.Dense(1, input_shape=(2,))])\n"
        "model.compile('sgd', 'mse')\n"
        "x = np.ones((8, 2)); model.fit(x, x[:, :1], verbose=2)\n"
        "sys.exit(int(sys.argv[1]))\n"
    )
    for status in (0, 3):
        command = [str(MPIEXEC), "-n", "2", sys.executable, "-m", "kcompile", "run", "--mpi", str(script)]
        done = subprocess.run([*command, str(status)], capture_output=True, text=True, timeout=100)
        assert done.stdout.count("Epoch 1/1") == 1
        assert bool(done.returncode) == bool(status)
        assert ("ended with status 3" in done.stderr) == bool(status)
