"""A library with code for several levels of x86-64: it picks what the processor has, and has weights once."""

from __future__ import annotations

import ctypes
import platform
import shutil
from dataclasses import replace

import elsewhere
import numpy as np
import pytest

import kcompile
from kcompile.codegen import targets
from kcompile.codegen.binary import jit
from kcompile.codegen.binary.artifact import cpu_flags
from kcompile.codegen.binary.levels import levels_ir, needs
from kcompile.codegen.contraction.blocking import within_panels
from kcompile.keras.layers import GRU, BatchNormalization, Conv2D, Dense, Flatten
from kcompile.keras.models import Sequential
from kcompile_runtime import artifact, load, read_contents

LEVELS = targets.emissions("x86-64")
RNG = np.random.default_rng(7)
here = pytest.mark.skipif(platform.machine() != "x86_64", reason="needs an x86-64 processor")


def best_here() -> int:
    """The number of the best level of this machine, as the kernel says it."""
    return max(i for i, level in enumerate(LEVELS) if set(cpu_flags(level)) <= artifact.cpu_flags())


def mlp() -> Sequential:
    """Widths that divide by panels, that leave half of one, and that are less than one."""
    widths = ((300, "relu"), (72, "tanh"), (48, "elu"), (10, "softmax"))
    layers = [Dense(n, activation=name) for n, name in widths]
    return Sequential([Dense(16, input_shape=(40,)), *layers], name="mlp")


def images() -> Sequential:
    """With a convolution by Winograd's algorithm, and weights that are folded."""
    return Sequential(
        [
            Conv2D(48, 3, padding="same", activation="relu", input_shape=(9, 9, 16)),
            Conv2D(32, 3),
            BatchNormalization(),
            Conv2D(20, 3, strides=2),
            Flatten(),
            Dense(7),
        ],
        name="images",
    )


def steps() -> Sequential:
    return Sequential([GRU(20, input_shape=(6, 5)), Dense(3)], name="steps")


@pytest.fixture(scope="module")
def fat(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("levels")
    np.random.seed(3)
    model = mlp()
    return model, kcompile.export(model, folder / "mlp.so", target="x86-64"), folder


@here
def test_the_level_is_that_of_the_processor() -> None:
    """Functions of each level that say which they are."""
    names = [f"of{i}" for i in range(len(LEVELS))]
    stubs = [
        f"define hidden i64 @{name}_workspace_size(i64 %n, i32 %threads) {{ ret i64 {i} }}\n"
        f"define hidden i32 @{name}_run(i64 %n, ptr %a, ptr %b, ptr %c, i64 %d, ptr %e) {{ ret i32 {i} }}"
        for i, name in enumerate(names)
    ]
    words = dict.fromkeys(("DRAW_TYPE", "DRAW_GIVEN", "DRAW_PARAMETER"), "")
    texts = [levels_ir(LEVELS, "kc_x", names, words), *stubs]
    target = replace(LEVELS[0], triple=targets.native().triple)
    library = jit.load(jit.optimise_and_compile(texts, target))
    size = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int32)(
        library.address("kc_x_workspace_size")
    )
    run = ctypes.CFUNCTYPE(
        ctypes.c_int32, ctypes.c_int64, *[ctypes.c_void_p] * 3, ctypes.c_int64, ctypes.c_void_p
    )(library.address("kc_x_run"))
    assert [size(1, 1), size(1, 1), run(1, None, None, None, 0, None)] == [best_here()] * 3


def test_levels_are_asked_for_what_they_are() -> None:
    for level in LEVELS:
        masks, kept = needs(level)
        assert sum(mask.bit_count() for mask in masks) == len(level.architecture.levels[level.cpu])
        assert kept.bit_count() == {128: 0, 256: 2, 512: 5}[level.vector_bits]


@here
@pytest.mark.parametrize("make", [images, steps])
def test_it_computes_what_the_model_does(make, tmp_path) -> None:
    np.random.seed(3)
    model = make()
    loaded = load(kcompile.export(model, tmp_path / "model.so", target="x86-64"))
    x = RNG.random((5, *model.input_shape[1:]), dtype=np.float32)
    assert loaded.selftest() < 1e-4
    np.testing.assert_allclose(loaded.predict(x), model.predict(x, verbose=0), rtol=1e-4, atol=1e-5)


def test_bytes_weights_and_what_it_says(fat, tmp_path) -> None:
    model, path, _ = fat
    again = kcompile.export(model, tmp_path / "again.so", target="x86-64")
    assert path.read_bytes() == again.read_bytes()
    assert path.with_suffix(".h").read_text() == again.with_suffix(".h").read_text()
    contents = read_contents(path)
    assert contents.metadata["levels"] == list(targets.LEVELS)
    assert contents.metadata["target"] == "x86-64"
    assert contents.metadata["cpu_flags"] == cpu_flags(LEVELS[0])
    weights = sum(w.nbytes for w in model.get_weights())
    assert weights < contents.data < 1.3 * weights
    undefined = elsewhere.dynamic(path)
    assert undefined[0] == [] and set(undefined[1]) <= {
        *("pthread_create", "pthread_join", "pthread_sigmask", "getpid", "syscall", "memset", "memcpy")
    }


@here
def test_each_processor_runs_its_level(fat) -> None:
    """On emulated processors: the bits are those of a library for the level alone."""
    if shutil.which("qemu-x86_64") is None:
        pytest.skip("needs qemu-x86_64")
    model, path, folder = fat
    x = RNG.random((5, 40), dtype=np.float32)
    program = elsewhere.driver("x86_64-linux-gnu.2.28")

    def on(command, library):
        return elsewhere.by_driver([*command, program], library, 5, [x], 1)[0]

    alone = {level: kcompile.export(model, folder / f"{level}.so", target=level) for level in targets.LEVELS}
    made = {}
    for processor, level in (("Nehalem", "x86-64-v2"), ("Haswell", "x86-64-v3")):
        command = ["qemu-x86_64", "-cpu", processor]
        made[level] = on(command, path)
        np.testing.assert_array_equal(made[level], on(command, alone[level]))
    assert not np.array_equal(*made.values())
    np.testing.assert_array_equal(on([], path), on([], alone[targets.LEVELS[best_here()]]))


def test_wrong_targets(tmp_path) -> None:
    for bad in ("x86-64-v5", "x86", None):
        with pytest.raises(ValueError, match=r"native, x86-64, x86-64-v2.*Received"):
            kcompile.export(steps(), tmp_path / "model.so", target=bad)


@pytest.mark.parametrize(
    ("tile", "panel", "want"), [(2, 4, 2), (3, 4, 2), (1, 4, 1), (3, 1, 3), (8, 4, 8), (2, 3, 3), (5, 0, 5)]
)
def test_tiles_are_whole_panels_or_divide_them(tile, panel, want) -> None:
    assert within_panels(tile, panel) == want
