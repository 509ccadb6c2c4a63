"""Profiles: what they say of kernels, and how they are shown; and the limits of the machine."""

from __future__ import annotations

import itertools
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile import machine
from kcompile.cli import main
from kcompile.keras.layers import GRU, Conv2D, Dense, Embedding, Flatten, MaxPooling2D
from kcompile.keras.models import Sequential
from kcompile.profile_page import html
from kcompile_runtime.errors import InputError, NotCompiledError


@pytest.fixture(scope="module")
def images() -> Any:
    model = Sequential(
        [
            Conv2D(8, 3, activation="relu", input_shape=(16, 16, 3)),
            MaxPooling2D(),
            Flatten(),
            Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


X = np.random.default_rng(0).random((6, 16, 16, 3)).astype(np.float32)
Y = np.arange(6) % 10


def test_a_profile_has_every_kernel_its_work_and_its_layer(images: Any) -> None:
    profile = kcompile.compile(images).profile(X, rounds=3)
    assert (profile.entry, profile.samples, profile.model) == ("predict", 6, images.name)
    found = {k.layers[0].split("_")[0]: k for k in profile.kernels if k.flops}
    assert found["conv2d"].flops == 2 * 6 * 14 * 14 * 8 * 27
    assert found["dense"].flops == 2 * 6 * 7 * 7 * 8 * 10
    assert found["conv2d"].bytes >= X.nbytes + 4 * 6 * 14 * 14 * 8
    assert all(k.seconds >= 0 and k.floor > 0 and k.times == 1 for k in profile.kernels)
    assert profile.seconds > 0 and profile.floor > 0
    assert sum(k.flops for k in profile.by_layer()) == sum(k.flops for k in profile.kernels)


def test_a_step_is_profiled_and_changes_nothing(images: Any) -> None:
    compiled = kcompile.compile(images)
    before = [w.copy() for w in compiled.get_weights()]
    profile = compiled.profile(X, Y, rounds=2)
    assert profile.entry == "train" and any("optimizer" in k.layers for k in profile.kernels)
    assert compiled.profile(entry="train", batch=3, rounds=1).samples == 3
    for old, new in zip(before, compiled.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_loops_over_time_count_every_step() -> None:
    model = Sequential([Embedding(50, 8, input_length=12), GRU(16), Dense(1)])
    model.compile("sgd", "mse")
    compiled = kcompile.compile(model)
    work = 2 * 4 * (12 * 8 * 48 + 12 * 16 * 48 + 16)
    profile = compiled.profile(np.ones((4, 12), np.int32), rounds=2)
    assert sum(k.flops for k in profile.kernels) == work
    assert max(k.times for k in profile.kernels) == 12
    table = next(k for k in profile.kernels if "gather" in k.label)
    assert table.bytes < 4 * 4 * (12 * 8 * 2 + 12) + 1024  # of its rows those that are read
    assert compiled.profile(np.ones((4, 12), np.int32), np.ones(4), rounds=1).entry == "train"


def test_a_profile_as_text_trace_json_and_page(images: Any) -> None:
    profile = kcompile.compile(images).profile(X, rounds=2)
    lines = profile.text().splitlines()
    assert len(lines) == 3 + len(profile.kernels) and "GFLOP/s" in lines[2]
    assert len(profile.text(top=1).splitlines()) == 4
    assert json.loads(json.dumps(profile.as_dict()))["kernels"][0]["times"] == 1
    events = [e for e in profile.trace()["traceEvents"] if e["ph"] == "X"]
    kernels = [e for e in events if e["tid"] == 2]
    assert [e["name"] for e in kernels] == [k.label for k in profile.kernels]
    for first, second in itertools.pairwise(kernels):
        assert second["ts"] == pytest.approx(first["ts"] + first["dur"])

    class Page(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[str] = []

        def handle_starttag(self, tag: str, attributes: Any) -> None:
            self.seen.append(tag)
            assert not {"src", "href"} & {name for name, _ in attributes}  # it loads nothing

    page = Page()
    page.feed(html(profile))
    assert page.seen.count("circle") == sum(bool(k.flops) for k in profile.kernels)
    assert page.seen.count("tr") == 2 + len(profile.kernels) + len(profile.by_layer())


def test_profiles_refuse_what_they_cannot_do(images: Any) -> None:
    model = Sequential([Dense(2, input_shape=(3,))])
    with pytest.raises(NotCompiledError):
        kcompile.compile(model).profile(np.ones((2, 3)), np.ones((2, 2)))
    with pytest.raises(InputError, match="profile: entry"):
        kcompile.compile(model).profile(entry="test")
    with pytest.raises(InputError, match="batch"):
        kcompile.compile(model).profile(batch=0)


def test_the_command(images: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "model.h5"
    images.save(file)
    page, trace = tmp_path / "page.html", tmp_path / "trace.json"
    options = ["--batch", "2", "--rounds", "1", "--threads", "1"]
    assert main(["bench", str(file), *options, "--html", str(page), "--trace", str(trace)]) == 0
    assert "2 samples, 1 threads" in capsys.readouterr().out
    assert page.read_text().startswith("<!DOCTYPE html>") and json.loads(trace.read_text())["traceEvents"]
    assert main(["bench", str(file), *options, "--entry", "train", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["entry"] == "train"


def test_limits_are_of_this_machine() -> None:
    found = machine.Limits(machine.fma_peak(1, 0.002, 1), machine.bandwidth(1, 1 << 16, 0.002, 1))
    assert 0 < found.flops < 1e13 and 0 < found.bandwidth < 1e13  # how much, the neighbours say
    assert machine.Limits(100.0, 10.0).floor(50, 20) == 2.0
