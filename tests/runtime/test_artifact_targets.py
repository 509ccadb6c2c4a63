"""One model, nine targets: run where each belongs, it computes what the interpreter computes."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import elsewhere
import numpy as np
import pytest
from elsewhere import BARE, SHARED, TARGETS, suffix

import kcompile
from kcompile.codegen.binary.c_interface import DTYPE_CODES
from kcompile.ir import interpreter
from kcompile.keras import backend as K
from kcompile.keras import graphs
from kcompile.keras.layers import (
    GRU,
    LSTM,
    Activation,
    Add,
    BatchNormalization,
    Bidirectional,
    Concatenate,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Input,
    Lambda,
    Masking,
    MaxPooling2D,
    Reshape,
)
from kcompile.keras.models import Model, Sequential
from kcompile_runtime import ArtifactError, InputError, artifact, load, machines

RNG = np.random.default_rng(5)


def mlp(last="softmax"):
    return Sequential(
        [
            Dense(33, activation="tanh", input_shape=(20,)),
            Dense(17, activation="sigmoid"),
            Dense(9, activation="elu"),
            Dense(7, activation=last),
        ],
        name="mlp",
    )


def digits(last="softmax"):
    """Random weights, random moving statistics."""
    model = Sequential(
        [
            Conv2D(12, 3, padding="same", use_bias=False, input_shape=(8, 8, 1)),
            BatchNormalization(),
            Activation("relu"),
            Conv2D(20, 3, padding="same", use_bias=False),
            BatchNormalization(),
            Activation("relu"),
            MaxPooling2D(2),
            Dropout(0.3),
            Flatten(),
            Dense(10, activation=last),
        ],
        name="digits",
    )
    model.set_weights(
        [RNG.uniform(0.1, 1, w.shape) - (0.5 if w.ndim > 1 else 0) for w in model.get_weights()]
    )
    return model


def pair():
    """Two inputs, two outputs, a name that is none in C."""
    a, b = Input((6,), name="a b"), Input((4, 3), name='"*/')
    both = Concatenate()([Dense(5, activation="softplus")(a), Flatten()(b)])
    return Model([a, b], [Dense(3)(both), Reshape((3, 4))(Add()([b, b]))], name="pair of/two")


def classifier(last="sigmoid"):
    """A masked LSTM and a GRU in both directions."""
    return Sequential(
        [
            Masking(input_shape=(6, 5)),
            LSTM(9, return_sequences=True),
            Bidirectional(GRU(4)),
            Dense(2, activation=last),
        ],
        name="classifier",
    )


MODELS = {"mlp": mlp, "digits": digits, "pair": pair, "classifier": classifier}


def data(model, n):
    return [RNG.uniform(-1, 1, (n, *x.shape[1:])).astype(np.float32) for x in model.inputs]


def reference(model, n, inputs):
    """The interpreter's outputs, in float64."""
    traced = graphs.trace(model, "predict")
    graph, state = traced.graph, traced.state
    return list(interpreter.run(graph, n, dict(zip(graph.inputs, inputs)), state, "float64").outputs.values())


def pairs():
    """Names of models and targets; those that take long where another pair says as much are slow."""
    for name, target in itertools.product(sorted(MODELS), TARGETS):
        slow = name == "classifier" and target in ("cortex-m7", "thumbv7em")
        yield pytest.param(name, target, marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize(("name", "target"), pairs())
def test_outputs_are_the_interpreters(name, target, tmp_path):
    model = MODELS[name]()
    path = kcompile.export(model, tmp_path / f"model{suffix(target)}", target=target)
    for n, threads in ((1, 1), (7, 1), *([] if target in BARE else [(50, 1 if target == "wasm32" else 3)])):
        inputs = data(model, n)
        for got, want in zip(elsewhere.run(path, n, inputs, threads), reference(model, n, inputs)):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("target", TARGETS)
def test_every_dtype(target, tmp_path):
    inputs, outputs, arrays, expected = [], [], [], []
    for dtype in [d for d in DTYPE_CODES if d != "float64" or target not in BARE]:
        x = Input((5,), dtype=dtype, name=dtype)
        low, high = (0, 2) if dtype == "bool" else (0, 100) if dtype.startswith("u") else (-99, 99)
        array = RNG.integers(low, high, (3, 5)).astype(dtype)
        inputs.append(x)
        arrays.append(array)
        outputs.append(Concatenate()([x, x]) if dtype == "bool" else Add()([x, x]))
        expected.append(np.concatenate([array, array], 1) if dtype == "bool" else array + array)
    path = kcompile.export(Model(inputs, outputs), tmp_path / f"m{suffix(target)}", target=target)
    for got, want in zip(elsewhere.run(path, 3, arrays), expected):
        assert got.dtype == want.dtype and np.array_equal(got, want)


@pytest.mark.parametrize("target", ["aarch64", "riscv64", "wasm32"])
def test_fixed_batch(target, tmp_path):
    model = mlp()
    path = kcompile.export(model, tmp_path / f"m{suffix(target)}", target=target, batch=4)
    x = data(model, 4)
    np.testing.assert_allclose(elsewhere.run(path, 4, x)[0], reference(model, 4, x)[0], rtol=1e-4)
    with pytest.raises(AssertionError):
        elsewhere.run(path, 3, data(model, 3))


@pytest.mark.parametrize("name", ["mlp", "digits"])
def test_same_bits_where_multiply_add_is_the_same(name, tmp_path):
    """No sum here is over lanes of a vector (a softmax would be one): each is one chain of
    multiply-adds, rounded once with FMA, twice without, whatever the vectors' width."""
    model = MODELS[name]("linear")
    x = data(model, 6)
    bits = {}
    for target in TARGETS:
        path = kcompile.export(model, tmp_path / f"{target}{suffix(target)}", target=target)
        try:
            bits[target] = elsewhere.run(path, 6, x)[0].tobytes()
        except pytest.skip.Exception:
            continue
    fused = ("x86-64-v3", "x86-64-v4", "aarch64", "riscv64", "cortex-m4", "cortex-m7")
    assert len({bits[t] for t in fused if t in bits}) <= 1
    assert len({bits[t] for t in ("x86-64-v2", "wasm32", "thumbv7em") if t in bits}) <= 1


@pytest.mark.parametrize("target", ["x86-64-v2", "aarch64", "wasm32", *BARE])
def test_bytes_in_place_of_floats_have_the_same_bits_everywhere(target, tmp_path):
    """Sums are whole numbers, and what is a product and a sum of floats is rounded twice on every target."""
    image = Input((9, 8, 3))
    x = MaxPooling2D(2)(Conv2D(20, 3, padding="same", activation="relu")(image))
    model = Model(image, Dense(7)(Flatten()(Conv2D(6, 2, strides=2)(x))), name="bytes")
    samples = data(model, 9)
    quantized = kcompile.quantize(model, samples, verbose=0)
    assert all(each.quantized for each in quantized.report.layers)
    path = kcompile.export(quantized, tmp_path / f"model{suffix(target)}", target=target)
    np.testing.assert_array_equal(elsewhere.run(path, 9, samples)[0], quantized.predict(samples[0]))


def chance():
    """Masks of a dropped input, normal numbers, and a layer with a seed of its own."""
    x = Input((20,), name="x")
    noisy = Lambda(lambda t: t + K.random_normal(K.shape(t)))(Dropout(0.4)(x, training=True))
    return Model(x, Dense(8, activation="tanh")(Dropout(0.5, seed=3)(noisy, training=True)), name="chance")


@pytest.mark.parametrize("target", TARGETS)
def test_random_numbers_are_the_interpreters(target, tmp_path):
    model = chance()
    x = data(model, 30)
    path = kcompile.export(model, tmp_path / f"model{suffix(target)}", target=target)
    state = model.random_state
    state.seed.assign(7)
    state.draws.assign(0)
    want = reference(model, 30, x)[0]
    np.testing.assert_allclose(elsewhere.run(path, 30, x, seed=7)[0], want, rtol=1e-4, atol=1e-5)
    assert (np.abs(elsewhere.run(path, 30, x, seed=8)[0] - want) > 1e-3).mean() > 0.5
    assert "uint64_t draw);" in path.with_suffix(".h").read_text()


@pytest.mark.parametrize("target", TARGETS)
def test_circular_functions_far_out(target, tmp_path):
    x = Input((40,), name="x")
    model = Model(x, [Lambda(K.sin)(x), Lambda(K.cos)(x)], name="circular")
    far = np.ldexp(RNG.uniform(-2, 2, (3, 40)), RNG.integers(15, 127, (3, 40))).astype(np.float32)
    path = kcompile.export(model, tmp_path / f"model{suffix(target)}", target=target)
    for got, want in zip(elsewhere.run(path, 3, [far]), (np.sin, np.cos)):
        np.testing.assert_allclose(got, want(far.astype(np.float64)), rtol=1e-5, atol=1e-7)


def test_calls_and_batches_draw_anew_and_a_seed_repeats_them(tmp_path):
    path = kcompile.export(chance(), tmp_path / "model.so")
    x = np.ones((40, 20), np.float32)
    drawn = []
    for seed, threads in ((5, 1), (5, 3), (6, 1)):
        model = load(path, threads, seed)
        drawn.append([*np.split(model.predict(x, 20), 2), model(x[:20]), model.predict_on_batch([x[:20]])])
    same = [np.array_equal(a, b) for a, b in zip(drawn[0], drawn[1])]
    assert all(same)
    every = [*drawn[0], *drawn[2]]
    assert not any(np.array_equal(a, b) for k, a in enumerate(every) for b in every[:k])
    np.random.seed(3)
    first = load(path).predict(x)
    np.random.seed(3)
    assert np.array_equal(load(path).predict(x), first)
    for seed in (-1, 2**32, 1.5, True):
        with pytest.raises(InputError, match="seed"):
            load(path, seed=seed)
    with pytest.raises(InputError, match="draws no random numbers"):
        load(kcompile.export(mlp(), tmp_path / "plain.so"), seed=1)


BUILD = """
import sys
import numpy as np
from kcompile.keras.layers import BatchNormalization, Conv2D, Dense, Flatten
from kcompile.keras.models import Sequential
import kcompile
np.random.seed(3)
model = Sequential([Conv2D(8, 3, activation="relu", input_shape=(8, 8, 1)), BatchNormalization(),
                    Flatten(), Dense(10, activation="softmax")], name="digits")
folder, *targets = sys.argv[1:]
for target in targets:
    kcompile.export(model, f"{folder}/{target}", target=target)
"""


def test_two_builds_are_the_same_bytes(tmp_path):
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-c", BUILD, tmp_path / seed, *TARGETS],
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "KC_CACHE": "off"},
        )
    for target in TARGETS:
        for file in (target, f"{target.rsplit('.', 1)[0]}.h"):
            assert (tmp_path / "1" / file).read_bytes() == (tmp_path / "2" / file).read_bytes()


def test_what_shared_objects_need(tmp_path):
    """No library, and of the process's C library a few functions that all of them have."""
    for target in SHARED:
        path = kcompile.export(digits(), tmp_path / f"{target}.so", target=target)
        needed, undefined = elsewhere.dynamic(path)
        assert needed == []
        assert (
            {"pthread_create", "syscall"}
            <= set(undefined)
            <= {"pthread_create", "pthread_join", "pthread_sigmask", "getpid", "syscall", "memset", "memcpy"}
            | ({"clock_gettime"} if target == "riscv64" else set())
        )


def test_vectors_of_a_riscv_processor_may_be_wider(tmp_path):
    model = mlp()
    x = data(model, 9)
    path = kcompile.export(model, tmp_path / "model.so", target="riscv64")
    program = elsewhere.driver("riscv64-linux-gnu.2.28")
    results = {
        elsewhere.by_driver(
            [*(part.replace("128", bits) for part in elsewhere.emulator("riscv64")), program], path, 9, x, 2
        )[0].tobytes()
        for bits in ("128", "256", "512")
    }
    assert len(results) == 1


def test_with_another_c_library(tmp_path):
    model = mlp()
    x = data(model, 40)
    path = kcompile.export(model, tmp_path / "model.so", target="x86-64-v2")
    np.testing.assert_array_equal(elsewhere.with_musl(path, 40, x, 3)[0], elsewhere.run(path, 40, x)[0])


def test_the_module_needs_nothing(tmp_path):
    path = kcompile.export(digits(), tmp_path / "model.wasm", target="wasm32")
    assert elsewhere.metadata(path)["cpu_flags"] == [
        "bulk-memory",
        "nontrapping-fptoint",
        "sign-ext",
        "simd128",
    ]
    header = path.with_suffix(".h").read_text()
    assert "WebAssembly.instantiate" in header and "-pthread" not in header
    script = (
        "import { readFileSync } from 'fs'; console.log(WebAssembly.Module.imports("
        "new WebAssembly.Module(readFileSync(process.argv[1]))).length)"
    )
    if elsewhere.shutil.which("node"):
        done = subprocess.run(
            ["node", "--input-type=module", "-e", script, path], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "0"


# ---------------------------------------------------------------- before code is loaded


def test_files_for_other_machines_are_refused(tmp_path, monkeypatch):
    paths = {t: kcompile.export(mlp(), tmp_path / f"{t}{suffix(t)}", target=t) for t in TARGETS}
    monkeypatch.setattr(artifact.ctypes, "CDLL", lambda name: pytest.fail("its code was loaded"))
    monkeypatch.setattr(machines.platform, "machine", lambda: "x86_64")
    for target, flags, text in (
        ("x86-64-v2", {"pni"}, "ssse3"),
        ("x86-64-v3", {"pni", "avx"}, "avx2, bmi1"),
        ("x86-64-v4", {"avx2", "fma"}, "avx512bw, avx512cd"),
        ("aarch64", set(), "made for aarch64"),
        ("riscv64", set(), "made for riscv64"),
        ("wasm32", set(), "WebAssembly"),
        ("cortex-m4", set(), "without an operating system .cortex-m4"),
    ):
        monkeypatch.setattr(artifact, "cpu_flags", lambda flags=flags: frozenset(flags))
        with pytest.raises(ArtifactError, match=text):
            load(paths[target])
    for machine, target, text in (
        ("aarch64", "aarch64", "asimd"),
        ("arm64", "x86-64-v2", "made for x86_64, and this machine is aarch64"),
        ("riscv64", "riscv64", "a, c, d, f, m, v"),
    ):
        monkeypatch.setattr(machines.platform, "machine", lambda machine=machine: machine)
        with pytest.raises(ArtifactError, match=text):
            load(paths[target])


def test_a_file_that_was_replaced_is_loaded_anew(tmp_path):
    """The system's loader goes by the name, and would give the old code."""
    path, x = tmp_path / "model.so", np.ones((2, 20), np.float32)
    results = []
    for _ in range(3):
        model = mlp()
        kcompile.export(model, path)
        results.append(load(path).predict(x))
        assert np.array_equal(results[-1], model.predict(x, verbose=0))
        assert np.array_equal(load(path).predict(x), results[-1])
    assert not np.array_equal(results[0], results[1])


def test_a_file_that_was_written_over_is_refused(tmp_path):
    first, second = (kcompile.export(mlp(), tmp_path / name) for name in ("a.so", "b.so"))
    load(first)
    with open(first, "r+b") as file:
        file.write(Path(second).read_bytes())
    with pytest.raises(ArtifactError, match="written over"):
        load(first)


def test_arguments(tmp_path):
    for arguments, text in (
        ({"target": "x86-64-v5"}, "unknown target"),
        ({"cpu": "znver99"}, "cpu: expected one of: .*znver4"),
        ({"target": "wasm32", "cpu": "znver4"}, "cpu: expected None"),
        ({"target": "aarch64", "cpu": "znver4"}, "cortex-a76"),
    ):
        with pytest.raises(ValueError, match=text):
            kcompile.export(mlp(), tmp_path / "model.so", **arguments)
    with pytest.raises(ValueError, match=r"\.h"):
        kcompile.export(mlp(), tmp_path / "model.h")
    assert list(tmp_path.iterdir()) == []


def test_a_tuned_file_runs_wherever_its_target_does(tmp_path):
    model = mlp()
    x = data(model, 5)
    plain = kcompile.export(model, tmp_path / "plain.so", target="x86-64-v3")
    tuned = kcompile.export(model, tmp_path / "tuned.so", target="x86-64-v3", cpu="znver4")
    assert plain.read_bytes() != tuned.read_bytes()
    assert elsewhere.metadata(plain)["cpu_flags"] == elsewhere.metadata(tuned)["cpu_flags"]
    assert np.array_equal(elsewhere.run(plain, 5, x)[0], elsewhere.run(tuned, 5, x)[0])
