"""What happened to an object of batches since a training began, so that it can be brought there again.

Enters: the events of `feeding.Batches` and of what makes batches ahead. Leaves: a `Journal` of them, with the
states of the global generators where others had drawn in between: whoever repeats the events draws the same
numbers.
"""

from __future__ import annotations

from typing import Any

from kcompile_runtime.positions import generators, same_generators, set_generators

Event = tuple[str, Any]
"""What happened: "pass" (batches are taken one after the other), "next" (a sequence begins anew), or the
method of the object that was called; and the generators' state before it, None where it was that after the
event before."""


class Journal:
    """See the module. before, after: around each event. base: the generators' state before the first one, by
    default as it is now."""

    def __init__(self, base: Any = None) -> None:
        self.events: list[Event] = []
        self.base = self.latest = generators() if base is None else base

    def before(self, event: str, draws_here: bool = True) -> None:
        """draws_here: whether its numbers are drawn by the thread that calls; the states of others are
        unknown."""
        now = generators()
        same = not draws_here or same_generators(now, self.latest)
        self.events.append((event, None if same else now))

    def after(self) -> None:
        """The event is over."""
        self.latest = generators()

    def state(self) -> dict[str, Any]:
        """For `load_state`."""
        return {"events": list(self.events), "base": self.base, "latest": self.latest}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on with the journal of another process, whose events were repeated."""
        self.events, self.base, self.latest = list(state["events"]), state["base"], state["latest"]


def put(state: Any) -> None:
    """Put the generators where they were before an event."""
    if state is not None:
        set_generators(state)
