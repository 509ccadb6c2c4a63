"""What holds for a whole script: which Keras it is written for, the fuzz factor, the float type, the default
data format, the learning phase, and the counters that name layers. Nothing here computes."""

from __future__ import annotations

import gc
import inspect
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np

from kcompile.ir.types import FLOATS
from kcompile.keras.editions import KERAS2, edition
from kcompile.keras.policies import HALVES, DTypePolicy, dtype_here, is_float, policy_of
from kcompile.keras.semantics import DEFAULT, Semantics, semantics
from kcompile_runtime.errors import InputError, InputTypeError, ModelError, describe

DATA_FORMATS = ("channels_last", "channels_first")

_settings: dict[str, Any] = {"epsilon": 1e-7, "floatx": "float32", "at_once": False}
_names: Counter[str] = Counter()
_graph_seed: np.random.RandomState | None = None  # seeds come from it since `set_graph_seed`
# The vintage of the layer or model whose code runs now; None outside
_kept_widths: ContextVar[bool] = ContextVar("kept_widths", default=False)
_running: ContextVar[str | None] = ContextVar("running", default=None)
_samples: ContextVar[int | None] = ContextVar("samples", default=None)


# ---------------------------------------------------------------- which Keras


def set_version(version: str) -> None:
    """Which Keras 2 `kcompile.keras` is from now on: "2.3.1" (the default) or "2.2.4". Layers, models and
    optimizers made before keep theirs. Raises InputError for any other."""
    _settings["vintage"] = vintage_of_setting("set_version", version)


def vintage_of_setting(what: str, version: Any) -> str:
    """The vintage of a version of Keras 2 that a user gives. Raises InputError, which begins with `what`."""
    if not isinstance(version, str) or version not in KERAS2:
        raise InputError(describe(what, " or ".join(map(repr, sorted(KERAS2))), repr(version)))
    return KERAS2[version]


def vintage() -> str:
    """The vintage of what is made from now on: as `set_version` has it, else as KC_KERAS says ("2" and "3"
    speak of `kcompile run`). Raises InputError for another value of KC_KERAS."""
    if "vintage" not in _settings:
        given = os.environ.get("KC_KERAS") or "2"
        _settings["vintage"] = DEFAULT if given in ("2", "3") else vintage_of_setting("KC_KERAS", given)
    return str(_settings["vintage"])


def version() -> str:
    """The version of Keras that `kcompile.keras` is: its `__version__`."""
    return edition(vintage()).version


@contextmanager
def at_version(version: str | None) -> Iterator[None]:
    """Inside the `with`, `kcompile.keras` is this version; None: the one that it is."""
    before = vintage()
    if version is not None:
        set_version(version)
    try:
        yield
    finally:
        _settings["vintage"] = before


@contextmanager
def script_of_its_own() -> Iterator[None]:
    """Inside the `with` a script runs, which begins as one of Keras 2, and ends with the `with`."""
    before = _settings["at_once"]
    _settings["at_once"] = False
    try:
        yield
    finally:
        _settings["at_once"] = before


def compute_at_once(values: str = "tensors") -> None:
    """The script uses a Keras in which calls on values give values, not tensors for later: the "arrays" of
    Keras, or "tensors" of TensorFlow."""
    _settings["at_once"] = values


def computes_at_once() -> bool:
    """Whether it does."""
    return bool(_settings["at_once"])


def values_at_once() -> str:
    """What these values are."""
    return str(_settings["at_once"] or "tensors")


@contextmanager
def kept_widths() -> Iterator[None]:
    """Inside the `with`, values of 64 bits stay so in functions of keras.ops, as in TensorFlow's."""
    token = _kept_widths.set(True)
    try:
        yield
    finally:
        _kept_widths.reset(token)


def keeps_widths() -> bool:
    """Whether they do."""
    return _kept_widths.get()


@contextmanager
def running(vintage: str) -> Iterator[None]:
    """Inside the `with`, functions without a vintage of their own (of K, losses, metrics) behave as the Keras
    of this one: code of a layer or a model of it runs."""
    token = _running.set(vintage)
    try:
        yield
    finally:
        _running.reset(token)


@contextmanager
def samples_of(tensors: Iterable[Any]) -> Iterator[None]:
    """Inside the `with`, shapes may say the number of samples that one of these tensors of a model has, where
    its Input fixed it."""
    token = _samples.set(next((x.batch_size for x in tensors if x.batch_size), _samples.get()))
    try:
        yield
    finally:
        _samples.reset(token)


def fixed_samples() -> int | None:
    """The number of samples that the Input fixed; None where any number may come."""
    return _samples.get()


def vintage_running() -> str:
    """The vintage of the code that runs now: of a layer or model, else of the script."""
    return _running.get() or vintage()


def meaning() -> Semantics:
    """How functions without a vintage of their own behave now."""
    return semantics(vintage_running())


def vintage_made(instance: Any) -> str:
    """The vintage that an object is made with: its class's, else that of the code that runs now."""
    given = inspect.getattr_static(type(instance), "vintage")
    return vintage_running() if isinstance(given, OfScript) else str(given)


class OfScript:
    """The attribute `vintage` of a class whose instances keep the vintage that they are made with."""

    def __get__(self, instance: Any, owner: Any = None) -> str:
        return str(vars(instance).get("vintage") or vintage()) if instance is not None else vintage()

    def __set__(self, instance: Any, value: str) -> None:
        vars(instance)["vintage"] = value


# ---------------------------------------------------------------- numbers


def epsilon() -> float:
    """The small number that guards divisions and logarithms."""
    return float(_settings["epsilon"])


def set_epsilon(value: float) -> None:
    """Set the small number that `epsilon` gives, for layers and losses that are made from now on."""
    _settings["epsilon"] = float(value)


_OF_PYTHON = {bool: "bool", int: "int32", float: "float32"}  # as Keras 3 names them


def dtype_name(value: Any) -> Any:
    """The name of a dtype of numpy's, or of a type of Python's; anything else as it is."""
    if isinstance(value, type) and value in _OF_PYTHON:
        return _OF_PYTHON[value]
    numpy_type = isinstance(value, type) and issubclass(value, np.generic)
    return np.dtype(value).name if numpy_type or isinstance(value, np.dtype) else value


def floatx() -> str:
    """The dtype here of weights, inputs and numbers that are given none: "float32", or "float64"."""
    return dtype_here(said_floatx())


def dtype_of(dtype: Any) -> str:
    """The dtype here for one that a script asks for; None: floatx."""
    return floatx() if dtype is None else dtype_here(dtype_name(dtype))


def max_epochs() -> int | None:
    """How many epochs `fit` runs at most; None: as many as it is told."""
    found: int | None = _settings.get("max epochs")
    return found


def set_max_epochs(max_epochs: int | None) -> None:
    """Limit the epochs of every `fit`, for short trials. Raises InputTypeError for what is no number."""
    if max_epochs is not None and (not isinstance(max_epochs, int) or isinstance(max_epochs, bool)):
        raise InputTypeError(describe("set_max_epochs", "an integer, or None", repr(max_epochs)))
    _settings["max epochs"] = max_epochs


def said_floatx() -> str:
    """K.floatx: the dtype that was set, which may be half precision, or "float32"."""
    return str(_settings["floatx"])


def set_floatx(value: str) -> None:
    """Make what is made from now on of this dtype; half precision counts as float32. Raises ModelError for
    what is no float type."""
    if not isinstance(value, str) or value not in (*FLOATS, *HALVES):
        wanted = "one of " + ", ".join(map(repr, (*FLOATS, *HALVES)))
        raise ModelError(describe("set_floatx", wanted, repr(value)))
    _settings["floatx"] = value


def dtype_policy() -> DTypePolicy:
    """The policy of layers that are given none: as set, else that of floatx."""
    policy: DTypePolicy | None = _settings.get("policy")
    return DTypePolicy(said_floatx()) if policy is None else policy


def set_dtype_policy(policy: Any) -> None:
    """Give layers that are made from now on this policy: a DTypePolicy, or the name of one. Raises
    ModelError for a policy of whole numbers, and what `DTypePolicy` raises."""
    if policy is not None and not isinstance(policy, (str, DTypePolicy)):
        raise InputTypeError(describe("set_dtype_policy", "a DTypePolicy, or its name", repr(policy)))
    made = None if policy is None else policy_of(policy)
    if made is not None and not is_float(made):
        raise ModelError(describe("set_dtype_policy", "a policy of floats", repr(made.name)))
    _settings["policy"] = made


def image_data_format() -> str:
    """'channels_last' or 'channels_first': as set, or as `keras.json` in `keras_folder()` has it."""
    if "image_data_format" not in _settings:
        _settings["image_data_format"] = _configured_format()
    return str(_settings["image_data_format"])


def set_image_data_format(data_format: str) -> None:
    """Set the default of `data_format`: "channels_last" or "channels_first". Raises ModelError for others."""
    _settings["image_data_format"] = checked_data_format(data_format)


def checked_data_format(value: str | None) -> str:
    """A data format, None meaning the default. Raises ModelError."""
    if value is None:
        return image_data_format()
    name = value.lower() if isinstance(value, str) else value
    if name not in DATA_FORMATS:
        raise ModelError(describe("data_format", " or ".join(map(repr, DATA_FORMATS)), repr(value)))
    return name


def keras_folder() -> Path:
    """The folder of Keras' settings and data: KERAS_HOME, else `~/.keras`."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()


def _configured_format() -> str:
    try:
        text = (keras_folder() / "keras.json").read_text(encoding="utf-8")
        value = json.loads(text).get("image_data_format")
    except (OSError, ValueError, RuntimeError, AttributeError):
        return DATA_FORMATS[0]
    return value if value in DATA_FORMATS else DATA_FORMATS[0]


def image_dim_ordering() -> str:
    """Keras 1's name of the data format: 'tf' (channels last) or 'th'."""
    return "tf" if image_data_format() == "channels_last" else "th"


def set_image_dim_ordering(dim_ordering: str) -> None:
    """The same in Keras 1's words: "tf" is channels last, "th" channels first."""
    set_image_data_format({"tf": "channels_last", "th": "channels_first"}.get(dim_ordering, dim_ordering))


def backend() -> str:
    """The name that scripts of Keras 2 look for before they go on with K: "tensorflow". Ours is
    `kcompile.backend_name`."""
    return "tensorflow"


def set_learning_phase(value: int) -> None:
    """Fix the phase of the graphs that are traced from now on: 0 inference, 1 training."""
    if value not in (0, 1):
        raise ModelError(describe("set_learning_phase", "0 or 1", repr(value)))
    _settings["learning_phase"] = bool(value)


def fixed_phase() -> bool | None:
    """The phase that `set_learning_phase` set, None if it was not called."""
    phase: bool | None = _settings.get("learning_phase")
    return phase


class LearningPhase:
    """K.learning_phase() outside a model: an input of K.function that is 0 or 1."""

    def __bool__(self) -> bool:
        raise TypeError("the learning phase is not known yet. Use K.in_train_phase(x, alt)")


PHASE = LearningPhase()


# ---------------------------------------------------------------- seeds


def set_graph_seed(seed: int | None) -> None:
    """Seeds that are not given follow from this one from now on, as from TensorFlow's set_random_seed; None:
    from numpy's global generator alone."""
    global _graph_seed
    if seed is not None and not isinstance(seed, (int, np.integer)):
        raise InputTypeError(describe("set_random_seed", "an integer", repr(seed)))
    _graph_seed = None if seed is None else np.random.RandomState(seed % 2**32)


def new_seed(bits: int, dtype: Any = int) -> int:
    """A seed that was not given, below 2^bits. Numpy's global generator moves on in any case, as with Keras:
    the data that a script draws are the same."""
    drawn = np.random.randint(2**bits, dtype=dtype)
    return int(drawn if _graph_seed is None else _graph_seed.randint(2**bits, dtype=dtype))


@contextmanager
def seeds_from(generator: np.random.RandomState | None) -> Iterator[None]:
    """What is drawn inside follows from one draw of this generator, and moves neither numpy's global one nor
    that of `set_graph_seed`. None: from those, as ever."""
    global _graph_seed
    if generator is None:
        yield
        return
    before, graph_before = np.random.get_state(), _graph_seed
    np.random.seed(generator.randint(2**32, dtype=np.uint32))
    _graph_seed = None
    try:
        yield
    finally:
        np.random.set_state(before)
        _graph_seed = graph_before


# ---------------------------------------------------------------- names


@contextmanager
def name_scope(name: str) -> Iterator[str]:
    """Nothing: scripts structure TensorFlow's graph with it; names here come from layers."""
    yield name


def get_uid(prefix: str = "") -> int:
    """1, 2, 3, ... for each prefix."""
    _names[prefix] += 1
    return _names[prefix]


@contextmanager
def uncounted() -> Iterator[None]:
    """What is made inside the `with` takes no number: it is made to be asked what it is."""
    before = dict(_names)
    try:
        yield
    finally:
        _names.clear()
        _names.update(before)


def reset_uids() -> None:
    """Start naming layers from 1 again."""
    _names.clear()


def clear_session(free_memory: bool = False) -> None:
    """Start naming layers from 1 again, and forget a set learning phase. Models that exist keep
    working. free_memory: whether what nothing refers to any more is freed now, as in Keras 3, rather than
    when Python does so."""
    reset_uids()
    if free_memory:
        gc.collect()
    _settings.pop("learning_phase", None)


def snake_case(name: str, vintage: str = "keras2") -> str:
    """Keras' way from a class to the names of its layers: MaxPooling2D -> max_pooling2d. ConvLSTM2D is
    conv_lst_m2d in Keras 2, and conv_lstm2d since. Keras 3 names functions so too, <lambda> as lambda, and
    leaves an underline at the beginning."""
    newer = edition(vintage).operations
    name = re.sub(r"\W+", "", name) if newer else name
    word = "[a-z0-9]" if edition(vintage).digits_in_words else "[a-z]"
    spaced = re.sub(rf"(.)([A-Z]{word}+)", r"\1_\2", name)
    spaced = re.sub(r"([a-z])([A-Z])", r"\1_\2", spaced).lower()
    return spaced if newer or not spaced.startswith("_") else "private" + spaced
