"""Element types and alignment: the one record agrees with numpy, LLVM and libraries that are out there."""

import ast
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest

from kcompile.codegen.llvm.values import BITS, SCALAR, memory_type
from kcompile.ir.types import BYTES, DTYPES, FLOATS
from kcompile_runtime.layout import ALIGNMENT, ELEMENTS, round_up
from kcompile_runtime.spec import TensorSpec

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ELEMENTS)
def test_numpy_has_each_element_type_by_its_name_size_and_kind(name):
    dtype = np.dtype(name)
    assert (dtype.name, dtype.itemsize, dtype.kind) == (name, ELEMENTS[name].bytes, ELEMENTS[name].kind)
    assert TensorSpec("x", (3,), name).nbytes(1) == 3 * BYTES[name]


@pytest.mark.parametrize("name", ELEMENTS)
def test_llvm_has_each_element_type_by_its_size(name):
    llvm.initialize_native_target()
    machine = llvm.Target.from_default_triple().create_target_machine()
    module = llvm.parse_assembly(f"@value = external global {memory_type(name, 1)}")
    stored = module.get_global_variable("value").global_value_type
    assert machine.target_data.get_abi_size(stored) == BYTES[name]
    assert BITS[name] == (1 if name == "bool" else 8 * BYTES[name])
    assert (SCALAR[name] in ("float", "double")) == (name in FLOATS)


def test_the_codes_of_exported_models_stay_what_they_are():
    """Programs were compiled against them: a new dtype gets the next number."""
    codes = {name: ELEMENTS[name].code for name in DTYPES}
    first = {"float32": 1, "float64": 2, "int32": 3, "int64": 4, "uint32": 5, "uint8": 6, "bool": 7}
    assert codes == first | {"int8": 8, "int16": 9, "uint16": 10, "uint64": 11}


def tables(path: Path) -> list[str]:
    """Dicts in a source file whose keys are names of dtypes, and other lists of most of them."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        items = node.keys if isinstance(node, ast.Dict) else getattr(node, "elts", [])
        names = {item.value for item in items if isinstance(item, ast.Constant)} & {*ELEMENTS}
        if len(names) >= (3 if isinstance(node, ast.Dict) else 6):
            found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    return found


def test_no_module_has_a_table_of_dtypes_of_its_own():
    sources = [p for folder in ("kcompile", "runtime") for p in (ROOT / folder).rglob("*.py")]
    assert [place for path in sources for place in tables(path)] == []


def test_a_table_of_dtypes_is_found(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / "table.py"
    path.write_text('SIZES = {"float32": 4, "int32": 4, "bool": 1}\nFEW = ("float32", "bool")\n')
    assert tables(path) == ["table.py:1"]


def test_sizes_are_rounded_up_to_whole_units():
    assert [round_up(n) for n in (0, 1, ALIGNMENT, ALIGNMENT + 1)] == [0, ALIGNMENT, ALIGNMENT, 2 * ALIGNMENT]
    assert round_up(17, 16) == 32
