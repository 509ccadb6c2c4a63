"""A callback that ends a training in the middle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kcompile.keras import callbacks


class Ends(callbacks.Callback):
    """Calls `end` in the n-th batch. It keeps nothing that a state should have."""

    def __init__(self, after: int, end: Callable[[], object]) -> None:
        super().__init__()
        self.after, self.end = after, end

    def state(self) -> dict[str, Any]:
        return {}

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        self.after -= 1
        if not self.after:
            self.end()
