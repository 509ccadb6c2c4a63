"""What gets installed: the listed packages, the bundled data, one version number."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys

import numpy as np
import pytest

import kcompile
from kcompile.keras.datasets import digits

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # a dependency of pytest on 3.10


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


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


def test_the_version_is_in_one_place_and_in_the_changelog(project, root):
    assert "version" in project["project"]["dynamic"]
    assert f"## [{kcompile.__version__}]" in (root / "CHANGELOG.md").read_text(encoding="utf-8")


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
