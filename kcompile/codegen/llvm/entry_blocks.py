"""An entry that runs all its launches for some samples before the next ones, as LLVM IR.

Enters: an `Entry` with `Blocks`, and the name of the function that computes a block. Leaves: text. Where
there are threads and samples enough, each thread computes samples of its own, in memory of its own, and waits
for no other before it is done: what a layer writes, the same thread reads. Else threads share each launch, of
one block after the other.
"""

from __future__ import annotations

from kcompile.codegen.llvm.memory import stride_ir
from kcompile.codegen.program import Blocks, Entry
from kcompile.codegen.targets import Target
from kcompile_runtime.layout import Memory

_SHARED = ("%inputs", "%outputs", "%variables", "%prepared", "%constants")


def in_blocks(entry: Entry, blocks: Blocks, name: str, signature: str, memory: Memory, target: Target) -> str:
    """The native function NAME of an entry, which calls NAME.block for samples. memory: what a call takes."""
    word = target.pointer_bytes
    least = blocks.least if entry.timed is None else None
    lines = [
        f'define i32 @"{name}"({signature}) #0 {{',
        "enter:",
        f"  %context = alloca [{len(_SHARED) + 2} x i64], align 8",
        *_allocated(blocks, entry.timed),
    ]
    if least is not None:
        lines += [f"  %much = icmp uge i64 %n, {2 * least}", "  br i1 %much, label %several, label %turns"]
        lines += _dealt(entry, blocks, least, name, memory)
    else:
        lines += ["  br label %turns"]
    rest = "ptr %variables, ptr %prepared, ptr %constants, ptr %arena, ptr %pool"
    lines += [
        "turns:",
        f"  %one = icmp ule i64 %n, {blocks.samples}",
        "  br i1 %one, label %once, label %in.turn",
        "once:",
        f'  %only = call i32 @"{name}.block"(i64 %n, ptr %inputs, ptr %outputs, {rest})',
        "  ret i32 %only",
        "in.turn:",
        *_division("%n", str(blocks.samples), blocks.unit),
        "  br label %next",
        *_calls(blocks, name, entry.timed, word, "in.turn", ("0", "%n"), "%arena", "%pool"),
        "leave:",
        "  ret i32 %status",
        "}",
    ]
    return "\n".join([_of_thread(blocks, name, word), *lines] if least is not None else lines)


def _dealt(entry: Entry, blocks: Blocks, least: int, name: str, memory: Memory) -> list[str]:
    """Deals samples to threads, where each gets enough of them and all about as many. The memory of the
    threads together is that of a whole batch: none holds more samples than its share. Where one of them finds
    a bad index, all samples are computed again, so that the first such index is told."""
    stores = []
    for i, value in enumerate(_SHARED):
        stores += [
            f"  %c{i} = getelementptr i64, ptr %context, i64 {i}",
            f"  store ptr {value}, ptr %c{i}, align 8",
        ]
    own: list[str] = []

    def now(text: str) -> str:
        own.append(f"  %own.scratch = {text}")
        return "%own.scratch"

    stride = stride_ir(memory, name, now, "%held")
    return [
        "several:",
        "  %threads.32 = call i32 @kc_pool_threads(ptr %pool)",
        "  %threads = zext i32 %threads.32 to i64",
        "  %each = udiv i64 %n, %threads",
        "  %pooled = icmp ugt i64 %threads, 1",
        f"  %enough = icmp uge i64 %each, {least}",
        "  %n.up = add i64 %n, %threads",
        "  %n.most = sub i64 %n.up, 1",
        "  %longest = udiv i64 %n.most, %threads",
        "  %all = mul i64 %longest, %threads",
        "  %idle = sub i64 %all, %n",
        "  %idle.8 = shl i64 %idle, 3",  # an eighth of the time at most
        "  %even = icmp ule i64 %idle.8, %n",
        "  %good.1 = and i1 %pooled, %enough",
        "  %good.2 = and i1 %good.1, %even",
        "  br i1 %good.2, label %deal, label %turns",
        "deal:",
        f"  %fit = udiv i64 {blocks.samples}, %threads",
        "  %fit.1 = call i64 @llvm.umax.i64(i64 %fit, i64 1)",
        "  %held = call i64 @llvm.umin.i64(i64 %fit.1, i64 %each)",
        f"  %values = mul i64 %held, {entry.arena.per_sample}",
        *own,
        f"  %area = add i64 %values, {stride}",  # of which `entry_memory` has what is fixed, too
        *stores,
        f"  %c.held = getelementptr i64, ptr %context, i64 {len(_SHARED)}",
        "  store i64 %held, ptr %c.held, align 8",
        f"  %c.bad = getelementptr i64, ptr %context, i64 {len(_SHARED) + 1}",
        "  store i64 0, ptr %c.bad, align 8",
        f'  call void @kc_parallel(ptr %pool, ptr @"{name}.dealt", ptr %context, i64 %n, i64 %n, '
        f"i64 {least}, ptr %arena, i64 %area)",
        "  %bad = load atomic i64, ptr %c.bad monotonic, align 8",
        "  %well = icmp eq i64 %bad, 0",
        "  br i1 %well, label %done, label %turns",
        "done:",
        "  ret i32 0",
    ]


def _of_thread(blocks: Blocks, name: str, word: int) -> str:
    """What the pool calls: the samples from `begin` to `end`, by one thread, in its own memory."""
    loads = []
    for i, value in enumerate(_SHARED):
        loads += [
            f"  %c{i} = getelementptr i64, ptr %context, i64 {i}",
            f"  {value} = load ptr, ptr %c{i}, align 8",
        ]
    return "\n".join(
        [
            f'define internal void @"{name}.dealt"(ptr %context, i64 %n, i64 %begin, i64 %end, ptr %scratch) '
            "#0 {",
            "enter:",
            *_allocated(blocks, None),
            *loads,
            f"  %c.held = getelementptr i64, ptr %context, i64 {len(_SHARED)}",
            "  %held = load i64, ptr %c.held, align 8",
            "  %own = sub i64 %end, %begin",
            *_division("%own", "%held", 1),
            "  br label %next",
            *_calls(blocks, name, None, word, "enter", ("%begin", "%end"), "%scratch", "null"),
            "leave:",
            "  %well = icmp eq i32 %status, 0",
            "  br i1 %well, label %done, label %tell",
            "tell:",
            f"  %c.bad = getelementptr i64, ptr %context, i64 {len(_SHARED) + 1}",
            "  store atomic i64 1, ptr %c.bad monotonic, align 8",
            "  br label %done",
            "done:",
            "  ret void",
            "}",
        ]
    )


def _arrays(blocks: Blocks, timed: int | None) -> dict[str, tuple[int, ...]]:
    """Bytes of a sample of each input and output."""
    return {"inputs": blocks.inputs, "outputs": (*blocks.outputs, *([0] if timed is not None else []))}


def _allocated(blocks: Blocks, timed: int | None) -> list[str]:
    return [
        f"  %{array}.moved = alloca [{max(len(sizes), 1)} x ptr], align 8"
        for array, sizes in _arrays(blocks, timed).items()
    ]


def _division(samples: str, most: str, unit: int) -> list[str]:
    """%samples: of blocks of one size, as far as they can be; of `most` at most, a multiple of `unit`."""
    return [
        f"  %less = sub i64 {most}, 1",
        f"  %up = add i64 {samples}, %less",
        f"  %blocks = udiv i64 %up, {most}",
        "  %count = call i64 @llvm.umax.i64(i64 %blocks, i64 1)",
        f"  %more = add i64 {samples}, %count",
        "  %most = sub i64 %more, 1",
        "  %even.size = udiv i64 %most, %count",
        f"  %over = add i64 %even.size, {unit - 1}",
        f"  %units = udiv i64 %over, {unit}",
        f"  %samples = mul i64 %units, {unit}",
    ]


def _calls(
    blocks: Blocks,
    name: str,
    timed: int | None,
    word: int,
    before: str,
    span: tuple[str, str],
    arena: str,
    pool: str,
) -> list[str]:
    """Calls of NAME.block for the samples of a span, `%samples` at a time, until one returns a status."""
    start, stop = span
    lines = []
    for array, sizes in _arrays(blocks, timed).items():
        for i, size in enumerate(sizes):
            at = f"%{array}.{i}"
            lines += [
                f"  {at}.from = getelementptr ptr, ptr %{array}, i64 {i}",
                f"  {at}.base = load ptr, ptr {at}.from, align {word}",
                f"  {at}.bytes = mul i64 %first, {size}",
                f"  {at}.here = getelementptr i8, ptr {at}.base, i64 {at}.bytes",
                f"  {at}.to = getelementptr ptr, ptr %{array}.moved, i64 {i}",
                f"  store ptr {at}.here, ptr {at}.to, align {word}",
            ]
    return [
        "next:",
        f"  %first = phi i64 [ {start}, %{before} ], [ %last, %good ]",
        f"  %left = sub i64 {stop}, %first",
        "  %taken = call i64 @llvm.umin.i64(i64 %left, i64 %samples)",
        *lines,
        f'  %status = call i32 @"{name}.block"(i64 %taken, ptr %inputs.moved, ptr %outputs.moved, '
        f"ptr %variables, ptr %prepared, ptr %constants, ptr {arena}, ptr {pool})",
        "  %fine = icmp eq i32 %status, 0",
        "  br i1 %fine, label %good, label %leave",
        "good:",
        "  %last = add i64 %first, %taken",
        f"  %going = icmp ult i64 %last, {stop}",
        "  br i1 %going, label %next, label %leave",
    ]
