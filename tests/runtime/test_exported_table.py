"""The table of networks by target: one network of it, on two targets that every machine of CI has."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2]))  # where `python -m benchmarks` runs
table = importlib.import_module("benchmarks.exported")


def test_a_network_is_measured_and_written_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "STARTS", 1)
    page = tmp_path / "page.md"
    assert table.main(["--only", "mlp", "--targets", "x86-64-v2", "wasm32", "--report", str(page)]) == 0
    assert "FAILED" not in capsys.readouterr().out
    text = page.read_text(encoding="utf-8")
    assert "| mlp |" in text and "| network | x86-64-v2 | wasm32 |" in text
