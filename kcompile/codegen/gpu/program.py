"""A program for a graphics processor: PTX text, and how its kernels are launched, as plain data.

Enters: a planned `program.Program` whose kernels are for blocks of threads. Leaves: a `DeviceProgram`, which
`kcompile_runtime.cuda` loads, and from which nothing of the compiler is needed to run. The table is of
dicts, lists, texts and numbers (JSON); a size [a, b] is a + b * n for a batch of n:

    {"prepared": bytes, "entries": [{"name", "arena": size, "writes": [variables that change ...],
                                     "steps": [launch or repeat ...]} ...]}
    launch: {"kernel", "threads", "units": size, "per_block", "times", "places": [place ...]}
            with ceil(units / per_block) * times blocks
    repeat: {"count", "launches": [launch ...]}
    place:  {"region", "index", "offset": size}, and inside a repeat "step", "flip" (sizes) and "phase"
            (`step`, `alternate` and `parity` of `program.Ref`)

A kernel takes a pointer for each place, then n as 64 bits.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kcompile.codegen import loops
from kcompile.codegen.binary import cache
from kcompile.codegen.gpu import emission
from kcompile.codegen.gpu.device import DeviceFunction
from kcompile.codegen.program import Entry, Launch, Program, Ref, Repeat, Size
from kcompile.codegen.targets import Target


@dataclass(frozen=True)
class DeviceProgram:
    """ptx: of all kernels. table: see the module. constants: bytes of the constant region."""

    ptx: str
    table: dict[str, Any]
    constants: bytes

    def to_bytes(self) -> bytes:
        return cache.pack(self.table, [self.ptx.encode(), self.constants])

    @staticmethod
    def from_bytes(data: bytes) -> DeviceProgram:
        """What `to_bytes` gave. Raises ValueError, KeyError for other bytes."""
        table, (ptx, constants) = cache.unpack(data)
        return DeviceProgram(ptx.decode(), table, constants)


@dataclass(frozen=True)
class KernelUse:
    """What ptxas says of a kernel. spills: bytes stored and loaded again, of one thread; shared: bytes
    of a block; local: bytes of a thread's own memory."""

    name: str
    registers: int
    spills: int
    shared: int
    local: int


def device_program(program: Program, target: Target) -> DeviceProgram:
    """The program as PTX and launches. Raises ValueError, see `emission.emit_program`."""
    module = emission.emit_program(program, target)
    entries = [
        {
            "name": entry.name,
            "arena": _size(entry.arena),
            "writes": _writes(entry),
            "steps": [_step(step, module.names) for step in entry.steps],
        }
        for entry in program.entries
    ]
    table = {"prepared": program.prepared, "entries": entries}
    return DeviceProgram(emission.ptx(module.ir, target), table, program.constants)


def _writes(entry: Entry) -> list[int]:
    """Numbers of the variables that an entry changes."""
    return sorted(
        {
            ref.index
            for launch in entry.launches
            for buffer, ref in zip(launch.kernel.buffers, launch.buffers)
            if ref.region == "variable" and buffer in loops.written(launch.kernel.body)
        }
    )


def _size(size: Size) -> list[int]:
    return [size.fixed, size.per_sample]


def _step(step: Launch | Repeat, names: Mapping[int, str]) -> dict[str, Any]:
    if isinstance(step, Repeat):
        return {"count": step.count, "launches": [_launch(x, names, True) for x in step.launches]}
    return _launch(step, names, False)


def _launch(launch: Launch, names: Mapping[int, str], repeated: bool) -> dict[str, Any]:
    assert isinstance(launch.kernel, DeviceFunction)
    grid = launch.kernel.grid
    return {
        "kernel": names[id(launch.kernel)],
        "threads": grid.threads,
        "units": _size(grid.items),
        "per_block": grid.per_block,
        "times": grid.times,
        "places": [_place(ref, repeated) for ref in launch.buffers],
    }


def _place(ref: Ref, repeated: bool) -> dict[str, Any]:
    place: dict[str, Any] = {"region": ref.region, "index": ref.index, "offset": _size(ref.offset)}
    if repeated:
        place |= {"step": _size(ref.step), "flip": _size(ref.alternate), "phase": ref.parity}
    return place


# ---------------------------------------------------------------- assembling


def find_ptxas() -> Path | None:
    """The assembler of the wheel nvidia-cuda-nvcc, None where it is not installed."""
    found = importlib.util.find_spec("nvidia")
    for folder in (found.submodule_search_locations or []) if found else []:
        for path in sorted(Path(folder).glob("*/bin/ptxas*")):
            if path.name in ("ptxas", "ptxas.exe"):
                return path
    return None


def assemble(ptx: str, target: Target, ptxas: Path, folder: Path) -> list[KernelUse]:
    """What each kernel uses, by assembling the PTX in `folder`. Raises RuntimeError with the
    assembler's messages when it does not accept the text."""
    source = folder / "kernels.ptx"
    source.write_text(ptx)
    done = subprocess.run(
        [str(ptxas), "-v", f"-arch={target.name}", str(source), "-o", str(folder / "kernels.cubin")],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"ptxas: {done.stdout}{done.stderr}")
    return _uses(done.stdout + done.stderr)


def _uses(report: str) -> list[KernelUse]:
    uses = []
    for part in report.split("Compiling entry function ")[1:]:

        def number(pattern: str, text: str = part) -> int:
            return sum(map(int, re.findall(pattern, text)))

        uses.append(
            KernelUse(
                part.split("'")[1],
                number(r"Used (\d+) registers"),
                number(r"(\d+) bytes spill"),
                number(r"(\d+) bytes smem"),
                number(r"(\d+) bytes stack frame"),
            )
        )
    return uses


def summary(uses: list[KernelUse]) -> str:
    """A table for people."""
    width = max([6, *(len(u.name) for u in uses)])
    lines = [f"{'kernel':<{width}}  registers  spills  shared  local"]
    lines += [f"{u.name:<{width}}  {u.registers:9}  {u.spills:6}  {u.shared:6}  {u.local:5}" for u in uses]
    total = sum(u.spills for u in uses)
    return "\n".join([*lines, f"{len(uses)} kernels, {total} bytes of spills"])
