"""Folders for graphics processors: what is in them, that they run as the compiled model does on a driver that
computes with the interpreter, and what is refused."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu import nets
from gpu.device import FakeDriver, remembering

import kcompile
import kcompile_runtime as rt
from kcompile import cli, keras, model
from kcompile.codegen import targets
from kcompile.codegen.gpu import emission, program
from kcompile.keras import layers
from kcompile_runtime import cuda, cuda_driver
from kcompile_runtime.cuda_package import CudaArtifact

RNG = np.random.default_rng(4)
PTXAS = program.find_ptxas()


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    """A fake device that `load` and `compile` find, and that knows the kernels it is given."""
    fake = FakeDriver(capability=(8, 0))
    monkeypatch.setenv("KC_CACHE", "off")
    monkeypatch.setattr(emission, "emit_program", remembering(fake))
    for place in (model, sys.modules[CudaArtifact.__module__]):
        monkeypatch.setattr(place, "connect", lambda: cuda_driver.connect(fake))
    return fake


def images() -> Any:
    net = keras.Sequential(
        [
            layers.Conv2D(4, 3, activation="relu", input_shape=(6, 6, 1)),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(5, "softmax"),
        ],
        name="images",
    )
    net.set_weights([RNG.uniform(0.1, 1, w.shape) for w in net.get_weights()])
    return net


def words() -> Any:
    return nets.text_lstm(words=20, width=3, units=4, steps=5)


def test_predictions_are_the_models(device: FakeDriver, tmp_path: Path) -> None:
    for net, x in (
        (images(), RNG.normal(size=(7, 6, 6, 1)).astype("float32")),
        (words(), RNG.integers(0, 20, (7, 5)).astype("int32")),
    ):
        folder = kcompile.export(net, tmp_path / net.name, target="cuda")
        loaded = rt.load(folder)
        assert isinstance(loaded, CudaArtifact) and loaded.selftest() < 1e-4
        want = kcompile.compile(net).predict(x)
        for got in (loaded.predict(x), loaded.predict(x, 3), loaded(x), loaded.predict_on_batch([x])):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
    with pytest.raises(rt.InputError, match="from 0 to 19"):
        loaded.predict(x + 20)
    with pytest.raises(rt.InputError):
        loaded.trainer()


def test_the_launch_table_is_that_of_the_compiled_model(device: FakeDriver, tmp_path: Path) -> None:
    net = words()
    folder = kcompile.export(net, tmp_path / "words", target="cuda")
    own = kcompile.compile(net, target="cuda").engine.compiled("predict").on_device
    assert json.loads((folder / "model.json").read_text())["table"] == json.loads(json.dumps(own.table))
    assert (folder / "kernels.ptx").read_text() == own.ptx


def test_random_numbers_are_those_of_a_library(device: FakeDriver, tmp_path: Path) -> None:
    x = keras.Input((6,))
    net = keras.Model(x, layers.Dropout(0.5)(x, training=True), name="chance")
    folder = kcompile.export(net, tmp_path / "chance", target="cuda")
    library = kcompile.export(net, tmp_path / "chance.so")
    ones = np.ones((9, 6), "float32")
    here, there = rt.load(library, seed=5), rt.load(folder, seed=5)
    for _ in range(2):
        np.testing.assert_array_equal(there.predict(ones), here.predict(ones))


@pytest.mark.skipif(PTXAS is None, reason="needs the package nvidia-cuda-nvcc")
@pytest.mark.parametrize("architecture", ["sm_80", "sm_86", "sm_89", "sm_90"])
def test_ptxas_accepts_it(architecture: str, tmp_path: Path) -> None:
    folder = kcompile.export(images(), tmp_path / "images", target="cuda")
    done = subprocess.run(
        [str(PTXAS), f"-arch={architecture}", folder / "kernels.ptx", "-o", tmp_path / "kernels.cubin"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


WALK = """
#include <stdio.h>
#include "model.h"
int main(void) {
  int64_t n = 5;
  for (int s = 0; s < KC_%s_PREDICT_STEPS; ++s)
    for (int64_t t = 0; t < kc_%s_predict_steps[s].count; ++t)
      for (int l = 0; l < kc_%s_predict_steps[s].launches; ++l) {
        const kc_cuda_launch *x = &kc_%s_predict_launches[kc_%s_predict_steps[s].first_launch + l];
        long long blocks = (x->units_fixed + n * x->units_each + x->per_block - 1) / x->per_block * x->times;
        printf("%%s %%lld %%d", x->kernel, blocks, (int)x->threads);
        for (int p = 0; p < x->places; ++p) {
          const kc_cuda_place *q = &kc_%s_predict_places[x->first_place + p];
          long long at = q->offset_fixed + n * q->offset_each + t * (q->step_fixed + n * q->step_each) +
                         (t + q->phase) %% 2 * (q->flip_fixed + n * q->flip_each);
          printf(" %%d.%%d+%%lld", (int)q->region, (int)q->index, at);
        }
        printf("\\n");
      }
}
"""


def test_the_tables_of_the_header_say_the_same(tmp_path: Path) -> None:
    pytest.importorskip("ziglang")
    folder = kcompile.export(words(), tmp_path / "folder", target="cuda")
    about = rt.read_contents(folder).metadata
    name = about["name"]
    (tmp_path / "walk.c").write_text(WALK % (name.upper(), *[name] * 5))
    flags = ["-target", f"{platform.machine()}-linux-gnu.2.28", "-std=c99", "-Wall", "-Werror", f"-I{folder}"]
    compiler = [sys.executable, "-m", "ziglang", "cc", *flags]
    subprocess.run([*compiler, tmp_path / "walk.c", "-o", tmp_path / "walk"], check=True)
    done = subprocess.run([tmp_path / "walk"], capture_output=True, text=True, check=True)
    regions = ("input", "output", "variable", "prepared", "constant", "arena")
    lines = []
    (entry,) = (e for e in about["table"]["entries"] if e["name"] == "predict")
    for launch, t in cuda._sequence(entry):
        blocks = -(-cuda._at(launch["units"], 5) // launch["per_block"]) * launch["times"]
        places = [
            f" {regions.index(p['region'])}.{p['index']}+{cuda._offset(p, 5, t)}" for p in launch["places"]
        ]
        lines.append(f"{launch['kernel']} {blocks} {launch['threads']}{''.join(places)}")
    assert done.stdout.splitlines() == lines and len(lines) > 3


def test_two_builds_are_the_same_bytes_and_damage_is_found(tmp_path: Path) -> None:
    net = images()
    one, two = (kcompile.export(net, tmp_path / name, target="cuda") for name in ("one", "two"))
    files = sorted(path.name for path in one.iterdir())
    assert files == ["kernels.ptx", "model.h", "model.json", "weights.bin"]
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in files)
    contents = rt.read_contents(one)
    assert contents.machine == "cuda" and contents.metadata["architecture"] == "sm_80"
    for name in files:
        data = (one / name).read_bytes()
        for at in (0, len(data) // 3, len(data) - 2):
            (two / name).write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            with pytest.raises(rt.ArtifactError, match="two: "):
                rt.load(two)
        (two / name).unlink()
        with pytest.raises((rt.ArtifactError, OSError)):
            rt.load(two)
        (two / name).write_bytes(data)
    assert rt.read_contents(two).metadata == contents.metadata


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = images()
    for options, text in (
        ({"train": True}, "train: expected False for target 'cuda'"),
        ({"cpu": "znver4"}, "cpu: expected None for target 'cuda'"),
    ):
        with pytest.raises(rt.InputError, match=text):
            kcompile.export(net, tmp_path / "refused", target="cuda", **options)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        kcompile.export(net, tmp_path / "file", target="cuda")
    fails = FakeDriver()
    fails.fails = "cuInit"
    monkeypatch.setattr(sys.modules[CudaArtifact.__module__], "connect", lambda: cuda_driver.connect(fails))
    folder = kcompile.export(net, tmp_path / "fine", target="cuda")
    with pytest.raises(rt.DeviceError, match="expected an NVIDIA graphics processor"):
        rt.load(folder)


def test_the_command_line_builds_and_inspects_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images().save(tmp_path / "images.h5")
    given = ["build", str(tmp_path / "images.h5"), "--target", "cuda", "-o", str(tmp_path / "out")]
    assert cli.main(given) == 0
    assert "out" in capsys.readouterr().out
    assert cli.main(["inspect", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "nvptx64-nvidia-cuda" in said and "input" in said
    assert targets.device("sm_80").is_gpu
