"""How far long work is, on a terminal: bars of tqdm (extra `progress` of kcompile), on stderr.

Enters: things that are worked on, one after the other. Leaves: the same. Nothing is shown where stderr is no
terminal, tqdm is not installed, TQDM_DISABLE is set, or KC_DEBUG tells of the work itself; nor of what is
done within `DELAY`. Bars are erased when the work is done.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Any, TypeVar

from kcompile_runtime.debug import TIMES, debug_level
from kcompile_runtime.texts import printable

T = TypeVar("T")
DELAY = 0.5  # seconds


def followed(things: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """The things, and a bar that counts them. total: how many there are, where they have no length."""
    bar = _bar(what, total=len(things) if isinstance(things, Sized) else total, delay=DELAY)
    if bar is None:
        yield from things
        return
    with bar:
        for thing in things:
            yield thing
            bar.update()


@contextmanager
def working(what: str) -> Iterator[None]:
    """Says what one long step is while it is taken."""
    bar = _bar(what, bar_format="{desc}")
    if bar is None:
        yield
        return
    with bar:
        yield


def _bar(what: str, **options: Any) -> Any:
    """A bar of tqdm, or None."""
    if sys.stderr is None or not sys.stderr.isatty() or debug_level() >= TIMES:
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(desc=printable(what), file=sys.stderr, leave=False, dynamic_ncols=True, **options)
