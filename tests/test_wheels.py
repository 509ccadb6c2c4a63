"""A wheel of one model: what is in it, and that it predicts where numpy and the runtime alone are."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import subprocess
import sys
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import numpy as np
import pytest

import kcompile
import kcompile_runtime
from kcompile import cli
from kcompile.keras.layers import Dense
from kcompile.keras.models import Sequential

X = np.random.default_rng(3).random((5, 4), dtype=np.float32)


def model(name: str = "iris") -> Sequential:
    return Sequential([Dense(6, activation="relu", input_shape=(4,)), Dense(3)], name=name)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sequential, Path]:
    np.random.seed(1)
    net = model()
    return net, kcompile.export_wheel(net, tmp_path_factory.mktemp("wheel"), version="1.2")


def test_what_is_in_it(made: tuple[Sequential, Path], tmp_path: Path) -> None:
    net, path = made
    assert path.name.startswith("iris-1.2-py3-none-manylinux_2_17_")
    again = kcompile.export_wheel(net, tmp_path, version="1.2")
    assert again.read_bytes() == path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(files["iris-1.2.dist-info/RECORD"].decode()))}
    assert rows.pop("iris-1.2.dist-info/RECORD") == ["", ""]
    for name, (digest, size) in rows.items():
        want = base64.urlsafe_b64encode(hashlib.sha256(files[name]).digest()).rstrip(b"=").decode()
        assert (digest, int(size)) == (f"sha256={want}", len(files[name]))
    assert set(rows) | {"iris-1.2.dist-info/RECORD"} == set(files)
    about = Parser().parsestr(files["iris-1.2.dist-info/METADATA"].decode())
    assert about.get_all("Requires-Dist") == ["numpy", f"kcompile-runtime>={kcompile.__version__}"]
    assert (about["Name"], about["Version"]) == ("iris", "1.2")
    assert "| input | `" in about.get_payload() and "float32 | (n, 4) |" in about.get_payload()
    tags = Parser().parsestr(files["iris-1.2.dist-info/WHEEL"].decode()).get_all("Tag")
    stem = path.stem.split("-", 4)[4]
    assert [tag.removeprefix("py3-none-") for tag in tags] == stem.split(".")


def test_it_predicts_without_the_compiler(made: tuple[Sequential, Path], tmp_path: Path) -> None:
    """In an environment with numpy, the runtime and the wheel, which pip put there."""
    net, path = made
    venv.create(tmp_path / "env", with_pip=False)
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    for package in ("numpy", "kcompile_runtime"):
        place = Path(sys.modules[package].__file__).parent
        (site / package).symlink_to(place)
        for libs in place.parent.glob(f"{package}.libs"):
            (site / libs.name).symlink_to(libs)
    python = tmp_path / "env" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "install"]
    done = subprocess.run([*pip, "--no-deps", "--no-index", path], capture_output=True, text=True)
    if "No module named pip" in done.stderr:
        pytest.skip("needs pip")
    assert done.returncode == 0, done.stderr
    np.save(tmp_path / "x.npy", X)
    code = (
        "import sys, numpy as np, iris; x = np.load('x.npy'); y = iris.predict(x)\n"
        "assert np.array_equal(y, iris.predict_on_batch(x)) and iris.load(threads=1).selftest() < 1e-4\n"
        "assert iris.__version__ == '1.2' and 'kcompile' not in sys.modules\n"
        "np.save('y.npy', y)"
    )
    subprocess.run([python, "-I", "-c", code], check=True, cwd=tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), kcompile.compile(net).predict(X))


def test_tags_of_other_machines(tmp_path: Path) -> None:
    path = kcompile.export_wheel(model("Dense model 2"), tmp_path, target="aarch64")
    assert path.name == (
        "dense_model_2-1.0-py3-none-manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64.whl"
    )
    path = kcompile.export_wheel(model(), tmp_path / "new", name="other", target="x86-64")
    with zipfile.ZipFile(path) as archive:
        archive.extract("other/other.so", tmp_path)
    assert kcompile_runtime.read_contents(tmp_path / "other" / "other.so").metadata["target"] == "x86-64"


def test_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model().save(tmp_path / "m.h5")
    command = ["build", str(tmp_path / "m.h5")]
    assert (
        cli.main([*command, "--wheel", str(tmp_path), "--name", "mine", "--package-version", "2.0rc1"]) == 0
    )
    (path,) = tmp_path.glob("mine-2.0rc1-*.whl")
    assert f"wrote {path}" in capsys.readouterr().out
    assert cli.main([*command, "-o", str(tmp_path / "m.so"), "--name", "mine"]) == 2
    assert "--wheel" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"name": "1st"}, "name"),
        ({"name": "json"}, "nobody else's"),
        ({"name": "numpy"}, "nobody else's"),
        ({"name": "class"}, "imported"),
        ({"name": ""}, "imported"),
        ({"version": "one"}, "version number"),
        ({"version": "1.0 "}, "version number"),
        ({"target": "wasm32"}, "target of Linux"),
        ({"target": "sparc"}, "unknown target"),
        ({"batch": 0}, "batch"),
    ],
)
def test_wrong_arguments(given, words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        kcompile.export_wheel(model(), tmp_path, **given)
    assert list(tmp_path.iterdir()) == []
