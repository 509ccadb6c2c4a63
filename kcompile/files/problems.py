"""What is wrong with a model from elsewhere, gathered and told together.

Enters: one complaint after the other. Leaves: one error with all of them, or none.
"""

from __future__ import annotations

from kcompile_runtime.errors import ModelError, UnsupportedError

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
