"""macOS and Windows, as far as they can be tried from Linux: their object files, and Python without what
only Linux has."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from codegen.objects import symbols

import kcompile
from kcompile import compiler
from kcompile.codegen import targets
from kcompile.codegen.binary import bundle
from kcompile.keras import layers, models

SYSTEMS = {
    "x86_64-apple-darwin": "x86-64-v2",
    "arm64-apple-darwin": "aarch64",
    "x86_64-pc-windows-msvc": "x86-64-v3",
}
MAGIC = {
    "x86_64-apple-darwin": b"\xcf\xfa\xed\xfe\x07\0\0\1",
    "arm64-apple-darwin": b"\xcf\xfa\xed\xfe\x0c\0\0\1",
    "x86_64-pc-windows-msvc": b"\x64\x86",
}


@pytest.fixture(scope="module")
def graphs():
    np.random.seed(0)
    model = models.Sequential(
        [
            layers.Conv2D(32, 3, activation="relu", input_shape=(12, 12, 16)),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(300, activation="tanh"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    recurrent = models.Sequential([layers.LSTM(9, input_shape=(5, 4)), layers.Dense(2)])
    compiled = kcompile.compile(model)
    return {
        "predict": compiled.graph("predict"),
        "train": compiled.graph("train"),
        "recurrent": kcompile.compile(recurrent).graph("predict"),
    }


@pytest.mark.parametrize("triple", SYSTEMS)
def test_objects_are_the_systems_and_whole(graphs, triple):
    """All that code needs is in its own objects: no C library, no system call of Linux."""
    target = replace(targets.named(SYSTEMS[triple]), triple=triple)
    support = bundle.support(target)
    shared, wanted = symbols(support)
    assert wanted == set() and "kc_parallel" in shared
    for name, graph in graphs.items():
        entry = "train" if name == "train" else "predict"
        made = compiler.compile_graph(graph, entry, target, frozen=entry == "predict").bundle
        defined, undefined = set(shared), set()
        for code in (*made.objects, support):
            assert code.startswith(MAGIC[triple])
            here, missing = symbols(code)
            defined |= here
            undefined |= missing
        assert f"kc_{entry}" in defined
        assert undefined <= defined, undefined - defined


@pytest.mark.parametrize("triple", SYSTEMS)
def test_there_are_no_threads_but_of_linux(triple):
    from kcompile.codegen.llvm.pool import has_threads

    assert not has_threads(replace(targets.named(SYSTEMS[triple]), triple=triple))
    assert has_threads(targets.named("aarch64"))


# What Python has on Linux and not there.
MODULES = {"darwin": (), "win32": ("fcntl", "resource", "pwd", "grp", "termios", "pty", "tty", "syslog")}
LINUX = (
    "sched_getaffinity",
    "sched_setaffinity",
    "memfd_create",
    "eventfd",
    "posix_fadvise",
    "getrandom",
    "sched_getscheduler",
    "O_DIRECT",
    "copy_file_range",
    "splice",
    "prlimit",
    "setns",
    "pidfd_open",
)
POSIX = (
    "fork",
    "forkpty",
    "register_at_fork",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "getpgid",
    "fchmod",
    "fchown",
    "chown",
    "O_DIRECTORY",
    "O_NOFOLLOW",
    "O_NONBLOCK",
    "O_CLOEXEC",
    "setsid",
    "killpg",
    "nice",
    "getloadavg",
    "sysconf",
    "statvfs",
    "mkfifo",
    "uname",
    "pread",
    "pwrite",
    "getpriority",
    "WNOHANG",
    "ttyname",
    "lockf",
    "sync",
)
REMOVED = {"darwin": LINUX, "win32": LINUX + POSIX}

SCRIPT = """
import asyncio  # of this system
import builtins, importlib, io, os, pathlib, pkgutil, platform, shutil, subprocess, sys, tempfile, threading
import h5py, llvmlite.binding, networkx, numpy as np, yaml, zipfile, json
from llvmlite import ir
platform.uname()
system, folder, modules, removed = sys.argv[1], sys.argv[2], sys.argv[3].split(), sys.argv[4].split()

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in modules:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
for name in modules:
    sys.modules.pop(name, None)
for name in removed:
    if hasattr(os, name):
        delattr(os, name)
opened = builtins.open
def no_linux(file, *rest, **options):
    if isinstance(file, (str, os.PathLike)) and os.fspath(file).startswith(("/proc/", "/sys/")):
        raise FileNotFoundError(2, "No such file", file)
    return opened(file, *rest, **options)
builtins.open = io.open = no_linux
sys.platform = system

import kcompile, kcompile_runtime
for package in (kcompile, kcompile_runtime):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        extra = module.name.startswith(("kcompile.testing", "kcompile.sklearn"))
        if not extra and not module.name.endswith("__main__"):
            importlib.import_module(module.name)

from kcompile.keras import layers, models
np.random.seed(0)
x, y = np.random.rand(64, 8).astype("float32"), np.random.randint(0, 3, 64)
model = models.Sequential([layers.Dense(9, activation="relu", input_dim=8), layers.Reshape((3, 3)),
                           layers.LSTM(4), layers.Dense(3, activation="softmax")])
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
first = model.evaluate(x, y, verbose=0)[0]
model.fit(x, y, epochs=5, verbose=0)
assert model.evaluate(x, y, verbose=0)[0] < first
expected = model.predict(x)
for name in ("m.keras", "m.h5"):
    path = os.path.join(folder, name)
    model.save(path)
    assert np.array_equal(models.load_model(path).predict(x), expected), name
assert kcompile.compile(model).verify(x).ok
try:
    kcompile_runtime.load(kcompile.export(model, os.path.join(folder, "m.so"), target="x86-64-v2"))
    raise SystemExit("loaded a library of Linux")
except kcompile_runtime.ArtifactError as error:
    assert "made for Linux" in str(error), error
print("fine")
"""


@pytest.mark.parametrize("system", MODULES)
def test_nothing_of_linux_is_needed(system, tmp_path):
    """Neither to import, nor to train, predict, save and load on one thread, nor with code that the disk
    cache has."""
    env = {**os.environ, "KC_THREADS": "1", "KC_CACHE": str(tmp_path / "cache")}
    for _ in range(2):
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                SCRIPT,
                system,
                str(tmp_path),
                " ".join(MODULES[system]),
                " ".join(REMOVED[system]),
            ],
            capture_output=True,
            text=True,
            env=env,
            timeout=600,
        )
        assert done.returncode == 0 and done.stdout.endswith("fine\n"), done.stderr[-3000:]
    assert any((tmp_path / "cache").iterdir())
