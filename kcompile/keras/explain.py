"""Errors that say where they belong: the layer, loss or metric, and the line of the user's code.

Enters: whatever is raised while code of the user's, or a layer's own, is traced. Leaves: an error of
ours that begins with a label and ends with the place.
"""

from __future__ import annotations

import inspect
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kcompile_runtime.errors import InputTypeError, KcompileError, ModelError

# Folders whose code is not the user's: the package, the runtime, Python's own library
OURS = (
    *(
        f"{folder}{os.sep}"
        for folder in (
            Path(__file__).parent.parent,
            Path(inspect.getfile(KcompileError)).parent,
            Path(os.__file__).parent,
        )
    ),
    "<frozen",
)
LABELS = ("Layer ", "Model ", "Loss ", "Metric ", "Regularizer ", "Constraint ")
FUNCTIONS = ("K.", "activations.", "losses.", "metrics.")


@contextmanager
def explained(label: str) -> Iterator[None]:
    """Put a label before the message of errors raised inside, and the user's line behind it. An error that
    has a label keeps it (the innermost counts; the label of a function does not replace that of a layer)."""
    try:
        yield
    except KcompileError as error:
        text = str(error)
        if text.startswith(LABELS) or (text.startswith(FUNCTIONS) and label.startswith(FUNCTIONS)):
            raise
        text = text.removeprefix(f"{label.rpartition('.')[2]}: ")  # the function's own name, said twice
        line = user_line(error)
        raise type(error)(f"{label}: {text}{'' if line and line in text else line}") from error
    except (ValueError, AttributeError, LookupError, ArithmeticError) as error:
        raise ModelError(f"{label}: {error}{user_line(error)}") from error
    except TypeError as error:
        raise InputTypeError(f"{label}: {error}{user_line(error)}") from error


def user_line(error: BaseException) -> str:
    """The place of the user's innermost code in the traceback of an error, as text to append; empty where
    only ours (or a library's) is in it."""
    frames = [
        f
        for f in traceback.extract_tb(error.__traceback__)
        if not f.filename.startswith(OURS) and "site-packages" not in f.filename
    ]
    if not frames:
        return ""
    last = frames[-1]
    return f" ({last.filename}, line {last.lineno}, in {last.name}: `{last.line}`)"
