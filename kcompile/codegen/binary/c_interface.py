"""The C interface of an artifact, as LLVM IR around the entry "predict".

`run` and `workspace_size` are those of a target; all else a library with code for several targets has once.

Enters: a model's name, inputs and outputs, and where its data lie. Leaves: IR text, and the names
of the functions it defines. `artifact.header` documents them. No function needs memory of its own
but the stack; addresses of weights are computed relative to the code, so loading relocates nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kcompile.codegen.binary.exported import Model, Tensor
from kcompile.codegen.binary.link import DATA_SYMBOL, data_alignment
from kcompile.codegen.llvm.template import filled
from kcompile.codegen.llvm.values import memory_type
from kcompile.codegen.program import Entry
from kcompile.codegen.targets import Target
from kcompile.ir.types import BYTES, Batch, TensorType, bind
from kcompile_runtime.layout import ALIGNMENT, ELEMENTS, round_up
from kcompile_runtime.threads import MAX_THREADS

ABI = 1
MAX_RANK = 8
DTYPE_CODES = {name: e.code for name, e in ELEMENTS.items()}

_OK, _NULL, _WORKSPACE, _BATCH, _SELFTEST = 0, 1, 2, 3, 6
_MAX_N = 2**31 - 1  # far from where sizes in bytes would overflow
_EXPORTS = (
    "abi",
    "input_count",
    "output_count",
    "input",
    "output",
    "workspace_size",
    "run",
    "selftest_size",
    "selftest",
    "pool_size",
    "pool_start",
    "pool_stop",
)
_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class DataOffsets:
    """Offsets, in bytes, of the parts of the read-only data. A variable that is not in it has None."""

    prepared: int
    constants: int
    variables: tuple[int | None, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def identifier(name: str) -> str:
    """A model's name as part of a C identifier: other characters than ASCII letters and digits become '_'."""
    plain = "".join(c if c.isascii() and c.isalnum() else "_" for c in name)
    return plain or "model"


def prefix_of(model: Model) -> str:
    """How the names of a model's functions begin."""
    return f"kc_{identifier(model.name)}"


def run_ir(
    model: Model,
    entry: Entry,
    offsets: DataOffsets,
    scratch: int,
    target: Target,
    prefix: str,
    called: str = "kc_predict",
    linkage: str = "",
) -> str:
    """Definitions of `run` and `workspace_size`. scratch: bytes for each thread of the pool. called: the
    entry's native function."""
    word = target.pointer_bytes
    low, high = (1, _MAX_N) if model.batch is None else (model.batch, model.batch)
    return filled(
        _FOLDER / "c_run.ll",
        PREFIX=prefix,
        ENTRY=called,
        LINKAGE=linkage,
        DATA=DATA_SYMBOL,
        PAGE=data_alignment(target.triple),
        NULL=_NULL,
        WORKSPACE=_WORKSPACE,
        BATCH=_BATCH,
        THREADS=MAX_THREADS,
        LEAST=low,
        MOST=high,
        ARENA_PER_SAMPLE=entry.arena.per_sample,
        ALIGNMENT=ALIGNMENT,
        PADDING=ALIGNMENT - 1,
        ARENA_ROUNDED=entry.arena.fixed + ALIGNMENT - 1,
        SCRATCH=scratch,
        VARIABLES=max(len(offsets.variables), 1),
        PREPARED=offsets.prepared,
        CONSTANTS=offsets.constants,
        CHECKS=_null_checks("inputs", len(model.inputs), word)
        + _null_checks("outputs", len(model.outputs), word),
        VARIABLE_TABLE=_pointers("variables", offsets.variables, word),
        **draw_words(model, word),
    )


def interface_ir(model: Model, offsets: DataOffsets, target: Target) -> tuple[str, list[str]]:
    """The C interface but for `run` and `workspace_size`, and the names of all of it."""
    prefix, word = prefix_of(model), target.pointer_bytes
    dtypes = sorted({t.type.dtype for t in model.outputs})
    text = filled(
        _FOLDER / "c_interface.ll",
        PREFIX=prefix,
        RANK=MAX_RANK,
        DATA=DATA_SYMBOL,
        PAGE=data_alignment(target.triple),
        ABI=ABI,
        OK=_OK,
        NULL=_NULL,
        WORKSPACE=_WORKSPACE,
        SELFTEST=_SELFTEST,
        PADDING=ALIGNMENT - 1,
        INPUTS=max(len(model.inputs), 1),
        OUTPUTS=max(len(model.outputs), 1),
        **draw_words(model, word),
        **_selftest(model, offsets, word),
    )
    parts = [
        text,
        *(_compare(dtype) for dtype in dtypes),
        *_describe(prefix, "input", model.inputs),
        *_describe(prefix, "output", model.outputs),
    ]
    return "\n".join(parts), [f"{prefix}_{name}" for name in _EXPORTS]


def _null_checks(table: str, count: int, word: int) -> str:
    """Code that goes to label null when one of the first pointers of a table is NULL."""
    return "".join(
        f"""  %{table}.at.{i} = getelementptr ptr, ptr %{table}, i64 {i}
  %{table}.{i} = load ptr, ptr %{table}.at.{i}, align {word}
  %{table}.none.{i} = icmp eq ptr %{table}.{i}, null
  br i1 %{table}.none.{i}, label %null, label %{table}.good.{i}
{table}.good.{i}:
"""
        for i in range(count)
    )


def _pointers(table: str, offsets: Sequence[int | None], word: int, base: str = f"@{DATA_SYMBOL}") -> str:
    """Code that fills a table with base + offset, NULL where there is no offset."""
    lines = []
    for i, offset in enumerate(offsets):
        value = "null" if offset is None else f"%{table}.value.{i}"
        if offset is not None:
            lines.append(f"  {value} = getelementptr i8, ptr {base}, i64 {offset}")
        lines += [
            f"  %{table}.cell.{i} = getelementptr ptr, ptr %{table}, i64 {i}",
            f"  store ptr {value}, ptr %{table}.cell.{i}, align {word}",
        ]
    return "\n".join(lines)


def draw_words(model: Model, word: int) -> dict[str, str]:
    """The words of the templates for random numbers, empty for a model that draws none: the parameter of
    `run`, its type, what is given for it in a self-test and in a call by another, and code that stores
    its halves, the number of the draw and the seed, where the program reads them."""
    names = ("PARAMETER", "TYPE", "ARGUMENT", "GIVEN", "CELLS", "STORES")
    holes = {f"DRAW_{name}": "" for name in names}
    if model.draws is None:
        return holes
    lines = [
        "  %draw.number = trunc i64 %draw to i32",
        "  %draw.upper = lshr i64 %draw, 32",
        "  %draw.seed = trunc i64 %draw.upper to i32",
    ]
    for part, index in zip(("number", "seed"), (model.draws.number, model.draws.seed)):
        if index is not None:
            lines += [
                f"  store i32 %draw.{part}, ptr %cell.{part}, align 4",
                f"  %of.{part} = getelementptr ptr, ptr %variables, i64 {index}",
                f"  store ptr %cell.{part}, ptr %of.{part}, align {word}",
            ]
    return {
        "DRAW_PARAMETER": ", i64 %draw",
        "DRAW_TYPE": ", i64",
        "DRAW_GIVEN": ", i64 %draw",
        "DRAW_ARGUMENT": ", i64 0",
        "DRAW_CELLS": "  %cell.number = alloca i32, align 4\n  %cell.seed = alloca i32, align 4",
        "DRAW_STORES": "\n".join(lines),
    }


def _selftest(model: Model, offsets: DataOffsets, word: int) -> dict[str, object]:
    """The words of the template for the self-test, which depend on the sample."""
    n = model.sample.n
    starts, end = [], 0
    for tensor in model.outputs:
        starts.append(end)
        end += round_up(_elements(tensor.type, n) * BYTES[tensor.type.dtype])
    compares, last = [], "0.0"
    for i, tensor in enumerate(model.outputs):
        compares.append(f"""  %want.{i} = getelementptr i8, ptr @{DATA_SYMBOL}, i64 {offsets.outputs[i]}
  %got.{i} = getelementptr i8, ptr %start, i64 {starts[i]}
  %error.{i} = call double @kc_compare_{tensor.type.dtype}(ptr %got.{i}, ptr %want.{i},
                                                     i64 {_elements(tensor.type, n)})
  %most.{i} = call double @llvm.maximum.f64(double {last}, double %error.{i})""")
        last = f"%most.{i}"
    return {
        "SAMPLES": n,
        "SELFTEST_BYTES": end,
        "SELFTEST_ROUNDED": end + ALIGNMENT,
        "INPUT_TABLE": _pointers("inputs", offsets.inputs, word),
        "OUTPUT_TABLE": _pointers("outputs", starts, word, "%start"),
        "COMPARES": "\n".join(compares),
        "WORST": last,
        "TOLERANCE": _double(model.sample.tolerance),
    }


def _compare(dtype: str) -> str:
    """The function that compares two arrays of a dtype."""
    kind = memory_type(dtype, 1)
    if dtype == "float64":
        convert = "fadd double {}, 0.0"
    else:
        op = {"f": "fpext", "i": "sitofp"}.get(ELEMENTS[dtype].kind, "uitofp")
        convert = f"{op} {kind} {{}} to double"
    return filled(
        _FOLDER / "compare.ll",
        DTYPE=dtype,
        KIND=kind,
        SIZE=BYTES[dtype],
        CONVERT_GOT=convert.format("%g.raw"),
        CONVERT_WANT=convert.format("%w.raw"),
    )


def _describe(prefix: str, what: str, tensors: Sequence[Tensor]) -> Iterator[str]:
    """The table of `kc_tensor`s and the functions that give its length and elements."""
    rows = []
    for i, tensor in enumerate(tensors):
        text = tensor.name.replace("\0", "_").encode(errors="replace") + b"\0"
        escaped = "".join(f"\\{byte:02X}" for byte in text)
        yield f'@{what}.name.{i} = private constant [{len(text)} x i8] c"{escaped}"'
        dims = [(0, d.multiple) if isinstance(d, Batch) else (d, 0) for d in tensor.type.shape]
        dims += [(0, 0)] * (MAX_RANK - len(dims))
        fixed = ", ".join(f"i64 {d[0]}" for d in dims)
        multiples = ", ".join(f"i64 {d[1]}" for d in dims)
        rows.append(
            f"%kc.tensor {{ ptr @{what}.name.{i}, i32 {DTYPE_CODES[tensor.type.dtype]}, "
            f"i32 {tensor.type.rank}, [{MAX_RANK} x i64] [{fixed}], "
            f"[{MAX_RANK} x i64] [{multiples}] }}"
        )
    yield filled(_FOLDER / "tensors.ll", PREFIX=prefix, WHAT=what, COUNT=len(rows), ROWS=", ".join(rows))


def _elements(kind: TensorType, n: int) -> int:
    count = 1
    for d in bind(kind.shape, n):
        count *= d
    return count


def _double(value: float) -> str:
    """A double as LLVM reads it exactly: its bits."""
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"
