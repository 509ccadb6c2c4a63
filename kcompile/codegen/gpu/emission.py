"""From kernels with blocks and threads to LLVM IR for nvptx64, and on to PTX text.

What enters: a `program.Program` whose kernels are `DeviceFunction`s. What leaves: PTX with one entry
for each kernel (those with equal code once), of the signature

    .entry name(pointer for each buffer ..., u64 n)

Expressions are emitted as for every other processor; what differs is here: where blocks and threads
are numbered, shared memory, barriers, and the address space of parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kcompile.codegen import loops
from kcompile.codegen.binary import jit
from kcompile.codegen.gpu.device import DeviceFunction
from kcompile.codegen.llvm import module
from kcompile.codegen.llvm.arithmetic import EMITTERS, fmod_ir
from kcompile.codegen.llvm.values import Block, Place, ScalarIndex, memory_type
from kcompile.codegen.loops import BYTES, Buffer, For
from kcompile.codegen.program import Program, Size
from kcompile.codegen.targets import Target
from kcompile_runtime.layout import round_up

_REGISTERS = {"grid": "ctaid", "block": "tid"}
WIDEST = 16  # bytes of the widest access; better alignment is of no use


@dataclass(frozen=True)
class Module:
    """ir: LLVM IR of all kernels. names: of the kernel for each function, by its id."""

    ir: str
    names: Mapping[int, str]


def emit_program(program: Program, target: Target) -> Module:
    """The kernels of all entries. Raises ValueError for a kernel that is not for blocks of threads,
    or takes more shared memory than a block has."""
    texts: dict[str, str] = {}
    names: dict[int, str] = {}
    parts = []
    for function, aligns in _kernels(program):
        text = _kernel(function, aligns, target)
        if text not in texts:
            texts[text] = f"k{len(texts)}_" + re.sub(r"\W", "_", function.name, flags=re.ASCII)
            note = f"; {' '.join(function.note.split())}\n" if function.note else ""
            parts.append(note + text.replace("@?", f"@{texts[text]}"))
        names[id(function)] = texts[text]
    return Module(_module(parts, target), names)


def emit(functions: Iterable[DeviceFunction], target: Target) -> str:
    """LLVM IR of single kernels, under their own names."""
    return _module(
        [
            _kernel(f, [BYTES[b.dtype] for b in f.buffers], target).replace("@?", f"@{f.name}")
            for f in functions
        ],
        target,
    )


def ptx(ir: str, target: Target) -> str:
    """PTX text for LLVM IR from here."""
    return jit.assembly(ir, target)


def _module(parts: list[str], target: Target) -> str:
    text = "\n".join(parts)
    fmod = fmod_ir(target) if "@kc_fmod(" in text else ""
    return (
        f'target triple = "{target.triple}"\n'
        "@kc_zero = internal constant [8 x i8] zeroinitializer, align 8\n"
        f"{text}\n{fmod}"
        f'attributes #0 = {{ nounwind "target-cpu"="{target.cpu}" '
        f'"target-features"="{target.features}" "no-builtins" }}\n'
        "!0 = distinct !{!0, !1, !2}\n"
        '!1 = !{!"llvm.loop.unroll.disable"}\n'
        '!2 = !{!"llvm.loop.vectorize.enable", i1 false}\n'
    )


def _kernels(program: Program) -> list[tuple[DeviceFunction, list[int]]]:
    """Each kernel, and for its buffers the bytes that divide their address in all launches."""
    found: dict[int, tuple[DeviceFunction, list[int]]] = {}
    for entry in program.entries:
        for launch in entry.launches:
            function = launch.kernel
            if not isinstance(function, DeviceFunction):
                raise ValueError(f"{function.name}: not a kernel for graphics processors")
            _, aligns = found.setdefault(id(function), (function, [WIDEST] * len(launch.buffers)))
            for i, ref in enumerate(launch.buffers):
                for size in (ref.offset, ref.step, ref.alternate):
                    aligns[i] = _common(aligns[i], size)
    return list(found.values())


def _common(align: int, size: Size) -> int:
    while size.fixed % align or size.per_sample % align:
        align //= 2
    return align


def _kernel(function: DeviceFunction, aligns: list[int], target: Target) -> str:
    """A kernel under the name "?". Pointers come as global memory and are used as generic ones, of
    which LLVM finds out again where they point."""
    block = Block(target, function.name, EMITTERS)
    block.variables["n"] = ScalarIndex("%n", 0)
    changed = loops.written(function.body)
    parameters, first = [], []
    for i, (buffer, align) in enumerate(zip(function.buffers, aligns)):
        block.buffers[buffer] = Place(f"%b{i}", align)
        marks = "" if function.aliased else "noalias "
        marks += "" if buffer in changed else "readonly "
        parameters.append(f"ptr addrspace(1) {marks}align {align} %g{i}")
        first.append(f"  %b{i} = addrspacecast ptr addrspace(1) %g{i} to ptr")
    body = _DeviceStatements(block, function)
    body.run(function.body)
    if body.shared_bytes > target.shared:
        raise ValueError(
            f"{function.name}: {body.shared_bytes} bytes of shared memory, {target.name} has {target.shared}"
        )
    limit = f'"nvvm.maxntid"="{function.grid.threads}"'
    return "\n".join(
        [
            *body.globals,
            f"define ptx_kernel void @?({', '.join([*parameters, 'i64 %n'])}) {limit} #0 {{",
            "entry:",
            *body.allocas,
            *first,
            *block.code(),
            "  ret void",
            "}",
        ]
    )


class _DeviceStatements(module.Statements):
    """Statements of one thread. `globals`: declarations of shared memory, which the module holds."""

    def __init__(self, block: Block, function: DeviceFunction) -> None:
        super().__init__(block, [], function.aliased)
        self.threads = function.grid.threads
        self.changed = loops.written(function.body)
        self.globals: list[str] = []
        self.shared_bytes = 0

    def loop(self, s: For) -> None:
        if s.kind not in _REGISTERS:
            super().loop(s)
            return
        b = self.block
        most = self.threads if s.kind == "block" else 2**31 - 1
        number = b.op(f"call range(i32 0, {most}) i32 @llvm.nvvm.read.ptx.sreg.{_REGISTERS[s.kind]}.x()")
        b.variables[s.var.name] = ScalarIndex(b.op(f"zext nneg i32 {number} to i64"), 0)
        self.run(s.body)

    def stores(self, body: Sequence[loops.Stmt]) -> frozenset[Buffer]:
        """Behind a barrier, threads see what others wrote: no load of that may be placed before."""
        found = super().stores(body)
        waits = any(isinstance(s, loops.Barrier) for s in loops.walk(body))
        return found | self.changed if waits else found

    def barrier(self, s: loops.Barrier) -> None:
        self.block.lines.append("  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)")

    def alloc(self, buffer: Buffer) -> None:
        if buffer.space != "shared":
            super().alloc(buffer)
            return
        b, kind = self.block, memory_type(buffer.dtype, 1)
        name = f"@?.{buffer.name}.{len(self.globals)}"
        self.globals.append(
            f"{name} = internal addrspace(3) global [{buffer.size} x {kind}] poison, align {WIDEST}"
        )
        self.shared_bytes += round_up(buffer.size * BYTES[buffer.dtype], WIDEST)
        pointer = b.op(f"addrspacecast ptr addrspace(3) {name} to ptr")
        b.buffers[buffer] = Place(pointer, WIDEST)
