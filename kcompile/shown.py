"""The stages of compiled code as text: what `CompiledModel.show` gives.

Enters: graphs, or a `Compiled` of the compiler, and the name of a stage. Leaves: text.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from kcompile.codegen.binary import jit
from kcompile.compiler import Compiled
from kcompile.ir.graph import Graph


def text(made: Compiled, stage: str, after: str | None) -> str:
    """A stage of compiled code, see `CompiledModel.show`."""
    if stage == "dot":
        return pictures(made.after(after or ""))
    if stage == "passes":
        from kcompile.ir import passes

        return passes.text((made.prepare, made.run) if after is None else made.after(after))
    if stage == "plan":
        return made.fusion_plan
    if stage == "loops":
        from kcompile.codegen import show

        return show.program(made.program)
    if stage == "ptx":
        return _ptx(made)
    return made.text if stage == "llvm" else jit.assembly(made.text, made.target)


def pictures(graphs: Sequence[Graph]) -> str:
    """Each graph that has nodes, and a line about its form."""
    from kcompile.ir import networks  # imports networkx, which takes as long as compiling a small model

    return "\n".join(f"// {networks.summary(g)}\n{networks.dot(g)}" for g in graphs if g.nodes)


def _ptx(made: Compiled) -> str:
    """PTX, and as comments registers and spills of each kernel."""
    from kcompile.codegen.gpu import program as gpu_program

    text, ptxas = made.on_device.ptx, gpu_program.find_ptxas()
    if ptxas is None:
        return text
    with tempfile.TemporaryDirectory(prefix="kcompile") as folder:
        uses = gpu_program.assemble(text, made.target, ptxas, Path(folder))
    return "\n".join([text, *(f"// {line}" for line in gpu_program.summary(uses).splitlines())])
