"""The guides in docs/adding/ are right: whoever does what they say, and no more, has what they promise."""

from __future__ import annotations

from pathlib import Path

import guides
import pytest

FOLLOWED = {"op": 1, "pass": 4, "layer": 2, "optimizer": 2, "vintage": 3}  # guide: files that it touches


def test_every_guide_is_followed_here() -> None:
    assert {path.stem for path in guides.FOLDER.glob("*.md")} == {*FOLLOWED, "target"}


@pytest.mark.parametrize("name", FOLLOWED)
def test_whoever_follows_a_guide_passes_its_tests(name: str, tmp_path: Path) -> None:
    guide = guides.read(guides.FOLDER / f"{name}.md")
    guides.copy_tree(tmp_path)
    guides.follow(guide, tmp_path)
    assert guides.changed(tmp_path) == guide.touched
    assert len(guide.touched) == guide.number == FOLLOWED[name]
    guides.run("python -m ruff check -q . && python -m ruff format -q --check .", tmp_path)


def test_riscv64_taken_out_and_added_by_the_guide_is_the_same_tree() -> None:
    guide = guides.read(guides.FOLDER / "target.md")
    now = {path: (guides.ROOT / path).read_text() for path in guide.touched}
    texts = dict(now)
    for edit in reversed(guide.edits):
        texts[edit.path] = edit.undone(texts[edit.path])
    ours = [text for path, text in texts.items() if not path.startswith("tests/")]
    assert not any("_RISCV" in text or '"riscv64"' in text for text in ours)
    for path, text in texts.items():
        compile(text, path, "exec")
        assert text != now[path]
    for edit in guide.edits:
        texts[edit.path] = edit.done(texts[edit.path])
    assert texts == now
    assert len(guide.touched) == guide.number == 5


def test_an_edit_wants_its_line_once() -> None:
    edit = guides.Edit("a.py", "after", "x = 1", "y = 2\n")
    assert edit.done("x = 1\nz = 3\n") == "x = 1\ny = 2\nz = 3\n"
    assert edit.undone("x = 1\ny = 2\nz = 3\n") == "x = 1\nz = 3\n"
    for text in ("z = 3\n", "x = 1\n    x = 1\n"):
        with pytest.raises(ValueError, match="lines are 'x = 1'"):
            edit.done(text)


def test_a_block_that_no_sentence_places_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("**Files touched: 1** (`a.py`)\n\nLook:\n\n```python\nx = 1\n```\n")
    with pytest.raises(ValueError, match="nothing says where this goes"):
        guides.read(page)
