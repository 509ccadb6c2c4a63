"""What scripts of Keras 2 write around it for TensorFlow's sake: sessions, their options, graphs, seeds.

There are no sessions and no default graph here, and code is compiled for the processor: so options of
memory, devices and threads say nothing, and a session runs tensors of `K` as K.function does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from kcompile.ir.types import DTYPES
from kcompile.keras import expressions, settings
from kcompile.keras.operands import map_leaves
from kcompile.keras.tensors import KerasTensor, Variable, is_integer
from kcompile.keras.updates import Update
from kcompile_runtime.errors import InputTypeError, describe


class Options:
    """ConfigProto, GPUOptions and their like: whatever a script sets. There is nothing that they change."""

    def __init__(self, **values: Any) -> None:
        vars(self).update(values)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return vars(self).setdefault(name, Options())


class Initializer:
    """global_variables_initializer(): variables have values as soon as they are made."""


class DefaultGraph:
    """The graph that TensorFlow extends; here each model has its own."""

    @contextmanager
    def as_default(self) -> Iterator[DefaultGraph]:
        yield self

    def finalize(self) -> None:
        """Nothing is added to a model that is compiled."""


_GRAPH = DefaultGraph()


class Session:
    """A session, which runs tensors of K and of models, variables, and results of K.update."""

    def __init__(self, target: str = "", graph: Any = None, config: Options | None = None) -> None:
        self.graph = _GRAPH

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    @contextmanager
    def as_default(self) -> Iterator[Session]:
        yield self

    def close(self) -> None:
        """There is nothing to be given back."""

    def run(self, fetches: Any, feed_dict: Mapping[Any, Any] | None = None) -> Any:
        """The values of fetches, nested as they are; feed_dict: of inputs, by tensor. Raises InputTypeError
        for what is no tensor of K."""
        outputs: list[Any] = []
        updates: list[Update] = []

        def place(x: Any) -> Any:
            if isinstance(x, Initializer):
                return x
            if isinstance(x, Update):
                updates.append(x)
            elif not isinstance(x, (KerasTensor, Variable)):
                raise InputTypeError(
                    describe("Session.run", "tensors of keras.backend, variables and updates", repr(x))
                )
            outputs.append(x.value if isinstance(x, Update) else x)
            return len(outputs) - 1

        places = map_leaves(place, fetches)
        fed = {x: value for x, value in (feed_dict or {}).items() if not is_integer(x)}  # a fixed phase
        found = expressions.Function(list(fed), outputs, updates)(list(fed.values())) if outputs else []
        return map_leaves(lambda x: None if isinstance(x, Initializer) else found[x], places)


_SESSION = Session()


def get_session() -> Session:
    """The session, which is always there."""
    return _SESSION


def set_session(session: Any) -> None:
    """Accepts a session, whose options change nothing. Raises InputTypeError for anything else."""
    if not isinstance(session, Session):
        raise InputTypeError(
            describe("K.set_session", "what tf.Session makes under `kcompile run`", repr(session))
        )


# ---------------------------------------------------------------- the names of TensorFlow


@contextmanager
def _nothing(*args: Any, **kwargs: Any) -> Iterator[None]:
    """A scope that a script opens for TensorFlow's graph."""
    yield


def _ignored(*args: Any, **kwargs: Any) -> None:
    """A switch of TensorFlow that has no counterpart."""


def _names() -> dict[str, Any]:
    """What scripts write around Keras -> what that does."""
    levels = {"DEBUG": 10, "INFO": 20, "WARN": 30, "ERROR": 40, "FATAL": 50}
    devices = SimpleNamespace(
        list_physical_devices=lambda *args: [],
        list_logical_devices=lambda *args: [],
        set_visible_devices=_ignored,
        set_memory_growth=_ignored,
    )
    return {
        **{dtype: dtype for dtype in DTYPES},
        "ConfigProto": Options,
        "GPUOptions": Options,
        "Graph": DefaultGraph,
        "InteractiveSession": Session,
        "Session": Session,
        "config": SimpleNamespace(**vars(devices), experimental=devices),
        "device": _nothing,
        "disable_eager_execution": _ignored,
        "disable_v2_behavior": _ignored,
        "executing_eagerly": lambda: False,
        "get_default_graph": lambda: _GRAPH,
        "get_default_session": get_session,
        "global_variables_initializer": Initializer,
        "initialize_all_variables": Initializer,
        "local_variables_initializer": Initializer,
        "logging": SimpleNamespace(**levels, set_verbosity=_ignored, get_verbosity=lambda: levels["WARN"]),
        "name_scope": settings.name_scope,
        "random": SimpleNamespace(set_random_seed=settings.set_graph_seed, set_seed=settings.set_graph_seed),
        "reset_default_graph": settings.clear_session,
        "set_random_seed": settings.set_graph_seed,
        "tables_initializer": Initializer,
        "test": SimpleNamespace(
            gpu_device_name=lambda: "",
            is_built_with_cuda=lambda: False,
            is_gpu_available=lambda *args, **kwargs: False,
        ),
        "variable_scope": _nothing,
    }


NAMES = _names()
