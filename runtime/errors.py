"""The errors that the runtime raises, all of them `KcompileError`s.

A message names the thing, says what was expected, what was received, and what to do.
"""

from __future__ import annotations

from kcompile_runtime.texts import printable_lines


class KcompileError(Exception):
    """Base of all errors of kcompile's runtime. Names in a message cannot steer the terminal."""

    def __init__(self, message: object = "") -> None:
        super().__init__(printable_lines(message))


class InputError(KcompileError, ValueError):
    """An array that does not fit an input or output: its rank, a size, or its values."""


class RowError(InputError):
    """A number that names none of the rows of a table. what: reads them. number: as text. place: of the
    number in its sample, or in all of them where sample is None."""

    def __init__(self, what: str, rows: int, number: str, place: int, sample: int | None = None) -> None:
        self._parts = what, rows, number, place
        self.sample = sample
        of = "" if sample is None else f" of sample {sample}"
        super().__init__(
            describe(what, f"whole numbers from 0 to {rows - 1}", f"{number}, at place {place}{of}")
        )

    def of(self, sample: int) -> RowError:
        """The same of another sample: where that of a batch is in the user's arrays."""
        return RowError(*self._parts, sample)

    def __reduce__(self) -> tuple[type[RowError], tuple[object, ...]]:
        return RowError, (*self._parts, self.sample)


class InputTypeError(KcompileError, TypeError):
    """A value that is no array of numbers, or of a dtype that is not converted silently."""


class OperandError(InputTypeError, ValueError):
    """A layer called on what is no tensor of a model; Keras has a ValueError there."""


class ModelError(KcompileError, ValueError):
    """A layer or model that makes no sense: a bad argument, shapes that do not fit, a wrong use."""


class UnsupportedError(KcompileError, ValueError):
    """Something Keras has, or another framework, and kcompile does not."""


class NotCompiledError(ModelError, RuntimeError):
    """A model that is trained or evaluated before `compile`; Keras 2 has a RuntimeError there."""


class KindError(ModelError, TypeError):
    """A wrong use that Keras 2 has a TypeError for."""


class NotBuiltError(ModelError, RuntimeError):
    """A layer that has no weights yet; Keras 2 has a RuntimeError there."""


class KeywordError(UnsupportedError, TypeError):
    """A keyword that a layer does not take; Keras has a TypeError there."""


class FetchError(KcompileError, OSError):
    """A file that is not at hand, and could not be loaded from its address."""


class ExtraError(KcompileError, ImportError):
    """A library that is not installed, and comes with an extra of the package."""


class ProgramError(KcompileError, OSError):
    """A program that draws or links is not installed, or failed."""


class ArtifactError(KcompileError, ValueError):
    """A file that is no artifact, is damaged, or was made for another machine or version."""


class NativeError(KcompileError, RuntimeError):
    """Native code returned a status other than 0."""


class WorkerError(KcompileError, RuntimeError):
    """A process that made batches, or computed them, is gone."""


class RankError(KcompileError, RuntimeError):
    """Processes that train together ("ranks") and do not fit, or one of them that failed or does not answer:
    it says which."""


class DeviceError(KcompileError, RuntimeError):
    """A graphics processor that is not there, or reported a failure."""


def describe(subject: str, expected: str, received: str, remedy: str = "") -> str:
    """The one form of our messages: `subject: expected ... Received: ... remedy`."""
    text = f"{subject}: expected {expected}. Received: {received}."
    return f"{text} {remedy}" if remedy else text
