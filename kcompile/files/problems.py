"""What is wrong with a model from elsewhere, gathered and told together.

Enters: one complaint after the other, or any error while a file is read. Leaves: one error with all of them,
or none; an error of ours, which names the file.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kcompile.files.reader import PathLike
from kcompile_runtime.errors import KcompileError, ModelError, UnsupportedError

MODELS = ("Sequential", "Functional", "Model")  # the classes of models that have layers and nothing else
PACKAGES = ("keras", "tf_keras", "tensorflow", "keras_core")  # of the Kerases
# Where files say that classes and functions of Keras live; what is elsewhere is the user's own
HOMES = (*PACKAGES, "builtins")
LISTED, LONGEST = 100, 500  # complaints in one error, and characters of one


class Problems:
    """A list of what is not supported, or wrong, in a model, reported in one message."""

    def __init__(self, model: str, verb: str = "compiled") -> None:
        self.model = model
        self.verb = verb
        self.found: list[str] = []
        self._wrong: list[str] = []

    def add(self, text: str, wrong: bool = False) -> None:
        """wrong: no Keras could take it."""
        if len(text) > LONGEST:  # what was received stands at its end
            text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
        if text not in self.found:
            self.found.append(text)
            if wrong:
                self._wrong.append(text)

    def report(self) -> None:
        """Raises UnsupportedError when there is any; ModelError when all of it is plainly wrong."""
        if self.found:
            lines = "".join(f"\n- {text}" for text in self.found[:LISTED])
            if len(self.found) > LISTED:
                lines += f"\n- and {len(self.found) - LISTED} more"
            if len(self._wrong) == len(self.found):
                raise ModelError(f"model {self.model!r} cannot be {self.verb}:{lines}")
            raise UnsupportedError(f"model {self.model!r} cannot be {self.verb}. Not supported:{lines}")


@contextmanager
def last_resort(file: PathLike, custom: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Make every error name the file, and quote little of it. A configuration may be wrong in ways that
    nobody foresaw: an unexpected error is the file's fault, unless the user's code raised it."""
    own = {getattr(value, "__module__", None) for value in (custom or {}).values()}
    try:
        yield
    except KcompileError as error:
        text = re.sub(r"(\S{300})\S+", r"\1...", str(error))
        raise type(error)(text if str(file) in text else f"{file}: {text}") from error.__cause__
    except (
        TypeError,
        ValueError,
        LookupError,
        AttributeError,
        RuntimeError,
        ArithmeticError,
        MemoryError,
        AssertionError,
    ) as error:
        if _passed(error, own):
            raise
        raise ModelError(
            f"{file}: the file is damaged, or no model: {type(error).__name__}: {str(error)[:1000]}"
        ) from error


def _passed(error: BaseException, own: Collection[Any]) -> bool:
    """Whether an error went through functions of these modules."""
    frame = error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_globals.get("__name__") in own:
            return True
        frame = frame.tb_next
    return False
