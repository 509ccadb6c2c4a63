"""Loops as text, for people (`codegen.show` has whole programs)."""

from __future__ import annotations

from collections import Counter

from kcompile.codegen import loops
from kcompile.codegen.loops import Expr, Function, Stmt

_SIGNS = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "mod": "%",
    "and": "&",
    "or": "|",
    "xor": "^",
    "shl": "<<",
    "shr": ">>",
    "eq": "==",
    "ne": "!=",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
}


LONG = 40  # characters; a longer expression that a statement uses often is written once, with a name


def expressions(*roots: Expr) -> tuple[list[str], list[str]]:
    """(bindings, expressions) in Python's notation; `..x4` marks an index of 4 lanes. A long
    subexpression that is used more than once is bound to a name: as trees, expressions could be exponentially
    long."""
    order: dict[int, Expr] = {}  # operands before what they are operands of
    uses: Counter[int] = Counter(map(id, roots))
    waiting = [(root, False) for root in reversed(roots)]
    while waiting:
        e, ready = waiting.pop()
        if ready:
            order[id(e)] = e
        elif id(e) not in order:
            parts = loops.children(e)
            uses.update(map(id, parts))
            waiting += [(e, True), *((part, False) for part in reversed(parts))]
    bindings: list[str] = []
    texts: dict[int, str] = {}
    for key, e in order.items():
        text = _expression(e, [texts[id(part)] for part in loops.children(e)])
        if uses[key] > 1 and len(text) > LONG:
            name = f"_{len(bindings)}"
            bindings.append(f"{name} = {text}")
            text = name
        texts[key] = text
    return bindings, [texts[id(root)] for root in roots]


def _expression(e: Expr, parts: list[str]) -> str:
    """The text of an expression, from the texts of its operands."""
    if isinstance(e, loops.Const):
        return str(e.value)
    if isinstance(e, loops.Var):
        return e.name
    if isinstance(e, loops.Binary):
        a, b = parts
        return f"({a} {_SIGNS[e.op]} {b})" if e.op in _SIGNS else f"{e.op}({a}, {b})"
    if isinstance(e, loops.Cast):
        return f"{'bits_' if e.bits else ''}{e.dtype}({parts[0]})"
    if isinstance(e, loops.Load):
        return f"{e.buffer.name}[{', if '.join(parts)}]"
    if isinstance(e, loops.Ramp):
        return f"{parts[0]}..x{e.lanes}" + (f":{e.stride}" if e.stride != 1 else "")
    if isinstance(e, loops.Broadcast):
        return parts[0]
    if isinstance(e, loops.Shuffle):
        return f"shuffle({', '.join([*parts, *map(str, e.order)])})"
    name = {
        loops.Unary: "",
        loops.ReduceLanes: "reduce_lanes_",
        loops.Fma: "fma",
        loops.DotBytes: "dot_bytes",
        loops.DotHalves: "dot_halves",
        loops.Halves: "halves",
        loops.Select: "select",
    }[type(e)]
    return f"{name}{getattr(e, 'op', '')}({', '.join(parts)})"


def statements(body: tuple[Stmt, ...], indent: str) -> list[str]:
    lines: list[str] = []

    def written(*roots: Expr | None) -> list[str]:
        """The texts of a statement's expressions. Lines that bind common subexpressions are added before."""
        bindings, texts = expressions(*(root for root in roots if root is not None))
        lines.extend(indent + line for line in bindings)
        return texts

    for s in body:
        if isinstance(s, loops.Let):
            (value,) = written(s.value)
            lines.append(f"{indent}{s.var.name} = {value}")
        elif isinstance(s, loops.Store):
            index, value, *mask = written(s.index, s.value, s.mask)
            lines.append(f"{indent}{s.buffer.name}[{', if '.join([index, *mask])}] = {value}")
        elif isinstance(s, loops.Alloc):
            b = s.buffer
            lanes = f" x{b.lanes}" if b.lanes > 1 else ""
            lines.append(f"{indent}{b.space} {b.name}: {b.dtype}{lanes}[{b.size}]")
        elif isinstance(s, loops.Barrier):
            lines.append(f"{indent}barrier")
        elif isinstance(s, loops.For):
            start, stop = written(s.start, s.stop)
            step = f", {s.step}" if s.step != 1 else ""
            kind = f"{s.kind} " if s.kind != "serial" else ""
            lines.append(f"{indent}{kind}for {s.var.name} in range({start}, {stop}{step}):")
            lines += statements(s.body, indent + "  ")
        else:
            (condition,) = written(s.condition)
            lines.append(f"{indent}if {condition}:")
            lines += statements(s.then, indent + "  ")
            if s.otherwise:
                lines.append(f"{indent}else:")
                lines += statements(s.otherwise, indent + "  ")
    return lines


def function(f: Function) -> str:
    buffers = ", ".join(f"{b.name}: {b.dtype}" for b in f.buffers)
    note = f"  # {f.note}" if f.note else ""
    return "\n".join([f"def {f.name}({buffers}):{note}", *statements(f.body, "  ")])
