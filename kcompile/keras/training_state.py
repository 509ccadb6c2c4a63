"""The state of a training as one object: taken between two batches, written down, put back.

Enters: a training that `Trainer.fit` has prepared, and where it goes on what `fit(resume=...)` named. Leaves:
a tree of plain values (`kcompile.files.states` writes it), with what the training is of, so that another one
is refused; the training as it was. `kcompile_runtime.training` asks the `Keeping` here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kcompile.ir.digest import fingerprint
from kcompile.keras import graphs
from kcompile.keras.callbacks.base import Callback, Events
from kcompile.keras.callbacks.checkpoint import (
    Checkpoint,
    check_states,
    load_states,
    states_of,
    warn_of_silent,
)
from kcompile.keras.lengths import probe_lengths
from kcompile.keras.saving import files
from kcompile.keras.tensors import Variable
from kcompile_runtime.checks import check_path
from kcompile_runtime.errors import InputError, ModelError, describe
from kcompile_runtime.positions import Position, generators, set_generators

FORMAT = 1  # of the tree


def keeping(callbacks: Sequence[Callback], resume: Any) -> Keeping | None:
    """What keeps the state of the training that begins; None where nobody asks for it. resume: the folder of
    states, or one of its files. A folder that is not there or empty is one of a training that was not yet
    begun. Raises InputError, ModelError, OSError."""
    given = [c for c in callbacks if isinstance(c, Checkpoint)]
    found = None
    if resume is not None:
        found = files().read_newest(check_path("fit: resume", resume))
    if not given and resume is None:
        return None
    return Keeping(given, found, resume)


class Keeping:
    """A `Keeper` of the training loop. given: the Checkpoints among the callbacks. found: the path and the
    tree of the state to go on from. Numpy's and Python's generators are put where that training had them when
    `fit` was called."""

    def __init__(self, given: Sequence[Checkpoint], found: tuple[Any, Any] | None, resume: Any) -> None:
        self._given = given
        self._path, tree = found or (resume, None)
        self._tree: Any = None if tree is None else self._checked(tree)
        for checkpoint in given:
            _refuse_foreign(checkpoint, resume)
        self._generators = {"start": generators()} if tree is None else dict(tree["generators"])
        self._going_on = True  # whether the epoch that begins is one that goes on
        self._drawing = False  # whether a thread draws from the generators
        self.start: Position | None = None
        if tree is not None:
            self.start = Position(**tree["position"])
            set_generators(self._generators["start"])

    def _checked(self, tree: Any) -> Any:
        if not isinstance(tree, dict) or tree.get("format") != FORMAT:
            wanted = f"a state of format {FORMAT}"
            got = tree.get("format") if isinstance(tree, dict) else type(tree).__name__
            raise ModelError(describe(str(self._path), wanted, repr(got)))
        return tree

    @property
    def resumes(self) -> bool:
        """Whether the training goes on."""
        return self._tree is not None

    @property
    def data(self) -> dict[str, Any] | None:
        """Of a training that goes on: where its objects of batches were."""
        tree = self._tree
        if tree is None or tree["stopped"] or tree["position"]["ended"]:
            return None
        found: dict[str, Any] = tree["data"]
        return found

    @property
    def _pickles(self) -> bool:
        return any(c.pickle_callbacks for c in self._given)

    def join(
        self, trainer: Any, of: Mapping[str, Any], lengths: Any, feeds: Mapping[str, Any], events: Events
    ) -> None:
        """The training is prepared: what it is of beside its model, the lengths or the signature of its data,
        its feeds ("train", and "test" where it validates), its callbacks. Raises ModelError where the state
        is of another one, InputError where objects of batches cannot be brought where they were."""
        self._trainer, self._events = trainer, events
        traced = trainer.engines.needed().traced("train", lengths or None)
        captured = [*traced.captured.values()]
        if "test" in feeds and trainer.owns("test"):
            captured += trainer.engines.needed().traced("test", lengths or None).captured.values()
        self._variables = _distinct([*_variables_of(trainer), *captured])
        self._of = {**of, **_described(trainer, traced)}
        if self._tree is not None:
            self._compare(self._tree)
        self._feeds = {name: feed for name, feed in feeds.items() if hasattr(feed, "keep")}
        for feed in self._feeds.values():
            feed.keep()
        for name, feed in self._feeds.items():
            if self.data is not None:
                self._drawing |= feed.load_state(self.data[name])
        warn_of_silent((c for c in events.callbacks if self._given), self._pickles)
        for checkpoint in self._given:
            checkpoint.begin()
            for state in (
                files().states_in(checkpoint.path) if checkpoint.overwrite and not self.resumes else ()
            ):
                os.unlink(state)

    def _compare(self, tree: Any) -> None:
        wrong = [
            f"{what}: {tree['of'].get(what)} then, {now} now"
            for what, now in self._of.items()
            if tree["of"].get(what) != now
        ]
        if len(wrong) > 1:  # which says why
            wrong = [text for text in wrong if not text.startswith(_STEP)]
        shapes = [(v.shape, v.dtype) for v in self._variables]
        kept = [(a.shape, a.dtype.name) for _, a in tree["variables"]]
        if not wrong and shapes != kept:
            wrong.append(f"variables: {len(kept)} of other shapes then, {len(shapes)} now")
        wrong += check_states(self._events.callbacks, tree["callbacks"], self._pickles)
        if wrong:
            raise ModelError(
                f"fit: resume={str(self._path)!r}: the state is of another training. "
                + "; ".join(wrong)
                + ". Train as then, or begin anew without resume"
            )

    # ---- what the loop asks

    def restore(self) -> None:
        tree, model = self._tree, self._trainer.model
        for variable, (_, array) in zip(self._variables, tree["variables"]):
            variable.assign(array)
        for optimizer, options in zip(_optimizers_of(self._trainer), tree["options"]):
            for name, value in options.items():
                if getattr(optimizer, name) != value:
                    setattr(optimizer, name, value)
        load_states(self._events.callbacks, tree["callbacks"])
        model.stop_training = tree["stopped"]
        self._put("now")
        if not tree["position"]["batches"]:
            self._going_on = False

    def order(self) -> None:
        if not (self.resumes and self._going_on):
            self._generators["order"] = generators()
        elif "train" not in self._feeds:
            self._put("order")

    def ordered(self) -> None:
        if self.resumes and self._going_on:
            self._put("now")
            self._going_on = False

    def _put(self, when: str) -> None:
        """Put the generators where they were, unless a thread makes batches with what it draws from them:
        these were made again, and it is further by as many as it makes ahead."""
        if not self._drawing:
            set_generators(self._generators[when])

    def most(self) -> int | None:
        limits = [limit for c in self._given if (limit := c.most()) is not None]
        return min(limits, default=None)

    def after(self, position: Position, batches: int) -> None:
        due = [c for c in self._given if c.due(batches, 0 if batches else 1)]
        if due:
            tree = self.state(position)
            for checkpoint in due:
                files().write_state(checkpoint.path, tree, checkpoint.keep)
                checkpoint.begin()

    def state(self, position: Position) -> dict[str, Any]:
        """The tree."""
        return {
            "format": FORMAT,
            "of": self._of,
            "position": vars(position),
            "stopped": bool(self._trainer.model.stop_training),
            "generators": {**self._generators, "now": generators()},
            "variables": [(v.path, v.array) for v in self._variables],
            "options": [_options_of(o) for o in _optimizers_of(self._trainer)],
            "callbacks": states_of(self._events.callbacks, self._pickles),
            "data": {name: feed.state() for name, feed in self._feeds.items()},
        }


def _refuse_foreign(checkpoint: Checkpoint, resume: Any) -> None:
    """Raises InputError for a folder with states of another training than that which goes on."""
    if checkpoint.overwrite or not (found := files().states_in(checkpoint.path)):
        return
    here = os.path.realpath(checkpoint.path)
    if resume is None or here not in (os.path.realpath(resume), os.path.dirname(os.path.realpath(resume))):
        raise InputError(
            describe(
                f"Checkpoint: path {checkpoint.path!r}",
                "a folder without states, as the training begins anew",
                f"{len(found)} states, the newest {found[0].name}",
                f"To go on from there: fit(..., resume={checkpoint.path!r}). To delete them: overwrite=True",
            )
        )


# ---------------------------------------------------------------- what a training is of


_STEP = "the training step"


def _described(trainer: Any, traced: Any) -> dict[str, str]:
    """What decides which numbers a training step computes, as texts."""
    model, arguments = trainer.model, trainer.arguments or {}
    layers = [f"{type(layer).__name__} {[v.shape for v in layer.weights]}" for layer in model.layers]
    optimizers = [
        f"{type(o).__name__} {' '.join(f'{k}={v}' for k, v in sorted(_options_of(o).items()))}"
        for o in _optimizers_of(trainer)
    ]
    if trainer.owns("train"):
        step = "of the model's own"
    elif model.varies:
        step = fingerprint(graphs.trace(model, "train", probe_lengths(model)).graph)
    else:
        step = fingerprint(traced.graph)
    return {
        "layers": "; ".join(layers),
        "the optimizer": "; ".join(optimizers),
        "the loss": _text_of(arguments.get("loss")),
        _STEP: step,
    }


def _text_of(value: Any) -> str:
    """A loss, or losses, as text without addresses."""
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {_text_of(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text_of, value))
    if value is None or isinstance(value, str):
        return str(value)
    return getattr(value, "__name__", type(value).__name__)


def _optimizers_of(trainer: Any) -> list[Any]:
    found = [(trainer.arguments or {}).get("optimizer"), *trainer.model.own_optimizers]
    found += [getattr(o, "inner_optimizer", None) for o in found]
    return list({id(o): o for o in found if o is not None and hasattr(o, "scalars_kept")}.values())


def _options_of(optimizer: Any) -> dict[str, Any]:
    """The options of an optimizer that are plain values."""
    names = (*optimizer.options, *optimizer.shared)
    values = {name: getattr(optimizer, name, None) for name in names}
    return {k: v for k, v in values.items() if v is None or type(v) in (bool, int, float, str)}


def _variables_of(trainer: Any) -> Iterator[Variable]:
    """The variables that a training changes, as far as they are known by name."""
    model = trainer.model
    yield from model.weights
    yield from model.random_state
    yield from model.state_variables
    for weight in model.weights:
        for pair in weight.behind.values():
            yield from pair
    for optimizer in _optimizers_of(trainer):
        yield from optimizer.scalars_kept.values()
        for slots in optimizer.kept.values():
            yield from slots.values()
        yield from optimizer.state()


def _distinct(variables: Iterable[Variable]) -> list[Variable]:
    return list({id(v): v for v in variables}.values())
