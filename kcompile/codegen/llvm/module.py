"""From kernels to LLVM IR text, for any CPU target.

What enters: `loops.Function`s, or a whole `program.Program`. What leaves: the text of one LLVM
module. Kernels have the signature

    void name(ptr buffers, i64 n, i64 begin, i64 end, ptr scratch)

where `buffers` points to an array of pointers, one for each parameter; a loop of kind "parallel"
runs over [begin, end); `scratch` has `scratch_bytes(function)` bytes, 64-byte aligned. Entries of
a program have the signature that `program` documents.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Sequence

from kcompile.codegen import cost, loops
from kcompile.codegen.llvm.access import store
from kcompile.codegen.llvm.arithmetic import EMITTERS, fmod_ir
from kcompile.codegen.llvm.entry_points import PARALLEL, entry_ir
from kcompile.codegen.llvm.memory import entry_memory, scratch_of, share_of, sum_ir
from kcompile.codegen.llvm.values import Block, Place, ScalarIndex, Scope, memory_type
from kcompile.codegen.loops import BYTES, Buffer, For, Function, Stmt
from kcompile.codegen.program import Program, Size
from kcompile.codegen.targets import Target
from kcompile_runtime.layout import ALIGNMENT, Share

_KERNEL = "ptr %buffers, i64 %n, i64 %begin, i64 %end, ptr %scratch"


def emit(functions: Sequence[Function], target: Target) -> str:
    """An LLVM module with the kernels, under their own names. Raises ValueError, which names the kernel and
    the reason, for one that breaks the rules of the loop language."""
    return _module([_kernel(f, f.name, target, "") for f in functions], target)


def emit_program(program: Program, target: Target, prefix: str = "kc_") -> str:
    """An LLVM module with one native function per entry, named prefix + entry name, and the
    kernels, which are internal; kernels with equal code are emitted once. It needs `kc_parallel`
    (see `llvm.pool`) at link time."""
    kernels, entries = _parts(program, target, prefix, "internal ")
    return _module([*kernels.values(), entries], target)


def emit_modules(program: Program, target: Target, prefix: str = "kc_") -> list[str]:
    """The same as several modules, which can be compiled at the same time: kernels, then entry points. Which
    module has which kernels depends on the program alone."""
    kernels, entries = _parts(program, target, prefix, "")
    count = max(1, min(cost.MODULES, sum(map(len, kernels.values())) // cost.MODULE_TEXT))
    groups: list[list[str]] = [[] for _ in range(count)]
    for name in sorted(kernels, key=lambda name: -len(kernels[name])):
        min(groups, key=lambda group: sum(len(kernels[x]) for x in group)).append(name)
    declared = [f'declare void @"{name}"({_KERNEL})' for name in kernels]
    return [
        _module(parts, target)
        for parts in (*([kernels[name] for name in group] for group in groups if group), [*declared, entries])
    ]


def clock_ir(target: Target) -> str:
    """A module with the clock of entries that are measured, `kc_clock`, in ticks whose rate the caller has to
    measure. Raises ValueError for a target that has none."""
    clock = target.architecture.linux
    if clock is None:
        raise ValueError(f"target {target.name} has no clock")
    made = "define i64 @kc_clock() {\n  %now = call i64 @kc_pool_now()\n  ret i64 %now\n}\n"
    return f'target triple = "{target.triple}"\n{clock.clock}{made}'


def _parts(program: Program, target: Target, prefix: str, linkage: str) -> tuple[dict[str, str], str]:
    """The text of each kernel by its name, and the text of all entry points."""
    names: dict[int, str] = {}
    kernels: dict[str, str] = {}
    seen: dict[str, str] = {}
    unaligned = _unaligned(program)
    for function in _kernels(program):
        key = _kernel(function, "?", target, linkage, unaligned[id(function)])
        if key not in seen:
            name = seen[key] = f"k{len(seen)}_{_plain(function.name)}"
            note = f"; {' '.join(function.note.split())}\n" if function.note else ""
            kernels[name] = note + key.replace('"?', f'"{name}')
        names[id(function)] = seen[key]
    entries = [entry_ir(e, names, prefix, target, entry_memory(e)) for e in program.entries]
    entries.append("declare void @kc_parallel(ptr, ptr, ptr, i64, i64, i64, ptr, i64)")
    entries.append("declare i32 @kc_pool_threads(ptr)")
    if any(e.timed is not None for e in program.entries):
        entries.append("declare i64 @kc_clock()")
    return kernels, "\n".join(entries)


def _module(parts: Sequence[str], target: Target) -> str:
    text = "\n".join([_head(target), *parts])
    return text + "\n" + _tail(target, text)


def scratch_bytes(function: Function) -> int:
    """Bytes of thread-private memory that a call of a kernel needs at most, a multiple of 64."""
    return max((sum(most for most, _, _ in shares) for shares in scratch_of(function.body)), default=0)


def _plain(name: str) -> str:
    """A name without characters that symbols or quoted text cannot hold."""
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in name)


def _kernels(program: Program) -> Iterator[Function]:
    done: set[int] = set()
    for entry in program.entries:
        for launch in entry.launches:
            if id(launch.kernel) not in done:
                done.add(id(launch.kernel))
                yield launch.kernel


def _unaligned(program: Program) -> dict[int, set[int]]:
    """For each kernel, by its id, the parameters that may be aligned to their element size only: arrays of
    the caller (numpy's, slices of them, C arrays), and buffers whose offset is unaligned for some n."""
    found: dict[int, set[int]] = {}
    for entry in program.entries:
        for launch in entry.launches:
            odd = {
                i
                for i, (ref, buffer) in enumerate(zip(launch.buffers, launch.kernel.buffers))
                if ref.region in ("input", "output")
                or any(
                    size.fixed % buffer.align or size.per_sample % buffer.align
                    for size in (ref.offset, ref.step, ref.alternate, Size(ref.row))
                )
            }
            found.setdefault(id(launch.kernel), set()).update(odd)
    return found


def _head(target: Target) -> str:
    return (
        f'target triple = "{target.triple}"\n@kc_zero = internal constant [8 x i8] zeroinitializer, align 8'
    )


def _tail(target: Target, text: str) -> str:
    """The end of a module: helper functions that the text calls, attributes of functions, metadata of loops.
    Vectors and unrolling are explicit in the loop language, so LLVM is told to add none."""
    width = target.architecture.attributes.replace("$BITS", str(target.vector_bits)) + " "
    if target.tune:
        width += f'"tune-cpu"="{target.tune}" '
    return (
        (fmod_ir(target) if "@kc_fmod(" in text else "")
        + f'attributes #0 = {{ nounwind {width}"target-cpu"="{target.cpu}" '
        f'"target-features"="{target.features}" "no-builtins" }}\n'
        "!0 = distinct !{!0, !1, !2}\n"
        '!1 = !{!"llvm.loop.unroll.disable"}\n'
        '!2 = !{!"llvm.loop.vectorize.enable", i1 false}\n'
    )


# ---------------------------------------------------------------- kernels


def _kernel(
    function: Function, name: str, target: Target, linkage: str, unaligned: Container[int] = ()
) -> str:
    """A kernel as two functions: the outer one loads the pointers from their array, the body has them as
    parameters, which can be marked `noalias`. unaligned: numbers of the parameters of which only the
    alignment of an element is known."""
    _check(function)
    block = Block(target, function.name, EMITTERS)
    block.variables |= {
        "n": ScalarIndex("%n", 0),
        "begin": ScalarIndex("%begin", 0),
        "end": ScalarIndex("%end", 0),
    }
    attribute = "" if function.aliased else "noalias "
    parameters, pointers, fetch = [], [], []
    for i, buffer in enumerate(function.buffers):
        if buffer in block.buffers:
            raise block.error(f"two parameters are the same buffer {buffer.name!r}")
        align = BYTES[buffer.dtype] if i in unaligned else buffer.align
        block.buffers[buffer] = Place(f"%b{i}", align)
        parameters.append(f"ptr {attribute}align {align} %b{i}")
        pointers.append(f"ptr %p{i}")
        fetch += [
            f"  %a{i} = getelementptr ptr, ptr %buffers, i64 {i}",
            f"  %p{i} = load ptr, ptr %a{i}, align {target.pointer_bytes}",
        ]
    allocas: list[str] = []
    Statements(block, allocas, function.aliased).run(function.body)
    rest = "i64 %n, i64 %begin, i64 %end"
    lines = [
        f'define internal void @"{name}.body"({", ".join(parameters + [rest])}, '
        f"ptr noalias align {ALIGNMENT} %scratch) noinline #0 {{",
        "entry:",
        *allocas,
        *block.code(),
        "  ret void",
        "}",
        f'define {linkage}void @"{name}"({_KERNEL}) #0 {{',
        *fetch,
        f'  call void @"{name}.body"({", ".join(pointers + [rest])}, ptr %scratch)',
        "  ret void",
        "}",
    ]
    return "\n".join(lines)


def _check(function: Function) -> None:
    """Raises ValueError where statements other than Let and Alloc stand beside a parallel loop: every thread
    would run them."""
    parallel = [s for s in function.body if isinstance(s, For) and s.kind in PARALLEL]
    if not parallel:
        return
    others = [s for s in function.body if not isinstance(s, (loops.Let, loops.Alloc))]
    if len(others) > 1:
        raise ValueError(
            f"{function.name}: statements beside a parallel loop would run once for "
            "each thread; put them into a kernel of their own"
        )
    if parallel[0].step != 1 or not _is_zero(parallel[0].start):
        raise ValueError(f"{function.name}: a parallel loop counts from 0 in steps of 1")


def _is_zero(e: loops.Expr) -> bool:
    return isinstance(e, loops.Const) and e.value == 0


class Statements:
    """Emits statements as basic blocks. allocas: collects the local arrays, which belong at the start of the
    function. aliased: the function's parameters may be the same memory."""

    def __init__(self, block: Block, allocas: list[str], aliased: bool = False) -> None:
        self.block = block
        self.allocas = allocas
        self.slots: dict[Buffer, str] = {}
        self.labels = 0
        self.used: tuple[Share, ...] = ()
        self.depth = 0
        self.may_alias = aliased

    def label(self, name: str) -> str:
        self.labels += 1
        return f"{name}{self.labels}"

    def run(self, body: Sequence[Stmt]) -> None:
        """Emit the statements of one block. Names, buffers and scratch memory of the block end with it."""
        b = self.block
        variables, buffers, used = dict(b.variables), dict(b.buffers), self.used
        self.depth += 1
        for s in body:
            b.memo.clear()
            if isinstance(s, loops.Let):
                b.variables[s.var.name] = b.value(s.value)
            elif isinstance(s, loops.Store):
                store(b, s)
            elif isinstance(s, loops.Alloc):
                self.alloc(s.buffer)
            elif isinstance(s, For):
                self.loop(s)
            elif isinstance(s, loops.If):
                self.branch(s)
            else:
                self.barrier(s)
        b.variables, b.buffers, self.used = variables, buffers, used
        self.depth -= 1

    def barrier(self, s: loops.Barrier) -> None:
        raise self.block.error(f"{self.block.target.name} has no barriers")

    def alloc(self, buffer: Buffer) -> None:
        b = self.block
        if buffer.space == "shared":
            raise b.error(f"{b.target.name} has no shared memory for {buffer.name!r}")
        if buffer.space == "scratch":
            pointer = "%scratch"
            if self.used:
                pointer = b.op(f"getelementptr i8, ptr %scratch, i64 {sum_ir(self.used, b.op)}")
            self.used = (*self.used, share_of(buffer))
            b.buffers[buffer] = Place(pointer, ALIGNMENT)
            return
        if buffer.space == "global":
            raise b.error(f"{buffer.name!r} is global memory and cannot be allocated")
        pointer = self.slots.get(buffer, "")
        if not pointer:
            pointer = self.slots[buffer] = f"%s{len(self.slots)}"
            kind = memory_type(buffer.dtype, 1)
            self.allocas.append(
                f"  {pointer} = alloca [{buffer.size * buffer.lanes} x {kind}], align {buffer.align}"
            )
        b.buffers[buffer] = Place(pointer, buffer.align)

    def branch(self, s: loops.If) -> None:
        b = self.block
        condition = b.operand(s.condition)
        if condition in ("true", "false"):
            self.run(s.then if condition == "true" else s.otherwise)
            return
        then, otherwise, end = self.label("then"), self.label("else"), self.label("end")
        target = otherwise if s.otherwise else end
        b.lines += [f"  br i1 {condition}, label %{then}, label %{target}", f"{then}:"]
        level = b.scopes[-1].level
        with b.scope(Scope(level)):
            self.run(s.then)
        b.lines.append(f"  br label %{end}")
        if s.otherwise:
            b.lines.append(f"{otherwise}:")
            with b.scope(Scope(level)):
                self.run(s.otherwise)
            b.lines.append(f"  br label %{end}")
        b.lines.append(f"{end}:")

    def loop(self, s: For) -> None:
        b = self.block
        if s.step < 1:
            raise b.error(f"the step of a loop must be positive. Received: {s.step}")
        if s.kind in ("grid", "block"):
            raise b.error(f"{b.target.name} has no blocks of threads")
        if s.kind == "chunk":
            self.run(s.body)
            return
        if s.kind == "parallel":
            if self.depth > 1:
                raise b.error("a parallel loop must be outermost")
            start, stop = ScalarIndex("%begin", 0), ScalarIndex("%end", 0)
        else:
            start, stop = b.index(s.start), b.index(s.stop)
        constant = start.base is None and stop.base is None
        trips = range(start.offset, stop.offset, s.step) if constant else None
        if trips is not None and len(trips) < 2:
            for i in trips:
                b.variables[s.var.name] = ScalarIndex(None, i)
                self.run(s.body)
        else:
            self.counted(s, start, stop, trips is not None)

    def stores(self, body: Sequence[Stmt]) -> frozenset[Buffer]:
        """The buffers that the body of a loop may write."""
        found = loops.written(body)
        if self.may_alias and any(x.space == "global" for x in found):
            found |= {x for x in self.block.buffers if x.space == "global"}
        return frozenset(found)

    def counted(self, s: For, start: ScalarIndex, stop: ScalarIndex, entered: bool) -> None:
        """A loop with its test at the end. entered: it runs at least once, so no test is needed before it."""
        b = self.block
        first, last = b.scalar(start), b.scalar(stop)
        before, body = self.label("before"), self.label("loop")
        latch, leave, end = self.label("latch"), self.label("leave"), self.label("end")
        if not entered:
            test = b.op(f"icmp slt i64 {first}, {last}")
            b.lines.append(f"  br i1 {test}, label %{before}, label %{end}")
        else:
            b.lines.append(f"  br label %{before}")
        counter, following = f"%i.{body}", f"%next.{body}"
        waiting: list[str] = []
        scope = Scope(b.scopes[-1].level + 1, waiting, self.stores(s.body), entered)
        b.levels[counter] = scope.level
        b.lines += [
            f"{before}:",
            waiting,
            f"  br label %{body}",
            f"{body}:",
            f"  {counter} = phi i64 [ {first}, %{before} ], [ {following}, %{latch} ]",
        ]
        b.variables[s.var.name] = ScalarIndex(counter, 0)
        b.multiples[counter] = math.gcd(b.multiple(start), s.step)
        with b.scope(scope):
            self.run(s.body)
        b.lines += [
            f"  br label %{latch}",
            f"{latch}:",
            f"  {following} = add nsw i64 {counter}, {s.step}",
            f"  %more.{body} = icmp slt i64 {following}, {last}",
            f"  br i1 %more.{body}, label %{body}, label %{leave}, !llvm.loop !0",
            f"{leave}:",
            f"  br label %{end}",
            f"{end}:",
        ]
