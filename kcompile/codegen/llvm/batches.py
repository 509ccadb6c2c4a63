"""Callers of entry points, as LLVM IR, the same for every entry: `kc_batches` runs many batches in one native
call; `kc_call` takes all arguments as one array, for callers (Python) to whom each argument is expensive.

Enters: nothing. Leaves: IR text. `kc_batches` runs an entry over the samples [first, end) of arrays,
`batch` at a time, the last batch partial. Without an order it gives the entry pointers into the arrays.
With an order (a permutation of rows, int64) it gathers the rows of each batch into buffers before, on the
thread pool where they are many.

    int32_t kc_batches(int64_t *job)            0, or the status of the batch that failed, whose first
                                                sample is then the job's first

The words of a job, addresses among them:

    entry, first, end, batch, order (0: their own), number of inputs, of outputs, variables, prepared,
    constants, arena, pool, table of inputs, table of outputs (both for the entry: room for pointers);
    for each input: its first row, bytes of a sample, a buffer for a batch;
    for each output: where the first batch leaves it, bytes from one batch to the next

    int32_t kc_call(const int64_t words[9])     what words[0] returns for the other words as arguments
"""

from __future__ import annotations

from pathlib import Path

from kcompile.codegen import cost
from kcompile.codegen.llvm.template import filled

_FOLDER = Path(__file__).parent
_HEAD = (
    ("ptr", "function"),
    ("i64", "first"),
    ("i64", "end"),
    ("i64", "batch"),
    ("ptr", "order"),
    ("i64", "inputs"),
    ("i64", "outputs"),
    ("ptr", "variables"),
    ("ptr", "prepared"),
    ("ptr", "constants"),
    ("ptr", "arena"),
    ("ptr", "pool"),
    ("ptr", "table"),
    ("ptr", "results"),
)
_INPUT = (("ptr", "source"), ("i64", "bytes"), ("ptr", "buffer"))
_OUTPUT = (("ptr", "place"), ("i64", "stride"))
_ROWS = (("ptr", "source"), ("i64", "bytes"), ("ptr", "buffer"), ("ptr", "order"))  # of what is gathered
_CALL = (("ptr", "function"), ("i64", "n"), *(("ptr", f"a{k}") for k in range(7)))

_WIDTHS = (64, 16, 4, 1)  # pieces of a row; few, as each is code to compile for every program


def batches_ir() -> str:
    """The definitions of `kc_call`, `kc_batches` and its helpers, without triple and data layout. They need
    `kc_parallel` (see `llvm.pool`) at link time."""
    smaller = (*(f"try{width}" for width in _WIDTHS[1:]), "leave")
    copies = [filled(_FOLDER / "batches_copy.ll", W=w, OTHER=label) for w, label in zip(_WIDTHS, smaller)]
    return filled(
        _FOLDER / "batches.ll",
        LOAD_HEAD=_loads(_HEAD, "%job"),
        LOAD_INPUT=_loads(_INPUT, "%input"),
        LOAD_OUTPUT=_loads(_OUTPUT, "%output"),
        LOAD_ROWS=_loads(_ROWS, "%rows"),
        LOAD_CALL=_loads(_CALL, "%words"),
        HEAD_WORDS=len(_HEAD),
        INPUT_WORDS=len(_INPUT),
        OUTPUT_WORDS=len(_OUTPUT),
        THREAD_BYTES=cost.THREAD_BYTES,
        WIDEST=_WIDTHS[0],
        COPIES="".join(copies),
    )


def _loads(fields: tuple[tuple[str, str], ...], base: str) -> str:
    """Instructions that read the words behind `base`."""
    lines = []
    for number, (kind, name) in enumerate(fields):
        lines.append(f"  %{name}.at = getelementptr i64, ptr {base}, i64 {number}")
        lines.append(f"  %{name} = load {kind}, ptr %{name}.at, align 8")
    return "\n".join(lines)
