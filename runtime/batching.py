"""Large arrays in batches: slices of the caller's arrays in, slices of one result out, no copies.

Enters: an executor-like `run`, the specs, and whole arrays. Leaves: whole outputs. Outputs without
a batch axis are collected from all batches and joined along axis 0, as Keras does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kcompile_runtime.arrays import Array, as_shape
from kcompile_runtime.checks import check_count
from kcompile_runtime.errors import InputError, RowError, describe
from kcompile_runtime.spec import TensorSpec

Run = Callable[[int, Sequence[Any], "Sequence[Array] | None"], list[Array]]


def predict(
    run: Run,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    arrays: Sequence[Any],
    batch_size: int,
    fixed: int | None = None,
) -> list[Array]:
    """The outputs for all samples, computed `batch_size` samples at a time.

    run(n, inputs, outputs) computes one batch into the given arrays, or into new ones. Samples that
    are converted (say float64 to float32) are converted batch by batch. With `fixed`, the function
    takes batches of exactly this size: the last one is filled up with zeros, and the surplus is cut
    off. Raises InputError for sizes that do not fit, or a batch_size below 1.
    """
    batch_size = check_count("batch_size", batch_size)
    wholes, total = _wholes(inputs, arrays)
    if not total:
        return no_samples(outputs)
    if total <= batch_size and not fixed:
        return run(total, wholes, None)
    step = fixed or batch_size
    _check_batched(inputs, step, total)
    results = _Results(outputs, total)
    for start in range(0, total, step):
        n = min(step, total - start)
        size = fixed or n
        parts = [_filled(_rows(a, s, start, start + n), s, size) for a, s in zip(wholes, inputs)]
        targets = results.targets(start, n, size)
        try:
            run(size, parts, targets)
        except RowError as error:
            raise (error if error.sample is None else error.of(start + error.sample)) from None
        results.collect(targets, start, n, size)
    return results.joined()


class _Results:
    """The outputs for `total` samples. What has a batch axis is one array, into slices of which batches are
    computed; the rest is collected from all batches."""

    def __init__(self, specs: Sequence[TensorSpec], total: int) -> None:
        self.specs = specs
        self.wholes = [np.empty(s.bind(total), s.numpy_dtype) for s in specs]
        self.pieces: dict[int, list[Array]] = {k: [] for k, s in enumerate(specs) if not s.rows}

    def targets(self, start: int, n: int, size: int) -> list[Array]:
        """The arrays for a batch of `size` samples, of which n count: new ones where they are not all
        of them, or have no batch axis."""
        return [
            _rows(a, s, start, start + n) if s.rows and size == n else np.empty(s.bind(size), s.numpy_dtype)
            for a, s in zip(self.wholes, self.specs)
        ]

    def collect(self, targets: Sequence[Array], start: int, n: int, size: int) -> None:
        """Keep what a batch computed beside the slices."""
        for k, (target, spec) in enumerate(zip(targets, self.specs)):
            if not spec.rows:
                self.pieces[k].append(np.atleast_1d(target))
            elif size > n:
                _rows(self.wholes[k], spec, start, start + n)[...] = _rows(target, spec, 0, n)

    def joined(self) -> list[Array]:
        return [
            np.concatenate(self.pieces[k]) if self.pieces.get(k) else whole
            for k, whole in enumerate(self.wholes)
        ]


def _check_batched(inputs: Sequence[TensorSpec], step: int, total: int) -> None:
    """Raises InputError where an input cannot be cut into batches."""
    for spec in inputs:
        if not spec.rows and spec.bind(0) != spec.bind(1):
            raise InputError(
                describe(
                    spec.name,
                    f"at most {step} samples (its first axis is not the batch)",
                    str(total),
                    "Pass a larger batch_size.",
                )
            )


def no_samples(outputs: Sequence[TensorSpec]) -> list[Array]:
    """The outputs for no samples: arrays without rows, as of no batches joined."""
    return [
        np.empty(s.bind(0) if s.rows or not s.bind(0) else (0, *s.bind(0)[1:]), s.numpy_dtype)
        for s in outputs
    ]


def _wholes(inputs: Sequence[TensorSpec], arrays: Sequence[Any]) -> tuple[list[Array], int]:
    """The arrays in the inputs' shapes, and the number of samples they have in common."""
    if len(arrays) != len(inputs):
        names = ", ".join(spec.name for spec in inputs)
        raise InputError(describe("inputs", f"{len(inputs)} arrays ({names})", str(len(arrays))))
    wholes, counts = [], {}
    for value, spec in zip(arrays, inputs):
        array, n = as_shape(value, spec)
        wholes.append(array)
        if n >= 0:
            counts[spec.name] = n
    if len(set(counts.values())) > 1:
        raise InputError(
            describe(
                "inputs",
                "the same number of samples in all",
                ", ".join(f"{name}: {n}" for name, n in counts.items()),
            )
        )
    return wholes, next(iter(counts.values()), 1)


def _rows(array: Array, spec: TensorSpec, start: int, stop: int) -> Array:
    """Samples start to stop, as a view; everything when the first axis is not the batch."""
    return array[start * spec.rows : stop * spec.rows] if spec.rows else array


def _filled(array: Array, spec: TensorSpec, n: int) -> Array:
    """The samples followed by zeros up to n samples; the array itself where there are n, or no batch axis."""
    if not spec.rows or len(array) == n * spec.rows:
        return array
    full = np.zeros((n * spec.rows, *array.shape[1:]), array.dtype)
    full[: len(array)] = array
    return full
