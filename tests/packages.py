"""Builds both distributions and installs them, as whoever releases or deploys them does.

    python tests/packages.py [FOLDER]

Enters: this checkout, and a package index for numpy, llvmlite and the tools. Leaves: lines with what was
measured; exit status 1 at the first thing that is not as README.md and setup.py say. FOLDER keeps the
distributions.

Built are source distributions, and wheels from them; they pass `twine check` and `check-wheel-contents`, and
hold what a wheel of the checkout itself holds. Installed are the runtime alone, the whole, and both in every
order: neither takes a file of the other, and a runtime of another version is refused, not used.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ("build", "twine", "check-wheel-contents", "cffconvert", "setuptools>=77")
LIMITS = {"runtime and numpy": 90, "all that kcompile needs": 300}  # MiB
IMPORT_LIMIT = 0.2  # seconds
WHERE = (
    "import kcompile_runtime as rt, os; print(os.path.relpath(rt.__file__, {site!r}).replace(os.sep, '/'))"
)
OWN, BUNDLED = "kcompile_runtime/__init__.py", "kcompile/_bundled/kcompile_runtime/__init__.py"
PREDICTS = "import kcompile_runtime as rt; rt.load({path!r}).selftest()"


DROPPED = ("PYTHONPATH", "PIP_NO_COMPILE")  # what would show another environment than a user's


class Failed(Exception):
    pass


def run(*command: object, fails: bool = False, **environment: str) -> str:
    """What a command prints. Raises Failed where it fails, or, with `fails`, where it does not."""
    clean = {name: value for name, value in os.environ.items() if name not in DROPPED}
    result = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        cwd=os.sep,  # where no checkout is that Python would import
        env={**clean, **environment},
    )
    if (result.returncode != 0) != fails:
        raise Failed(f"{' '.join(map(str, command))}\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
    return result.stdout + result.stderr


class Environment:
    """A virtual environment without pip, which counts in no size. tools: the pip that fills it."""

    def __init__(self, folder: Path, tools: Path) -> None:
        run(sys.executable, "-m", "venv", "--without-pip", folder)
        self.bin, self._pip = folder / "bin", tools / "bin" / "pip"
        self.site = Path(self.python("import sysconfig; print(sysconfig.get_path('purelib'))").strip())

    def python(self, code: str, fails: bool = False, **environment: str) -> str:
        return run(self.bin / "python", "-c", code, fails=fails, **environment)

    def pip(self, *arguments: object) -> None:
        run(self._pip, "--python", self.bin / "python", *arguments)

    def uninstall(self, name: str) -> None:
        self.pip("uninstall", "-y", name)

    def runtime(self) -> str:
        """Which runtime is imported, as a path below site-packages."""
        return self.python(WHERE.format(site=str(self.site))).strip()

    def bytes(self) -> int:
        return sum(path.lstat().st_size for path in self.site.rglob("*") if path.is_file())


def expect(holds: bool, what: str) -> None:
    if not holds:
        raise Failed(what)
    print(f"ok   {what}", flush=True)


def build(tools: Path, folder: Path) -> tuple[Path, Path]:
    """The wheels of kcompile and of its runtime, each from its source distribution."""
    clone = folder / "clone"
    names = run("git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in names:
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name)
    dist = folder / "dist"
    for part in (clone, clone / "runtime"):
        run(tools / "bin" / "python", "-m", "build", "--no-isolation", "--outdir", dist, part)
    made = sorted(dist.iterdir())
    expect(len(made) == 4, f"built {', '.join(path.name for path in made)}")
    run(tools / "bin" / "twine", "check", "--strict", *made)
    wheels = sorted(dist.glob("*.whl"))
    run(tools / "bin" / "check-wheel-contents", *wheels)
    run(tools / "bin" / "cffconvert", "--validate", "-i", clone / "CITATION.cff")
    expect(True, "pass twine, check-wheel-contents and cffconvert")
    for part, wheel in zip((clone, clone / "runtime"), wheels):
        direct = folder / "direct" / part.name
        run(tools / "bin" / "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", direct, part)
        expect(
            contents(next(direct.iterdir())) == contents(wheel), f"{wheel.name}: the same from the checkout"
        )
    return wheels[0], wheels[1]


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def other_version(tools: Path, folder: Path) -> Path:
    """A wheel of a runtime that is older than any."""
    old = folder / "old"
    shutil.copytree(folder / "clone" / "runtime", old, ignore=shutil.ignore_patterns("build"))
    (old / "version.py").write_text('__version__ = "0.0.1"\n')
    run(tools / "bin" / "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", folder / "older", old)
    return next((folder / "older").iterdir())


def measure(environment: Environment, what: str) -> None:
    size = environment.bytes() / 2**20
    expect(size <= LIMITS[what], f"{what}: {size:.1f} MiB of at most {LIMITS[what]}")


def measure_import(environment: Environment) -> None:
    """The best of several: how long this takes beside whatever else the machine does."""
    found = []
    for _ in range(5):
        text = run(environment.bin / "python", "-X", "importtime", "-c", "import kcompile")
        found.append(int(re.findall(r"\| +(\d+) \| +kcompile$", text, re.MULTILINE)[0]) / 1e6)
    expect(min(found) <= IMPORT_LIMIT, f"import kcompile: {min(found):.3f} s of at most {IMPORT_LIMIT}")


def check(folder: Path) -> None:
    tools = folder / "tools"
    run(sys.executable, "-m", "venv", tools)
    run(tools / "bin" / "pip", "install", "--quiet", *TOOLS)
    whole, runtime = build(tools, folder)

    start = time.monotonic()
    full = Environment(folder / "full", tools)
    full.pip("install", whole)
    library = folder / "demo" / "model.so"
    run(full.bin / "kcompile", "demo", "--epochs", 3, "--images", 400, "--keep", library.parent)
    print(f"     from no environment to a trained model: {time.monotonic() - start:.0f} s")
    measure(full, "all that kcompile needs")
    measure_import(full)
    predicts = PREDICTS.format(path=str(library))

    alone = Environment(folder / "alone", tools)
    alone.pip("install", runtime)
    measure(alone, "runtime and numpy")
    alone.python(predicts)
    expect(alone.runtime() == OWN, "the runtime alone predicts from a library")

    both = "import kcompile; kcompile.compile; " + predicts
    full.python(both)
    expect(full.runtime() == BUNDLED, "kcompile alone brings its runtime")
    full.pip("install", "--no-deps", runtime)
    full.python(both)
    expect(full.runtime() == OWN, "beside kcompile-runtime, that is imported")
    full.uninstall("kcompile-runtime")
    full.python(both)
    expect(full.runtime() == BUNDLED, "which goes without a trace")
    full.pip("install", "--no-deps", runtime)
    full.uninstall("kcompile")
    full.python(predicts)
    expect(full.runtime() == OWN, "kcompile goes, and leaves kcompile-runtime whole")
    full.pip("install", "--no-deps", whole, other_version(tools, folder))
    said = full.python("import kcompile", fails=True)
    expect(
        "needs kcompile-runtime" in said and "Found: 0.0.1" in said, "a runtime of another version is refused"
    )
    full.uninstall("kcompile-runtime")
    full.python(both)
    expect(full.runtime() == BUNDLED, "and kcompile works again without it")

    target = folder / "target"
    alone.uninstall("kcompile-runtime")
    alone.pip("install", "--no-deps", "--target", target, whole)
    alone.python("import kcompile, kcompile_runtime; kcompile_runtime.load", PYTHONPATH=str(target))
    expect(True, "kcompile is imported from a folder of PYTHONPATH")


def main(arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="kcompile-packages-") as made:
        try:
            check(Path(made))
            if arguments:
                shutil.copytree(Path(made) / "dist", arguments[0], dirs_exist_ok=True)
        except Failed as error:
            print(f"FAIL {error}", flush=True)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
