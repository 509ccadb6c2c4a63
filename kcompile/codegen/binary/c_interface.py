"""The C interface of an artifact, as LLVM IR around the entry "predict".

Enters: a model's name, inputs and outputs, and where its data lie. Leaves: IR text, and the names
of the functions it defines. `artifact.header` documents them. No function needs memory of its own
but the stack; addresses of weights are computed relative to the code, so loading relocates nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kcompile.codegen.binary.exported import Model, Tensor
from kcompile.codegen.binary.link import DATA_SYMBOL, data_alignment
from kcompile.codegen.program import Entry
from kcompile.codegen.targets import Target
from kcompile.ir.types import Batch, TensorType, bind
from kcompile_runtime.threads import MAX_THREADS

ABI = 1
MAX_RANK = 8
DTYPE_CODES = {"float32": 1, "float64": 2, "int32": 3, "int64": 4, "uint32": 5, "uint8": 6, "bool": 7}

_OK, _NULL, _WORKSPACE, _BATCH, _SELFTEST = 0, 1, 2, 3, 6
_MAX_N = 2**31 - 1  # far from where sizes in bytes would overflow
_LLVM = {
    "float32": "float",
    "float64": "double",
    "int32": "i32",
    "int64": "i64",
    "uint32": "i32",
    "uint8": "i8",
    "bool": "i8",
}
_BYTES = {"float32": 4, "float64": 8, "int32": 4, "int64": 8, "uint32": 4, "uint8": 1, "bool": 1}


@dataclass(frozen=True)
class Layout:
    """Offsets of the parts of the read-only data; None for a variable that is not in it."""

    prepared: int
    constants: int
    variables: tuple[int | None, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def identifier(name: str) -> str:
    """A model's name as part of a C identifier: what is no ASCII letter or digit becomes '_'."""
    plain = "".join(c if c.isascii() and c.isalnum() else "_" for c in name)
    return plain or "model"


def wrapper_ir(
    model: Model, entry: Entry, layout: Layout, scratch: int, target: Target
) -> tuple[str, list[str]]:
    """The module, and the names it defines. scratch: bytes for each thread of the pool."""
    prefix = f"kc_{identifier(model.name)}_"
    dtypes = sorted({t.type.dtype for t in model.outputs})
    parts = [
        _PRELUDE,
        _workspace_size(entry, scratch, model.batch),
        _run(model, layout),
        _selftest(model, layout),
        *(_compare(dtype) for dtype in dtypes),
        *_describe("input", model.inputs),
        *_describe("output", model.outputs),
    ]
    words = {
        "@kc_model_": f"@{prefix}",
        "$ABI": str(ABI),
        "$WORD": str(target.pointer_bytes),
        "$PAGE": str(data_alignment(target.triple)),
    }
    text = "\n".join(parts)
    for word, value in words.items():
        text = text.replace(word, value)
    names = [
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
    ]
    return text, [prefix + name for name in names]


_PRELUDE = f"""
%kc.tensor = type {{ ptr, i32, i32, [{MAX_RANK} x i64], [{MAX_RANK} x i64] }}
@{DATA_SYMBOL} = external hidden constant i8, align $PAGE
declare i32 @kc_predict(i64, ptr, ptr, ptr, ptr, ptr, ptr, ptr)
declare i32 @kc_pool_threads(ptr)
declare i64 @kc_pool_size(i32)
declare i32 @kc_pool_start(ptr, i32)
declare void @kc_pool_stop(ptr)
declare double @llvm.fabs.f64(double)
declare double @llvm.maximum.f64(double, double)

define i32 @kc_model_abi() {{ ret i32 $ABI }}
define i64 @kc_model_pool_size(i32 %threads) {{
  %size = call i64 @kc_pool_size(i32 %threads)
  ret i64 %size
}}
define i32 @kc_model_pool_start(ptr %pool, i32 %threads) {{
  %none = icmp eq ptr %pool, null
  br i1 %none, label %bad, label %good
bad:
  ret i32 {_NULL}
good:
  %status = call i32 @kc_pool_start(ptr %pool, i32 %threads)
  ret i32 %status
}}
define void @kc_model_pool_stop(ptr %pool) {{
  call void @kc_pool_stop(ptr %pool)
  ret void
}}
define internal ptr @kc_align(ptr %memory) alwaysinline {{
  %at = ptrtoint ptr %memory to i64
  %minus = sub i64 0, %at
  %pad = and i64 %minus, 63
  %aligned = getelementptr i8, ptr %memory, i64 %pad
  ret ptr %aligned
}}
"""


def _workspace_size(entry: Entry, scratch: int, batch: int | None) -> str:
    """Arena, scratch for each thread, and 63 bytes to align them."""
    low, high = (1, _MAX_N) if batch is None else (batch, batch)
    return f"""
define i64 @kc_model_workspace_size(i64 %n, i32 %threads) {{
  %enough = icmp sge i64 %n, {low}
  %few = icmp sle i64 %n, {high}
  %some = icmp sge i32 %threads, 1
  %sane = icmp sle i32 %threads, {MAX_THREADS}
  %batch = and i1 %enough, %few
  %count = and i1 %some, %sane
  %good = and i1 %batch, %count
  %samples = mul i64 %n, {entry.arena.per_sample}
  %arena = add i64 %samples, {entry.arena.fixed + 63}
  %round = and i64 %arena, -64
  %wide = sext i32 %threads to i64
  %scratch = mul i64 %wide, {scratch}
  %both = add i64 %round, %scratch
  %size = add i64 %both, 64
  %result = select i1 %good, i64 %size, i64 0
  ret i64 %result
}}
"""


def _null_checks(table: str, count: int) -> Iterator[str]:
    """Code that goes to label null when one of the first pointers of a table is NULL."""
    for i in range(count):
        yield f"""  %{table}.at.{i} = getelementptr ptr, ptr %{table}, i64 {i}
  %{table}.{i} = load ptr, ptr %{table}.at.{i}, align $WORD
  %{table}.none.{i} = icmp eq ptr %{table}.{i}, null
  br i1 %{table}.none.{i}, label %null, label %{table}.good.{i}
{table}.good.{i}:"""


def _pointers(table: str, offsets: Sequence[int | None], base: str = f"@{DATA_SYMBOL}") -> str:
    """Code that fills a table with base + offset, NULL where there is no offset."""
    lines = []
    for i, offset in enumerate(offsets):
        value = "null" if offset is None else f"%{table}.value.{i}"
        if offset is not None:
            lines.append(f"  {value} = getelementptr i8, ptr {base}, i64 {offset}")
        lines += [
            f"  %{table}.cell.{i} = getelementptr ptr, ptr %{table}, i64 {i}",
            f"  store ptr {value}, ptr %{table}.cell.{i}, align $WORD",
        ]
    return "\n".join(lines)


def _draw(model: Model) -> tuple[str, str]:
    """Of a model that draws random numbers: the parameter of `run`, and code that puts its halves into
    the variables they are: the number of the draw, and the seed."""
    if model.draws is None:
        return "", ""
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
                f"  store ptr %cell.{part}, ptr %of.{part}, align $WORD",
            ]
    return ", i64 %draw", "\n".join(lines)


def _run(model: Model, layout: Layout) -> str:
    parameter, draw = _draw(model)
    cells = (
        ""
        if model.draws is None
        else ("\n  %cell.number = alloca i32, align 4\n  %cell.seed = alloca i32, align 4")
    )
    checks = "\n".join(
        [*_null_checks("inputs", len(model.inputs)), *_null_checks("outputs", len(model.outputs))]
    )
    return f"""
define i32 @kc_model_run(i64 %n, ptr %inputs, ptr %outputs, ptr %workspace, i64 %size,
                         ptr %pool{parameter}) {{
entry:
  %variables = alloca [{max(len(layout.variables), 1)} x ptr], align 16{cells}
  %no.inputs = icmp eq ptr %inputs, null
  %no.outputs = icmp eq ptr %outputs, null
  %no.workspace = icmp eq ptr %workspace, null
  %no.arrays = or i1 %no.inputs, %no.outputs
  %nothing = or i1 %no.arrays, %no.workspace
  br i1 %nothing, label %null, label %tables
tables:
{checks}
  %threads = call i32 @kc_pool_threads(ptr %pool)
  %need = call i64 @kc_model_workspace_size(i64 %n, i32 %threads)
  %bad = icmp eq i64 %need, 0
  br i1 %bad, label %batch, label %room
room:
  %short = icmp slt i64 %size, %need
  br i1 %short, label %small, label %go
go:
  %arena = call ptr @kc_align(ptr %workspace)
  %prepared = getelementptr i8, ptr @{DATA_SYMBOL}, i64 {layout.prepared}
  %constants = getelementptr i8, ptr @{DATA_SYMBOL}, i64 {layout.constants}
{_pointers("variables", layout.variables)}
{draw}
  %status = call i32 @kc_predict(i64 %n, ptr %inputs, ptr %outputs, ptr %variables, ptr %prepared,
                                 ptr %constants, ptr %arena, ptr %pool)
  ret i32 %status
null:
  ret i32 {_NULL}
batch:
  ret i32 {_BATCH}
small:
  ret i32 {_WORKSPACE}
}}
"""


def _selftest(model: Model, layout: Layout) -> str:
    """The outputs go to the start of the workspace, the rest of it is `run`'s."""
    n = model.sample.n
    offsets, end = [], 0
    for tensor in model.outputs:
        offsets.append(end)
        end += (_elements(tensor.type, n) * _BYTES[tensor.type.dtype] + 63) // 64 * 64
    compares, last = [], "0.0"
    for i, tensor in enumerate(model.outputs):
        want = layout.outputs[i]
        compares.append(f"""  %want.{i} = getelementptr i8, ptr @{DATA_SYMBOL}, i64 {want}
  %got.{i} = getelementptr i8, ptr %start, i64 {offsets[i]}
  %error.{i} = call double @kc_compare_{tensor.type.dtype}(ptr %got.{i}, ptr %want.{i},
                                                     i64 {_elements(tensor.type, n)})
  %most.{i} = call double @llvm.maximum.f64(double {last}, double %error.{i})""")
        last = f"%most.{i}"
    newline = "\n"
    return f"""
define i64 @kc_model_selftest_size() {{
  %run = call i64 @kc_model_workspace_size(i64 {n}, i32 1)
  %size = add i64 %run, {end + 64}
  ret i64 %size
}}
define i32 @kc_model_selftest(ptr %workspace, i64 %size, ptr %max) {{
entry:
  %inputs = alloca [{max(len(model.inputs), 1)} x ptr], align 16
  %outputs = alloca [{max(len(model.outputs), 1)} x ptr], align 16
  %none = icmp eq ptr %workspace, null
  br i1 %none, label %null, label %room
null:
  ret i32 {_NULL}
room:
  %need = call i64 @kc_model_selftest_size()
  %short = icmp slt i64 %size, %need
  br i1 %short, label %small, label %go
small:
  ret i32 {_WORKSPACE}
go:
  %start = call ptr @kc_align(ptr %workspace)
  %rest = getelementptr i8, ptr %start, i64 {end}
{_pointers("inputs", layout.inputs)}
{_pointers("outputs", offsets, "%start")}
  %left = call i64 @kc_model_workspace_size(i64 {n}, i32 1)
  %status = call i32 @kc_model_run(i64 {n}, ptr %inputs, ptr %outputs, ptr %rest, i64 %left,
                                   ptr null{"" if model.draws is None else ", i64 0"})
  %ran = icmp eq i32 %status, {_OK}
  br i1 %ran, label %compare, label %failed
failed:
  ret i32 %status
compare:
{newline.join(compares)}
  %silent = icmp eq ptr %max, null
  br i1 %silent, label %judge, label %tell
tell:
  store double {last}, ptr %max, align 8
  br label %judge
judge:
  %good = fcmp ole double {last}, {_double(model.sample.tolerance)}
  %result = select i1 %good, i32 {_OK}, i32 {_SELFTEST}
  ret i32 %result
}}
"""


def _compare(dtype: str) -> str:
    """The largest |got - want| / (1 + |want|) of two arrays; equal values and two NaNs differ by
    0, a NaN beside a number makes the result NaN, which no tolerance admits."""
    kind, size = _LLVM[dtype], _BYTES[dtype]
    convert = {
        "float32": "fpext float {} to double",
        "float64": "fadd double {}, 0.0",
        "int32": "sitofp i32 {} to double",
        "int64": "sitofp i64 {} to double",
    }.get(dtype, f"uitofp {kind} {{}} to double")
    return f"""
define internal double @kc_compare_{dtype}(ptr %got, ptr %want, i64 %count) {{
entry:
  br label %test
test:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
  %worst = phi double [ 0.0, %entry ], [ %most, %body ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %body, label %done
body:
  %g.at = getelementptr {kind}, ptr %got, i64 %i
  %g.raw = load {kind}, ptr %g.at, align {size}
  %g = {convert.format("%g.raw")}
  %w.at = getelementptr {kind}, ptr %want, i64 %i
  %w.raw = load {kind}, ptr %w.at, align {size}
  %w = {convert.format("%w.raw")}
  %equal = fcmp oeq double %g, %w
  %g.nan = fcmp uno double %g, 0.0
  %w.nan = fcmp uno double %w, 0.0
  %nans = and i1 %g.nan, %w.nan
  %same = or i1 %equal, %nans
  %difference = fsub double %g, %w
  %size = call double @llvm.fabs.f64(double %difference)
  %scale.0 = call double @llvm.fabs.f64(double %w)
  %scale = fadd double %scale.0, 1.0
  %relative = fdiv double %size, %scale
  %error = select i1 %same, double 0.0, double %relative
  %most = call double @llvm.maximum.f64(double %worst, double %error)
  %next = add i64 %i, 1
  br label %test
done:
  ret double %worst
}}
"""


def _describe(what: str, tensors: Sequence[Tensor]) -> Iterator[str]:
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
    yield f"""
@{what}s = private constant [{len(rows)} x %kc.tensor] [{", ".join(rows)}], align 16
define i32 @kc_model_{what}_count() {{ ret i32 {len(rows)} }}
define ptr @kc_model_{what}(i32 %index) {{
  %good = icmp ult i32 %index, {len(rows)}
  %wide = zext i32 %index to i64
  %row = getelementptr %kc.tensor, ptr @{what}s, i64 %wide
  %result = select i1 %good, ptr %row, ptr null
  ret ptr %result
}}
"""


def _elements(kind: TensorType, n: int) -> int:
    count = 1
    for d in bind(kind.shape, n):
        count *= d
    return count


def _double(value: float) -> str:
    """A double as LLVM reads it exactly: its bits."""
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"
