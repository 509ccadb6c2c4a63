"""The runtime's LLVM IR in files: what is filled in, and that the files are part of the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from kcompile.codegen.llvm.template import filled

tomllib = pytest.importorskip("tomllib")
ROOT = Path(__file__).parents[2]


def test_of_words_that_begin_alike_the_longest_is_meant(tmp_path):
    path = tmp_path / "a.ll"
    path.write_text("; $SLOTS of $SLOT, $OTHER\n")
    assert filled(path, SLOT=1, SLOTS="$SLOT", OTHER="x") == "; $SLOT of 1, x\n"


def test_files_are_installed():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    installed = settings["tool"]["setuptools"]["package-data"]
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "kcompile").rglob("*.ll")}
    assert len(folders) == 2
    for folder in folders:
        assert "*.ll" in installed[".".join(folder.parts)]
