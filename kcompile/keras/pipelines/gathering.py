"""Methods of `Dataset` that group elements, and that choose among several data sets.

Enters: data sets, functions that say what a group is. Leaves: data sets. What is drawn comes from numpy, by
the same rule, so it is other than in tf.data.
"""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from kcompile.keras.eager import EagerTensor
from kcompile.keras.pipelines.elements import arrays, element, over
from kcompile.keras.settings import new_seed
from kcompile_runtime.checks import check_count
from kcompile_runtime.errors import InputError, InputTypeError, describe


def call(function: Callable[..., Any], found: Any) -> Any:
    """A function of an element; of a tuple's parts."""
    return function(*found) if type(found) is tuple else function(found)


class Gathering:
    """Base of `Dataset`: see the module."""

    _count: int

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError

    @classmethod
    def _of(cls, make: Callable[[], Iterator[Any]], *options: Any) -> Any:
        return cls(make, *options)  # type: ignore[call-arg]

    # ---- groups

    def group_by_window(
        self,
        key_func: Callable[..., Any],
        reduce_func: Callable[..., Any],
        window_size: int | None = None,
        window_size_func: Callable[..., Any] | None = None,
        name: str | None = None,
    ) -> Any:
        """The elements of what reduce_func(key, data set) gives for each window_size elements with the same
        key, and at the end for those that are left, by their keys."""
        if (window_size is None) == (window_size_func is None):
            raise InputError(describe("group_by_window", "window_size or window_size_func", "both, or none"))

        def size_of(key: int) -> int:
            size = window_size if window_size_func is None else window_size_func(_number(key))
            return check_count("group_by_window: window_size", int(np.asarray(size)))

        def reduced(key: int, window: list[Any]) -> Iterator[Any]:
            made = reduce_func(_number(key), self._of(lambda: iter(window), len(window)))
            if not isinstance(made, Gathering):
                got = type(made).__name__
                raise InputTypeError(
                    describe("group_by_window: reduce_func", "a function to a data set", got)
                )
            return iter(made)

        def make() -> Iterator[Any]:
            held: dict[int, list[Any]] = {}
            for found in self:
                key = int(np.asarray(element(call(key_func, found))))
                held.setdefault(key, []).append(found)
                if len(held[key]) == size_of(key):
                    yield from reduced(key, held.pop(key))
            for key in sorted(held):
                yield from reduced(key, held[key])

        return self._of(make)

    def bucket_by_sequence_length(
        self,
        element_length_func: Callable[..., Any],
        bucket_boundaries: Any,
        bucket_batch_sizes: Any,
        padded_shapes: Any = None,
        padding_values: Any = None,
        pad_to_bucket_boundary: bool = False,
        no_padding: bool = False,
        drop_remainder: bool = False,
        name: str | None = None,
    ) -> Any:
        """Batches of elements whose lengths lie between the same two boundaries, each as large as its bucket
        says, padded to the longest; pad_to_bucket_boundary: to the most that the bucket takes."""
        bounds = [int(b) for b in bucket_boundaries]
        sizes = [int(size) for size in bucket_batch_sizes]
        if len(sizes) != len(bounds) + 1:
            got = f"{len(sizes)} sizes, {len(bounds)} boundaries"
            raise InputError(
                describe("bucket_by_sequence_length", "one more batch size than boundaries", got)
            )

        def bucket(*found: Any) -> int:
            return int(np.searchsorted(bounds, int(np.asarray(element_length_func(*found))), "right"))

        def batched(key: Any, window: Any) -> Any:
            size = sizes[int(key)]
            if no_padding:
                return window.batch(size, drop_remainder)
            shapes = padded_shapes
            if pad_to_bucket_boundary:
                if int(key) == len(bounds):
                    claim = f"elements shorter than the last boundary ({bounds[-1]})"
                    raise InputError(describe("bucket_by_sequence_length", claim, "a longer one"))
                shapes = _up_to(next(iter(window)), padded_shapes, bounds[int(key)] - 1)
            return window.padded_batch(size, shapes, padding_values, drop_remainder)

        return self.group_by_window(bucket, batched, window_size_func=lambda key: sizes[int(key)])

    def scan(self, initial_state: Any, scan_func: Callable[..., Any], name: str | None = None) -> Any:
        """What scan_func(state, element) gives behind the next state, for each."""

        def make() -> Iterator[Any]:
            state = element(initial_state)
            for found in self:
                state, made = scan_func(state, found)
                state = element(state)
                yield element(made)

        return self._of(make, self._count)

    def unique(self, name: str | None = None) -> Any:
        """Each element that was not there before."""

        def make() -> Iterator[Any]:
            seen = set()
            for found in self:
                key = tuple((a.shape, a.dtype.str, tuple(a.ravel().tolist())) for a in arrays(found))
                if key not in seen:
                    seen.add(key)
                    yield found

        return self._of(make)

    # ---- several data sets

    @classmethod
    def sample_from_datasets(
        cls,
        datasets: Any,
        weights: Any = None,
        seed: int | None = None,
        stop_on_empty_dataset: bool = False,
        rerandomize_each_iteration: bool | None = None,
        name: str | None = None,
    ) -> Any:
        """An element of one of several data sets each time, drawn with weights (default equal): a list, or a
        data set of lists. stop_on_empty_dataset: it ends where one ends, and not with all."""
        several = list(datasets)
        given = weights if hasattr(weights, "_make") else None
        fixed = None if given is not None else _shares(weights, len(several))
        first = new_seed(32, np.uint32) if seed is None else int(seed) % 2**32
        passes = itertools.count()

        def make() -> Iterator[Any]:
            draw = next(passes) if seed is None or rerandomize_each_iteration else 0
            generator = np.random.default_rng([first, draw])
            shares = itertools.repeat(fixed) if given is None else (_shares(w, len(several)) for w in given)
            sources: list[Any] = [iter(one) for one in several]
            for share in shares:
                left = np.array([p if s is not None else 0.0 for p, s in zip(share, sources)])  # type: ignore
                if not left.sum():
                    return
                at = int(generator.choice(len(several), p=left / left.sum()))
                found = list(itertools.islice(sources[at], 1))
                if found:
                    yield found[0]
                elif stop_on_empty_dataset:
                    return
                else:
                    sources[at] = None

        return cls._of(make)

    @classmethod
    def choose_from_datasets(
        cls, datasets: Any, choice_dataset: Any, stop_on_empty_dataset: bool = True, name: str | None = None
    ) -> Any:
        """An element of the data set whose number choice_dataset gives each time. stop_on_empty_dataset: it
        ends where one ends; else the numbers of those that have ended are passed over."""
        several = list(datasets)

        def make() -> Iterator[Any]:
            sources: list[Any] = [iter(one) for one in several]
            for number in choice_dataset:
                at = int(np.asarray(number))
                if not 0 <= at < len(sources):
                    raise InputError(
                        describe("choose_from_datasets", f"numbers below {len(sources)}", str(at))
                    )
                found = [] if sources[at] is None else list(itertools.islice(sources[at], 1))
                if found:
                    yield found[0]
                elif stop_on_empty_dataset:
                    return
                else:
                    sources[at] = None

        return cls._of(make)

    # ---- makers

    @classmethod
    def list_files(
        cls, file_pattern: Any, shuffle: bool | None = None, seed: int | None = None, name: str | None = None
    ) -> Any:
        """The paths that match a pattern (or one of several), shuffled unless told otherwise. Raises
        InputError where there are none."""
        given = np.ravel(np.asarray(element(file_pattern))).tolist()
        paths = sorted({path for one in given for path in glob.glob(os.fsdecode(one))})
        if not paths:
            raise InputError(describe("list_files: file_pattern", "a pattern that files match", repr(given)))
        made = cls.from_tensor_slices(np.array(paths))  # type: ignore[attr-defined]
        return made if shuffle is False else made.shuffle(len(paths), seed)

    @classmethod
    def random(
        cls, seed: int | None = None, rerandomize_each_iteration: bool | None = None, name: str | None = None
    ) -> Any:
        """Whole numbers below 2^32 without an end."""
        first = new_seed(32, np.uint32) if seed is None else int(seed) % 2**32
        passes = itertools.count()

        def make() -> Iterator[Any]:
            generator = np.random.default_rng([first, next(passes) if rerandomize_each_iteration else 0])
            while True:
                yield np.array(generator.integers(2**32), np.int64).view(EagerTensor)

        return cls._of(make, -1)

    @classmethod
    def counter(cls, start: int = 0, step: int = 1, dtype: Any = "int64", name: str | None = None) -> Any:
        """Numbers from start on, `step` apart, without an end."""
        first, apart = int(start), int(step)
        return cls._of(
            lambda: (np.array(i, str(dtype)).view(EagerTensor) for i in itertools.count(first, apart)), -1
        )


def _number(key: int) -> Any:
    return np.array(key, np.int64).view(EagerTensor)


def _shares(weights: Any, count: int) -> list[float]:
    shares = [1.0] * count if weights is None else [float(w) for w in np.asarray(weights).ravel()]
    if len(shares) != count or min(shares, default=0) < 0 or not sum(shares):
        raise InputError(describe("sample_from_datasets: weights", f"{count} numbers from 0 on", str(shares)))
    return shares


def _up_to(found: Any, shapes: Any, bound: int) -> Any:
    """Shapes of an element, with the bound for sizes that are not known; without shapes, for the first."""
    if isinstance(found, tuple):
        parts = shapes if isinstance(shapes, (tuple, list)) else [None] * len(found)
        return tuple(_up_to(x, s, bound) for x, s in zip(found, parts))
    if isinstance(found, dict):
        return {key: _up_to(x, None if shapes is None else shapes[key], bound) for key, x in found.items()}
    if shapes is None:
        return over(lambda a: (bound, *a.shape[1:]) if a.ndim else (), found)
    return tuple(bound if d is None or d == -1 else int(d) for d in shapes)
