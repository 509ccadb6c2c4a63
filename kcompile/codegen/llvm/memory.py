"""How much memory a call takes: that of its values, and the scratch memory of each thread.

Enters: an `Entry` with its kernels. Leaves: a `Memory`, which the runtime reads, and the same as LLVM IR, for
exported files. Few samples use the first part of a buffer alone (`Buffer.used`), and the next buffer begins
behind that part: so a call for one sample takes what one sample needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from kcompile.codegen import loops
from kcompile.codegen.loops import BYTES, Buffer, For, Stmt
from kcompile.codegen.program import Entry
from kcompile_runtime.layout import ALIGNMENT, Memory, Share, round_up


def share_of(buffer: Buffer) -> Share:
    """What a buffer takes."""
    element = buffer.lanes * BYTES[buffer.dtype]
    size = buffer.size * element
    if buffer.used is None:
        return round_up(size), round_up(size), 0
    fixed, each = buffer.used
    return round_up(size), fixed * element, each * element


def scratch_of(body: Sequence[Stmt], outer: tuple[Share, ...] = ()) -> Iterator[tuple[Share, ...]]:
    """The shares that are in use at the same time, wherever that is most: buffers of disjoint scopes share
    memory."""
    here = outer
    for s in body:
        if isinstance(s, loops.Alloc) and s.buffer.space == "scratch":
            here = (*here, share_of(s.buffer))
        elif isinstance(s, For):
            yield from scratch_of(s.body, here)
        elif isinstance(s, loops.If):
            yield from scratch_of(s.then, here)
            yield from scratch_of(s.otherwise, here)
    if here:
        yield here


def entry_memory(entry: Entry) -> Memory:
    """The memory of a call of an entry."""
    kernels = {id(launch.kernel): launch.kernel for launch in entry.launches}
    sums = {_merged(shares) for kernel in kernels.values() for shares in scratch_of(kernel.body)}
    least = tuple(sorted(s for s in sums if not any(s != other and _is_within(s, other) for other in sums)))
    if entry.blocks is None:
        return Memory((entry.arena.fixed, entry.arena.per_sample), least)
    own = round_up(entry.arena.fixed) if entry.blocks.least is not None else 0
    if own:  # threads that compute samples of their own have an arena each
        least = tuple(((s[0][0] + own, s[0][1] + own, 0), *s[1:]) for s in least or (((0, 0, 0),),))
    return Memory((entry.arena.fixed, entry.arena.per_sample), least, entry.blocks.samples)


def _merged(shares: Sequence[Share]) -> tuple[Share, ...]:
    """With one share, the first, for all that do not depend on the samples."""
    always = sum(most for most, _, each in shares if not each)
    return ((always, always, 0), *sorted((s for s in shares if s[2]), reverse=True))


def _is_within(one: tuple[Share, ...], other: tuple[Share, ...]) -> bool:
    """Whether a sum is at most another, however many samples there are."""
    return len(one) <= len(other) and all(a <= b for x, y in zip(one, other) for a, b in zip(x, y))


# ---------------------------------------------------------------- as LLVM IR


def sum_ir(shares: Sequence[Share], op: Callable[[str], str]) -> str:
    """The bytes of shares for %n samples, as an operand. op: emits a pure instruction, gives its name."""
    always = sum(most for most, _, each in shares if not each)
    total = ""
    for most, fixed, each in shares:
        if each:
            size = op(f"mul i64 %n, {each}")
            size = op(f"add i64 {size}, {fixed}") if fixed else size
            size = op(f"call i64 @llvm.smin.i64(i64 {size}, i64 {most})")
            if fixed % ALIGNMENT or each % ALIGNMENT:
                size = op(f"add i64 {size}, {ALIGNMENT - 1}")
                size = op(f"and i64 {size}, -{ALIGNMENT}")
            total = op(f"add i64 {total}, {size}") if total else size
    if not total:
        return str(always)
    return op(f"add i64 {total}, {always}") if always else total


def scratch_ir(memory: Memory, op: Callable[[str], str]) -> str:
    """The scratch memory of a thread for %n samples, as an operand."""
    most = ""
    for shares in memory.scratch:
        size = sum_ir(shares, op)
        most = op(f"call i64 @llvm.smax.i64(i64 {most}, i64 {size})") if most else size
    return most or "0"


def memory_ir(memory: Memory, name: str) -> str:
    """Definitions of the functions that say what `Memory` says: NAME_scratch, of a thread, where that depends
    on the samples that are computed at once; NAME_memory, of a call."""
    parts = []
    if _depends(memory):
        parts.append(_function(f"{name}_scratch(i64 %n)", lambda op: scratch_ir(memory, op)))

    def whole(op: Callable[[str], str]) -> str:
        (fixed, each), held, at_once = memory.arena, "%all", "%all"
        if memory.samples:
            held = op(f"call i64 @llvm.smax.i64(i64 %threads, i64 {memory.samples})")
            held = op(f"call i64 @llvm.smin.i64(i64 %all, i64 {held})")
            at_once = op(f"call i64 @llvm.smin.i64(i64 %all, i64 {memory.samples})")
        arena = op(f"add i64 {op(f'mul i64 {held}, {each}')}, {fixed + ALIGNMENT - 1}")
        arena = op(f"and i64 {arena}, -{ALIGNMENT}")
        scratch = stride_ir(memory, name, op, at_once)
        return op(f"add i64 {arena}, {op(f'mul i64 {scratch}, %threads')}")

    parts.append(_function(f"{name}_memory(i64 %all, i64 %threads)", whole))
    return "\n".join(parts)


def stride_ir(memory: Memory, name: str, op: Callable[[str], str], n: str = "%n") -> str:
    """The scratch memory of a thread for n samples, as an operand, beside the functions of `memory_ir`: by
    one call, or a constant."""
    return op(f'call i64 @"{name}_scratch"(i64 {n})') if _depends(memory) else str(memory.scratch_at(1))


def _depends(memory: Memory) -> bool:
    return any(each for shares in memory.scratch for _, _, each in shares)


def _function(head: str, body: Callable[[Callable[[str], str]], str]) -> str:
    lines: list[str] = []

    def op(text: str) -> str:
        lines.append(f"  %v{len(lines)} = {text}")
        return f"%v{len(lines) - 1}"

    result = body(op)
    name, _, rest = head.partition("(")
    return "\n".join([f'define hidden i64 @"{name}"({rest} {{', *lines, f"  ret i64 {result}", "}"])
