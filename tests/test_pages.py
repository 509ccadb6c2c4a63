"""Pages for users are right: their code runs, and prints what they say; what is generated is whole."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pages
import pytest

sys.path.insert(0, str(pages.ROOT / "docs"))
import generated

SITE = sorted((pages.ROOT / "docs").rglob("*.md"))


@pytest.mark.parametrize("page", pages.pages(), ids=lambda page: page.stem)
def test_code_of_a_page_runs_and_prints_what_it_says(page: Path, tmp_path: Path) -> None:
    missing = pages.run(page, tmp_path, without=pages.HEAVY)
    if missing is not None and missing not in pages.HEAVY:
        pytest.skip(f"{missing} is not installed")


def test_what_is_printed_is_compared() -> None:
    assert pages.matches("a ... c\n", "a b\nb c\n") and pages.matches("(x)  \n\n", "(x)")
    assert not pages.matches("a ... c", "a c d") and not pages.matches("a", "b")


def test_a_block_that_is_nothing_is_an_error(tmp_path: Path) -> None:
    for page in ("```text\nnobody printed this\n```\n", "```c\nint x;\n```\n"):
        with pytest.raises(ValueError, match="nothing says what becomes of this"):
            list(pages.steps("page", page))
    found = list(pages.steps("page", "A new file `a.c`:\n\n```c\nint x;\n```\n\n```sh\ntrue\n```\n"))
    assert [(step.kind, step.path, step.line) for step in found] == [("file", "a.c", 4), ("sh", "", 8)]
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1)\n```\n\n```text\n2\n```\n")
    with pytest.raises(AssertionError, match=r"page\.md, line 6: prints\n1"):
        pages.run(page, tmp_path)


# ---------------------------------------------------------------- what is generated


def test_pages_ask_for_parts_that_there_are_and_for_all_of_them() -> None:
    asked = [name for page in SITE for name in generated.MARK.findall(page.read_text(encoding="utf-8"))]
    assert sorted(asked) == sorted(generated.PARTS)
    with pytest.raises(ValueError, match="no part is called 'nothing'"):
        generated.filled("<!-- generated: nothing -->\n")


def test_the_table_of_layers_has_every_public_one() -> None:
    from kcompile.keras import layers
    from kcompile.keras.layers import registry

    text = generated.layers()
    assert [name for name in registry.classes_of(layers) if f"`{name}`" not in text] == []
    row = next(line for line in text.splitlines() if line.startswith("| `RMSNormalization`"))
    assert [cell.strip() for cell in row.split("|")][2:5] == ["here too", "", "yes"]


def test_a_layer_says_what_it_shares_with_its_family() -> None:
    from kcompile.keras.layers import Conv2D

    names = [kind.__name__ for kind in generated._families(Conv2D)]
    assert "KernelLayer" in names and "Layer" not in names
    assert "autoclass:: kcompile.keras.layers.Conv2D" in generated.layers_in_full()


def test_the_command_line_has_every_command_with_its_arguments() -> None:
    from kcompile import cli

    text = generated.command_line()
    heads = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert {"kcompile run", "kcompile build", "kcompile verify", "Exit status"} <= set(heads)
    assert "`--target TARGET` | " in text and "default: native" in text and "`SCRIPT.py`" in text
    assert all(f"| `{status}` | {meaning}" in text for status, meaning in cli.STATUSES.items())


def test_the_header_and_the_environment_are_there() -> None:
    header = generated.c_header()
    assert "int kc_model_run(int64_t n" in header and "@" not in header
    assert "`KC_THREADS`" in generated.environment()


def test_names_of_parameters_are_bold() -> None:
    assert generated.plain(["x, y: data. n_: so many, as in `x: y` and tax: none."], {"x", "y", "n_"}) == [
        r"**x, y**: data. n\_: so many, as in `x: y` and tax: none."
    ]


def test_docstrings_become_plain_text() -> None:
    lines = ["|a| of *args, `b|c`:", "", "    x | y", "", "    z", "end_ of it"]
    assert generated.plain(lines) == [
        r"\|a\| of \*args, `b|c`:",
        "",
        "::",
        "",
        "    x | y",
        "",
        "    z",
        r"end\_ of it",
    ]
