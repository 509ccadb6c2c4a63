"""Python functions as text and back, by their bytecode.

The bytecode is for the Python that made it, and runs whatever it says: `func_load` is for text of one's own.
Files of models never come here: functions in them are given by name (custom_objects).
"""

from __future__ import annotations

import base64
import binascii
import marshal
from types import CellType, CodeType, FunctionType
from typing import Any

from kcompile_runtime.errors import InputError, InputTypeError, describe

__all__ = ["func_dump", "func_load"]


def func_dump(func: Any) -> tuple[str, tuple[Any, ...] | None, tuple[Any, ...] | None]:
    """The bytecode of a Python function in base64, the defaults of its arguments, and the values it closes
    over."""
    if not isinstance(func, FunctionType):
        raise InputTypeError(describe("func_dump", "a function written in Python", repr(func)))
    code = base64.encodebytes(marshal.dumps(func.__code__)).decode("ascii")
    cells = func.__closure__
    return code, func.__defaults__, tuple(cell.cell_contents for cell in cells) if cells else None


def func_load(
    code: Any, defaults: Any = None, closure: Any = None, globs: dict[str, Any] | None = None
) -> FunctionType:
    """The function that `func_dump` gave as `code`, or as (code, defaults, closure). globs: its global names,
    by default none but the builtins. Only for code that you wrote: a call runs it."""
    if isinstance(code, (tuple, list)):
        code, defaults, closure = code
    try:
        found = marshal.loads(base64.decodebytes(code.encode("ascii")))
    except (binascii.Error, ValueError, EOFError, TypeError, AttributeError) as error:
        raise InputError(f"func_load: this is no bytecode of this Python: {error}") from error
    if not isinstance(found, CodeType):
        raise InputError(describe("func_load", "the bytecode of a function", type(found).__name__))
    cells = None
    if closure is not None:
        cells = tuple(value if isinstance(value, CellType) else CellType(value) for value in closure)
    given = None if defaults is None else tuple(defaults)
    return FunctionType(found, {} if globs is None else globs, found.co_name, given, cells)
