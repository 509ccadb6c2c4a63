"""Exported files: what is written is what is loaded, in Python and in C, and nothing else is."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from native import INNER, OUTER, affine, pair

from kcompile.codegen.binary import link
from kcompile.codegen.binary.artifact import build_artifact, cpu_flags, header
from kcompile.codegen.binary.c_interface import ABI
from kcompile.codegen.binary.exported import Model, Sample, Tensor
from kcompile.codegen.llvm.pool import POOL_ABI
from kcompile.codegen.program import Entry, Program
from kcompile.codegen.targets import Target, named, native
from kcompile.ir.types import Batch, TensorType
from kcompile_runtime import ArtifactError, InputError, NativeError, artifact, load, read_contents
from kcompile_runtime.arrays import address
from kcompile_runtime.replacing import _host

RNG = np.random.default_rng(2)
WEIGHTS = RNG.normal(size=(INNER, OUTER)).astype(np.float32)
BIAS = RNG.normal(size=OUTER).astype(np.float32)
N = Batch()


def expected(x: np.ndarray) -> np.ndarray:
    return (2 * x @ WEIGHTS + BIAS).astype(np.float32)


def affine_model(name: str = "affine", batch: int | None = None) -> Model:
    x = RNG.normal(size=(batch or 4, INNER)).astype(np.float32)
    return Model(
        name,
        affine(),
        (Tensor("x", TensorType((N, INNER))),),
        (Tensor("y", TensorType((N, OUTER))),),
        (2 * WEIGHTS).tobytes() + bytes(4),
        [None, BIAS],
        Sample(len(x), (x,), (expected(x),)),
        batch,
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifact")
    return build_artifact(affine_model(), native(), folder / "model.so", "1.2")


def damaged(path: Path, tmp_path: Path, change: object) -> Path:
    copy = tmp_path / "copy.so"
    data = bytearray(path.read_bytes())
    copy.write_bytes(change(data) or data)  # type: ignore[operator]
    return copy


@pytest.mark.parametrize("threads", [1, 3])
def test_round_trip(path: Path, threads: int) -> None:
    model = load(path, threads)
    x = RNG.normal(size=(100, INNER)).astype(np.float32)
    for got in (
        model(x),
        model.predict(x),
        model.predict(x, 7),
        model.predict_on_batch([x]),
        model.predict({"x": x.astype(np.float64)}),
        model.predict(x, batch_size=1000),
    ):
        np.testing.assert_allclose(got, expected(x), rtol=1e-5, atol=1e-5)
    assert model.selftest() < 1e-5
    assert [str(s) for s in (*model.inputs, *model.outputs)] == [
        "float32 of shape (n, 5)",
        "float32 of shape (n, 3)",
    ]
    assert model.metadata["version"] == "1.2"


def test_versions_agree(path: Path) -> None:
    assert artifact.ABI == ABI
    assert read_contents(path).metadata["pool_abi"] == POOL_ABI


def test_wrong_inputs(path: Path) -> None:
    model = load(path)
    for bad in (np.zeros((2, 4)), [np.zeros((2, 5)), np.zeros((2, 5))], {"z": np.zeros((2, 5))}):
        with pytest.raises(InputError, match="Received"):
            model.predict(bad)


def test_files_are_whole_and_the_same_every_time(path: Path, tmp_path: Path) -> None:
    again = build_artifact(
        replace(affine_model(), sample=_sample_of(path)), native(), tmp_path / "other" / "name.so", "1.2"
    )
    once_more = build_artifact(
        replace(affine_model(), sample=_sample_of(path)), native(), tmp_path / "third.so", "1.2"
    )
    assert again.read_bytes() == once_more.read_bytes()
    assert sorted(p.name for p in again.parent.iterdir()) == ["name.h", "name.so"]


@pytest.mark.parametrize("blocked", ["model.so", "model.h"])
def test_library_and_header_appear_together_or_not_at_all(tmp_path: Path, blocked: str) -> None:
    (tmp_path / blocked).mkdir()
    with pytest.raises(IsADirectoryError, match=blocked):
        build_artifact(affine_model(), named("x86-64-v2"), tmp_path / "model.so")
    assert [p.name for p in tmp_path.iterdir()] == [blocked]


@pytest.mark.parametrize("there", [False, True])
def test_what_was_there_comes_back_when_the_second_file_cannot_appear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    if there:
        (tmp_path / "model.so").write_text("old library")
        (tmp_path / "model.h").write_text("old header")
    before = {p.name: p.read_text() for p in tmp_path.iterdir()}
    replaced = os.replace

    def fail(source: Path, final: Path) -> None:
        if Path(source).name == "model.h":
            raise PermissionError("no")
        replaced(source, final)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(PermissionError):
        build_artifact(affine_model(), named("x86-64-v2"), tmp_path / "model.so")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == before


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "model.so").symlink_to(tmp_path / "far" / "real.so")
    build_artifact(affine_model(), named("x86-64-v2"), tmp_path / "model.so")
    assert (tmp_path / "model.so").is_symlink() and (tmp_path / "far" / "real.so").stat().st_size > 1000
    assert not (tmp_path / "model.h").is_symlink() and os.listdir(tmp_path / "far") == ["real.so"]


def test_permissions_stay_and_what_was_ended_is_removed(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    left = tmp_path / f".model.so.{_host()}-{gone.pid}-{0:016x}.part"  # by an export that was killed
    left.mkdir()
    (left / "data.o").write_bytes(b"weights")
    os.utime(left, (1, 1))
    library, head = tmp_path / "model.so", tmp_path / "model.h"
    for path in (library, head):
        path.write_text("old")
    library.chmod(0o640)
    head.chmod(0o600)
    build_artifact(affine_model(), named("x86-64-v2"), library)
    assert sorted(tmp_path.iterdir()) == [head, library] and library.stat().st_size > 1000
    assert [stat.S_IMODE(path.stat().st_mode) for path in (library, head)] == [0o640, 0o600]


def _sample_of(path: Path) -> Sample:
    x = np.arange(10, dtype=np.float32).reshape(2, 5)
    return Sample(2, (x,), (expected(x),))


def test_only_the_interface_is_visible(path: Path) -> None:
    if shutil.which("nm") is None:
        pytest.skip("needs nm")
    lines = subprocess.run(["nm", "-D", path], capture_output=True, text=True, check=True).stdout
    defined = {line.split()[-1] for line in lines.splitlines() if " U " not in line}
    wanted = {
        f"kc_affine_{name}"
        for name in (
            "abi",
            "input_count",
            "output_count",
            "input",
            "output",
            "workspace_size",
            "run",
            "selftest_size",
            "selftest",
            "pool_size",
            "pool_start",
            "pool_stop",
        )
    }
    assert defined == wanted
    undefined = {line.split()[-1].split("@")[0] for line in lines.splitlines() if " U " in line}
    assert undefined <= {
        "pthread_create",
        "pthread_join",
        "pthread_sigmask",
        "getpid",
        "syscall",
        "memset",
        "memcpy",
    }


def test_weights_are_page_aligned_and_read_only(path: Path) -> None:
    data = path.read_bytes()
    assert data.find((2 * WEIGHTS).tobytes()) % 4096 == 0
    model = load(path)
    assert model  # keeps the mapping
    maps = Path("/proc/self/maps").read_text()
    modes = [line.split()[1] for line in maps.splitlines() if line.endswith(str(path))]
    assert modes and all("w" not in mode or "x" not in mode for mode in modes)


# ---------------------------------------------------------------- files that must not be loaded


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda d: d[: len(d) // 2], "truncated"),
        (lambda d: d[:50], "truncated"),
        (lambda d: d[: len(d) - 1], "truncated"),
        (lambda d: b"", None),
        (lambda d: b"garbage, nothing else" * 100, "not a shared object"),
        (lambda d: b"\x89HDF\r\n\x1a\n" + d[8:], "HDF5"),
        (lambda d: d.__setitem__(4, 1), "not 64-bit"),
        (lambda d: d.__setitem__(18, 40), "checksum"),
        (lambda d: d.__setitem__(16, 2), "not a shared object"),
        (lambda d: d.__setitem__(5000, d[5000] ^ 1), "checksum"),
        (lambda d: d.__setitem__(slice(40, 48), b"\xff" * 8), "truncated"),
        (lambda d: d.__setitem__(slice(60, 62), b"\xff" * 2), "truncated"),
        (lambda d: d.__setitem__(slice(62, 64), b"\xff" * 2), "contradicts"),
    ],
)
def test_damaged_files(path: Path, tmp_path: Path, change: object, text: str | None) -> None:
    copy = damaged(path, tmp_path, change) if text else tmp_path / "copy.so"
    if not text:
        copy.write_bytes(b"")
        text = "empty"
    with pytest.raises(ArtifactError, match=text) as error:
        load(copy)
    assert str(copy) in str(error.value)


def test_every_flipped_byte_is_noticed(path: Path, tmp_path: Path) -> None:
    size = path.stat().st_size
    for at in RNG.integers(0, size, 100):
        copy = damaged(path, tmp_path, lambda d, at=at: d.__setitem__(at, d[at] ^ 0x41))
        with pytest.raises(ArtifactError):
            load(copy)


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.so")
    with pytest.raises(ArtifactError, match="not one of kcompile's"):
        load(np._core._multiarray_umath.__file__)


def test_other_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = named("aarch64" if native().triple.startswith("x86") else "x86-64-v2")
    path = build_artifact(affine_model(), foreign, tmp_path / "foreign.so")
    with pytest.raises(ArtifactError, match=r"made for \w+, and this machine is"):
        load(path)
    own = build_artifact(affine_model(), native(), tmp_path / "own.so")
    monkeypatch.setattr(artifact, "cpu_flags", frozenset)
    with pytest.raises(ArtifactError, match="processor features"):
        load(own)


def test_flags_of_targets() -> None:
    assert set(cpu_flags(native())) <= artifact.cpu_flags()
    assert "avx2" in cpu_flags(named("x86-64-v3")) and "avx2" not in cpu_flags(named("x86-64-v2"))
    assert cpu_flags(named("aarch64")) == ["asimd"]
    assert cpu_flags(named("riscv64")) == ["a", "c", "d", "f", "m", "v"]
    with pytest.raises(ValueError, match="znver5"):
        cpu_flags(Target("x", "x86_64-unknown-linux-gnu", "znver5", "", 512, 32))


# ---------------------------------------------------------------- what cannot be exported


def test_what_cannot_be_exported(tmp_path: Path) -> None:
    model = affine_model()
    train = model.program.entries[2].launches
    predict = model.program.entries[1]
    stateful = Program((Entry("predict", (*predict.launches, *train), predict.arena),), 64)
    cases = [
        (replace(model, program=stateful), "stateful"),
        (replace(model, program=Program(())), "entry 'predict'"),
        (replace(model, prepared=b""), "64 prepared bytes"),
        (replace(model, variables=[None, None]), "variable 1"),
        (replace(model, variables=[]), "2 variables"),
        (replace(model, batch=3), "batch=3"),
        (replace(model, sample=Sample(4, (), ())), "1 sample inputs"),
        (replace(model, sample=Sample(9, model.sample.inputs, model.sample.outputs)), "sample of"),
    ]
    for bad, text in cases:
        with pytest.raises(ValueError, match=text):
            build_artifact(bad, native(), tmp_path / "bad.so")
    for triple in ("x86_64-pc-windows-msvc", "loongarch64-unknown-linux-gnu"):
        with pytest.raises(ValueError, match="x86_64"):
            build_artifact(model, replace(native(), triple=triple), tmp_path / "bad.so")
    assert list(tmp_path.iterdir()) == []


def test_without_a_linker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(link.shutil, "which", lambda name: None)
    with pytest.raises(link.LinkError, match=re.escape("kcompile[export]")):
        build_artifact(affine_model(), native(), tmp_path / "model.so")
    assert list(tmp_path.iterdir()) == []


def test_the_system_linker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("ld") is None:
        pytest.skip("needs ld")
    monkeypatch.setattr(link.importlib.util, "find_spec", lambda name: None)
    path = build_artifact(affine_model(), native(), tmp_path / "model.so")
    assert load(path).selftest() < 1e-5


# ---------------------------------------------------------------- other kinds of models


def test_fixed_batch(tmp_path: Path) -> None:
    model = load(build_artifact(affine_model("fixed", 8), native(), tmp_path / "fixed.so"))
    x = RNG.normal(size=(21, INNER)).astype(np.float32)
    np.testing.assert_allclose(model.predict(x), expected(x), rtol=1e-5, atol=1e-5)
    with pytest.raises(InputError, match="a batch of 8"):
        model.predict_on_batch(x)


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    a, k = np.arange(6, dtype=np.int32).reshape(3, 2), np.array(2.0)
    types = (TensorType((N, 2), "int32"), TensorType((), "float64"))
    results = (a + 1, a * 2.0)
    model = Model(
        "two",
        pair(),
        tuple(map(Tensor, ("a", "k"), types)),
        tuple(map(Tensor, ("b", "c"), (types[0], TensorType((N, 2), "float64")))),
        b"",
        [],
        Sample(3, (a, k), results),
    )
    loaded = load(build_artifact(model, native(), tmp_path / "two.so"))
    assert loaded.selftest() == 0.0
    for got in (loaded.predict([a, k]), loaded([a, k]), loaded.predict({"k": 2, "a": a}, 2)):
        assert [g.dtype for g in got] == ["int32", "float64"]
        assert (got[0] == results[0]).all() and (got[1] == results[1]).all()
    wrong = replace(model, sample=Sample(3, (a, k), (a, a * 3.0)))
    with pytest.raises(NativeError, match="self-test"):
        load(build_artifact(wrong, native(), tmp_path / "wrong.so")).selftest()


NASTY = 'a"*/\0/*??/\\\n int'


def test_names_are_made_safe(tmp_path: Path) -> None:
    model = replace(affine_model(NASTY), inputs=(Tensor(NASTY, TensorType((N, INNER))),))
    path = build_artifact(model, native(), tmp_path / "nasty.so")
    assert load(path).inputs[0].name == NASTY
    text = header(model, model.program.entries[1], native())
    assert "\0" not in text and re.search(r"int kc_a_+int_run\(int64_t n", text)
    if shutil.which("gcc"):
        for language in ("c", "c++"):
            subprocess.run(
                [
                    "gcc",
                    "-Wall",
                    "-Wextra",
                    "-Werror",
                    "-pedantic",
                    "-fsyntax-only",
                    f"-std={language}11",
                    "-x",
                    language,
                    path.with_suffix(".h"),
                ],
                check=True,
            )


PROGRAM = """
#include "model.h"
#include <stdio.h>
#include <stdlib.h>
static void *room(int64_t size) { return aligned_alloc(64, (size + 63) / 64 * 64); }
int main(void) {
  double error = -1;
  if (kc_affine_abi() != KC_ARTIFACT_TYPES) return 10;
  int64_t size = kc_affine_selftest_size();
  if (kc_affine_selftest(room(size), size, &error) != KC_OK || error > 1e-5) return 11;
  if (kc_affine_selftest(room(size), size - 1, NULL) != KC_SHORT_WORKSPACE) return 12;
  const kc_tensor *x = kc_affine_input(0), *y = kc_affine_output(0);
  if (kc_affine_input_count() != 1 || kc_affine_input(1) || kc_affine_output(-1)) return 13;
  if (x->name[0] != 'x' || x->dtype != KC_FLOAT32 || x->rank != 2 || x->fixed[1] != 5
      || x->per_sample[0] != 1 || y->fixed[1] != 3) return 14;
  void *pool = room(kc_affine_pool_size(2));
  if (kc_affine_pool_start(pool, 2) != KC_OK) return 15;
  int64_t n = 50;
  size = kc_affine_workspace_size(n, 2);
  float *in = malloc(n * 5 * sizeof *in + 4), *out = malloc(n * 3 * sizeof *out + 4);
  for (int i = 0; i < n * 5; ++i) in[i + 1] = (float)i / 100;  /* aligned to 4 bytes only */
  const void *inputs[] = {in + 1};
  void *outputs[] = {out + 1}, *space = room(size + 64);
  if (kc_affine_run(n, inputs, outputs, space, size, pool) != KC_OK) return 16;
  if (kc_affine_run(n, inputs, outputs, (char *)space + 4, size, NULL) != KC_OK) return 17;
  if (kc_affine_run(0, inputs, outputs, space, size, NULL) != KC_BAD_BATCH) return 18;
  if (kc_affine_run(n, inputs, outputs, space, 10, NULL) != KC_SHORT_WORKSPACE) return 19;
  if (kc_affine_run(n, NULL, outputs, space, size, NULL) != KC_NULL_POINTER) return 20;
  inputs[0] = NULL;
  if (kc_affine_run(n, inputs, outputs, space, size, NULL) != KC_NULL_POINTER) return 21;
  if (kc_affine_workspace_size(-1, 1) || kc_affine_workspace_size(1, 0)) return 22;
  if (kc_affine_pool_start(NULL, 2) != KC_NULL_POINTER) return 23;
  kc_affine_pool_stop(pool);
  for (int i = 0; i < n * 3; ++i) printf("%.9g\\n", out[i + 1]);
  return 0;
}
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_from_c(path: Path, tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text(PROGRAM)
    subprocess.run(
        [
            "gcc",
            "-std=c11",
            "-Wall",
            "-Werror",
            "-I",
            path.parent,
            "-pthread",
            "-o",
            tmp_path / "main",
            tmp_path / "main.c",
            path,
        ],
        check=True,
    )
    result = subprocess.run([tmp_path / "main"], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    got = np.array(result.stdout.split(), np.float32).reshape(50, OUTER)
    x = (np.arange(250, dtype=np.float32) / 100).reshape(50, INNER)
    np.testing.assert_allclose(got, expected(x), rtol=1e-5, atol=1e-5)


def test_in_a_process_without_the_compiler(path: Path) -> None:
    """The artifact needs the runtime and numpy, and ends cleanly with its threads parked."""
    code = f"""
        import sys, numpy as np, kcompile_runtime as rt
        model = rt.load({str(path)!r}, threads=3)
        print(model.predict(np.ones((200, 5), np.float32)).shape, model.selftest() < 1e-5)
        print("kcompile" in sys.modules, "llvmlite" in sys.modules)
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split("\n")[:2] == ["(200, 3) True", "False False"]


def test_large_weights(tmp_path: Path) -> None:
    """A prepared block of 64 MiB passes through quickly and unchanged."""
    model = affine_model("large")
    block = np.zeros(1 << 26, np.uint8)
    block[:60] = np.frombuffer(model.prepared[:60], np.uint8)
    large = replace(model, prepared=block.tobytes(), program=replace(model.program, prepared=block.size))
    path = build_artifact(large, native(), tmp_path / "large.so")
    assert load(path).selftest() < 1e-5
    os.remove(path)


def test_numpy_arrays_start_with_their_data_pointer() -> None:
    from kcompile_runtime.arrays import DATA_OFFSET

    assert DATA_OFFSET > 0
    x = np.zeros(4)[1:]
    assert address(x) == x.ctypes.data
