"""The C interface of an artifact, as LLVM IR around the entry "predict".

`run` and `workspace_size` are those of a target; all else a library with code for several targets has once.

Enters: a model's name, inputs and outputs, and where its data lie. Leaves: IR text, and the names
of the functions it defines. `artifact.header` documents them. No function needs memory of its own
but the stack; addresses of weights are computed relative to the code, so loading relocates nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kcompile.codegen.binary.exported import Model, Tensor
from kcompile.codegen.binary.link import DATA_SYMBOL, data_alignment
from kcompile.codegen.llvm.template import filled
from kcompile.codegen.llvm.values import literal, memory_type
from kcompile.codegen.targets import Target
from kcompile.ir.types import BYTES, Batch, TensorType, bind
from kcompile_runtime.layout import ALIGNMENT, ELEMENTS, round_up
from kcompile_runtime.threads import MAX_THREADS

ABI = 1
MAX_RANK = 8
DTYPE_CODES = {name: e.code for name, e in ELEMENTS.items()}

OK, NULL, WORKSPACE, _BATCH, SELFTEST, BAD_STATE = 0, 1, 2, 3, 6, 8
MAX_SAMPLES = 2**31 - 1  # far from where sizes in bytes would overflow
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
_DATA = f"@{DATA_SYMBOL}"
Place = tuple[str, int]  # a pointer, as LLVM names it, and an offset in bytes
# The words of the template that most functions have nothing to say to
_PLAIN = {
    **dict.fromkeys(("DECLARED", "MORE", "STATE_PARAMETER", "CELLS", "BEFORE", "AFTER", "ENDS"), ""),
    **{f"DRAW_{name}": "" for name in ("PARAMETER", "CELLS", "STORES")},
    "ALL": "%both",
    "GIVEN": "%inputs",
    "PREPARED_IN": _DATA,
}


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
    offsets: DataOffsets,
    target: Target,
    prefix: str,
    called: str = "kc_predict",
    linkage: str = "",
) -> str:
    """Definitions of `run` and `workspace_size`. called: the entry's native function."""
    word = target.pointer_bytes
    call = Call(prefix, "workspace_size", "run", called, linkage)
    checks = null_checks("inputs", len(model.inputs), word) + null_checks("outputs", len(model.outputs), word)
    return call_ir(
        call,
        target,
        model.batch,
        (offsets.prepared, offsets.constants),
        [None if offset is None else (_DATA, offset) for offset in offsets.variables],
        CHECKS=checks,
        **draw_words(model, word),
    )


@dataclass(frozen=True)
class Call:
    """Two C functions, the one that says how much memory the other needs, which calls an entry's native
    function. before: that of an entry that is called before it for one sample, empty where none is."""

    prefix: str
    size: str
    run: str
    called: str
    linkage: str = ""
    before: str = ""

    def sizes(self) -> str:
        """Declarations of the functions that say how much memory entries need."""
        names = filter(None, (self.called, self.before))
        return "\n".join(f"declare hidden i64 @{name}_memory(i64, i64)" for name in names)

    def needs(self) -> str:
        """Code that gives what the call needs, for %n samples and %wide threads, as %both."""
        if not self.before:
            return f"  %both = call i64 @{self.called}_memory(i64 %n, i64 %wide)"
        return f"""  %own = call i64 @{self.called}_memory(i64 %n, i64 %wide)
  %before = call i64 @{self.before}_memory(i64 1, i64 %wide)
  %both = call i64 @llvm.smax.i64(i64 %own, i64 %before)"""


def call_ir(
    call: Call,
    target: Target,
    batch: int | None,
    blocks: tuple[int, int],
    variables: Sequence[Place | None],
    **words: str,
) -> str:
    """Definitions of the two functions. batch: the only one accepted. blocks: the offsets of the prepared
    block and of constants. variables: where each lies. words: more of those of the template."""
    least, most = (1, MAX_SAMPLES) if batch is None else (batch, batch)
    return filled(
        _FOLDER / "c_run.ll",
        PREFIX=call.prefix,
        SIZE_OF=call.size,
        RUN=call.run,
        ENTRY=call.called,
        LINKAGE=call.linkage,
        DATA=DATA_SYMBOL,
        PAGE=data_alignment(target.triple),
        NULL=NULL,
        WORKSPACE=WORKSPACE,
        BATCH=_BATCH,
        THREADS=MAX_THREADS,
        LEAST=least,
        MOST=most,
        SIZES=call.sizes(),
        NEEDS=call.needs(),
        ALIGNMENT=ALIGNMENT,
        PADDING=ALIGNMENT - 1,
        VARIABLES=max(len(variables), 1),
        PREPARED=blocks[0],
        CONSTANTS=blocks[1],
        VARIABLE_TABLE=pointers("variables", variables, target.pointer_bytes),
        **{**_PLAIN, **words},
    )


def common_words(target: Target) -> dict[str, object]:
    """Words of the templates of an interface that are the same for all models."""
    return {
        "RANK": MAX_RANK,
        "DATA": DATA_SYMBOL,
        "PAGE": data_alignment(target.triple),
        "OK": OK,
        "NULL": NULL,
        "WORKSPACE": WORKSPACE,
        "SELFTEST": SELFTEST,
        "PADDING": ALIGNMENT - 1,
    }


def interface_ir(model: Model, offsets: DataOffsets, target: Target) -> tuple[str, list[str]]:
    """The C interface but for `run` and `workspace_size`, and the names of all of it."""
    prefix, word = prefix_of(model), target.pointer_bytes
    dtypes = sorted({t.type.dtype for t in model.outputs})
    text = filled(
        _FOLDER / "c_interface.ll",
        PREFIX=prefix,
        ABI=ABI,
        **common_words(target),
        INPUTS=max(len(model.inputs), 1),
        OUTPUTS=max(len(model.outputs), 1),
        **draw_words(model, word),
        **_selftest(model, offsets, target),
    )
    parts = [
        text,
        *(compare_ir(dtype, target) for dtype in dtypes),
        *describe(prefix, "input", model.inputs),
        *describe(prefix, "output", model.outputs),
    ]
    return "\n".join(parts), [f"{prefix}_{name}" for name in _EXPORTS]


def null_checks(table: str, count: int, word: int) -> str:
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


def pointers(table: str, places: Sequence[Place | None], word: int) -> str:
    """Code that fills a table with pointers, NULL where there is no place."""
    lines = []
    for i, place in enumerate(places):
        value = "null" if place is None else f"%{table}.value.{i}"
        if place is not None:
            lines.append(f"  {value} = getelementptr i8, ptr {place[0]}, i64 {place[1]}")
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


def real_of(target: Target) -> str:
    """LLVM's name of the type that outputs are compared in."""
    return "float" if target.is_bare else "double"


def _selftest(model: Model, offsets: DataOffsets, target: Target) -> dict[str, object]:
    """The words of the template for the self-test, which depend on the sample."""
    n, word, real = model.sample.n, target.pointer_bytes, real_of(target)
    starts, end = [], 0
    for tensor in model.outputs:
        starts.append(end)
        end += round_up(elements(tensor.type, n) * BYTES[tensor.type.dtype])
    compares, last = [], "0.0"
    for i, tensor in enumerate(model.outputs):
        compares.append(f"""  %want.{i} = getelementptr i8, ptr @{DATA_SYMBOL}, i64 {offsets.outputs[i]}
  %got.{i} = getelementptr i8, ptr %start, i64 {starts[i]}
  %error.{i} = call {real} @kc_compare_{tensor.type.dtype}(ptr %got.{i}, ptr %want.{i},
                                                     i64 {elements(tensor.type, n)})
  %most.{i} = call {real} @llvm.maximum.{SUFFIX[real]}({real} {last}, {real} %error.{i})""")
        last = f"%most.{i}"
    return {
        "SAMPLES": n,
        "SELFTEST_BYTES": end,
        "SELFTEST_ROUNDED": end + ALIGNMENT,
        "INPUT_TABLE": pointers("inputs", [(_DATA, at) for at in offsets.inputs], word),
        "OUTPUT_TABLE": pointers("outputs", [("%start", at) for at in starts], word),
        "COMPARES": "\n".join(compares),
        "WORST": last,
        "REAL": real,
        "TELL": told(last, target),
        "TOLERANCE": tolerance(model.sample.tolerance, target),
    }


SUFFIX = {"double": "f64", "float": "f32"}


def told(error: str, target: Target) -> str:
    """Code that stores an error of a self-test, a number of the type that outputs are compared in."""
    wide, lines = error, []
    if real_of(target) == "float":
        wide, lines = "%wide", [f"  %wide = fpext float {error} to double"]
    return "\n".join([*lines, f"  store double {wide}, ptr %max, align 8"])


def tolerance(value: float, target: Target) -> str:
    """A number that errors are compared with."""
    return literal(value, "float32" if real_of(target) == "float" else "float64")


def compare_ir(dtype: str, target: Target) -> str:
    """The function that compares two arrays of a dtype."""
    real = real_of(target)
    kind = memory_type(dtype, 1)
    if kind == real:
        convert = f"fadd {real} {{}}, 0.0"
    else:
        op = {"f": "fpext", "i": "sitofp"}.get(ELEMENTS[dtype].kind, "uitofp")
        convert = f"{op} {kind} {{}} to {real}"
    return filled(
        _FOLDER / "compare.ll",
        DTYPE=dtype,
        REAL=real,
        BITS=SUFFIX[real],
        KIND=kind,
        SIZE=BYTES[dtype],
        CONVERT_GOT=convert.format("%g.raw"),
        CONVERT_WANT=convert.format("%w.raw"),
    )


def describe(prefix: str, what: str, tensors: Sequence[Tensor]) -> Iterator[str]:
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


def elements(kind: TensorType, n: int) -> int:
    count = 1
    for d in bind(kind.shape, n):
        count *= d
    return count


def comment(text: str) -> str:
    """The text, changed so that it can neither end a C comment, nor open one, nor break the line."""
    plain = text.encode("unicode_escape").decode("ascii")
    return plain.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?").rstrip("\\")
