"""The loop language, the one form between groups and LLVM IR. The names of `language` are this package's.

Enters: rules and schedules, which write statements through the builder. Leaves: a `Function`.

    language     expressions and their constructors
    statements   statements and theirs
    folding      constant folding of indices, and the strides of vectors of indices
    indexing     row-major indices as expressions
    builder      writes statements, and supplies all names
    maths        exp, log, tanh, ..., random numbers; `polynomials` has the constants
    show         prints statements
    evaluate     runs statements on numpy arrays: their meaning
"""

from kcompile.codegen.loops.folding import fold as fold
from kcompile.codegen.loops.folding import stride_of as stride_of
from kcompile.codegen.loops.language import BYTES as BYTES
from kcompile.codegen.loops.language import COMPARISONS as COMPARISONS
from kcompile.codegen.loops.language import FLOATS as FLOATS
from kcompile.codegen.loops.language import INDEX as INDEX
from kcompile.codegen.loops.language import TRUE as TRUE
from kcompile.codegen.loops.language import UNARY as UNARY
from kcompile.codegen.loops.language import ZERO as ZERO
from kcompile.codegen.loops.language import Binary as Binary
from kcompile.codegen.loops.language import Broadcast as Broadcast
from kcompile.codegen.loops.language import Buffer as Buffer
from kcompile.codegen.loops.language import Cast as Cast
from kcompile.codegen.loops.language import Const as Const
from kcompile.codegen.loops.language import DotBytes as DotBytes
from kcompile.codegen.loops.language import DotHalves as DotHalves
from kcompile.codegen.loops.language import Expr as Expr
from kcompile.codegen.loops.language import Fma as Fma
from kcompile.codegen.loops.language import Halves as Halves
from kcompile.codegen.loops.language import Load as Load
from kcompile.codegen.loops.language import N as N
from kcompile.codegen.loops.language import Operand as Operand
from kcompile.codegen.loops.language import Ramp as Ramp
from kcompile.codegen.loops.language import ReduceLanes as ReduceLanes
from kcompile.codegen.loops.language import Select as Select
from kcompile.codegen.loops.language import Shuffle as Shuffle
from kcompile.codegen.loops.language import Space as Space
from kcompile.codegen.loops.language import Unary as Unary
from kcompile.codegen.loops.language import Var as Var
from kcompile.codegen.loops.language import Window as Window
from kcompile.codegen.loops.language import binary as binary
from kcompile.codegen.loops.language import bitcast as bitcast
from kcompile.codegen.loops.language import broadcast as broadcast
from kcompile.codegen.loops.language import cast as cast
from kcompile.codegen.loops.language import children as children
from kcompile.codegen.loops.language import const as const
from kcompile.codegen.loops.language import dot_bytes as dot_bytes
from kcompile.codegen.loops.language import dot_halves as dot_halves
from kcompile.codegen.loops.language import fma as fma
from kcompile.codegen.loops.language import halves as halves
from kcompile.codegen.loops.language import load as load
from kcompile.codegen.loops.language import map_children as map_children
from kcompile.codegen.loops.language import multiply_add as multiply_add
from kcompile.codegen.loops.language import ramp as ramp
from kcompile.codegen.loops.language import reduce_lanes as reduce_lanes
from kcompile.codegen.loops.language import select as select
from kcompile.codegen.loops.language import shuffle as shuffle
from kcompile.codegen.loops.language import unary as unary
from kcompile.codegen.loops.language import wrap as wrap
from kcompile.codegen.loops.statements import Alloc as Alloc
from kcompile.codegen.loops.statements import Barrier as Barrier
from kcompile.codegen.loops.statements import For as For
from kcompile.codegen.loops.statements import Function as Function
from kcompile.codegen.loops.statements import If as If
from kcompile.codegen.loops.statements import Kind as Kind
from kcompile.codegen.loops.statements import Let as Let
from kcompile.codegen.loops.statements import Stmt as Stmt
from kcompile.codegen.loops.statements import Store as Store
from kcompile.codegen.loops.statements import let as let
from kcompile.codegen.loops.statements import loop as loop
from kcompile.codegen.loops.statements import store as store
from kcompile.codegen.loops.statements import walk as walk
from kcompile.codegen.loops.statements import written as written
