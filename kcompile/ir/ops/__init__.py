"""All operations. Importing this registers their records; the functions build nodes of a graph.

The file of each family lists its functions in `__all__`, and nothing lists them again.
"""

from __future__ import annotations

from kcompile.ir.ops import bits as _bits
from kcompile.ir.ops import contraction as _contraction
from kcompile.ir.ops import einsum as _einsum
from kcompile.ir.ops import elementwise as _elementwise
from kcompile.ir.ops import fourier as _fourier
from kcompile.ir.ops import gather as _gather
from kcompile.ir.ops import group as group
from kcompile.ir.ops import halves as _halves
from kcompile.ir.ops import linalg as _linalg
from kcompile.ir.ops import movement as _movement
from kcompile.ir.ops import order as _order
from kcompile.ir.ops import quantized as _quantized
from kcompile.ir.ops import random as _random
from kcompile.ir.ops import reduction as _reduction
from kcompile.ir.ops import scan as scan
from kcompile.ir.ops import special as _special
from kcompile.ir.ops import window as _window
from kcompile.ir.ops import windows as _windows
from kcompile.ir.ops import winograd as winograd
from kcompile.ir.ops.bits import *
from kcompile.ir.ops.contraction import *
from kcompile.ir.ops.einsum import *
from kcompile.ir.ops.elementwise import *
from kcompile.ir.ops.fourier import *
from kcompile.ir.ops.gather import *
from kcompile.ir.ops.halves import *
from kcompile.ir.ops.linalg import *
from kcompile.ir.ops.movement import *
from kcompile.ir.ops.order import *
from kcompile.ir.ops.quantized import *
from kcompile.ir.ops.random import *
from kcompile.ir.ops.reduction import *
from kcompile.ir.ops.special import *
from kcompile.ir.ops.window import *
from kcompile.ir.ops.windows import *
from kcompile.ir.tensor import constant

__all__ = ["constant"]
__all__ += _bits.__all__
__all__ += _contraction.__all__
__all__ += _einsum.__all__
__all__ += _elementwise.__all__
__all__ += _fourier.__all__
__all__ += _gather.__all__
__all__ += _halves.__all__
__all__ += _linalg.__all__
__all__ += _movement.__all__
__all__ += _order.__all__
__all__ += _quantized.__all__
__all__ += _random.__all__
__all__ += _reduction.__all__
__all__ += _special.__all__
__all__ += _window.__all__
__all__ += _windows.__all__
