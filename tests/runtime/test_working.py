"""Bars of long work: shown on a terminal, and nowhere else."""

from __future__ import annotations

import io
import sys
import types
from typing import Any

import pytest

from kcompile_runtime.working import DELAY, followed, working


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Bar:
    """What is asked of tqdm, written down."""

    def __init__(self, **options: Any) -> None:
        self.options, self.count, self.open = options, 0, False
        MADE.append(self)

    def __enter__(self) -> Bar:
        self.open = True
        return self

    def __exit__(self, *_: object) -> None:
        self.open = False

    def update(self) -> None:
        self.count += 1


MADE: list[Bar] = []


@pytest.fixture(autouse=True)
def stderr(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal, with a tqdm of which everybody knows what it is asked."""
    MADE.clear()
    monkeypatch.delenv("KC_DEBUG", raising=False)
    made = Terminal()
    show_on(made, monkeypatch)
    monkeypatch.setitem(sys.modules, "tqdm", types.SimpleNamespace(tqdm=Bar))
    return made


def show_on(stream: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it the stderr of the bars alone: pytest has plans for the real one."""
    monkeypatch.setattr("kcompile_runtime.working.sys", types.SimpleNamespace(stderr=stream))


def test_a_bar_counts_what_is_done(stderr: Terminal) -> None:
    assert list(followed("abc", "letters\x1b[2J")) == ["a", "b", "c"]
    (bar,) = MADE
    assert (bar.count, bar.open) == (3, False)
    assert bar.options["desc"] == "letters\\x1b[2J"
    assert (bar.options["total"], bar.options["delay"], bar.options["leave"]) == (3, DELAY, False)
    assert bar.options["file"] is stderr


def test_things_without_a_length_may_say_how_many_they_are() -> None:
    assert list(followed(iter([1, 2]), "numbers", 2)) == [1, 2]
    assert list(followed(iter([1, 2]), "numbers")) == [1, 2]
    assert [bar.options["total"] for bar in MADE] == [2, None]


def test_a_bar_is_closed_where_the_work_ends_early() -> None:
    for _ in (things := followed([1, 2, 3], "numbers")):
        break
    things.close()
    with pytest.raises(KeyError), working("one step"):
        raise KeyError
    assert [(bar.count, bar.open) for bar in MADE] == [(0, False), (0, False)]


@pytest.mark.parametrize("why", ["no terminal", "no stderr", "no tqdm", "KC_DEBUG"])
def test_silent(monkeypatch: pytest.MonkeyPatch, stderr: Terminal, why: str) -> None:
    if why == "no terminal":
        show_on(io.StringIO(), monkeypatch)
    elif why == "no stderr":  # as in a program of Windows without a console
        show_on(None, monkeypatch)
    elif why == "no tqdm":
        monkeypatch.setitem(sys.modules, "tqdm", None)
    else:
        monkeypatch.setenv("KC_DEBUG", "2")
    assert list(followed([1, 2], "numbers")) == [1, 2]
    with working("one step"):
        pass
    assert MADE == [] and stderr.getvalue() == ""


def test_a_real_bar_is_erased(monkeypatch: pytest.MonkeyPatch, stderr: Terminal) -> None:
    monkeypatch.delitem(sys.modules, "tqdm")
    pytest.importorskip("tqdm")
    with working("machine code of model.so"):
        pass
    shown = stderr.getvalue()
    assert "machine code of model.so" in shown and shown.endswith("\r")
