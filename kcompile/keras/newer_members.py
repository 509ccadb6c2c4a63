"""Members of layers and models that came after Keras 2.

They give way: a class or an object of a user's may have an attribute of the same name. Those that mean
nothing where models are compiled from graphs are refused by name, with what to use instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from kcompile.ir.tensor import Tensor
from kcompile.keras.names_of_scripts import NamesOfScripts, set_by_script
from kcompile.keras.operands import leaves
from kcompile.keras.operators import LOOPS_OF_JAX
from kcompile.keras.optimizer_configs import for_files
from kcompile.keras.utils.serialization import serialize
from kcompile_runtime.errors import ModelError, UnsupportedError, describe

_LOOPS = "the loop over batches is compiled; define train_step, test_step or predict_step"
_QUANTIZED = "weights are float32 or float64"
_STATELESS = "call the layer on arrays, or compile a JAX function by kcompile.compile_jax"
REFUSED_OF_LAYERS = {
    "quantized_build": _QUANTIZED,
    "quantized_call": _QUANTIZED,
    "quantization_mode": _QUANTIZED,
    "rematerialized_call": "memory is planned when a model is compiled",
    "symbolic_call": "call the layer on a tensor of a model",
    "with_name_scope": "there are no scopes of names: layers name their weights",
    "name_scope": "there are no scopes of names: layers name their weights",
}
REFUSED_OF_MODELS = {
    "compute_loss_and_updates": _LOOPS,
    "jax_state_sync": "there is no state of JAX's",
    "stateless_compute_loss": _STATELESS,
    "get_quantization_layer_structure": _QUANTIZED,
    "distribute_strategy": "a model runs on one device, which its target names",
    "autotune_steps_per_execution": "many steps are one native call in any case",
}


class Derived:
    """An attribute that follows from others, unless it is set."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function
        self.__doc__ = function.__doc__

    def __get__(self, owner: Any, kind: Any = None) -> Any:
        return self if owner is None else self.function(owner)


class Refused:
    """An attribute that is refused by name: there is none."""

    def __init__(self, remedy: str) -> None:
        self.remedy = remedy

    def __set_name__(self, owner: Any, name: str) -> None:
        self.name = name

    def __get__(self, owner: Any, kind: Any = None) -> NoReturn:
        label = getattr(owner, "label", getattr(kind, "__name__", "a layer"))
        raise AttributeError(
            f"{label}: {self.name} is not supported: {self.remedy}", name=self.name, obj=owner
        )


def refuse_traced(what: str, operands: Any) -> None:
    """Raises UnsupportedError where an operand is of a function that JAX traces, or we."""
    for x in leaves([operands]):
        kind = type(x)
        of_jax = "Tracer" in kind.__name__ and kind.__module__.partition(".")[0] == "jax"
        if of_jax or isinstance(x, Tensor):
            raise UnsupportedError(f"{what}: {LOOPS_OF_JAX}")


def held(owner: Any, wanted: Callable[[Any], bool]) -> list[Any]:
    """What the attributes of a layer hold of a kind: itself, or in lists and dicts."""
    return [
        x
        for key, value in vars(owner).items()
        if key.strip() != "trainer" or key in set_by_script(owner)
        for x in (leaves(value) if isinstance(value, (list, tuple, dict)) else (value,))
        if wanted(x)
    ]


def is_metric(x: Any) -> bool:
    """Whether it is a metric with a state."""
    return hasattr(type(x), "update_state") and hasattr(type(x), "result")


class LayerMembers(NamesOfScripts):
    """Those of layers."""

    dynamic = False
    submodules = Derived(lambda self: (*self.inside, *(y for x in self.inside for y in x.submodules)))
    inbound_nodes = Derived(lambda self: list(self.nodes_made))
    outbound_nodes = Derived(lambda self: list(self.consumers))

    @Derived
    def path(self: Any) -> str:
        """The name, as there are no layers around that are known here."""
        return str(self.name)

    @Derived
    def metrics(self: Any) -> list[Any]:
        """The metrics in the attributes of the layer, and of those inside."""
        return [*held(self, is_metric), *(m for layer in self.inside for m in layer.metrics)]

    metrics_variables = Derived(lambda self: [v for m in self.metrics for v in m.variables])

    def get_build_config(self: Any) -> dict[str, Any] | None:
        """The shape that the layer was built for."""
        try:
            return {"input_shape": self.input_shape} if self.built else None
        except AttributeError:
            return None

    def build_from_config(self: Any, config: Any) -> None:
        """Build the layer for the shape of `get_build_config`."""
        if config and config.get("input_shape") is not None:
            shape = config["input_shape"]
            self.build(tuple(shape) if shape and not isinstance(shape[0], (list, tuple)) else shape)

    def save_own_variables(self: Any, store: Any) -> None:
        """Put the layer's own weights, not those of layers inside, into a dict of arrays by number."""
        for number, variable in enumerate([*self._trainable, *self._non_trainable]):
            store[str(number)] = np.asarray(variable.value)

    def load_own_variables(self: Any, store: Any) -> None:
        """Take the layer's own weights from what `save_own_variables` made. Raises ModelError."""
        own = [*self._trainable, *self._non_trainable]
        if len(store) != len(own):
            what = f"{self.label}: load_own_variables"
            raise ModelError(describe(what, f"{len(own)} arrays", str(len(store))))
        for number, variable in enumerate(own):
            variable.assign(np.asarray(store[str(number)]))

    def add_variable(self: Any, *args: Any, **kwargs: Any) -> Any:
        """The older name of `add_weight`."""
        return self.add_weight(*args, **kwargs)

    def compute_output_spec(self: Any, *args: Any, **kwargs: Any) -> Any:
        """What the layer gives for tensors of a model, which a call tells."""
        return self(*args, **kwargs)

    def stateless_call(
        self: Any,
        trainable_variables: Any,
        non_trainable_variables: Any,
        *args: Any,
        return_losses: bool = False,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """The outputs for arrays with these values of the variables, which the layer has for the call alone,
        and the non-trainable values after it; with return_losses the losses too. Raises ModelError for a
        layer that is not built, or other numbers of values, UnsupportedError in code that is traced."""
        what = f"{self.label}: stateless_call"
        refuse_traced(what, [trainable_variables, non_trainable_variables, args, kwargs])
        if not self.built:
            raise ModelError(f"{what}: the layer has no variables yet. Build it, or call it on some data")
        given: list[tuple[Any, np.ndarray]] = []
        for name, values in (
            ("trainable_variables", trainable_variables),
            ("non_trainable_variables", non_trainable_variables),
        ):
            own = getattr(self, name)
            if len(values) != len(own):
                raise ModelError(describe(f"{what}: {name}", f"{len(own)} arrays", str(len(values))))
            given += zip(own, [np.array(value) for value in values])
        before = [(variable, variable.array.copy()) for variable, _ in given]
        try:
            for variable, value in given:
                variable.assign(value)
            found = self(*args, **kwargs)
            losses = list(self.losses) if return_losses else []
            after = [variable.array.copy() for variable in self.non_trainable_variables]
        finally:
            for variable, value in before:
                variable.assign(value)
        return (found, after, losses) if return_losses else (found, after)

    def finalize_state(self) -> None:
        """Nothing: weights may be changed at any time."""


class ModelMembers:
    """Those of models."""

    run_eagerly = Derived(lambda self: False)
    jit_compile = Derived(lambda self: True)
    steps_per_execution = Derived(lambda self: 1)

    def get_compile_config(self: Any) -> dict[str, Any] | None:
        """The arguments of `compile`, made of what JSON can hold; None before it."""
        arguments = self.trainer.arguments
        if arguments is None:
            return None
        kept = {k: serialize(v) for k, v in arguments.items()}
        kept["optimizer"]["config"] = for_files(arguments["optimizer"])
        return kept

    def compile_from_config(self: Any, config: dict[str, Any]) -> None:
        """`compile`, with the arguments of `get_compile_config`."""
        self.compile(**config)

    compiled = Derived(lambda self: self.trainer.arguments is not None)

    def make_train_function(self: Any, force: bool = False) -> None:
        """Nothing, as training is compiled where it begins; force: anew, as after a change of `trainable`."""
        if force:
            self.structure_changed(("test", "train"))

    def make_test_function(self: Any, force: bool = False) -> None:
        """As `make_train_function`."""
        self.make_train_function(force)

    def make_predict_function(self: Any, force: bool = False) -> None:
        """As `make_train_function`."""
        if force:
            self.structure_changed()

    def get_state_tree(self: Any, value_format: str = "backend_tensor") -> dict[str, dict[str, Any]]:
        """The values of all variables, as arrays in dicts by the parts of their paths. value_format: one of
        Keras' two, which are the same here."""
        self.one_of("get_state_tree: value_format", value_format, ("backend_tensor", "numpy_array"))
        tree: dict[str, dict[str, Any]] = {}
        for kind, variables in _states(self).items():
            tree[kind] = {}
            for variable in variables:
                *parts, name = variable.path.split("/")
                place = tree[kind]
                for part in parts:
                    place = place.setdefault(part, {})
                place[name] = variable.array.copy()
        return tree

    def set_state_tree(self: Any, state_tree: Any) -> None:
        """Write what `get_state_tree` gave, or some of it. Raises ModelError for a path that there is not."""
        states, found = _states(self), []
        for kind, values in state_tree.items():
            known = {variable.path: variable for variable in states.get(kind, ())}
            for path, value in _leaves(values):
                if path not in known:
                    wanted = f"paths of {kind}, as get_state_tree gives them"
                    raise ModelError(describe(f"{self.label}: set_state_tree", wanted, repr(path)))
                found.append((known[path], value))
        for variable, value in found:
            variable.assign(np.asarray(value))

    def get_weight_paths(self: Any) -> dict[str, Any]:
        """The weights by name."""
        return {v.name: v for v in self.weights}

    def export(
        self: Any, filepath: Any, format: str | None = None, verbose: Any = None, **options: Any
    ) -> None:
        """Write a library for predictions, as `kcompile.export` does, with its options (target, batch, ...).

        format: None or "library". Raises UnsupportedError for the formats of other systems.
        """
        import kcompile

        if format not in (None, "library"):
            remedy = "Keras exports it: save the model as .keras, and load it there"
            raise UnsupportedError(
                describe("Model.export: format", "None or 'library'", repr(format), remedy)
            )
        path = kcompile.export(self, filepath, **options)
        if verbose:
            print(f"Saved artifact at '{path}'.")


def _states(model: Any) -> dict[str, list[Any]]:
    """The variables of a model, by what they are."""
    optimizer = model.optimizer if model.compiled else None
    return {
        "trainable_variables": list(model.trainable_variables),
        "non_trainable_variables": list(model.non_trainable_variables),
        "optimizer_variables": [] if optimizer is None else list(optimizer.variables),
        "metrics_variables": list(model.metrics_variables),
    }


def _leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        below = f"{path}/{name}" if path else name
        yield from _leaves(value, below) if isinstance(value, dict) else [(below, value)]


for _members, _names in ((LayerMembers, REFUSED_OF_LAYERS), (ModelMembers, REFUSED_OF_MODELS)):
    for _name, _remedy in _names.items():
        _made = Refused(_remedy)
        _made.__set_name__(_members, _name)
        setattr(_members, _name, _made)
