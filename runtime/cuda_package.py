"""Models for graphics processors as folders: what they say of themselves, and how they run.

Enters: a folder that `kcompile.export(..., target="cuda")` wrote. Leaves: a `CudaArtifact`, which predicts as
an `Artifact` does. The files are checked against their checksums before the driver sees any; without a driver
the error says what is missing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kcompile_runtime import batching
from kcompile_runtime.arrays import Array, aligned_copy
from kcompile_runtime.artifact import Artifact, draws_of
from kcompile_runtime.contents import PTX, TABLE, WEIGHTS
from kcompile_runtime.cuda import CudaProgram, Held
from kcompile_runtime.cuda_driver import Driver, connect
from kcompile_runtime.errors import ArtifactError, InputError, NativeError, describe
from kcompile_runtime.program import EntrySpec
from kcompile_runtime.spec import specs_of


class CudaArtifact(Artifact):
    """A loaded model on a graphics processor. `inputs` and `outputs` describe its arrays (a `TensorSpec`
    each), `metadata` its origin; predictions are as of `Artifact`.

    path: the folder; metadata: what it says of itself, checked by `load`; seed as `load` takes it. driver:
    the device, by default the first one. Raises DeviceError, saying what is missing, where there is no driver
    or no device; ArtifactError for metadata that do not fit.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        metadata: Mapping[str, Any],
        seed: int | None = None,
        driver: Driver | None = None,
    ) -> None:
        self.path = os.fspath(path)
        self.metadata = dict(metadata)
        self.inputs = specs_of(metadata["inputs"])
        self.outputs = specs_of(metadata["outputs"])
        self._single = len(self.outputs) == 1
        self._draw = draws_of(seed, bool(metadata.get("draws")))
        self._driver = connect() if driver is None else driver
        folder = Path(path)
        data = np.frombuffer((folder / WEIGHTS).read_bytes(), np.uint8)
        try:
            places = metadata["places"]
            constants = _part(data, places["constants"])
            values = [
                np.zeros((), np.uint32) if at is None else _array(data, at) for at in places["variables"]
            ]
            self._drawn_from = [
                None if i is None else int(i) for i in metadata.get("drawn_from", (None, None))
            ]
            self._sample = [
                [_array(data, at) for at in places[which]] for which in ("sample_inputs", "sample_outputs")
            ]
            numbers = tuple((int(i), int(rows), str(label)) for i, rows, label in metadata["numbers"])
            entries = [
                EntrySpec("prepare", reads_prepared=False)
                if entry["name"] == "prepare"
                else EntrySpec(entry["name"], self.inputs, self.outputs, keeps_prepared=True, numbers=numbers)
                for entry in metadata["table"]["entries"]
            ]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ArtifactError(f"damaged: {TABLE} is not what it should be ({error})") from error
        self._variables = [Held(self._driver, aligned_copy(value)) for value in values]
        text = (folder / PTX).read_text(encoding="utf-8")
        self._program = CudaProgram(
            self._driver, text, metadata["table"], constants.tobytes(), entries, self._variables
        )

    @property
    def threads(self) -> int:
        """Of this process that work on a call."""
        return 1

    def predict_on_batch(self, x: Any) -> Any:
        """The outputs for one batch, computed at once; arguments, results and errors as of
        `Artifact.predict_on_batch`."""
        arrays = self._arrays(x)
        if len(arrays) != len(self.inputs):
            raise InputError(describe("predict", f"{len(self.inputs)} inputs", str(len(arrays))))
        sizes = [
            len(array)
            for array, spec in zip(map(np.asarray, arrays), self.inputs)
            if spec.rows and array.ndim
        ]
        rows = next((s.rows for s in self.inputs if s.rows), 1)
        return self._result(self._run(sizes[0] // rows if sizes else 1, arrays))

    def predict(self, x: Any, batch_size: int = 32) -> Any:
        """The outputs for any number of samples, computed `batch_size` at a time; arguments, results and
        errors as of `Artifact.predict`."""
        return self._result(
            batching.predict(
                self._run, self.inputs, self.outputs, self._arrays(x), batch_size, self.metadata["batch"]
            )
        )

    def selftest(self) -> float:
        """Run the sample in the folder; return the largest |got - expected| / (1 + |expected|). Raises
        NativeError when it exceeds what the exporter allowed."""
        sample, (inputs, expected) = self.metadata["sample"], self._sample
        self._set_draw(0)
        worst = 0.0
        for got, want in zip(self._program.run("predict", sample["n"], inputs), expected):
            a, b = got.astype(np.float64), want.astype(np.float64)
            with np.errstate(invalid="ignore"):
                error = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, abs(a - b) / (1 + abs(b)))
            worst = float(np.maximum(worst, error.max(initial=0.0)))
        if not worst <= sample["tolerance"]:
            raise NativeError(f"{self.path}: the self-test failed (largest error {worst:g})")
        return worst

    def _run(self, n: int, inputs: Sequence[Any], outputs: Sequence[Array] | None = None) -> list[Array]:
        accepted = self.metadata["batch"]
        if accepted not in (None, n):
            more = "predict() takes any number of samples."
            raise InputError(describe(self.metadata["name"], f"a batch of {accepted}", str(n), more))
        if self._draw is not None:
            self._set_draw(self._draw().value)
        return self._program.run("predict", n, inputs, outputs)

    def _set_draw(self, draw: int) -> None:
        """The variables from which random numbers are drawn: the number of the call, and the seed."""
        for index, value in zip(self._drawn_from, (draw & 0xFFFFFFFF, draw >> 32)):
            if index is not None:
                held = self._variables[index]
                held.array[...] = value
                held.host_wrote()


def _part(data: Array, at: Mapping[str, Any]) -> Array:
    offset, size = int(at["offset"]), int(at["bytes"])
    if not 0 <= offset <= offset + size <= len(data):
        raise ValueError(f"bytes {offset} to {offset + size} of {len(data)}")
    return data[offset : offset + size]


def _array(data: Array, at: Mapping[str, Any]) -> Array:
    found: Array = np.ascontiguousarray(_part(data, at)).view(np.dtype(at["dtype"])).reshape(at["shape"])
    return found
