"""Object files for microcontrollers: what they need, what their header says, what is refused."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import elsewhere
import numpy as np
import pytest

import kcompile
from kcompile.codegen.binary import bare
from kcompile.ir import interpreter
from kcompile.keras import backend as K
from kcompile.keras import graphs
from kcompile.keras.layers import Conv2D, Dense, Embedding, Flatten, Input, Lambda, LayerNormalization
from kcompile.keras.models import Model, Sequential
from kcompile_runtime import ArtifactError, load, read_contents
from kcompile_runtime.errors import UnsupportedError

RNG = np.random.default_rng(8)


def small() -> Sequential:
    return Sequential([Conv2D(4, 3, input_shape=(6, 6, 2)), Flatten(), Dense(3, "softmax")], name="small")


def functions() -> Model:
    """Of what the processor lacks, and of what it has."""
    x, rows = Input((12,), name="x"), Input((3,), dtype="int32", name="rows")
    parts = [
        Lambda(call)(x)
        for call in (
            K.exp,
            K.tanh,
            K.sin,
            lambda t: K.cos(t * 1e6),
            lambda t: K.sqrt(K.abs(t)),
            lambda t: K.log(K.abs(t) + 0.1),
            lambda t: K.pow(K.abs(t), 1.7),
            K.softplus,
            lambda t: K.cast(K.cast(t * 1e12, "int64") * 3, "float32"),
            lambda t: K.expand_dims(K.cast(K.argmax(t, -1), "float32")),
            lambda t: t % 1.25,
            lambda t: K.round(t * 3),
            lambda t: K.cumsum(t, 1),
        )
    ]
    deep = Flatten()(Embedding(9, 4)(rows))
    return Model([x, rows], [*parts, LayerNormalization()(Dense(6)(deep))], name="functions")


@pytest.mark.parametrize("target", elsewhere.BARE)
def test_all_kinds_of_functions(target: str, tmp_path: Path) -> None:
    model = functions()
    inputs = [RNG.normal(size=(4, 12)).astype("float32") * 4, RNG.integers(0, 9, (4, 3)).astype("int32")]
    path = kcompile.export(model, tmp_path / "model.o", target=target)
    traced = graphs.trace(model, "predict")
    given = dict(zip(traced.graph.inputs, inputs))
    want = interpreter.run(traced.graph, 4, given, traced.state).outputs.values()
    for got, right in zip(elsewhere.run(path, 4, inputs), want):
        np.testing.assert_allclose(got, right, rtol=1e-5, atol=1e-6)


def test_a_training_step_runs_its_self_test(tmp_path: Path) -> None:
    model = small()
    model.compile("adam", "categorical_crossentropy")
    path = kcompile.export(model, tmp_path / "model.o", target="cortex-m4", train=True)
    elsewhere.run(path, 2, [np.zeros((2, 6, 6, 2), "float32")])


def names(path: Path) -> tuple[list[str], list[str]]:
    """(names that other objects see, names that others have to bring) of an object file."""
    code = bytearray(path.read_bytes())
    sections = list(bare._sections(code))
    (symbols,) = (s for s in sections if s.kind == 2)
    found = []
    for at in range(symbols.offset + 16, symbols.offset + symbols.size, 16):
        name, info, section = struct.unpack_from("<I8xBxH", code, at)
        if section and info >> 4:
            found.append(bare._text(code, sections[symbols.link].offset + name))
    return found, bare._undefined(code, sections)


@pytest.mark.parametrize("target", elsewhere.BARE)
def test_what_an_object_needs_and_shows(target: str, tmp_path: Path) -> None:
    """Nothing but floating-point arithmetic where the processor has none, and the functions of the header."""
    path = kcompile.export(small(), tmp_path / "model.o", target=target)
    shown, needed = names(path)
    header = path.with_suffix(".h").read_text()
    assert sorted(shown) == sorted(set(re.findall(r"\b(kc_small_\w+)\(", header)))
    assert all(name.startswith("__aeabi_f") for name in needed)
    assert bool(needed) == (target == "thumbv7em") == ("__aeabi_fadd" in header)
    code = bytearray(path.read_bytes())
    kept = {s.name: s for s in bare._sections(code)}
    assert not {".data", ".bss"} & {name for name, s in kept.items() if s.size}
    assert struct.unpack_from("<I", code, kept[".kcompile"].header + 8) == (0,)  # takes no memory


def test_the_header_says_how_much_memory_a_call_takes(tmp_path: Path) -> None:
    """For one sample, or the batch: what the library of the same blocks asks for."""
    sizes = {}
    for batch in (None, 1, 5):
        path = kcompile.export(small(), tmp_path / "model.o", target="cortex-m4", batch=batch)
        header = path.with_suffix(".h").read_text()
        sizes[batch] = int(re.search(r"define KC_SMALL_WORKSPACE (\d+)", header)[1])
        assert ("5 samples" if batch == 5 else "one sample") in header
    assert sizes[None] == sizes[1] < sizes[5]
    elsewhere.run(path, 5, [np.zeros((5, 6, 6, 2), "float32")])


def test_float64_is_refused_before_anything_is_compiled(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("kcompile.compiler.compile_graph", lambda *a, **k: pytest.fail("compiled"))
    model = Sequential([Dense(3, dtype="float64", input_shape=(4,), name="wide")])
    with pytest.raises(UnsupportedError, match=r"cortex-m4 computes in float32 .* in float64"):
        kcompile.export(model, tmp_path / "model.o", target="cortex-m4")
    assert list(tmp_path.iterdir()) == []


def test_what_it_says_of_itself(tmp_path: Path) -> None:
    path = kcompile.export(small(), tmp_path / "model.o", target="cortex-m7")
    about = read_contents(path)
    assert about.machine == "arm" and about.metadata["cpu_flags"] == ["dsp", "fpv5-sp-d16"]
    with pytest.raises(ArtifactError, match=r"without an operating system .cortex-m7; its header says how"):
        load(path)
    with pytest.raises(ValueError, match="cpu: expected None"):
        kcompile.export(small(), path, target="cortex-m7", cpu="cortex-a76")
    with pytest.raises(ValueError, match="target of Linux"):
        kcompile.export_wheel(small(), tmp_path, target="cortex-m7")
