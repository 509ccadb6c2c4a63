"""Entry points as LLVM IR: a function that runs the launches of an entry in order, with loops over time.

Enters: an `Entry` and the names of its kernels. Leaves: text. For each launch the function stores the
pointers to the kernel's buffers and calls the kernel, through the thread pool (`kc_parallel`, see `pool`)
where there is work for two threads.

A training step flushes denormals on x86-64, as XLA and TensorFlow do: the moments of a weight without
gradient decay into them, and each operation on one costs a hundred cycles. Predictions do not.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from kcompile.codegen import cost
from kcompile.codegen.llvm.entry_blocks import in_blocks
from kcompile.codegen.llvm.memory import memory_ir, stride_ir
from kcompile.codegen.loops import For
from kcompile.codegen.program import BAD_INDEX, Entry, Guard, Launch, Ref, Repeat, Size
from kcompile.codegen.targets import Target
from kcompile.ir.indices import FINE
from kcompile_runtime.layout import ALIGNMENT, Memory, round_up

_ENTRY = (
    "i64 %n, ptr %inputs, ptr %outputs, ptr %variables, ptr %prepared, ptr %constants, ptr %arena, ptr %pool"
)
_ARRAYS = {"input": "%inputs", "output": "%outputs", "variable": "%variables"}
_BASES = ("%inputs", "%outputs", "%variables", "%prepared", "%constants", "%arena")
_BLOCKS = {"prepared": "%prepared", "constant": "%constants", "arena": "%arena"}
PARALLEL = ("parallel", "chunk")


def entry_ir(entry: Entry, names: dict[int, str], prefix: str, target: Target, memory: Memory) -> str:
    """The native function of an entry, and those that say what memory it takes (`memory.memory_ir`). It
    returns 0, or `BAD_INDEX` (see `program`).

    names: of the kernels, by identity. memory: what a call takes.
    """
    enter, leave = target.architecture.flush if entry.flush else ((), ())
    code = _Launches(target, flush=f".{entry.name}.flush" if enter else "")
    scratch = code.at("%arena", _round_size(code, entry.arena)) if memory.scratch else "%arena"
    own = f"{prefix}{entry.name}"

    def stride() -> str:
        return stride_ir(memory, own, code.now)

    most = max((len(launch.buffers) for launch in entry.launches), default=1)
    functions = [memory_ir(memory, own)]
    if entry.timed is not None:
        code.start_clock(entry.timed)
    for number, step in enumerate(entry.steps):
        if number == entry.guarded:
            code.guards(entry.guards)
        if isinstance(step, Launch):
            code.launch(step, names[id(step.kernel)], scratch, stride)
            code.tick()
        elif step.batch_parallel:
            name = f"{prefix}{entry.name}_rows{number}"
            functions.append(_rows(step, name, names, most, target))
            code.share_rows(step, name, scratch, stride)
            code.tick()
        else:
            with code.repeat(step.count):
                for launch in step.launches:
                    code.launch(launch, names[id(launch.kernel)], scratch, stride)
                    code.tick()
    if entry.guarded == len(entry.steps):
        code.guards(entry.guards)
    functions += code.wrappers(names, entry, enter, leave) if enter else []
    name, kind = f"{prefix}{entry.name}", ""
    if entry.blocks is not None:
        functions.append(in_blocks(entry, entry.blocks, name, _ENTRY, memory, target))
        name, kind = f"{name}.block", "internal "
    return "\n".join(
        [
            *functions,
            f'define {kind}i32 @"{name}"({_ENTRY}) #0 {{',
            f"  %buffers = alloca [{most} x ptr], align 8",
            f"  %context = alloca [{len(_BASES)} x ptr], align 8",
            "  %found = alloca i32, align 4",
            "  store i32 0, ptr %found, align 4",
            *enter,
            *code.first,
            "  br label %run",
            "run:",
            *code.lines,
            "  br label %leave",
            "leave:",
            *leave,
            "  %status = load i32, ptr %found, align 4",
            "  ret i32 %status",
            "}",
        ]
    )


def _rows(step: Repeat, name: str, names: dict[int, str], most: int, target: Target) -> str:
    """A kernel that runs all iterations of a repeat on the samples [begin, end)."""
    code = _Launches(target, rows="%rows")
    with code.repeat(step.count):
        for launch in step.launches:
            code.launch(launch, names[id(launch.kernel)], "%scratch", lambda: "0", whole=True)
    bases = []
    for number, base in enumerate(_BASES):
        bases += [
            f"  {base}.at = getelementptr ptr, ptr %context, i64 {number}",
            f"  {base} = load ptr, ptr {base}.at, align {code.word}",
        ]
    return "\n".join(
        [
            f'define internal void @"{name}"(ptr %context, i64 %n, i64 %begin, i64 %end, ptr %scratch) #0 {{',
            f"  %buffers = alloca [{most} x ptr], align 8",
            "  %rows = sub i64 %end, %begin",
            *bases,
            *code.first,
            "  br label %run",
            "run:",
            *code.lines,
            "  ret void",
            "}",
        ]
    )


def _round_size(code: _Launches, size: Size) -> str:
    if not size.per_sample:
        return str(round_up(size.fixed))
    up = code.op(f"add i64 {code.size(size)}, {ALIGNMENT - 1}")
    return code.op(f"and i64 {up}, -{ALIGNMENT}")


class _Launches:
    """The code of an entry under construction. first: lines that compute pointers and sizes, once. lines:
    those that use them.

    rows: the number of samples that kernels are called for: "%n" for all, or "%rows" of them from "%begin".
    flush: the suffix of the names of kernels that flush denormals, empty where none do.
    """

    def __init__(self, target: Target, rows: str = "%n", flush: str = "") -> None:
        self.word = target.pointer_bytes
        self.flush = flush
        self.rows = rows  # the samples that kernels are called for
        self.first: list[str] = []
        self.lines: list[str] = []
        self.known: dict[str, str] = {}
        self.labels = itertools.count()
        self.time = ""  # the iteration of the repeat under construction
        self.row_kernels: list[str] = []
        self.parts = 0  # that were measured
        self.clock = ""  # where the last tick is kept, while parts are measured
        self.times = ""  # where the parts' ticks are added up

    @contextmanager
    def repeat(self, count: int) -> Iterator[None]:
        """A loop of `count` iterations around the lines that are added inside the `with`."""
        number = next(self.labels)
        self.time = f"%t{number}"
        self.lines += [
            f"  br label %enter{number}",
            f"enter{number}:",
            f"  br label %repeat{number}",
            f"repeat{number}:",
            f"  {self.time} = phi i64 [ 0, %enter{number} ], [ %u{number}, %again{number} ]",
        ]
        yield
        self.lines += [
            f"  br label %again{number}",
            f"again{number}:",
            f"  %u{number} = add i64 {self.time}, 1",
            f"  %c{number} = icmp slt i64 %u{number}, {count}",
            f"  br i1 %c{number}, label %repeat{number}, label %leave{number}",
            f"leave{number}:",
        ]
        self.time = ""

    def op(self, text: str) -> str:
        name = self.known.get(text)
        if name is None:
            name = self.known[text] = f"%v{len(self.known)}"
            self.first.append(f"  {name} = {text}")
        return name

    def size(self, size: Size, samples: str = "%n") -> str:
        if not size.per_sample:
            return str(size.fixed)
        text = samples if size.per_sample == 1 else self.op(f"mul i64 {samples}, {size.per_sample}")
        return self.op(f"add i64 {text}, {size.fixed}") if size.fixed else text

    def at(self, pointer: str, offset: str) -> str:
        if offset == "0":
            return pointer
        return self.op(f"getelementptr i8, ptr {pointer}, i64 {offset}")

    def pointer(self, ref: Ref) -> str:
        if ref.region in _BLOCKS:
            return self.at(_BLOCKS[ref.region], self.size(ref.offset))
        slot = self.op(f"getelementptr ptr, ptr {_ARRAYS[ref.region]}, i64 {ref.index}")
        return self.at(self.op(f"load ptr, ptr {slot}, align {self.word}"), self.size(ref.offset))

    def rebased(self, ref: Ref) -> str:
        """The pointer at this iteration, for these rows."""
        pointer = self.pointer(ref)
        if ref.row and self.rows != "%n":
            pointer = self.at(pointer, self.op(f"mul i64 %begin, {ref.row}"))
        for factor, size in ((self.time, ref.step), ("odd", ref.alternate)):
            if size == Size():
                continue
            number = next(self.labels)
            if factor == "odd":
                self.lines += [
                    f"  %s{number} = add i64 {self.time}, {ref.parity}",
                    f"  %f{number} = and i64 %s{number}, 1",
                ]
                factor = f"%f{number}"
            self.lines += [
                f"  %o{number} = mul i64 {factor}, {self.size(size)}",
                f"  %p{number} = getelementptr i8, ptr {pointer}, i64 %o{number}",
            ]
            pointer = f"%p{number}"
        return pointer

    def start_clock(self, output: int) -> None:
        """Measure parts from now on. output: the number of the output for their ticks."""
        self.times = self.pointer(Ref("output", output))
        self.clock = self.op("alloca i64, align 8")
        self.lines += ["  %begin = call i64 @kc_clock()", f"  store i64 %begin, ptr {self.clock}, align 8"]

    def tick(self) -> None:
        """A part ends here, where parts are measured."""
        if not self.clock:
            return
        number = next(self.labels)
        at = self.op(f"getelementptr i64, ptr {self.times}, i64 {self.parts}")
        self.parts += 1
        self.lines += [
            f"  %now{number} = call i64 @kc_clock()",
            f"  %since{number} = load i64, ptr {self.clock}, align 8",
            f"  %spent{number} = sub i64 %now{number}, %since{number}",
            f"  %was{number} = load i64, ptr {at}, align 8",
            f"  %sum{number} = add i64 %was{number}, %spent{number}",
            f"  store i64 %sum{number}, ptr {at}, align 8",
            f"  store i64 %now{number}, ptr {self.clock}, align 8",
        ]

    def fill(self, launch: Launch) -> None:
        """Store the pointers to a launch's buffers in the array that the kernel reads."""
        if len(launch.buffers) != len(launch.kernel.buffers):
            raise ValueError(
                f"{launch.kernel.name} takes {len(launch.kernel.buffers)} buffers. "
                f"Received: {len(launch.buffers)}"
            )
        for i, ref in enumerate(launch.buffers):
            slot = self.op(f"getelementptr ptr, ptr %buffers, i64 {i}")
            self.lines.append(f"  store ptr {self.rebased(ref)}, ptr {slot}, align {self.word}")

    def shared(self, name: str) -> str:
        """The name of the function that the pool calls for a kernel: one that flushes denormals if the caller
        does, as the flag belongs to a thread."""
        return f'@"{name}{self.flush}"'

    def guards(self, guards: Sequence[Guard]) -> None:
        """Return `BAD_INDEX` where a guard has found a bad index, and say at the start of the arena which."""
        for number, guard in enumerate(guards):
            self.lines += [
                f"  %word{number} = load i64, ptr {self.pointer(guard.word)}, align 8",
                f"  %fine{number} = icmp eq i64 %word{number}, {FINE}",
                f"  br i1 %fine{number}, label %good{number}, label %bad{number}",
                f"bad{number}:",
                f"  %place{number} = lshr i64 %word{number}, 32",
                f"  %low{number} = and i64 %word{number}, {2**32 - 1}",
                f"  %number{number} = sub i64 %low{number}, {2**31}",
            ]
            words = (number, f"%place{number}", f"%number{number}", guard.rows, guard.each)
            for slot, word in enumerate(words):
                at = self.op(f"getelementptr i64, ptr %arena, i64 {slot}")
                self.lines.append(f"  store i64 {word}, ptr {at}, align 8")
            self.lines += [
                f"  store i32 {BAD_INDEX}, ptr %found, align 4",
                "  br label %leave",
                f"good{number}:",
            ]

    def wrappers(
        self, names: dict[int, str], entry: Entry, enter: Sequence[str], leave: Sequence[str]
    ) -> list[str]:
        """Functions for the pool that set the processor's flush flag, call a kernel, and restore the flag."""
        kernels = dict.fromkeys([*(names[id(x.kernel)] for x in entry.launches), *self.row_kernels])
        return [
            "\n".join(
                [
                    f'define internal void @"{k}{self.flush}"(ptr %b, i64 %n, i64 %i, i64 %j, ptr %s) {{',
                    *enter,
                    f'  call void @"{k}"(ptr %b, i64 %n, i64 %i, i64 %j, ptr %s)',
                    *leave,
                    "  ret void",
                    "}",
                ]
            )
            for k in kernels
        ]

    def grain(self, cycles: Size) -> str:
        """The least number of iterations in a chunk: as many as are worth a thread, by their cycles."""
        if not cycles.per_sample:
            return str(-(-cost.THREAD_CYCLES // max(cycles.fixed, 1)))
        divisor = self.op(f"or i64 {self.size(cycles)}, 1")
        count = self.op(f"udiv i64 {cost.THREAD_CYCLES}, {divisor}")
        return self.op(f"add i64 {count}, 1")

    def now(self, text: str) -> str:
        """The result of an instruction that is emitted here."""
        name = f"%w{next(self.labels)}"
        self.lines.append(f"  {name} = {text}")
        return name

    def share_rows(self, step: Repeat, name: str, scratch: str, stride: Callable[[], str]) -> None:
        """Run a batch-parallel repeat on the pool. stride: emits the bytes of scratch of a thread."""
        self.row_kernels.append(name)
        for number, base in enumerate(_BASES):
            slot = self.op(f"getelementptr ptr, ptr %context, i64 {number}")
            self.lines.append(f"  store ptr {base}, ptr {slot}, align {self.word}")
        apart = stride()
        self.lines.append(
            f"  call void @kc_parallel(ptr %pool, ptr {self.shared(name)}, ptr %context, i64 %n, i64 %n, "
            f"i64 {self.grain(step.cycles)}, ptr {scratch}, i64 {apart})"
        )

    def launch(
        self, launch: Launch, name: str, scratch: str, stride: Callable[[], str], whole: bool = False
    ) -> None:
        """Call a kernel: in chunks on the pool where there is work for two threads and not `whole`. stride:
        as of `share_rows`."""
        self.fill(launch)
        kernel = f'@"{name}"'
        number = next(self.labels)
        iterations = self.size(launch.iterations, self.rows)
        grain = self.grain(launch.cycles)
        fixed = not launch.iterations.per_sample and not launch.cycles.per_sample
        alone = f"  call void {kernel}(ptr %buffers, i64 {self.rows}, i64 0, i64 {iterations}, ptr {scratch})"
        is_parallel = any(isinstance(s, For) and s.kind in PARALLEL for s in launch.kernel.body)
        if whole or not is_parallel or (fixed and launch.iterations.fixed < 2 * int(grain)):
            self.lines.append(alone)
            return
        pool = self.op("icmp ne ptr %pool, null")
        twice = self.op(f"shl i64 {grain}, 1")
        much = self.op(f"icmp sge i64 {iterations}, {twice}")
        many = self.op(f"and i1 {pool}, {much}")
        self.lines += [f"  br i1 {many}, label %pool{number}, label %one{number}", f"pool{number}:"]
        apart = stride()
        self.lines += [
            f"  call void @kc_parallel(ptr %pool, ptr {self.shared(name)}, ptr %buffers, i64 %n, "
            f"i64 {iterations}, i64 {grain}, ptr {scratch}, i64 {apart})",
            f"  br label %end{number}",
            f"one{number}:",
            alone,
            f"  br label %end{number}",
            f"end{number}:",
        ]
