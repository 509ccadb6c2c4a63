"""Where the batches of a pass come from: rows of whole arrays, or an object that gives batch after batch.

Enters: arrays that `standardize` made, or a generator, an iterable, a sequence of batches
(keras.utils.Sequence, or what looks like it). Leaves: `Rows` or `Batches`, over which a model is trained,
evaluated and predicts with the runtime's loops. Objects of batches are asked ahead (`utils.enqueuers`); the
training is the same as if they were not.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from kcompile.keras import teams
from kcompile.keras.passes import Journal, put
from kcompile.keras.step_choice import needs_steps
from kcompile.keras.step_data import weighted
from kcompile.keras.utils.data_utils import PyDataset
from kcompile.keras.utils.enqueuers import GeneratorEnqueuer, OrderedEnqueuer, has_number, number_of_batches
from kcompile_runtime import training as loops
from kcompile_runtime.arrays import Array, is_array
from kcompile_runtime.checks import check_count, check_flag
from kcompile_runtime.errors import InputError, describe
from kcompile_runtime.positions import generators, same_generators


class Rows:
    """The rows of arrays, `size` at a time; of the first `steps` batches, None for all. every: what stands
    for the rows of all processes, where each has arrays of its own."""

    def __init__(
        self,
        trainer: Any,
        arrays: Sequence[Array],
        size: int,
        steps: int | None,
        every: list[Array] | None = None,
    ) -> None:
        self._trainer = trainer
        self.arrays = list(arrays)
        self._every = every
        self.samples = len((every or arrays)[0])
        self._options: dict[str, Any] = {"batch_size": size, "steps": steps}
        self.params = {
            **self._options,
            "samples": self.samples if steps is None else min(steps * size, self.samples),
        }

    @property
    def kind(self) -> str:
        """What the data are, in messages."""
        return "rows of arrays"

    def fit(self, report: loops.Results, callbacks: Any, shuffle: Any, **epochs: Any) -> None:
        loops.fit_loop(
            self._runner("train"),
            self._every or self.arrays,
            report,
            callbacks,
            slicer=self._trainer.slicer("train"),
            shuffle=shuffle,
            **self._options,
            **epochs,
        )

    def evaluate(self, report: loops.Results, callbacks: Any) -> list[Any]:
        return loops.evaluate_loop(
            self._runner("test"),
            self._every or self.arrays,
            report,
            callbacks,
            slicer=self._trainer.slicer("test"),
            **self._options,
        )

    def predict(self, callbacks: Any) -> list[Array]:
        return loops.predict_loop(
            self._runner("predict"),
            self.arrays,
            callbacks,
            slicer=self._trainer.slicer("predict"),
            **self._options,
        )

    def close(self) -> None:
        """Nothing has to end."""

    def _runner(self, entry: str) -> Any:
        engine, team = self._trainer.engines.needed(), teams.team()
        if self._every is not None and team is not None:
            return team.runner(engine, entry, self.arrays)
        return engine.batches(entry)


@dataclass(frozen=True)
class Queue:
    """How batches are made ahead. size: how many may wait. workers: how many threads or processes make them,
    0 for the thread that trains."""

    size: int = 10
    workers: int = 1
    processes: bool = False

    @staticmethod
    def checked(size: Any, workers: Any, processes: Any) -> Queue:
        """The queue of Keras' arguments max_queue_size, workers and use_multiprocessing."""
        processes = check_flag("use_multiprocessing", processes)
        return Queue(check_count("max_queue_size", size), check_count("workers", workers, 0), processes)

    def of(self, data: Any) -> Queue:
        """The same, or what the data say themselves, as those of Keras 3 do."""
        names = ("max_queue_size", "workers", "use_multiprocessing")
        if not all(hasattr(data, name) for name in names):
            return self
        own = Queue.checked(*(getattr(data, name) for name in names))
        return own if own.processes or own.workers > 1 else HERE


AHEAD, HERE = Queue(), Queue(workers=0)


class Batches:
    """An object of batches: each an array x (or several), or a tuple (x, y) or (x, y, sample_weight).

    steps: batches in a pass, by default as many as the object says that it has; since tf.keras, where it does
    not say, None: all that it gives. A pass goes on where the
    last one ended, and begins anew at the end where that is possible; since tf.keras each evaluation begins
    anew, and ends with the data. passes: how many there will be at most.
    queue: how batches are made ahead; an object that can be iterated again makes them when they are asked
    for. shuffle: the order of what has numbers. Raises InputError for an object of unknown length without
    steps, or of none. `close` must be called at the end.
    """

    def __init__(
        self,
        trainer: Any,
        data: Any,
        steps: Any,
        name: str,
        class_weight: Any = None,
        passes: int = 1,
        queue: Queue = HERE,
        shuffle: Any = False,
    ) -> None:
        self._trainer = trainer
        self._data = data
        self._class_weight = class_weight
        length = _length(data)
        if length == 0:
            raise InputError(describe(f"data ({type(data).__name__})", "at least one batch", "none"))
        if steps is None and length is None and not trainer.model.semantics.unknown_steps:
            raise InputError(
                describe(
                    name,
                    f"the number of batches of a pass, as a {type(data).__name__} "
                    "does not say how many it has",
                    "None",
                )
            )
        known = length if steps is None else steps
        self.steps = None if known is None else check_count(name, known)
        self._passes = self._all = max(passes, 1)  # a batch is looked at in any case
        self._counts_again = steps is None and hasattr(data, "__getitem__")
        self._queue = queue.of(data)
        self._enqueuer = self._made_ahead(shuffle)
        self._draws = False  # whether a thread draws batches from the global generators
        self._going: Iterator[Any] | None = None
        self._told = isinstance(data, PyDataset)  # of the beginnings and ends of passes
        self._anew = self._fresh = False  # whether each pass begins anew, and has not yet begun
        self._begun = ""  # the entry of a pass that was told of, and did not end
        self._journal: Journal | None = None  # see `keep`
        self._done: int | None = None  # batches of a pass that goes on
        self._inside = False  # whether a pass is under way
        self._count = 0  # its batches so far
        self.params = {"batch_size": None, "steps": self.steps, "samples": None}

    def _made_ahead(self, shuffle: Any) -> OrderedEnqueuer | GeneratorEnqueuer:
        data, queue = self._data, self._queue
        if hasattr(data, "__getitem__"):
            made = OrderedEnqueuer(data, queue.processes, bool(shuffle))
            made.tells = not isinstance(data, PyDataset)
            return made
        if not hasattr(data, "__next__"):
            self._queue = HERE
            return GeneratorEnqueuer(_repeated(data))
        if queue.processes and queue.workers > 1:
            warnings.warn(
                f"each of {queue.workers} processes has its own copy of the {type(data).__name__} and gives "
                "all of its batches. Use a keras.utils.Sequence",
                stacklevel=6,
            )
        return GeneratorEnqueuer(data, queue.processes)

    def first(self, entry: str) -> list[Array]:
        """The arrays of the first batch, which is looked at before anything begins, and given again."""
        if entry == "train":
            self._tell("on_epoch_end")
        elif self._trainer.model.semantics.evaluations_begin_anew and not hasattr(self._data, "__next__"):
            self._anew = self._fresh = True
            self._end_with_the_data()
        self._begin(entry)
        before = generators() if self._in_threads else None
        for batch in self._stream():
            if before is not None:
                before = getattr(self._enqueuer, "began", before)  # after the order was drawn
                self._draws = not same_generators(before, generators())
            self._going = chain([batch], self._stream())
            return self._arrays(entry, batch)[0]
        raise InputError(describe(f"data ({type(self._data).__name__})", "at least one batch", "none"))

    def _stream(self) -> Iterator[Any]:
        """All batches from here on."""
        if self._going is None:
            if self.steps is None and not hasattr(self._data, "__next__"):
                self._going = iter(self._data)  # of this pass
                return self._going
            passes = 1 if self._anew else self._passes
            known = None if self._counts_again or self.steps is None else passes * self.steps
            self._enqueuer.limit = known
            self._enqueuer.start(self._queue.workers, self._queue.size)
            self._going = self._enqueuer.get()
        return self._going

    @property
    def _in_threads(self) -> bool:
        return bool(self._queue.workers) and not self._enqueuer.use_multiprocessing

    def _end_with_the_data(self) -> None:
        """Take no more batches in a pass than there are."""
        length = _length(self._data)
        if self.steps is not None and length is not None and length < self.steps:
            warnings.warn(f"the data have {length} of {self.steps} batches of a pass", stacklevel=7)
            self.steps = self.params["steps"] = length

    def _restart(self) -> None:
        """Let the next pass begin anew."""
        self._enqueuer.stop()
        self._enqueuer, self._going = self._made_ahead(False), None
        if isinstance(self._enqueuer, OrderedEnqueuer):
            self._enqueuer.journal = self._journal

    def _tell(self, event: str) -> None:
        if self._told:
            if self._journal is not None:
                self._journal.before(event)
            getattr(self._data, event)()
            if self._journal is not None:
                self._journal.after()

    def _begin(self, entry: str) -> None:
        """Tell a PyDataset that a pass begins, in the order of Keras 3."""
        if not self._begun:
            if entry == "test":
                self._tell("on_epoch_end")
            self._tell("on_epoch_begin")
        self._begun = entry

    def _pass(self, entry: str) -> Iterator[Any]:
        """The batches of the next pass, or of what is left of one that goes on."""
        self._begin(entry)
        if self._anew and not self._fresh:
            self._restart()
        self._fresh = False
        noted = self._journal if not isinstance(self._enqueuer, OrderedEnqueuer) else None
        if noted is not None and self._done is None:
            noted.before("pass", not self._queue.workers)
        yield from self._batches()
        self._begun, self._inside = "", False
        if noted is not None:
            noted.after()

    def _batches(self) -> Iterator[Any]:
        """The batches of a pass that began."""
        self._passes -= 1
        self._count, self._done, self._inside = self._done or 0, None, True
        if self.steps is None:
            yield from self._counted(self._stream())
            self._tell("on_epoch_end")
            if not hasattr(self._data, "__next__"):  # it gives the same again
                self._going = None
            return
        yield from self._counted(islice(self._stream(), self.steps - self._count))
        self._tell("on_epoch_end")
        if isinstance(self._enqueuer, OrderedEnqueuer):
            if self._passes <= 0 or self._anew:
                self._enqueuer.limit = 0  # the sequence is told of its end, but gives no more
            if self._anew:
                self._enqueuer.next_epoch()
            else:
                self._enqueuer.join_end_of_epoch()
        if self._counts_again:
            self.steps = check_count("the number of batches", _length(self._data))

    def _counted(self, batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            self._count += 1
            yield batch

    # ---- for a training that goes on

    @property
    def kind(self) -> str:
        """What the data are, in messages."""
        return type(self._data).__name__

    def keep(self) -> None:
        """Note from here on what `state` needs, after the first batch was looked at."""
        ordered = self._enqueuer if isinstance(self._enqueuer, OrderedEnqueuer) else None
        self._journal = Journal(None if ordered is None else ordered.began)
        if ordered is not None:
            ordered.journal = self._journal

    def state(self) -> dict[str, Any]:
        """Where the batches are: for `load_state` of another process."""
        assert self._journal is not None
        ordered = self._enqueuer
        return {
            **self._journal.state(),
            "begun": self._begun,
            "inside": self._inside,
            "batches": self._count if self._inside else 0,
            "passes": self._all - self._passes,
            "place": ordered.place() if isinstance(ordered, OrderedEnqueuer) else None,
        }

    def load_state(self, state: dict[str, Any]) -> bool:
        """Bring the object, which is as it was when the training began, where it was: a sequence is told of
        its epochs, others give all their batches again. Gives whether the generators must stay as they
        are from here on, as a thread draws batches from them. Raises InputError for an object that ends
        before."""
        kept, self._journal = self._journal, None
        ordered = self._enqueuer if isinstance(self._enqueuer, OrderedEnqueuer) else None
        if (ordered is None) != (state["place"] is None):
            got = type(self._data).__name__
            raise InputError(describe("fit: resume: data", "an object of batches as it was then", got))
        if ordered is None:
            self._take_again(state)
        else:
            self._repeat(ordered, state)
        self._begun = state["begun"]
        self._passes = self._all - state["passes"] + bool(state["inside"])
        self._done = state["batches"] if state["inside"] else None
        self._journal = kept
        if kept is not None:
            kept.load_state(state)
        if ordered is not None:
            ordered.journal = kept
        return self._draws

    def _repeat(self, ordered: OrderedEnqueuer, state: dict[str, Any]) -> None:
        """Tell a sequence of its epochs, and pass over batches by number, or make those of the last epoch
        again where what they drew counts."""
        ordered.pause()
        ordered.journal = None
        put(state["base"])
        for event, kept in state["events"]:
            put(kept)
            if event == "next":
                ordered.next_epoch()
            else:
                getattr(self._data, event)()
        if self._counts_again:
            self.steps = check_count("the number of batches", _length(self._data))
        again = self._draws or (ordered.use_multiprocessing and bool(self._queue.workers))
        wanted = sum(state["place"][::2])
        ordered.go_on(state["place"], again)
        self._going = ordered.get()
        while ordered.taken < wanted:
            self._drop(islice(self._going, 1), 1)

    def _take_again(self, state: dict[str, Any]) -> None:
        """Take all batches again that were taken."""
        if not self._in_threads:
            put(state["base"])
        last = len(state["events"]) - 1
        for number, (_, kept) in enumerate(state["events"]):
            put(kept)
            if number == last and state["inside"]:
                self._drop(islice(self._stream(), state["batches"]), state["batches"])
            elif self.steps is None:
                self._drop(self._stream(), 1)
                if not hasattr(self._data, "__next__"):
                    self._going = None
            else:
                self._drop(islice(self._stream(), self.steps), self.steps)

    def _drop(self, batches: Iterator[Any], count: int) -> None:
        found = sum(1 for _ in batches)
        if found < count:
            raise InputError(
                describe(
                    f"fit: resume: data ({type(self._data).__name__})",
                    "all batches that it gave before, from the first one on",
                    f"{found} of {count} batches of a pass",
                    "Make the object anew before this call of fit.",
                )
            )

    def close(self) -> None:
        """End what makes batches."""
        self._enqueuer.stop()

    def fit(self, report: loops.Results, callbacks: Any, shuffle: Any, **epochs: Any) -> None:
        """Train. shuffle: as it was said when this was made."""

        def batches() -> Iterator[Any]:
            before = self.steps
            yield from self._sized("train")
            if self.steps != before:
                callbacks.change_params(steps=self.steps)

        loops.fit_batches(
            self._step("train"), lambda done: (batches(), self.steps), report, callbacks, **epochs
        )

    def evaluate(self, report: loops.Results, callbacks: Any) -> list[Any]:
        return loops.evaluate_batches(
            self._step("test"), self._sized("test"), report, callbacks, steps=self.steps
        )

    def predict(self, callbacks: Any) -> list[Array]:
        def run(n: int, arrays: list[Array]) -> Any:
            return self._trainer.engines.needed().run("predict", n, arrays)

        return loops.predict_batches(run, self._sized("predict"), callbacks, steps=self.steps)

    def _step(self, entry: str) -> Any:
        def run(n: int, arrays: list[Array]) -> Any:
            return self._trainer.engines.needed().run(entry, n, arrays)[0]

        return run

    def _sized(self, entry: str) -> Iterator[tuple[int, list[Array]]]:
        """The numbers of samples and the arrays of the batches of the next pass."""
        own = self._own(entry)
        return own if entry == "predict" else self._trainer.others.sized(own)

    def _own(self, entry: str) -> Iterator[tuple[int, list[Array]]]:
        """The same of those that this process is given."""
        for item in self._pass(entry):
            arrays, n = self._arrays(entry, item)
            yield n, arrays

    def _owned(self, entry: str, item: Any) -> bool:
        """Whether the step of an entry is the model's own, which the first batch may have to say."""
        if self._trainer.owns(entry):
            return True
        x = self._inputs_of(item) if entry == "predict" else labelled(item)[0]
        return self._trainer.owns_for(entry, x)

    def _inputs_of(self, item: Any) -> Any:
        """What a batch gives to predict: since tf.keras a list is (x, y) too, in Keras 2 the inputs, but of
        loaders, which Keras 2 has not."""
        loader = not hasattr(self._data, "__getitem__") and not hasattr(self._data, "__next__")
        lists = (loader or self._trainer.model.semantics.lists_are_batches) and _is_list_of_arrays(item)
        return item[0] if (isinstance(item, tuple) and item) or lists else item

    def _arrays(self, entry: str, item: Any) -> tuple[list[Array], int]:
        """The arrays of a batch that the graph of an entry takes, and its number of samples."""
        if self._owned(entry, item):
            given = weighted(item, self._class_weight if entry == "train" else None)
            own: tuple[list[Array], int] = self._trainer.model.see(entry, given)
            return own
        if entry == "predict":
            found: tuple[list[Array], int] = self._trainer.adapter.inputs(self._inputs_of(item))
            return found
        given = labelled(item)
        classes = self._class_weight if entry == "train" else None
        found = self._trainer.adapter.batch(*given, classes)
        return needs_steps(self._trainer, entry, given, classes, found)


def labelled(item: Any) -> tuple[Any, Any, Any]:
    """x, y and sample_weight of a batch to train on. Raises InputError."""
    if isinstance(item, (tuple, list)) and len(item) in (2, 3):
        x, y, *weight = item
        return x, y, weight[0] if weight else None
    if isinstance(item, tuple) and len(item) == 1:
        return item[0], None, None
    if is_array(item) or isinstance(item, dict):  # a model may say its loss itself, by add_loss
        return item, None, None
    got = f"{type(item).__name__} of {len(item)}" if hasattr(item, "__len__") else type(item).__name__
    raise InputError(describe("a batch", "a tuple (x, y) or (x, y, sample_weight)", got))


def _is_list_of_arrays(item: Any) -> bool:
    return (
        isinstance(item, list)
        and 1 <= len(item) <= 3
        and all(is_array(part) or part is None for part in item)
    )


def _repeated(data: Any) -> Iterator[Any]:
    """The batches of what can be iterated, again and again, as long as there are any."""
    found = True
    while found:
        found = False
        for batch in data:
            found = found or batch is not None
            yield batch


def _length(data: Any) -> int | None:
    """How many batches an object says that it has; None where it does not."""
    if has_number(data):
        return number_of_batches(data)
    try:
        return len(data)
    except (TypeError, ValueError, NotImplementedError, OverflowError):
        return None
