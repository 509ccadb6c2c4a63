"""Loop programs as text, for people: `kcompile show --stage loops` and golden tests."""

from __future__ import annotations

from kcompile.codegen import loops
from kcompile.codegen.loops import Expr, Function, Stmt
from kcompile.codegen.program import Launch, Program, Ref, Repeat, Size

_SIGNS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "mod": "%", "and": "&", "or": "|",
          "xor": "^", "shl": "<<", "shr": ">>", "eq": "==", "ne": "!=", "lt": "<", "le": "<=",
          "gt": ">", "ge": ">="}


def expression(e: Expr) -> str:
    """One line, in Python's notation; `x4(...)` marks a vector of 4 lanes."""
    if isinstance(e, loops.Const):
        return str(e.value)
    if isinstance(e, loops.Var):
        return e.name
    if isinstance(e, loops.Binary):
        a, b = expression(e.a), expression(e.b)
        return f"({a} {_SIGNS[e.op]} {b})" if e.op in _SIGNS else f"{e.op}({a}, {b})"
    if isinstance(e, loops.Unary):
        return f"{e.op}({expression(e.a)})"
    if isinstance(e, loops.Fma):
        return f"fma({expression(e.a)}, {expression(e.b)}, {expression(e.c)})"
    if isinstance(e, loops.Select):
        return f"select({expression(e.condition)}, {expression(e.a)}, {expression(e.b)})"
    if isinstance(e, loops.Cast):
        return f"{'bits_' if e.bits else ''}{e.dtype}({expression(e.a)})"
    if isinstance(e, loops.Load):
        mask = f", if {expression(e.mask)}" if e.mask is not None else ""
        return f"{e.buffer.name}[{expression(e.index)}{mask}]"
    if isinstance(e, loops.Ramp):
        step = f":{e.stride}" if e.stride != 1 else ""
        return f"{expression(e.base)}..x{e.lanes}{step}"
    if isinstance(e, loops.Broadcast):
        return expression(e.a)
    return f"across_{e.op}({expression(e.a)})"


def statements(body: tuple[Stmt, ...], indent: str) -> list[str]:
    lines: list[str] = []
    for s in body:
        if isinstance(s, loops.Let):
            lines.append(f"{indent}{s.var.name} = {expression(s.value)}")
        elif isinstance(s, loops.Store):
            mask = f", if {expression(s.mask)}" if s.mask is not None else ""
            lines.append(f"{indent}{s.buffer.name}[{expression(s.index)}{mask}] = "
                         f"{expression(s.value)}")
        elif isinstance(s, loops.Alloc):
            b = s.buffer
            lanes = f" x{b.lanes}" if b.lanes > 1 else ""
            lines.append(f"{indent}{b.space} {b.name}: {b.dtype}{lanes}[{b.size}]")
        elif isinstance(s, loops.Barrier):
            lines.append(f"{indent}barrier")
        elif isinstance(s, loops.For):
            step = f", {s.step}" if s.step != 1 else ""
            kind = f"{s.kind} " if s.kind != "serial" else ""
            lines.append(f"{indent}{kind}for {s.var.name} in range({expression(s.start)}, "
                         f"{expression(s.stop)}{step}):")
            lines += statements(s.body, indent + "  ")
        else:
            lines.append(f"{indent}if {expression(s.condition)}:")
            lines += statements(s.then, indent + "  ")
            if s.otherwise:
                lines.append(f"{indent}else:")
                lines += statements(s.otherwise, indent + "  ")
    return lines


def function(f: Function) -> str:
    buffers = ", ".join(f"{b.name}: {b.dtype}" for b in f.buffers)
    note = f"  # {f.note}" if f.note else ""
    return "\n".join([f"def {f.name}({buffers}):{note}", *statements(f.body, "  ")])


def _size(size: Size) -> str:
    if not size.per_sample:
        return str(size.fixed)
    return f"{size.per_sample}n" + (f" + {size.fixed}" if size.fixed else "")


def _place(ref: Ref) -> str:
    if ref.region in ("input", "output", "variable"):
        return f"{ref.region}{ref.index}"
    moving = f" + t*({_size(ref.step)})" if ref.step != Size() else ""
    moving += f" + odd(t+{ref.phase})*({_size(ref.flip)})" if ref.flip != Size() else ""
    return f"{ref.region}[{_size(ref.offset)}{moving}]"


def _launch(launch: Launch) -> str:
    places = ", ".join(map(_place, launch.buffers))
    note = f"  # {launch.kernel.note}" if launch.kernel.note else ""
    return f"  {launch.kernel.name}({places}) over {_size(launch.extent)}{note}"


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
