"""Who is told of changes: of variables, and of what graphs are made from.

What is remembered about something (a prepared block, a copy on a device, a graph) belongs to an object
that listens to it. Objects that listen are not kept alive by that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any
from weakref import WeakMethod

Method = Callable[[], Any]  # bound to an object


class Listeners:
    """Methods to call after a change, of objects that may be gone by then."""

    added = 0  # how often a method was added anywhere
    told = 0  # how often anything was told of a change

    def __init__(self) -> None:
        self._methods: list[WeakMethod[Method]] = []

    def __iter__(self) -> Iterator[Method]:
        return iter([method for ref in self._methods if (method := ref()) is not None])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def add(self, method: Method) -> None:
        """Add a method to call; one that is there already is called once."""
        if method not in self:
            self._methods = [*map(WeakMethod, self), WeakMethod(method)]
            Listeners.added += 1

    def remove(self, method: Method) -> None:
        self._methods = [WeakMethod(other) for other in self if other != method]

    def tell(self) -> None:
        Listeners.told += 1
        for method in self:
            method()


class Audience:
    """All who listen to some of several things; called after a change of these, tells each once. Native
    code says with it what it wrote."""

    def __init__(self, things: Iterable[Any]) -> None:
        self._lists: list[Listeners] = [thing.listeners for thing in things]
        self._methods: list[WeakMethod[Method]] = []
        self._added = -1

    def __call__(self) -> None:
        Listeners.told += 1
        if self._added != Listeners.added:  # not for each of a thousand variables at each step
            self._added = Listeners.added
            self._methods = list(map(WeakMethod, dict.fromkeys(m for each in self._lists for m in each)))
        for ref in self._methods:
            method = ref()
            if method is not None:
                method()
