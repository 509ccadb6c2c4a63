"""Programs as text, for people: `kcompile show --stage loops` and golden tests."""

from __future__ import annotations

from kcompile.codegen.loops import Function
from kcompile.codegen.loops.show import function
from kcompile.codegen.program import Launch, Program, Ref, Repeat, Size


def _size(size: Size) -> str:
    if not size.per_sample:
        return str(size.fixed)
    return f"{size.per_sample}n" + (f" + {size.fixed}" if size.fixed else "")


def _place(ref: Ref) -> str:
    if ref.region in ("input", "output", "variable"):
        return f"{ref.region}{ref.index}"
    moving = f" + t*({_size(ref.step)})" if ref.step != Size() else ""
    moving += f" + odd(t+{ref.parity})*({_size(ref.alternate)})" if ref.alternate != Size() else ""
    return f"{ref.region}[{_size(ref.offset)}{moving}]"


def _launch(launch: Launch) -> str:
    places = ", ".join(map(_place, launch.buffers))
    note = f"  # {launch.kernel.note}" if launch.kernel.note else ""
    return f"  {launch.kernel.name}({places}) over {_size(launch.iterations)}{note}"


def program(p: Program) -> str:
    """All kernels, then each entry as its sequence of launches with the places of the buffers."""
    seen: dict[int, Function] = {}
    for entry in p.entries:
        for launch in entry.launches:
            seen.setdefault(id(launch.kernel), launch.kernel)
    parts = [function(f) for f in seen.values()]
    for entry in p.entries:
        lines = [f"entry {entry.name}  # arena: {_size(entry.arena)} bytes"]
        for step in entry.steps:
            if isinstance(step, Repeat):
                lines.append(f"  for t in range({step.count}):")
                lines += ["  " + _launch(launch) for launch in step.launches]
            else:
                lines.append(_launch(step))
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"
