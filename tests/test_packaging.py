"""What gets installed: the listed packages, the bundled data, one version number. See also packages.py."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys

import numpy as np
import pytest

import kcompile
import kcompile_runtime
from kcompile.keras.datasets import digits

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # a dependency of pytest on 3.10


def read(path):
    return tomllib.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def project(root):
    return read(root / "pyproject.toml")


@pytest.fixture(scope="module")
def runtime(root):
    return read(root / "runtime" / "pyproject.toml")


def test_every_package_is_installed(project, root):
    """A package that pyproject.toml does not list works from the checkout and not for a user."""
    listed = set(project["tool"]["setuptools"]["packages"])
    present = {"kcompile_runtime"} | {
        ".".join(path.parent.relative_to(root).parts) for path in (root / "kcompile").rglob("__init__.py")
    }
    assert listed == present


def test_core_dependencies_are_the_five(project):
    names = [re.split(r"[<>=!~;\s]", d)[0] for d in project["project"]["dependencies"]]
    assert sorted(names) == ["h5py", "llvmlite", "networkx", "numpy", "pyyaml"]


def test_the_runtime_needs_numpy_and_is_what_kcompile_brings(project, runtime, root):
    """Installing both is tried by tests/packages.py, which takes longer."""
    assert runtime["project"]["dependencies"] == ["numpy"]
    assert runtime["project"]["requires-python"] == project["project"]["requires-python"]
    assert runtime["tool"]["setuptools"]["package-dir"] == {"kcompile_runtime": "."}
    assert project["tool"]["setuptools"]["package-dir"] == {"kcompile_runtime": "runtime"}
    assert (root / "runtime" / "LICENSE").read_bytes() == (root / "LICENSE").read_bytes()
    assert not any(path.is_dir() for path in (root / "runtime").iterdir() if (path / "__init__.py").exists())


def test_both_are_typed(project, runtime, root):
    for about, name, folder in ((project, "kcompile", "kcompile"), (runtime, "kcompile_runtime", "runtime")):
        assert "py.typed" in about["tool"]["setuptools"]["package-data"][name]
        assert (root / folder / "py.typed").is_file()
        assert "Typing :: Typed" in about["project"]["classifiers"]


def test_the_version_is_in_one_place_and_in_the_changelog(project, runtime, root):
    for about in (project, runtime):
        assert "version" in about["project"]["dynamic"]
        assert about["tool"]["setuptools"]["dynamic"] == {
            "version": {"attr": "kcompile_runtime.version.__version__"}
        }
    version = kcompile.__version__
    assert version == kcompile_runtime.__version__
    assert f"## [{version}]" in (root / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\nversion: {version}\n" in (root / "CITATION.cff").read_text(encoding="utf-8")


KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]  # of keepachangelog.com


def unsorted(changelog):
    """What is wrong with the sections of a changelog."""
    wrong = []
    for version in re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]:
        name, found = version.splitlines()[0], re.findall(r"^### (.+)$", version, re.MULTILINE)
        if not re.fullmatch(r"\[\d+\.\d+\.\d+\] - (unreleased|\d{4}-\d\d-\d\d)", name):
            wrong.append(f"a version is called {name!r}")
        if found != [kind for kind in KINDS if kind in found]:
            wrong.append(f"{name} has the sections {found}")
        for kind, text in re.findall(r"^### (\w+)\n(.*?)(?=^### |\Z)", version, re.MULTILINE | re.DOTALL):
            wrong += [f"under {kind}: {line}" for line in re.findall(r"^- Fixed: .*", text, re.MULTILINE)]
    return wrong


def test_the_changelog_is_sorted(root):
    assert unsorted((root / "CHANGELOG.md").read_text(encoding="utf-8")) == []
    assert unsorted("## [1.0.0] - soon\n### Fixed\n- a\n### Added\n- Fixed: b\n") == [
        "a version is called '[1.0.0] - soon'",
        "[1.0.0] - soon has the sections ['Fixed', 'Added']",
        "under Added: - Fixed: b",
    ]


def test_a_runtime_of_another_version_is_refused():
    code = "import kcompile_runtime as rt; rt.__version__ = '0.0.1'; import kcompile"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 1
    assert f"needs kcompile-runtime {kcompile.__version__}. Found: 0.0.1" in result.stderr


def test_every_extra_is_documented(project, root):
    page = (root / "docs" / "packages.md").read_text(encoding="utf-8").partition("## Extras")[2]
    extras = re.findall(r"^\| `(\w+)` \|", page.partition("\n## ")[0], re.MULTILINE)
    assert sorted(extras) == sorted(project["project"]["optional-dependencies"])
    assert len(extras) == len(set(extras))


def test_the_readme_has_the_commands_that_ci_runs(root):
    readme = (root / "README.md").read_text(encoding="utf-8")
    for mark, end in (("demo", "kcompile demo"), ("test", "pytest")):
        found = re.findall(rf"<!-- ci: {mark} -->\n```sh\n(.+)\n```\n", readme)
        assert len(found) == 1 and found[0].endswith(end), mark


def test_runs_as_a_module():
    result = subprocess.run([sys.executable, "-m", "kcompile", "--version"], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, f"kcompile {kcompile.__version__}\n")


# ---------------------------------------------------------------- digits


def test_digits_are_the_published_ones():
    (x, y), (none, _) = digits.load_data(test_split=0)
    assert x.dtype == y.dtype == np.uint8
    assert x.shape == (1797, 8, 8) and y.shape == (1797,) and len(none) == 0
    assert (x.min(), x.max()) == (0, 16)
    counts = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # as UCI's description says
    assert np.bincount(y).tolist() == counts


def test_digits_split_is_the_same_everywhere():
    (x, y), (x_test, y_test) = digits.load_data()
    assert (len(x), len(y), len(x_test), len(y_test)) == (1438, 1438, 359, 359)
    again = digits.load_data()[1][0]
    assert np.array_equal(x_test, again)
    digest = hashlib.sha256(x_test.tobytes() + y_test.tobytes()).hexdigest()
    assert digest[:16] == "698a570d5273649b"
    assert not np.array_equal(digits.load_data(seed=1)[1][0], x_test)


@pytest.mark.parametrize("test_split", [-0.1, 1.5, float("nan")])
def test_digits_refuse_a_split_outside(test_split):
    with pytest.raises(ValueError, match=r"test_split must lie in 0\.\.1"):
        digits.load_data(test_split=test_split)
