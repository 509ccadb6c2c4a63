"""What the documents name is there: files, modules and their names, pages and their headings, words."""

from __future__ import annotations

import ast
import importlib
import re
from functools import cache
from pathlib import Path

import pages
import pytest
import test_layering
from test_pages import generated

from kcompile.keras.semantics import TABLE, VINTAGES

ROOT = Path(__file__).resolve().parent.parent
RUN = pages.pages()
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
        *(ROOT / name / "README.md" for name in ("runtime", "examples")),
        *(ROOT / "docs").rglob("*.md"),
    ]
)
OURS = ("kcompile", "runtime", "tests", "docs", "examples", "benchmarks")
# Packages whose docstring is a table of contents
TOLD = (
    "kcompile/ir",
    "kcompile/ir/passes",
    "kcompile/ir/passes/fusion",
    "kcompile/codegen",
    *(
        f"kcompile/codegen/{room}"
        for room in ("binary", "contraction", "cpu", "gpu", "groups", "llvm", "loops")
    ),
)
# Names that a guide introduces, and files that no checkout has
MADE = {
    "kcompile.ir.ops.erfc",
    "kcompile/ir/passes/square_products.py",
    "tests/ir/golden/square_products.txt",
    "ParametricSwish",
}

_FENCE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
_PATH = re.compile(rf"(?:{'|'.join(OURS)})/[\w./-]*")
_MODULE = re.compile(r"kcompile(?:_runtime)?(?:\.\w+)+")
_SHORT = re.compile(r"(\w+)\.([A-Za-z_]\w*)")
_IDENTIFIER = re.compile(r"_?[A-Za-z]\w*_\w+|[A-Z]+[a-z]\w*|_[a-z]\w*")
_SOURCE = re.compile(r"\w+\.(?:py|ll|md)")


def prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text())


def codes(page: Path) -> set[str]:
    """What stands in backquotes, but for names of the page's own code where that is run (`pages`)."""
    text = page.read_text()
    own = "\n".join(text.split("```")[1::2]) if page in RUN else ""
    said, parts = set(_CODE.findall(prose(page))), set(re.findall(r"\w+", own)) - {"kcompile", *OURS}
    return {name for name in said if name.partition(".")[0] not in parts}


def resolves(name: str) -> bool:
    """Whether a dotted name is a module, or something that is in one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
        except ImportError:
            continue
        rest = parts[count:]
        for i, part in enumerate(rest):
            if not hasattr(found, part):
                fields = getattr(found, "__dataclass_fields__", {})
                return i == len(rest) - 1 and part in fields
            found = getattr(found, part)
        return True
    return False


def anchors(page: Path) -> set[str]:
    """The headings of a page, as links name them, those that are generated too."""
    heads = re.findall(r"^#+ (.+)$", generated.filled(prose(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@cache
def sources() -> dict[Path, str]:
    """Our modules, with their texts."""
    return {path: path.read_text() for folder in OURS for path in (ROOT / folder).rglob("*.py")}


@cache
def identifiers() -> set[str]:
    """Words of our modules, and what they end in behind a part that is no letter."""
    texts = (text for path, text in sources().items() if path != Path(__file__).resolve())
    words = set().union(*(re.findall(r"\w+", text) for text in texts))
    return {word[at.end() :] for word in words for at in re.finditer(r"(?<![A-Za-z])", word)}


@cache
def belongs(owner: str, name: str) -> bool | None:
    """Whether a module, or class, called `owner` has something of this name; None where none is called so."""
    holders = [
        text
        for path, text in sources().items()
        if owner == path.stem or re.search(rf"^class {owner}\b", text, re.MULTILINE)
    ]
    return any(re.search(rf"\b{name}\b", text) for text in holders) if holders else None


def missing_paths(names: set[str]) -> list[str]:
    paths = {name for name in names if _PATH.fullmatch(name)} - MADE
    return sorted(name for name in paths if not (ROOT / name).exists())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_are_there(page: Path) -> None:
    assert missing_paths(codes(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_of_files_are_those_of_files(page: Path) -> None:
    """A file without its folder stands beside one with its folder."""
    files = {path.name for folder in OURS for path in (ROOT / folder).rglob("*.*")}
    named = {name for name in codes(page) if _SOURCE.fullmatch(name)} - {"script.py"}
    assert named - files == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_of_modules_and_what_is_in_them_resolve(page: Path) -> None:
    names = {name for name in codes(page) if _MODULE.fullmatch(name)} - MADE
    assert [name for name in sorted(names) if not resolves(name)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_by_their_module_or_class_are_there(page: Path) -> None:
    parts = {name: match.groups() for name in codes(page) if (match := _SHORT.fullmatch(name))}
    parts = {name: found for name, found in parts.items() if not _SOURCE.fullmatch(name)}
    assert [name for name, (owner, inside) in parts.items() if belongs(owner, inside) is False] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_identifiers_are_in_the_code(page: Path) -> None:
    names = {name.lstrip("_") for name in codes(page) if _IDENTIFIER.fullmatch(name)} - MADE
    assert sorted(names - identifiers()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(prose(page)):
        if link.startswith("http"):
            continue
        name, _, heading = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not heading or heading in anchors(target), link


def test_every_page_is_reached_from_the_map() -> None:
    start = ROOT / "docs" / "architecture.md"
    found, waiting = {start}, [start]
    while waiting:
        page = waiting.pop()
        for link in _LINK.findall(prose(page)):
            target = (page.parent / link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target not in found:
                found.add(target)
                waiting.append(target)
    assert found >= {page for page in PAGES if "docs" in page.parts[len(ROOT.parts) :]}


def test_words_of_the_glossary_are_in_the_code_once_each() -> None:
    rows = re.findall(r"^\| (`.+?) \|", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)
    words = [word for row in rows for word in _CODE.findall(row)]
    text = "\n".join(text for path, text in sources().items() if path.is_relative_to(ROOT / "kcompile"))
    text += "\n".join(text for path, text in sources().items() if path.is_relative_to(ROOT / "runtime"))
    assert [word for word in words if not re.search(rf"\b{word}s?\b", text)] == []
    assert len(set(words)) == len(words)
    assert rows == sorted(rows, key=str.lower)


def test_passes_of_the_map_are_those_of_the_pipeline_in_its_order() -> None:
    from ir import golden  # imports the IR, which the other tests of this file need not

    from kcompile.ir import passes

    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ([TF ]+) \|", page, re.MULTILINE)
    for letter, frozen in (("T", False), ("F", True)):
        runs = [step.name for step in passes.pipeline(golden.Eager(), frozen) if "." not in step.name]
        said = [name for name, where in rows if letter in where]
        assert set(said) == set(runs)
        others = [name for name in runs if name != "simplify"]
        assert [name for name in said if name != "simplify"] == others


@pytest.mark.parametrize("folder", TOLD)
def test_a_package_tells_what_each_of_its_modules_does(folder: str) -> None:
    path = ROOT / folder
    text = ast.get_docstring(ast.parse((path / "__init__.py").read_text())) or ""
    parts = {p.stem for p in path.iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()}
    assert [part for part in sorted(parts - {"__init__"}) if not re.search(rf"\b{part}\b", text)] == []


def floors(page: Path, package: str) -> dict[str, int]:
    """The modules and folders of a package, each with its row in the table of a page."""
    rows = re.findall(r"^\| (`.+?) \|", prose(page), re.MULTILINE)
    named = [[Path(name) for name in _CODE.findall(row)] for row in rows]
    ours = [row for row in named if row[0].is_relative_to(package) and row[0].parent == Path(package)]
    return {path.stem: i for i, row in enumerate(ours) for path in row}


@pytest.mark.parametrize(
    ("page", "package"), [("architecture.md", "kcompile/codegen"), ("design/front_end.md", "kcompile/keras")]
)
def test_who_imports_whom_is_as_a_table_says(page: str, package: str) -> None:
    row, name = floors(ROOT / "docs" / page, package), package.replace("/", ".")
    assert len(row) > 10
    found = [
        str(each)
        for each in test_layering.OURS
        if (above := row.get(test_layering.room(each.imported, name))) is not None
        and each.importer.startswith(f"{name}.")
        and above > row.get(test_layering.room(each.importer, name), above)
    ]
    assert found == []


def test_what_is_not_there_is_found() -> None:
    assert missing_paths({"kcompile/ir/op.py", "kcompile/ir/nothing.py"}) == ["kcompile/ir/nothing.py"]
    assert resolves("kcompile.ir.op.Op") and not resolves("kcompile.ir.op.Nothing")
    assert belongs("cost", "THREAD_CYCLES") and belongs("Op", "kind") and not belongs("cost", "NOTHING")
    assert belongs("numpy", "add") is None
    assert resolves("kcompile.ir.op.Op.kind") and not resolves("kcompile.ir.nothing.Op")


# ---------------------------------------------------------------- versions of Keras 2


def test_the_page_of_keras_2_has_every_difference() -> None:
    """The answers of both vintages are those of the table, and all that differ are there."""
    page = (ROOT / "docs" / "keras2.md").read_text()
    part = page.partition("## What they compute")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    found = {row[0].strip("`"): row[1:] for row in rows if row[0].startswith("`")}
    old, new = VINTAGES.index("keras2.2"), VINTAGES.index("keras2")
    real = {question: cells[1] for question, cells in found.items() if cells[1] != cells[2]}
    assert real == {
        "loss_divides_by": "weights",
        "metric_names": "given function",
        "weighted_prefix": "if taken",
    }
    assert {question: (cells[0], cells[2]) for question, cells in found.items()} == {
        question: (str(answers[old]), str(answers[new]))
        for question, answers in TABLE.items()
        if answers[old] != answers[new] or question in real
    }
    assert all(".py" in cells[3] or cells[3].startswith("the same") for cells in found.values())
