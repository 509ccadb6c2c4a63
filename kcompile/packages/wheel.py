"""A wheel of one model: `pip install` it, `import` it, predict.

Enters: a model, and what `kcompile.export` takes. Leaves: a file as the standard for binary distributions
says (packaging.python.org, "Binary distribution format"), with the library, a module that calls it, and the C
header. It needs numpy and kcompile-runtime, no compiler. The same arguments give the same bytes: files are in
a fixed order, stored and not compressed (weights barely shrink), with one date.
"""

from __future__ import annotations

import base64
import hashlib
import os
import stat
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from kcompile.codegen import targets
from kcompile.exporting import export
from kcompile.model import CompiledModel
from kcompile.model import compile as compile_model
from kcompile.packages.names import module_name, table, version_number
from kcompile.version import __version__
from kcompile_runtime import InputError, read_contents
from kcompile_runtime.checks import check_path
from kcompile_runtime.errors import describe
from kcompile_runtime.replacing import replacing
from kcompile_runtime.texts import printable

# A library names no other library and no version of a function: it runs with any C library that Python
# itself runs with. The oldest that has Python 3.10 or newer for a machine (PEP 600, PEP 656):
_PLATFORMS = {
    "x86_64": ("manylinux_2_17_x86_64", "manylinux2014_x86_64", "musllinux_1_1_x86_64"),
    "aarch64": ("manylinux_2_17_aarch64", "manylinux2014_aarch64", "musllinux_1_1_aarch64"),
    "riscv64": ("manylinux_2_31_riscv64", "musllinux_1_2_riscv64"),
}
_DATE = (1980, 1, 1, 0, 0, 0)


def export_wheel(
    model: Any,
    folder: str | os.PathLike[str] = ".",
    name: str | None = None,
    version: str = "1.0",
    target: str = "native",
    cpu: str | None = None,
    batch: int | None = None,
    lengths: Any = None,
    train: bool = False,
) -> Path:
    """Write a wheel of one model into `folder`. Gives its path.

    Whoever installs it has a package `name` with `predict(x)`; x: an array for a model with one input, else
    a list or dict of arrays. name: default the model's. version: of the package. model, target, cpu, batch,
    lengths, train: as `export` takes them (the package's `load().trainer()` trains), for a target of Linux;
    "x86-64" suits all processors of these machines, and a library for one that has more says at once where it
    lacks what it needs. folder: made where there is none. Raises InputError for arguments that make no sense,
    and what `export` raises.
    """
    folder = Path(check_path("export_wheel: folder", folder))
    version = version_number(version)
    machine = targets.emissions(target)[0].architecture.name
    if machine not in _PLATFORMS:
        wanted = f"a target of Linux ({', '.join(_PLATFORMS)})"
        raise InputError(describe("export_wheel: target", wanted, repr(target)))
    compiled = model if isinstance(model, CompiledModel) else compile_model(model)
    package = module_name(name, compiled.model.name)
    with tempfile.TemporaryDirectory() as work:
        library = export(compiled, Path(work) / f"{package}.so", target, cpu, batch, lengths, train)
        metadata = read_contents(library).metadata
        files = _files(package, version, metadata, library)
    tags = f"py3-none-{'.'.join(_PLATFORMS[machine])}"
    path = folder / f"{package}-{version}-{tags}.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        _write(part, files)
    return path


def _files(package: str, version: str, metadata: Mapping[str, Any], library: Path) -> dict[str, bytes]:
    """What is in the wheel, by name."""
    about = f"{package}-{version}.dist-info"
    text = (Path(__file__).parent / "python" / "module.txt").read_text(encoding="utf-8")
    module = Template(text).substitute(
        NAME=metadata["name"],
        COMPILER=__version__,
        TARGET=metadata["target"],
        VERSION=version,
        LIBRARY=library.name,
    )
    tags = _PLATFORMS[metadata["triple"].split("-")[0]]
    wheel = [
        "Wheel-Version: 1.0",
        f"Generator: kcompile {__version__}",
        "Root-Is-Purelib: false",
        *(f"Tag: py3-none-{tag}" for tag in tags),
    ]
    files = {
        f"{package}/__init__.py": module.encode(),
        f"{package}/py.typed": b"",
        f"{package}/{library.name}": library.read_bytes(),
        f"{package}/{package}.h": library.with_suffix(".h").read_bytes(),
        f"{about}/METADATA": _metadata(package, version, dict(metadata)).encode(),
        f"{about}/WHEEL": ("\n".join(wheel) + "\n").encode(),
    }
    record = [f"{name},{_hash(data)},{len(data)}" for name, data in files.items()]
    record.append(f"{about}/RECORD,,")
    return {**files, f"{about}/RECORD": ("\n".join(record) + "\n").encode()}


def _metadata(package: str, version: str, about: dict[str, Any]) -> str:
    """The file METADATA, whose body is what indexes show as the description."""
    needs = ", ".join(about["cpu_flags"]) or "nothing special"
    return "\n".join(
        [
            "Metadata-Version: 2.1",
            f"Name: {package}",
            f"Version: {version}",
            f"Summary: The model {about['name']}, compiled by kcompile",
            "Requires-Python: >=3.10",
            "Requires-Dist: numpy",
            f"Requires-Dist: kcompile-runtime>={__version__}",
            "Description-Content-Type: text/markdown",
            "",
            f"# {package}",
            "",
            f"The model `{about['name']}`, compiled by kcompile {__version__} for {about['target']}.",
            "",
            "```python",
            f"import {package}",
            "",
            f"y = {package}.predict(x)",
            "```",
            "",
            *table(about),
            "",
            f"Precision: {about.get('precision', 'float32')}. The processor needs: {printable(needs)}.",
            "",
        ]
    )


def _hash(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _write(path: Path, files: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system = 3  # Unix, whose permissions these are
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, data)
