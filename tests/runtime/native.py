"""Small loop programs that the runtime's tests run: y = x @ (2 w) + b.

"prepare" doubles the weights into the prepared block; "predict" multiplies and adds the bias, by
way of the arena and of scratch memory, so that every region is used; "train" adds 1 to the bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kcompile.codegen.binary import jit
from kcompile.codegen.llvm import module
from kcompile.codegen.llvm.batches import batches_ir
from kcompile.codegen.llvm.memory import entry_memory
from kcompile.codegen.llvm.pool import POOL_ABI, pool_ir
from kcompile.codegen.loops import Alloc, Buffer, Function, N, Stmt, Var, cast, const, fma, load, loop, store
from kcompile.codegen.program import Entry, Launch, Program, Ref, Size
from kcompile.codegen.targets import native
from kcompile_runtime import EntrySpec, TensorSpec
from kcompile_runtime import Program as Runtime

INNER, OUTER = 5, 3


def spec(name: str, shape: tuple[int | str, ...], dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name, shape, dtype)


X, Y = spec("x", ("n", INNER)), spec("y", ("n", OUTER))
AFFINE = (
    EntrySpec("prepare", reads_prepared=False),
    EntrySpec("predict", (X,), (Y,)),
    EntrySpec("train", (X,), (), reads_prepared=False, writes_variables=True),
)


def _double() -> Function:
    w, out, i = Buffer("w", "float32"), Buffer("out", "float32"), Var("i")
    return Function(
        "double", (w, out), (loop(i, 0, INNER * OUTER, [store(out, i, load(w, i) * const(2.0, "float32"))]),)
    )


def _matmul() -> Function:
    """t[i, j] = sum over k of x[i, k] w[k, j], parallel over i, the row in scratch memory."""
    x, w, t = Buffer("x", "float32"), Buffer("w", "float32"), Buffer("t", "float32")
    row = Buffer("row", "float32", "scratch", OUTER)
    i, j, k = Var("i"), Var("j"), Var("k")
    body: list[Stmt] = [
        Alloc(row),
        loop(j, 0, OUTER, [store(row, j, 0.0)]),
        loop(
            k,
            0,
            INNER,
            [
                loop(
                    j,
                    0,
                    OUTER,
                    [store(row, j, fma(load(x, i * INNER + k), load(w, k * OUTER + j), load(row, j)))],
                )
            ],
        ),
        loop(j, 0, OUTER, [store(t, i * OUTER + j, load(row, j))]),
    ]
    return Function("matmul", (x, w, t), (loop(i, 0, N, body, kind="parallel"),))


def _bias() -> Function:
    t, b, y = Buffer("t", "float32"), Buffer("b", "float32"), Buffer("y", "float32")
    i, j = Var("i"), Var("j")
    return Function(
        "bias",
        (t, b, y),
        (
            loop(
                i,
                0,
                N,
                [loop(j, 0, OUTER, [store(y, i * OUTER + j, load(t, i * OUTER + j) + load(b, j))])],
                kind="parallel",
            ),
        ),
    )


def _step() -> Function:
    b, j = Buffer("b", "float32"), Var("j")
    return Function("step", (b,), (loop(j, 0, OUTER, [store(b, j, load(b, j) + const(1.0, "float32"))]),))


def affine() -> Program:
    """The program of `AFFINE`: variables w (5, 3) and b (3)."""
    variable, prepared = Ref("variable", 0), Ref("prepared")
    return Program(
        (
            Entry("prepare", (Launch(_double(), (variable, prepared)),)),
            Entry(
                "predict",
                (
                    Launch(_matmul(), (Ref("input"), prepared, Ref("arena")), Size(0, 1), Size(10_000)),
                    Launch(
                        _bias(), (Ref("arena"), Ref("variable", 1), Ref("output")), Size(0, 1), Size(3_000)
                    ),
                ),
                Size(0, 64),
            ),
            Entry("train", (Launch(_step(), (Ref("variable", 1),)),)),
        ),
        prepared=64,
    )


def pair() -> Program:
    """b = a + 1 and c = a * k, for int32 a (n, 2) and a float64 scalar k."""
    a, b = Buffer("a", "int32"), Buffer("b", "int32")
    k, c, i = Buffer("k", "float64"), Buffer("c", "float64"), Var("i")
    add = Function("add", (a, b), (loop(i, 0, N * 2, [store(b, i, load(a, i) + const(1, "int32"))]),))
    scale = Function(
        "scale", (a, k, c), (loop(i, 0, N * 2, [store(c, i, cast(load(a, i), "float64") * load(k, 0))]),)
    )
    return Program(
        (
            Entry(
                "predict",
                (
                    Launch(add, (Ref("input"), Ref("output"))),
                    Launch(scale, (Ref("input"), Ref("input", 1), Ref("output", 1))),
                ),
            ),
        )
    )


def compiled(
    specs: Sequence[EntrySpec], program: Program, variables: Sequence[np.ndarray], threads: int
) -> Runtime:
    """A program in this process."""
    target = native()
    library = jit.load(
        jit.optimise_and_compile(
            [module.emit_program(program, target), pool_ir(target), batches_ir()], target
        )
    )
    filled = [replace(s, memory=entry_memory(e)) for s, e in zip(specs, program.entries)]
    return Runtime(
        library.address,
        filled,
        variables,
        prepared=program.prepared,
        constants=program.constants,
        threads=threads,
        pool_abi=POOL_ABI,
    )
