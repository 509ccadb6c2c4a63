"""What runs a model: the protocol of engines, and those that a model has.

Enters: engines that somebody attached (`Model.use_engine`). Leaves: the engine of the call that is running.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from typing import Any, Protocol
from weakref import WeakSet

from kcompile.keras.lengths import Lengths
from kcompile.keras.teams import TEAMS, of_team
from kcompile_runtime.arrays import Array
from kcompile_runtime.loop import Runner


class Engine(Protocol):
    """Runs the graphs of a model ("predict", "test", "train"), whose variables it updates in place.

    run: inputs in the order of the graph, conforming, n samples. batches: what runs an entry over the rows of
    arrays. prepare: makes what runs an entry for inputs of these lengths, and tells what is wrong with the
    model. traced: the graph of an entry for these lengths (None: where all are known), with the model's
    variables behind its own. predictor: a quick way from any array to the output, of models with one input
    and one output, if there is one; `quick` holds it once it was found. list_predictor, quick_list: the same
    from a list to a list, which gives None for what it does not take. reset: graphs of these entries are to
    be made anew, and what is quick forgotten with "predict".
    """

    quick: Callable[[Any], Array] | None
    quick_list: Callable[[Sequence[Any]], list[Array] | None] | None

    def run(self, entry: str, n: int, inputs: Sequence[Array]) -> list[Array]: ...
    def batches(self, entry: str) -> Runner: ...
    def prepare(self, entry: str, lengths: Lengths) -> None: ...
    def traced(self, entry: str, lengths: Any = ...) -> Any: ...
    def predictor(self) -> Callable[[Any], Array] | None: ...
    def list_predictor(self) -> Callable[[Sequence[Any]], list[Array] | None] | None: ...
    def reset(self, entries: Iterable[str] = ...) -> None: ...


# The compiled model whose method is running in this thread: its model and its engine
CALLED: ContextVar[tuple[Any, Engine] | None] = ContextVar("CALLED", default=None)


class Engines:
    """The engines of a model. The methods of a compiled model run on its own, those of the model itself on
    the latest; all are told when graphs are out of date."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._latest: Engine | None = None
        self._all: WeakSet[Engine] = WeakSet()

    def attach(self, engine: Engine) -> None:
        self._latest = engine
        self._all.add(engine)

    def reset(self, entries: Iterable[str]) -> None:
        for engine in list(self._all):
            engine.reset(entries)

    def found(self) -> Engine | None:
        """The engine of the compiled model whose method is running, else the latest one, if there is any."""
        called = CALLED.get()
        own = called[1] if called is not None and called[0] is self._model else self._latest
        return of_team(own, self._all.add) if TEAMS else own

    def needed(self) -> Engine:
        """The same; a model that has none gets a native one."""
        found = self.found()
        if found is None:
            import kcompile  # the front end knows no more of the compiler than this

            found = of_team(kcompile.attach_engine(self._model), self._all.add)
        return found
