"""What calls entries, as LLVM IR, the same for every entry: `kc_batches`, for many batches in one native
call, and `kc_call`, for whom an argument costs more than a load.

Enters: nothing. Leaves: IR text. The first function runs an entry over the samples [first, end) of arrays,
`batch` at a time, the last batch partial. In the arrays' own order it gives the entry pointers to
their rows; by an order (a permutation of rows, int64) it gathers the rows of each batch into buffers
before, on the pool where that is much.

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

from collections.abc import Iterator

from kcompile.codegen import cost

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

_WIDTHS = (64, 16, 4, 1)  # pieces of a row; few, as each is code to compile for every program


def batches_ir() -> str:
    """The definitions of `kc_call`, `kc_batches` and what it calls (no triple, no layout). It needs
    `kc_parallel` (see `codegen.pool`) at link time."""
    text = _BATCHES
    for name, fields, base in (
        ("HEAD", _HEAD, "%job"),
        ("INPUT", _INPUT, "%input"),
        ("OUTPUT", _OUTPUT, "%output"),
    ):
        text = text.replace(f"$LOAD_{name}", "\n".join(_loads(fields, base)))
        text = text.replace(f"${name}_WORDS", str(len(fields)))
    return "\n".join([text.replace("$THREAD_BYTES", str(cost.THREAD_BYTES)), *_gather(), *_call()])


def _call() -> Iterator[str]:
    yield "define i32 @kc_call(ptr %words) {"
    yield from _loads((("ptr", "function"), ("i64", "n"), *(("ptr", f"a{k}") for k in range(7))), "%words")
    pointers = ", ".join(f"ptr %a{k}" for k in range(7))
    yield f"  %status = call i32 %function(i64 %n, {pointers})\n  ret i32 %status\n}}"


def _loads(fields: tuple[tuple[str, str], ...], base: str) -> Iterator[str]:
    """Instructions that read the words behind `base`."""
    for number, (kind, name) in enumerate(fields):
        yield f"  %{name}.at = getelementptr i64, ptr {base}, i64 {number}"
        yield f"  %{name} = load {kind}, ptr %{name}.at, align 8"


_BATCHES = """
declare void @kc_parallel(ptr, ptr, ptr, i64, i64, i64, ptr, i64)
declare i64 @llvm.umin.i64(i64, i64)

define i32 @kc_batches(ptr %job) {
entry:
  %rows = alloca [4 x i64], align 8
$LOAD_HEAD
  %in.order = icmp eq ptr %order, null
  %all.inputs = getelementptr i64, ptr %job, i64 $HEAD_WORDS
  %words = mul i64 %inputs, $INPUT_WORDS
  %all.outputs = getelementptr i64, ptr %all.inputs, i64 %words
  br label %step
step:
  %start = phi i64 [ %first, %entry ], [ %start.next, %again ]
  %number = phi i64 [ 0, %entry ], [ %number.next, %again ]
  %left = sub i64 %end, %start
  %n = call i64 @llvm.umin.i64(i64 %batch, i64 %left)
  br label %each.input
each.input:
  %i = phi i64 [ 0, %step ], [ %i.next, %next.input ]
  %i.done = icmp eq i64 %i, %inputs
  br i1 %i.done, label %each.output, label %read
read:
  %i.words = mul i64 %i, $INPUT_WORDS
  %input = getelementptr i64, ptr %all.inputs, i64 %i.words
$LOAD_INPUT
  %skipped = mul i64 %start, %bytes
  %here = getelementptr i8, ptr %source, i64 %skipped
  br i1 %in.order, label %next.input, label %gather
gather:
  %mine = getelementptr i64, ptr %order, i64 %start
  store ptr %source, ptr %rows, align 8
  %rows.bytes = getelementptr i64, ptr %rows, i64 1
  store i64 %bytes, ptr %rows.bytes, align 8
  %rows.buffer = getelementptr i64, ptr %rows, i64 2
  store ptr %buffer, ptr %rows.buffer, align 8
  %rows.order = getelementptr i64, ptr %rows, i64 3
  store ptr %mine, ptr %rows.order, align 8
  %share = udiv i64 $THREAD_BYTES, %bytes
  %grain = add i64 %share, 1
  call void @kc_parallel(ptr %pool, ptr @kc_gather, ptr %rows, i64 %n, i64 %n, i64 %grain, ptr null,
                         i64 0)
  br label %next.input
next.input:
  %data = phi ptr [ %here, %read ], [ %buffer, %gather ]
  %slot = getelementptr ptr, ptr %table, i64 %i
  store ptr %data, ptr %slot, align 8
  %i.next = add i64 %i, 1
  br label %each.input
each.output:
  %o = phi i64 [ 0, %each.input ], [ %o.next, %next.output ]
  %o.done = icmp eq i64 %o, %outputs
  br i1 %o.done, label %run, label %next.output
next.output:
  %o.words = mul i64 %o, $OUTPUT_WORDS
  %output = getelementptr i64, ptr %all.outputs, i64 %o.words
$LOAD_OUTPUT
  %passed = mul i64 %number, %stride
  %there = getelementptr i8, ptr %place, i64 %passed
  %o.slot = getelementptr ptr, ptr %results, i64 %o
  store ptr %there, ptr %o.slot, align 8
  %o.next = add i64 %o, 1
  br label %each.output
run:
  %status = call i32 %function(i64 %n, ptr %table, ptr %results, ptr %variables, ptr %prepared,
                            ptr %constants, ptr %arena, ptr %pool)
  %good = icmp eq i32 %status, 0
  %start.next = add i64 %start, %batch
  %some = icmp slt i64 %start.next, %end
  %go = and i1 %good, %some
  br i1 %go, label %again, label %leave
again:
  %number.next = add i64 %number, 1
  br label %step
leave:
  store i64 %start, ptr %first.at, align 8
  ret i32 %status
}
"""


def _gather() -> Iterator[str]:
    """The kernel that copies rows, in pieces of the largest width that a row has. The last piece of a
    row ends where the row ends, and overlaps the one before."""
    yield ("define internal void @kc_gather(ptr %rows, i64 %n, i64 %begin, i64 %end, ptr %scratch) {\nentry:")
    fields = (("ptr", "source"), ("i64", "bytes"), ("ptr", "buffer"), ("ptr", "order"))
    yield from _loads(fields, "%rows")
    yield "  %some = icmp slt i64 %begin, %end\n  br i1 %some, label %try64, label %leave"
    for width, smaller in zip(_WIDTHS, (*_WIDTHS[1:], None)):
        other = "leave" if smaller is None else f"try{smaller}"
        yield _COPY.replace("$OTHER", other).replace("$W", str(width))
    yield "leave:\n  ret void\n}"


_COPY = """try$W:
  %fits$W = icmp uge i64 %bytes, $W
  br i1 %fits$W, label %copy$W, label %$OTHER
copy$W:
  %last$W = sub i64 %bytes, $W
  br label %row$W
row$W:
  %i$W = phi i64 [ %begin, %copy$W ], [ %next$W, %done$W ]
  %at.index$W = getelementptr i64, ptr %order, i64 %i$W
  %index$W = load i64, ptr %at.index$W, align 8
  %from$W = mul i64 %index$W, %bytes
  %to$W = mul i64 %i$W, %bytes
  %in$W = getelementptr i8, ptr %source, i64 %from$W
  %out$W = getelementptr i8, ptr %buffer, i64 %to$W
  br label %piece$W
piece$W:
  %p$W = phi i64 [ 0, %row$W ], [ %more$W, %piece$W ]
  %at$W = call i64 @llvm.umin.i64(i64 %p$W, i64 %last$W)
  %read$W = getelementptr i8, ptr %in$W, i64 %at$W
  %data$W = load <$W x i8>, ptr %read$W, align 1
  %write$W = getelementptr i8, ptr %out$W, i64 %at$W
  store <$W x i8> %data$W, ptr %write$W, align 1
  %more$W = add i64 %p$W, $W
  %whole$W = icmp uge i64 %more$W, %bytes
  br i1 %whole$W, label %done$W, label %piece$W
done$W:
  %next$W = add i64 %i$W, 1
  %again$W = icmp slt i64 %next$W, %end
  br i1 %again$W, label %row$W, label %leave"""
