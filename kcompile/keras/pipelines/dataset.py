"""`tf.data.Dataset` over numpy: elements one after another, and methods that change, order and batch them.

Enters: arrays, functions that give elements, numbers. Leaves: an object that `fit`, `evaluate`, `predict` and
`adapt` take, and that can be iterated again and again. Everything happens when it is iterated, in the thread
that does it; how elements are made ahead (`prefetch`, num_parallel_calls, `with_options`) changes no value,
and nothing here. Orders of `shuffle` follow the same rule as tf.data's and are drawn from numpy, so they are
others than there.
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from kcompile.keras.eager import EagerTensor
from kcompile.keras.pipelines.elements import cast_like, element, over, padded, row, rows, spec, stacked
from kcompile.keras.pipelines.gathering import Gathering, call
from kcompile.keras.settings import new_seed
from kcompile.keras.tracing import check_repeats
from kcompile_runtime.checks import check_count, check_flag
from kcompile_runtime.errors import InputError, InputTypeError, describe

AUTOTUNE, INFINITE, UNKNOWN = -1, -1, -2
# Methods of tf.data that are not here -> what to write instead
ABSENT = {
    "fingerprint": "nothing: elements are made anew in each pass",
    "ignore_errors": "filter, or from_generator, whose function catches the errors",
    "load": "numpy.load, and from_tensor_slices",
    "make_one_shot_iterator": "iter(dataset)",
    "ragged_batch": "padded_batch",
    "rejection_resample": "filter",
    "save": "numpy.savez of the arrays",
    "sparse_batch": "padded_batch",
}


class Options:
    """tf.data.Options: how a data set is computed there. Nothing here follows from it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return vars(self).setdefault(name, Options())


class Dataset(Gathering):
    """Elements one after another: see the module. make: begins a pass. count: how many elements there are,
    INFINITE or UNKNOWN. batched: whether an element is a batch. batch_size: of what `batch` gave."""

    batch_size: int | None = None
    class_names: Any = None
    file_paths: Any = None

    def __init__(
        self, make: Callable[[], Iterator[Any]], count: int = UNKNOWN, batched: bool = False
    ) -> None:
        if not callable(make):
            raise InputTypeError(
                describe("Dataset", "Dataset.from_tensor_slices or another of its makers", repr(make))
            )
        self._make = make
        self._count = count
        self._batched = batched

    def __getattr__(self, name: str) -> Any:
        instead = ABSENT.get(name)
        remedy = f"is not supported. Use {instead}" if instead else "is not there"
        raise AttributeError(f"tf.data.Dataset.{name} {remedy}", name=name, obj=self)

    # ---- makers

    @staticmethod
    def from_tensor_slices(tensors: Any, name: str | None = None) -> Dataset:
        """The rows of arrays, which are nested in tuples and dicts."""
        nested = element(tensors)
        count = rows(nested)
        return Dataset(lambda: (row(nested, at) for at in range(count)), count)

    @staticmethod
    def from_tensors(tensors: Any, name: str | None = None) -> Dataset:
        """One element."""
        nested = element(tensors)
        return Dataset(lambda: iter([nested]), 1)

    @staticmethod
    def from_generator(
        generator: Callable[..., Any],
        output_types: Any = None,
        output_shapes: Any = None,
        args: Any = None,
        output_signature: Any = None,
        name: str | None = None,
    ) -> Dataset:
        """What a function's iterator gives, in the dtypes of output_signature or output_types. args: of the
        function. output_shapes is not looked at: elements have shapes of their own."""
        if not callable(generator):
            raise InputTypeError(
                describe("from_generator: generator", "a function that gives an iterator", repr(generator))
            )
        signature = output_types if output_signature is None else output_signature
        given = tuple(args or ())

        def make() -> Iterator[Any]:
            for found in generator(*given):
                yield element(found) if signature is None else cast_like(found, signature)

        return Dataset(make)

    @staticmethod
    def range(*args: Any, output_type: Any = "int64", name: str | None = None) -> Dataset:
        """Numbers as Python's range has them."""
        dtype = str(output_type)
        made = range(*map(int, args))
        return Dataset(lambda: (np.array(i, dtype).view(EagerTensor) for i in made), len(made))

    @staticmethod
    def zip(*args: Any, datasets: Any = None, name: str | None = None) -> Dataset:
        """Tuples (or dicts) of the elements of several data sets, until one of them ends."""
        given = datasets if datasets is not None else args[0] if len(args) == 1 else args
        several = list(_datasets("zip", given))
        counts = [d._count for d in several]
        known = [c for c in counts if c != INFINITE]

        def joined(found: Iterator[Any]) -> Any:
            return _nested(given, found)

        return Dataset(
            lambda: (joined(iter(found)) for found in zip(*several)),
            UNKNOWN if UNKNOWN in counts else min(known, default=INFINITE),
            all(d._batched for d in several),
        )

    # ---- what it is asked

    def __iter__(self) -> Iterator[Any]:
        return _Pass(self._make())

    def __bool__(self) -> bool:
        return True

    def __len__(self) -> int:
        """How many elements there are. Raises TypeError where that is infinite or not known."""
        if self._count < 0:
            kind = "infinite" if self._count == INFINITE else "unknown"
            raise TypeError(f"The dataset length is {kind}.")
        return self._count

    def cardinality(self, name: str | None = None) -> Any:
        """How many elements there are: INFINITE (-1) and UNKNOWN (-2) too."""
        return np.array(self._count, np.int64).view(EagerTensor)

    def as_numpy_iterator(self) -> Iterator[Any]:
        """The elements as numpy's arrays and numbers."""
        return (over(_plain, found) for found in self)

    @property
    def element_spec(self) -> Any:
        """The shapes and dtypes of the elements, as the first one has them."""
        for found in self:
            return spec(found, self._batched)
        raise InputError(describe("element_spec", "a data set with an element", "none"))

    def reduce(self, initial_state: Any, reduce_func: Callable[..., Any], name: str | None = None) -> Any:
        """What a function of (state, element) makes of all elements."""
        state = element(initial_state)
        for found in self:
            state = element(reduce_func(state, found))
        return state

    # ---- which elements

    def take(self, count: int, name: str | None = None) -> Dataset:
        """The first so many; -1: all."""
        count = int(count)
        if count < 0:
            return self
        known = self._count if self._count == UNKNOWN else min(count, self._count)
        return self._like(lambda: itertools.islice(self, count), count if self._count == INFINITE else known)

    def skip(self, count: int, name: str | None = None) -> Dataset:
        """All but the first so many; -1: none."""
        count = int(count)
        if count < 0:
            return self._like(lambda: iter(()), 0)
        known = self._count if self._count < 0 else max(self._count - count, 0)
        return self._like(lambda: itertools.islice(self, count, None), known)

    def shard(self, num_shards: int, index: int, name: str | None = None) -> Dataset:
        """Each num_shards-th, from index on."""
        shards, index = check_count("shard: num_shards", num_shards), check_count("shard: index", index, 0)
        if index >= shards:
            raise InputError(describe("shard: index", f"a number below {shards}", str(index)))
        known = self._count if self._count < 0 else len(range(index, self._count, shards))
        return self._like(lambda: itertools.islice(self, index, None, shards), known)

    def repeat(self, count: int | None = None, name: str | None = None) -> Dataset:
        """So many passes one after another; None and -1: without an end."""
        times = None if count is None or int(count) < 0 else int(count)

        def make() -> Iterator[Any]:
            for _ in itertools.count() if times is None else range(times):
                empty = True
                for found in self:
                    empty = False
                    yield found
                if empty:
                    return

        if times is None:
            return self._like(make, INFINITE if self._count else 0)
        return self._like(make, self._count if self._count < 0 else self._count * times)

    def concatenate(self, dataset: Dataset, name: str | None = None) -> Dataset:
        """The elements of this one, and then of another."""
        (other,) = _datasets("concatenate", dataset)
        counts = self._count, other._count
        known = INFINITE if INFINITE in counts else UNKNOWN if UNKNOWN in counts else sum(counts)
        return self._like(lambda: itertools.chain(self, other), known)

    def filter(self, predicate: Callable[..., Any], name: str | None = None) -> Dataset:
        """Those for which a function is true."""
        return self._like(
            lambda: (found for found in self if bool(np.asarray(element(call(predicate, found))))),
            UNKNOWN if self._count != INFINITE else INFINITE,
        )

    def take_while(self, predicate: Callable[..., Any], name: str | None = None) -> Dataset:
        """Those before the first for which a function is false."""
        return self._like(
            lambda: itertools.takewhile(
                lambda found: bool(np.asarray(element(call(predicate, found)))), self
            ),
            UNKNOWN,
        )

    # ---- other elements

    def map(
        self,
        map_func: Callable[..., Any],
        num_parallel_calls: Any = None,
        deterministic: Any = None,
        synchronous: Any = None,
        use_unbounded_threadpool: Any = False,
        name: str | None = None,
    ) -> Dataset:
        """What a function gives for each; it is called on the parts of a tuple. The other arguments say how
        calls share threads in tf.data, and mean nothing here."""
        if not callable(map_func):
            raise InputTypeError(describe("map: map_func", "a function", repr(map_func)))
        return self._like(lambda: (element(call(map_func, found)) for found in self), self._count)

    def flat_map(self, map_func: Callable[..., Any], name: str | None = None) -> Dataset:
        """The elements of the data sets that a function gives."""

        def make() -> Iterator[Any]:
            for found in self:
                yield from next(_datasets("flat_map", call(map_func, found)))

        return Dataset(make)

    def interleave(
        self,
        map_func: Callable[..., Any],
        cycle_length: int | None = None,
        block_length: int | None = None,
        num_parallel_calls: Any = None,
        deterministic: Any = None,
        name: str | None = None,
    ) -> Dataset:
        """`flat_map` of cycle_length data sets at a time (default 1), block_length elements of each in
        turn."""
        cycle = 1 if cycle_length in (None, AUTOTUNE) else check_count("cycle_length", cycle_length)
        block = 1 if block_length is None else check_count("block_length", block_length)

        def make() -> Iterator[Any]:
            sources = iter(self)
            opened: list[Iterator[Any] | None] = []
            for found in itertools.islice(sources, cycle):
                opened.append(iter(next(_datasets("interleave", call(map_func, found)))))
            while any(one is not None for one in opened):
                for place, one in enumerate(opened):
                    if one is None:
                        continue
                    given = list(itertools.islice(one, block))
                    yield from given
                    if len(given) < block:
                        nearest = next(sources, None)
                        more = None if nearest is None else call(map_func, nearest)
                        opened[place] = None if more is None else iter(next(_datasets("interleave", more)))

        return Dataset(make)

    def get_single_element(self, name: str | None = None) -> Any:
        """The element of a data set that has one. Raises InputError."""
        found = list(itertools.islice(self, 2))
        if len(found) != 1:
            got = "more" if found else "none"
            raise InputError(describe("get_single_element", "a data set of one element", got))
        return found[0]

    def enumerate(self, start: int = 0, name: str | None = None) -> Dataset:
        """Pairs of a number, from start on, and an element."""
        first = int(start)
        return self._like(
            lambda: ((np.array(i, np.int64).view(EagerTensor), found) for i, found in enumerate(self, first)),
            self._count,
        )

    def apply(self, transformation_func: Callable[[Dataset], Dataset]) -> Dataset:
        """What a function makes of this data set."""
        return next(_datasets("apply", transformation_func(self)))

    def window(
        self,
        size: int,
        shift: int | None = None,
        stride: int = 1,
        drop_remainder: bool = False,
        name: str | None = None,
    ) -> Dataset:
        """Data sets of `size` elements, `stride` apart, each beginning `shift` (default size) behind the one
        before."""
        size, stride = check_count("window: size", size), check_count("window: stride", stride)
        step = size if shift is None else check_count("window: shift", shift)
        whole = check_flag("drop_remainder", drop_remainder)

        def make() -> Iterator[Any]:
            found, span = iter(self), (size - 1) * stride + 1
            held: list[Any] = []
            while True:
                held += itertools.islice(found, span - len(held))
                part = held[:span:stride]
                if not part or (len(part) < size and whole):
                    return
                yield _window(part)
                gap = step - len(held)
                if gap > 0:
                    held = []
                    collections.deque(itertools.islice(found, gap), 0)
                else:
                    held = held[step:]

        return Dataset(make)

    # ---- batches

    def batch(
        self,
        batch_size: int,
        drop_remainder: bool = False,
        num_parallel_calls: Any = None,
        deterministic: Any = None,
        name: str | None = None,
    ) -> Dataset:
        """Batches of so many elements; the last may be smaller, and is left out with drop_remainder."""
        return self._in_parts(batch_size, drop_remainder, stacked)

    def padded_batch(
        self,
        batch_size: int,
        padded_shapes: Any = None,
        padding_values: Any = None,
        drop_remainder: bool = False,
        name: str | None = None,
    ) -> Dataset:
        """Batches of elements that are filled up at their ends with padding_values (default 0) to
        padded_shapes, by default to the longest of the batch."""
        return self._in_parts(
            batch_size, drop_remainder, lambda part: padded(part, padded_shapes, padding_values)
        )

    def _in_parts(self, size: int, drop: bool, join: Callable[[list[Any]], Any]) -> Dataset:
        size, drop = check_count("batch_size", int(size)), check_flag("drop_remainder", bool(drop))

        def make() -> Iterator[Any]:
            found = iter(self)
            while part := list(itertools.islice(found, size)):
                if len(part) == size or not drop:
                    yield join(part)

        known = self._count if self._count < 0 else (self._count if drop else self._count + size - 1) // size
        made = Dataset(make, known, batched=True)
        made.batch_size = size
        return made

    def rebatch(self, batch_size: int, drop_remainder: bool = False, name: str | None = None) -> Dataset:
        """Batches of another size."""
        return self.unbatch().batch(batch_size, drop_remainder)

    def unbatch(self, name: str | None = None) -> Dataset:
        """The rows of each element."""

        def make() -> Iterator[Any]:
            for found in self:
                yield from (row(found, at) for at in range(rows(found)))

        return Dataset(make, INFINITE if self._count == INFINITE else UNKNOWN)

    # ---- orders

    def shuffle(
        self,
        buffer_size: int,
        seed: int | None = None,
        reshuffle_each_iteration: bool | None = True,
        name: str | None = None,
    ) -> Dataset:
        """Each element drawn from the buffer_size that come next. seed: None for one that is drawn.
        reshuffle_each_iteration: another order in each pass."""
        size = check_count("shuffle: buffer_size", int(buffer_size))
        again = reshuffle_each_iteration is None or bool(reshuffle_each_iteration)
        first = new_seed(32, np.uint32) if seed is None else int(seed) % 2**32
        passes = itertools.count()

        def make() -> Iterator[Any]:
            generator = np.random.default_rng([first, next(passes) if again else 0])
            found = iter(self)
            held = list(itertools.islice(found, size))
            for following in found:
                at = int(generator.integers(len(held)))
                yield held[at]
                held[at] = following
            for at in generator.permutation(len(held)):
                yield held[at]

        return self._like(make, self._count)

    # ---- what changes no value

    def cache(self, filename: str = "", name: str | None = None) -> Dataset:
        """The elements are kept in memory after the first whole pass; filename, under which tf.data keeps
        them on disk, is not written."""
        kept: list[Any] = []
        whole = [False]

        def make() -> Iterator[Any]:
            if whole[0]:
                yield from kept
                return
            found = []
            for one in self:
                found.append(one)
                yield one
            kept[:], whole[0] = found, True

        return self._like(make, self._count)

    def prefetch(self, buffer_size: Any = AUTOTUNE, name: str | None = None) -> Dataset:
        """The same: elements are made when they are asked for."""
        return self._like(self._make, self._count)

    def snapshot(self, path: str, name: str | None = None, **kept: Any) -> Dataset:
        """The elements are kept as `cache` keeps them, in memory: nothing is written under the path."""
        return self.cache()

    def with_options(self, options: Any = None, name: str | None = None) -> Dataset:
        """The same."""
        return self._like(self._make, self._count)

    def options(self) -> Options:
        """How it is computed: nothing that could be said."""
        return Options()

    def _like(self, make: Callable[[], Iterator[Any]], count: int) -> Dataset:
        return Dataset(make, count, self._batched)


class _Pass:
    """A pass over a data set, with the methods of TensorFlow's iterators."""

    def __init__(self, made: Iterator[Any]) -> None:
        self._made = made

    def __iter__(self) -> _Pass:
        return self

    def __next__(self) -> Any:
        check_repeats("an element of a data set")
        return next(self._made)

    next = get_next = __next__


def _plain(a: np.ndarray) -> Any:
    return a.numpy() if isinstance(a, EagerTensor) else a


def _datasets(where: str, given: Any) -> Iterator[Dataset]:
    """The data sets of tuples and dicts of them. Raises InputTypeError for anything else."""
    if isinstance(given, Dataset):
        yield given
    elif isinstance(given, (tuple, list, dict)) and given:
        for part in given.values() if isinstance(given, dict) else given:
            yield from _datasets(where, part)
    else:
        raise InputTypeError(describe(where, "data sets (tf.data.Dataset)", type(given).__name__))


def _nested(given: Any, found: Iterator[Any]) -> Any:
    if isinstance(given, Dataset):
        return next(found)
    if isinstance(given, dict):
        return {key: _nested(part, found) for key, part in given.items()}
    return tuple(_nested(part, found) for part in given)


def _window(part: list[Any]) -> Any:
    """Elements as a data set; those of a tuple as one each."""
    if part and type(part[0]) is tuple:
        return tuple(_window([found[k] for found in part]) for k in range(len(part[0])))
    return Dataset(lambda: iter(part), len(part))
