"""Who may import whom, read from the source: the drawing in docs/architecture.md, enforced.

Areas are the folders and top modules. An import inside a function counts as much as one at the
top; only `import kcompile`, the public package, is free inside functions of the front end (that is
how `model.fit` reaches the compiler without knowing it). Under `if TYPE_CHECKING` nothing counts.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import networkx
import pytest

ROOT = Path(__file__).resolve().parent.parent

# area -> the areas it may import besides itself
ALLOWED = {
    "runtime": set(),
    "version": {"runtime"},
    "stages": set(),
    "ir": {"runtime"},
    "codegen": {"ir", "version", "runtime"},
    "keras": {"ir", "runtime"},
    "jaxpr": {"keras", "ir", "runtime"},
    "files": {"jaxpr", "keras", "ir", "runtime"},
    "interpreted": {"ir", "keras", "runtime"},
    "compiler": {"ir", "codegen", "runtime"},
    "machine": {"codegen", "runtime"},
    "profiling": {"machine", "compiler", "ir", "codegen", "runtime"},
    "profile_page": {"profiling"},
    "native": {"compiler", "ir", "codegen", "keras", "runtime"},
    "shown": {"compiler", "ir", "codegen"},
    "to_onnx": {"ir", "keras", "runtime", "version"},
    "model": {
        "native",
        "to_onnx",
        "shown",
        "accuracy",
        "profiling",
        "compiler",
        "ir",
        "codegen",
        "keras",
        "files",
        "jaxpr",
        "runtime",
        "public",
        "version",
        "stages",
    },
    "accuracy": {"runtime"},
    "report_page": {"model", "native", "profiling", "profile_page", "compiler", "codegen", "ir", "runtime"},
    "function_code": {"native", "compiler", "ir", "codegen", "keras", "jaxpr", "runtime"},
    "quantization": {"model", "accuracy", "native", "compiler", "ir", "codegen", "keras", "runtime"},
    "sklearn": {"keras", "runtime"},
    "exporting": {
        "exporting_steps",
        "model",
        "native",
        "compiler",
        "to_onnx",
        "ir",
        "codegen",
        "public",
        "version",
        "runtime",
    },
    "exporting_steps": {"model", "compiler", "ir", "codegen", "keras", "runtime"},
    "packages": {"exporting", "model", "codegen", "version", "runtime"},
    "parallel": {"native", "compiler", "ir", "codegen", "keras", "version", "runtime"},
    "public": {
        "version",
        "model",
        "exporting",
        "packages",
        "parallel",
        "function_code",
        "quantization",
        "keras",
        "files",
        "runtime",
    },
    "demo": {"public", "keras", "runtime"},
    "testing": {"public", "model", "interpreted", "ir", "keras", "runtime"},
    "tensorflow": {"keras", "ir", "runtime"},
    "run": {"keras", "tensorflow", "runtime"},
    "cli": {"public", "profile_page", "report_page", "demo", "run", "stages", "runtime"},
}
# The rooms of packages: room -> the rooms of the same package that it may import besides itself. A room is
# a folder or a module beside it; "" is the package itself.
_GRAPH = {"described", "types", "random", "elements", "cost", "contraction", "specs", "op", "graph"}
_TENSOR = {*_GRAPH, "indices", "domain", "digest", "interpreter", "tensor"}
_OPS = {*_TENSOR, "rewrite", "gradient"}
_MODEL = {"architectures", "targets", "cost"}
_LOOPS = {*_MODEL, "loops"}
_GROUPS = {*_LOOPS, "program", "groups"}
ROOMS = {
    "kcompile.codegen": {
        "": set(),
        "architectures": set(),
        "targets": {"architectures"},
        "cost": set(),
        "image": set(),
        "loops": _MODEL,
        "program": _LOOPS,
        "show": {*_LOOPS, "program"},
        "groups": {*_LOOPS, "program"},
        "contraction": _GROUPS,
        "cpu": {*_GROUPS, "contraction"},
        "llvm": {*_LOOPS, "program"},
        "binary": {*_LOOPS, "program", "llvm"},
        "gpu": {*_GROUPS, "llvm", "binary"},
        "pass_target": {*_GROUPS, "contraction"},
        "lower": {*_GROUPS, "cpu", "gpu"},
        "by_samples": {*_LOOPS, "program"},
        "joins": {*_GROUPS},
        "memory_plan": {*_GROUPS, "lower", "by_samples", "joins"},
        "recomputation": {"memory_plan", "joins", "program"},
    },
    "kcompile.ir": {
        **{ground: set() for ground in ("", "types", "random", "elements", "cost")},
        "contraction": {"types"},
        "specs": {"types"},
        "described": {"types"},
        "op": {"types", "specs", "contraction"},
        "graph": {"types", "specs", "op", "contraction"},
        **dict.fromkeys(("indices", "domain", "digest", "interpreter", "tensor"), _GRAPH),
        **dict.fromkeys(("rewrite", "gradient"), _TENSOR),
        "ops": _OPS,
        "passes": {*_OPS, "ops"},
        "precision": {*_OPS, "ops"},
        "networks": {"graph"},
        "pictures": set(),
    },
    "kcompile.files": {"reader": set()},
}
# What may be imported inside functions below codegen: each costs more to load than many calls need.
DEFERRED = {
    "llvmlite": "LLVM is loaded where code is made or loaded, not to describe a model",
    "llvmlite.binding": "the same",
    "kcompile.codegen.cpu.backend": "the back end of the target that is asked for, and no other",
    "kcompile.codegen.gpu.backend": "the same",
}
# Top modules of the package that belong to an area of another name.
MEMBERS = {
    "kcompile": "public",
    "kcompile.__main__": "cli",
    "kcompile.commands": "cli",
    "kcompile.version": "version",
    "kcompile.keras3": "keras",
    "kcompile.tf_keras": "keras",
}


# Circles of imports that are natural: area -> why
CIRCLES = {"ir": "the operators of a tensor are ops, and ops are written over tensors"}
# What the front end imports inside functions -> why
ASKED_LATE = {
    "kcompile": "the compiler and the files, of which the front end knows no more than that they are there",
    "kcompile.files.reader.isolated": "starts processes, for those alone who ask for one",
}


@dataclass(frozen=True)
class Import:
    """`importer` imports `imported` (names of modules); top: as soon as it is itself imported."""

    importer: str
    imported: str
    top: bool
    line: int

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def modules() -> dict[str, Path]:
    """Every module of ours, name -> file."""
    found = {}
    for folder, package in (("kcompile", "kcompile"), ("runtime", "kcompile_runtime")):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = [package, *path.relative_to(ROOT / folder).with_suffix("").parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def area(module: str) -> str:
    """The area of a module of ours."""
    if module in MEMBERS:
        return MEMBERS[module]
    package, _, rest = module.partition(".")
    return "runtime" if package == "kcompile_runtime" else rest.split(".")[0]


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def statements(node: ast.AST, top: bool = True) -> Iterator[tuple[ast.stmt, bool]]:
    """The import statements below a node, and whether they run when the module is imported."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child, top
        elif is_type_checking(child):
            for other in child.orelse:
                yield from statements(other, top)
        else:
            inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from statements(child, top and not inside)


def imports(name: str, path: Path, known: dict[str, Path]) -> Iterator[Import]:
    """What one module imports. `from package import x` means the module x where there is one."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node, top in statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(name, alias.name, top, node.lineno)
            continue
        base = node.module or ""
        if node.level:
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join(above + ([node.module] if node.module else []))
        for alias in node.names:
            inner = f"{base}.{alias.name}"
            yield Import(name, inner if inner in known else base, top, node.lineno)


MODULES = modules()
IMPORTS = [found for name, path in MODULES.items() for found in imports(name, path, MODULES)]
OURS = [i for i in IMPORTS if i.imported.split(".")[0] in ("kcompile", "kcompile_runtime")]


def breaks_a_rule(found: Import) -> bool:
    source, target = area(found.importer), area(found.imported)
    if source == target or target in ALLOWED[source]:
        return False
    return not (found.imported == "kcompile" and not found.top and source == "keras")


def test_every_module_belongs_to_an_area():
    assert {area(name) for name in MODULES} <= set(ALLOWED)
    assert all(i.imported in MODULES for i in OURS), [str(i) for i in OURS if i.imported not in MODULES]


def test_imports_follow_the_layers():
    assert [str(i) for i in OURS if breaks_a_rule(i)] == []


def room(module: str, package: str) -> str:
    """The room of a module of the package."""
    return module[len(package) + 1 :].partition(".")[0]


def leaves_its_room(found: Import, package: str, allowed: dict[str, set[str]]) -> bool:
    """Whether an import within a package goes where its room may not."""
    inside = all(m == package or m.startswith(package + ".") for m in (found.importer, found.imported))
    source, target = room(found.importer, package), room(found.imported, package)
    return inside and source in allowed and source != target and target not in allowed[source]


@pytest.mark.parametrize("package", ROOMS)
def test_rooms_import_what_lies_below_them(package):
    assert [str(i) for i in OURS if leaves_its_room(i, package, ROOMS[package])] == []


@pytest.mark.parametrize("package", ["kcompile.ir", "kcompile.codegen"])
def test_every_room_is_on_the_plan(package):
    rooms = {room(m, package) for m in MODULES if m == package or m.startswith(f"{package}.")}
    assert rooms == set(ROOMS[package])


def test_the_plan_of_the_rooms_has_no_circle():
    for allowed in ROOMS.values():
        graph = networkx.DiGraph((a, b) for a, below in allowed.items() for b in below)
        assert networkx.is_directed_acyclic_graph(graph)


def test_back_ends_do_not_know_of_each_other():
    for one, other in (("cpu", "gpu"), ("contraction", "gpu"), ("gpu", "cpu"), ("gpu", "contraction")):
        found = Import(f"kcompile.codegen.{one}.a", f"kcompile.codegen.{other}.b", False, 1)
        assert leaves_its_room(found, "kcompile.codegen", ROOMS["kcompile.codegen"])


def test_the_code_generator_imports_inside_functions_only_to_defer_weight():
    inside = [i for i in IMPORTS if area(i.importer) == "codegen" and not i.top]
    assert [str(i) for i in inside if i.imported not in DEFERRED] == []
    assert {i.imported for i in inside} == set(DEFERRED)


def circles(found: Iterable[Import]) -> list[list[str]]:
    """Modules that import each other, in whatever way."""
    graph = networkx.DiGraph((i.importer, i.imported) for i in found)
    return [sorted(c) for c in networkx.strongly_connected_components(graph) if len(c) > 1]


def test_no_module_waits_for_itself():
    assert circles(i for i in OURS if i.top) == []


def test_imports_inside_functions_hide_no_circle():
    found = [{area(m) for m in circle} for circle in circles(OURS)]
    assert [areas for areas in found if len(areas) > 1 or not areas <= set(CIRCLES)] == []
    assert len(found) <= len(CIRCLES)


def test_the_front_end_imports_inside_functions_what_is_asked_for_late():
    inside = [i for i in OURS if area(i.importer) in ("keras", "files") and not i.top]
    assert {i.imported for i in inside} == set(ASKED_LATE)


def test_the_runtime_needs_numpy_alone():
    foreign = {(i.imported.split(".")[0], i.top) for i in IMPORTS if area(i.importer) == "runtime"}
    names = {name for name, _ in foreign} - set(sys.stdlib_module_names)
    assert names <= {"numpy", "kcompile_runtime", "cuda", "tqdm"}
    assert ("cuda", True) not in foreign, "only when a graphics processor is asked for"
    assert ("tqdm", True) not in foreign, "only when somebody watches a terminal"


def test_a_forbidden_import_is_found(tmp_path):
    """The reader sees relative, nested and from-imports, and leaves typing-only imports alone."""
    path = tmp_path / "a.py"
    path.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import kcompile.cli\n"
        "def f():\n    from ..codegen import loops\n"
        "class C:\n    from kcompile import ir\n"
    )
    known = dict.fromkeys(("kcompile", "kcompile.codegen", "kcompile.codegen.loops", "kcompile.ir"), path)
    found = list(imports("kcompile.keras.a", path, known))
    assert [(i.imported, i.top) for i in found] == [
        ("typing", True),
        ("kcompile.codegen.loops", False),
        ("kcompile.ir", True),
    ]
    assert [breaks_a_rule(i) for i in found[1:]] == [True, False]


def loaded_by(statement: str, beyond: str = "pass") -> set[str]:
    """Top-level modules that a fresh Python loads for a statement, beyond those for another."""
    code = (
        f"import sys; {beyond}; before = set(sys.modules); {statement}; print(*(set(sys.modules) - before))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return {name.split(".")[0] for name in result.stdout.split()}


@pytest.mark.parametrize("statement", ["import kcompile", "from kcompile import cli; cli.parser()"])
def test_importing_the_package_and_asking_for_help_stay_light(statement):
    heavy = {"numpy", "networkx", "h5py", "yaml", "llvmlite", "tqdm", "shtab"}
    assert heavy & loaded_by(statement) == set()


def test_using_the_runtime_loads_numpy_alone():
    assert "numpy" not in loaded_by("import kcompile_runtime")
    loaded = loaded_by("import kcompile_runtime as rt; [getattr(rt, n) for n in rt.__all__]")
    assert loaded - set(sys.stdlib_module_names) == {"kcompile_runtime", "numpy"}


def test_files_of_tests_have_names_of_their_own():
    """pytest imports them by name."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
