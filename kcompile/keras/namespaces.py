"""The front end under the names, and with the defaults, of another edition of Keras.

Enters: the name of a package, and a vintage. Leaves: in sys.modules, modules with what those of
`kcompile.keras` have. Layers, models and optimizers are subclasses there, which differ in `vintage` and in
what the edition says; what is the same in all editions is the same object. An instance of the class of
`kcompile.keras`, as files bring them, counts as an instance of its subclass here:
`isinstance(layer, keras3.layers.Dense)` asks what kind of layer it is, and not who made it.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import itertools
import sys
import types
from abc import ABCMeta
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from typing import Any

from kcompile.keras import activations, applications, keras3_absent, places
from kcompile.keras import layers as keras_layers
from kcompile.keras.argument_orders import by_name
from kcompile.keras.editions import NEUTRAL, Edition, edition
from kcompile.keras.engine import Layer
from kcompile.keras.layer_arguments import show_parameters
from kcompile.keras.losses import Loss
from kcompile.keras.method_orders import METHODS, of_edition
from kcompile.keras.metric import Metric
from kcompile.keras.models import Model, Sequential
from kcompile.keras.network_names import FAMILIES, OF_TF_KERAS
from kcompile.keras.optimizer import COMMON
from kcompile.keras.optimizers import Optimizer
from kcompile.keras.semantics import semantics
from kcompile.keras.settings import running
from kcompile.keras.training import Training
from kcompile_runtime.errors import InputTypeError, describe

HOME = "kcompile.keras"
MODULES = (
    "activations",
    "applications",
    "applications.convnext",
    "applications.densenet",
    "applications.efficientnet",
    "applications.efficientnet_v2",
    "applications.imagenet_utils",
    "applications.inception",
    "applications.mobilenet",
    "applications.mobilenet_v3",
    "applications.nasnet",
    "applications.regnet",
    "applications.resnet",
    "applications.resnet50",
    "applications.resnet_rs",
    "applications.resnet_v2",
    "applications.vgg",
    "applications.xception",
    "backend",
    "callbacks",
    "config",
    "constraints",
    "datasets",
    "datasets.boston_housing",
    "datasets.california_housing",
    "datasets.cifar",
    "datasets.cifar10",
    "datasets.cifar100",
    "datasets.digits",
    "datasets.fashion_mnist",
    "datasets.imdb",
    "datasets.mnist",
    "datasets.reuters",
    "distillation",
    "distribution",
    "dtype_policies",
    "engine",
    "export",
    "initializers",
    "layers",
    "legacy",
    "legacy.saving",
    "losses",
    "metrics",
    "mixed_precision",
    "models",
    "ops",
    "ops.image",
    "ops.linalg",
    "ops.nn",
    "ops.numpy",
    "optimizers",
    "optimizers.experimental",
    "optimizers.legacy",
    "optimizers.schedules",
    "preprocessing",
    "preprocessing.image",
    "preprocessing.sequence",
    "preprocessing.text",
    "quantizers",
    "random",
    "regularizers",
    "saving",
    "tree",
    "utils",
    "utils.bounding_boxes",
    "utils.data_utils",
    "utils.legacy",
    "utils.vis_utils",
    "visualization",
    "wrappers",
    "wrappers.scikit_learn",
)
# Modules that one Keras alone has, with its arguments: where scripts of another do not find them
ONE_EDITION = {
    "distribution": "keras3_distribution",
    "ops": "keras3_ops",
    "quantizers": "keras3_quantizers",
    "random": "keras3_random",
    "tree": "keras3_tree",
    "utils.bounding_boxes": "keras3_boxes",
}
# Modules whose names are in a module of ours that is called otherwise
SOURCES = {
    "saving": "keras3_saving",
    **ONE_EDITION,
    **{f"ops.{part}": "keras3_ops" for part in ("image", "linalg", "nn", "numpy")},
    **{f"applications.{family}": f"newer_networks.{family}" for family in (*FAMILIES, *OF_TF_KERAS)},
    "optimizers.experimental": "optimizers",
    "optimizers.legacy": "legacy_optimizers",
    "optimizers.schedules": "schedules",
}
# Functions that make a layer, which is of the vintage too
MAKERS = frozenset(
    {
        "Input",
        "add",
        "average",
        "concatenate",
        "dot",
        "maximum",
        "minimum",
        "multiply",
        "subtract",
        *applications.__all__,
        *itertools.chain(*FAMILIES.values(), *OF_TF_KERAS.values()),
    }
)
# Functions that give models, which are of the edition's classes
READERS = frozenset({"clone_model", "load_model", "model_from_config", "model_from_json", "model_from_yaml"})
# Functions that ask which Keras they are of
ASKING = {
    "activations": frozenset({"deserialize", "get"}),
    "backend": frozenset({"batch_dot", "ones_like", "zeros_like"}),
    "metrics": frozenset({"binary_accuracy"}),
    "optimizers": frozenset({"get"}),
    "regularizers": frozenset({"deserialize", "get", "l1", "l2"}),
}
OLD_OPTIONS = ("lr", "decay")  # of the optimizers of Keras 2


class OfEdition(ABCMeta):
    """The class of the subclasses made here: what is an instance of the class below is one of theirs."""

    def __instancecheck__(cls, instance: Any) -> bool:
        same = vars(cls).get("_same_as")
        return super().__instancecheck__(instance) if same is None else isinstance(instance, same)

    def __subclasscheck__(cls, other: type) -> bool:
        same = vars(cls).get("_same_as")
        return super().__subclasscheck__(other) if same is None else issubclass(other, same)


def publish(package: str, vintage: str) -> None:
    """Fill the package, and make its modules. Called by the package while it is imported."""
    maker = _Maker(package, edition(vintage))
    root = sys.modules[package]
    modules = [name for name in MODULES if name not in maker.edition.removed.get("", ())]
    for name in modules:
        module = types.ModuleType(f"{package}.{name}", _source(name).__doc__)
        module.__spec__ = ModuleSpec(module.__name__, None, is_package=True)
        module.__path__ = []
        sys.modules[module.__name__] = module
        parent, _, last = module.__name__.rpartition(".")
        setattr(sys.modules[parent], last, module)
    for name in modules:
        vars(sys.modules[f"{package}.{name}"]).update(maker.contents(name))
    vars(root).update((name, value) for name, value in maker.contents("").items() if not hasattr(root, name))
    vars(root)["__version__"] = maker.edition.version
    places.install(package)


def _source(name: str) -> types.ModuleType:
    """The module of ours that has the names of a module."""
    if name in keras3_absent.BARE:
        return keras3_absent
    return importlib.import_module(f"{HOME}.{SOURCES.get(name, name)}".rstrip("."))


class _Maker:
    """Makes the modules of one edition."""

    def __init__(self, package: str, edition: Edition) -> None:
        self.package = package
        self.edition = edition
        self._made: dict[type, type] = {}

    def contents(self, name: str) -> dict[str, Any]:
        """The public names of our module, without those that the edition lacks."""
        parent, _, part = name.partition(".")
        if parent == "ops" and part:
            return dict(_source(parent).SUBMODULES[part])
        source = _source(name)
        public = set(source.__all__) if name in ONE_EDITION else vars(source)
        lacks = self.edition.removed.get(name, frozenset())
        elsewhere = {
            key: self.of_edition(module, key, getattr(importlib.import_module(f"{HOME}.{module}"), key))
            for key, module in self.edition.added.get(name, {}).items()
        }
        here = {
            key: self.of_edition(name, key, value)
            for key, value in vars(source).items()
            if not key.startswith("_")
            and key in public
            and key not in lacks
            and name not in keras3_absent.BARE
            and not isinstance(value, types.ModuleType)
        }
        return here | elsewhere

    def of_edition(self, module: str, name: str, value: Any) -> Any:
        """A class, function or constant of a module as the edition has it."""
        if module in ONE_EDITION:
            return value
        if isinstance(value, type):
            of_all = issubclass(value, (Layer, Optimizer, Metric, Loss))
            own = of_all or value.__name__ in self.edition.defaults
            return self.subclass(module, value) if own else value
        if not isinstance(value, types.FunctionType):
            return value
        if name in MAKERS and module != "backend" and value.__module__.startswith(HOME):
            renamed, order = self.edition.renamed.get(name, {}), self.edition.positions.get(name, ())
            return _with_defaults(value, {"vintage": self.edition.vintage}, renamed, order)
        if name in READERS and module in ("models", "saving", ""):
            return self.giving(value)
        if value is keras_layers.deserialize:
            return functools.partial(value, vintage=self.edition.vintage)
        if (module, name) == ("activations", "hard_sigmoid"):
            return activations.get(name, semantics(self.edition.vintage))
        defaults = self.edition.defaults.get(f"{module}.{name}") or self.edition.defaults.get(name, {})
        made = _with_defaults(value, defaults, self.edition.renamed.get(name, {}))
        return _running_as(made, self.edition.vintage) if name in ASKING.get(module, ()) else made

    def giving(self, read: Callable[..., Any]) -> Callable[..., Any]:
        """A function that reads models, whose models (and those inside) are of the edition's classes."""

        @functools.wraps(read)
        def call(*args: Any, **kwargs: Any) -> Any:
            found = read(*args, **kwargs)
            waiting = [found]
            while waiting:
                model = waiting.pop()
                if type(model) in (Model, Sequential):
                    model.__class__ = self.subclass("models", type(model))
                waiting += [layer for layer in getattr(model, "layers", []) if isinstance(layer, Training)]
            return found

        return call

    def subclass(self, module: str, base: type) -> type:
        """The subclass of a class of ours, found in the first module that has it."""
        if base not in self._made:
            members: dict[str, Any] = {
                "__module__": f"{self.package}.{'models' if issubclass(base, Training) else module}",
                "_same_as": base,
                "__doc__": base.__doc__,
            }
            if issubclass(base, (Layer, Metric, Loss)):
                members["vintage"] = self.edition.vintage
            if issubclass(base, Training):
                methods = METHODS.get(self.edition.vintage, {})
                for method, (order, values) in methods.items():
                    members[method] = of_edition(getattr(base, method), order, values)
            if issubclass(base, Optimizer):
                members["home"] = self.edition.vintage
            if issubclass(base, Layer):
                if "add_weight" in self.edition.positions:
                    members["add_weight"] = _ordered(base.add_weight, self.edition.positions["add_weight"])
            known = self.edition.defaults
            defaults = known.get(f"{module}.{base.__name__}", known.get(base.__name__, {}))
            order = self.edition.positions.get(base.__name__, ())
            renamed = self.edition.renamed.get(base.__name__, {})
            if defaults or order or renamed:
                members["__init__"] = _constructor(base, defaults, order, renamed, self.edition)
            self._made[base] = OfEdition(base.__name__, (base,), members)
        return self._made[base]


def _with_defaults(
    function: Callable[..., Any],
    defaults: Mapping[str, Any],
    renamed: Mapping[str, str],
    order: Sequence[str] = (),
) -> Callable[..., Any]:
    """The function, with these values of arguments that are not given, and these names of arguments. order:
    of those by position, where it is another."""
    if not defaults and not renamed:
        return function
    known = inspect.signature(function).parameters
    names = list(order) or list(known)
    parameters = [known[name] for name in (*names, *(n for n in known if n not in names))]

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        kwargs = _as_ours(kwargs, renamed)
        if order:
            args, kwargs = (), {**by_name(function.__name__, order, args, kwargs), **kwargs}
        given = {*names[: len(args)], *kwargs}
        return function(*args, **{k: v for k, v in defaults.items() if k not in given}, **kwargs)

    show_parameters(call, _shown(parameters, defaults, renamed))
    return call


def _running_as(function: Callable[..., Any], vintage: str) -> Callable[..., Any]:
    """The function, which behaves as the Keras of this vintage has it."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with running(vintage):
            return function(*args, **kwargs)

    return call


def _ordered(method: Callable[..., Any], order: tuple[str, ...]) -> Callable[..., Any]:
    """`add_weight`, whose first arguments come in this order, unless the first is a name: layers of ours, and
    of Keras 2, begin with that."""

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if args and isinstance(args[0], str):
            return method(self, *args, **kwargs)
        return method(self, **dict(zip(order, args)), **kwargs)

    return call


def _as_ours(arguments: Mapping[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
    return {renamed.get(name, name): value for name, value in arguments.items()}


def _shown(
    parameters: Iterable[inspect.Parameter], defaults: Mapping[str, Any], renamed: Mapping[str, str]
) -> list[inspect.Parameter]:
    """Parameters under the edition's names, with its defaults."""
    theirs = {ours: name for name, ours in renamed.items()}
    return [
        p.replace(name=theirs.get(p.name, p.name), default=defaults.get(p.name, p.default))
        for p in parameters
    ]


def _constructor(
    base: type[Any],
    defaults: Mapping[str, Any],
    order: tuple[str, ...],
    renamed: Mapping[str, str],
    edition: Edition,
) -> Callable[..., None]:
    """`__init__` of a subclass: arguments by position in the edition's order, its defaults for the rest."""
    own = list(inspect.signature(base.__init__).parameters.values())
    names = order or tuple(p.name for p in own[1:] if p.kind == p.POSITIONAL_OR_KEYWORD)

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        kwargs = _as_ours(kwargs, renamed)
        given = by_name(type(self).__name__, names, args, kwargs)
        if order:
            _check_old_options(type(self).__name__, kwargs, edition)
        given.update(kwargs)
        for name, value in defaults.items():
            if name not in given and not (name == "learning_rate" and "lr" in given):
                given[name] = value
        base.__init__(self, **given)

    common = {**COMMON, **base.defaults, "jit_compile": True} if issubclass(base, Optimizer) else {}
    known = {name: values[0] for name, values in NEUTRAL.items()} | common | _defaults(base) | dict(defaults)
    ordered = [inspect.Parameter(n, own[0].kind, default=known.get(n)) for n in order]
    rest = [
        p.replace(kind=p.KEYWORD_ONLY) if order and p.kind != p.VAR_KEYWORD else p
        for p in own[1:]
        if p.name not in order and p.name != "lr"
    ]
    show_parameters(__init__, [own[0], *ordered, *_shown(rest, defaults, renamed)])
    return __init__


def _defaults(cls: type[Any]) -> dict[str, Any]:
    """The defaults of the constructor arguments of a class and its bases."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if "__init__" in vars(base):
            known = inspect.signature(vars(base)["__init__"]).parameters.values()
            found |= {p.name: p.default for p in known}
    return found


def _check_old_options(kind: str, options: dict[str, Any], edition: Edition) -> None:
    """lr and decay are Keras 2's: tf.keras takes them, decay with its older optimizers, Keras 3 does not."""
    old = [name for name in OLD_OPTIONS if name in options]
    if old and not semantics(edition.vintage).old_optimizer_options:
        raise InputTypeError(
            describe(
                f"{kind} of Keras 3",
                "learning_rate, and for a decay a callback LearningRateScheduler",
                ", ".join(old),
            )
        )
    if "decay" in old:
        options.setdefault("vintage", "tf_keras2.10")
