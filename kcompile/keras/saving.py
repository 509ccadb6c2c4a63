"""Models and files: Keras' names for what `kcompile.files` does.

The front end does not know files; it reaches them through the public package when a method is called.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kcompile.keras import checkpoints, teams
from kcompile.keras.editions import edition
from kcompile.keras.method_orders import of_vintage
from kcompile.keras.utils.io_utils import ask_to_proceed_with_overwrite
from kcompile_runtime.checks import check_flag, check_path, check_text
from kcompile_runtime.errors import InputError, InputTypeError, UnsupportedError, describe

PathLike = str | os.PathLike[str]
Custom = Mapping[str, Any] | None
FORMATS = {"keras": (".keras",), "h5": (".h5", ".hdf5"), "hdf5": (".h5", ".hdf5")}  # and how paths end
SAVED_MODEL = "SavedModels of TensorFlow are not written. Save as .keras or .h5"


def files() -> Any:
    import kcompile

    return kcompile.files


class Saving:
    """The part of `Model` that is about files and texts."""

    built: bool
    subclassed: bool
    vintage: str
    weights: Any

    @of_vintage
    def save(
        self,
        filepath: PathLike,
        overwrite: bool = True,
        include_optimizer: bool = True,
        vintage: str | None = None,
        save_format: str | None = None,
        zipped: bool | None = None,
        signatures: Any = None,
        options: Any = None,
        save_traces: bool = True,
    ) -> None:
        """Write the whole model to a .keras (Keras 3) or .h5 file, which appears whole or not at all; or into
        a group of h5py, as an open file is one. overwrite: False asks on the terminal, as Keras 2 does.

        vintage: which Keras is to open an .h5: "keras2" (2.3, 2.2 and tf_keras), "keras2.2" (2.2 alone,
        with the state of the optimizer as it has it), "tf_keras", "keras3"; default the model's own.
        save_format: "keras" or "h5", as the path ends, or None. zipped: True or None. signatures, options and
        save_traces are of TensorFlow's SavedModel, which is refused. Raises InputError, UnsupportedError,
        ModelError for a model without weights, OSError. Of several processes that train together rank 0
        writes, and the others do nothing."""
        if not teams.writes():
            return
        flags = check_flag("overwrite", overwrite), check_flag("include_optimizer", include_optimizer)
        _check_format("save", filepath, save_format)
        check_flag("save: save_traces", save_traces)
        for name, value in (("signatures", signatures), ("options", options)):
            if value is not None:
                raise UnsupportedError(describe(f"save: {name}", "None", repr(value), SAVED_MODEL))
        if zipped is not None and not check_flag("save: zipped", zipped):
            raise UnsupportedError(describe("save: zipped", "True: a .keras file is one archive", "False"))
        if not _is_group(filepath):
            if (flag := _asked(filepath, flags[0])) is not None:
                files().save(self, _path(filepath), flag, flags[1], vintage)
            return
        with _beside() as path:
            files().save(self, path, *flags, vintage)
            with _opened(path, "r") as file:
                _copy(file, filepath)

    @property
    def has_weights(self) -> bool:
        """Whether the weights are made; those of the parts of a class's model are before it has inputs."""
        return bool(self.built or (self.subclassed and self.weights))

    @of_vintage
    def save_weights(
        self,
        filepath: PathLike,
        overwrite: bool = True,
        save_format: str | None = None,
        options: Any = None,
        max_shard_size: float | None = None,
    ) -> None:
        """Write the weights to .weights.h5 (laid out as in Keras 3, since tf.keras with the state of the
        optimizer), .h5 (Keras 2) or .npz. overwrite: as for `save`. save_format: "h5", in tf.keras "tf", or
        None. In tf.keras a path without such an ending is a checkpoint: the file has .npz behind it, and is
        noted as the latest of its folder. Of several processes that train together rank 0 writes. Raises
        UnsupportedError for max_shard_size, of several files, and options, of TensorFlow's checkpoints."""
        if not teams.writes():
            return
        if self._is_checkpoint(filepath, save_format):
            place, save_format = checkpoints.as_text(filepath), None
            filepath = str(checkpoints.file_of(place))
            Path(filepath).parent.mkdir(parents=True, exist_ok=True)
        else:
            place = None
        _check_format("save_weights", filepath, save_format)
        for name, value in (("options", options), ("max_shard_size", max_shard_size)):
            if value is not None:
                raise UnsupportedError(
                    describe(f"save_weights: {name}", "None: weights are one file", repr(value))
                )
        if (flag := _asked(filepath, check_flag("overwrite", overwrite))) is not None:
            files().save_weights(self, _path(filepath), flag)
            if place is not None:
                checkpoints.note_latest([place], Path(place).parent)

    def _is_checkpoint(self, path: Any, save_format: Any = None) -> bool:
        """Whether a path is of a checkpoint of TensorFlow, as tf.keras has them."""
        if edition(self.vintage).eager != "tensors" or not isinstance(path, (str, os.PathLike)):
            return False
        named = os.fspath(path).lower().endswith((".keras", ".h5", ".hdf5", ".npz"))
        return not named and save_format in (None, "tf")

    @of_vintage
    def load_weights(
        self,
        filepath: PathLike,
        by_name: bool = False,
        skip_mismatch: bool = False,
        reshape: bool = False,
        options: Any = None,
    ) -> Any:
        """Read weights from a file of any Keras, or a checkpoint of `save_weights`. by_name: only into
        layers whose name is in the file. skip_mismatch: leave layers that do not fit, with a warning. Raises
        ModelError, with nothing changed, where they do not fit. reshape: kernels of convolutions that have as
        many numbers are taken in their order, as in Keras 2. The state of an optimizer that has begun is read
        too, where .weights.h5 has one. Of a checkpoint, gives its `Status`."""
        if options is not None:
            raise UnsupportedError(describe("load_weights: options", "None", repr(options), SAVED_MODEL))
        read = self._is_checkpoint(filepath) and checkpoints.file_of(filepath).exists()
        files().load_weights(
            self,
            _path(str(checkpoints.file_of(filepath)) if read else filepath),
            check_flag("by_name", by_name),
            check_flag("skip_mismatch", skip_mismatch),
            reshape=check_flag("reshape", reshape),
        )
        return checkpoints.Status() if read else None

    def to_json(self, vintage: str | None = None, **kwargs: Any) -> str:
        """The architecture as JSON. vintage: which Keras is to read it, as for `save`; what is for Keras 2,
        others read too. kwargs: those of json.dumps."""
        text: str = files().to_json(self, vintage, **kwargs)
        return text

    def to_yaml(self, vintage: str | None = None, **kwargs: Any) -> str:
        """The architecture as YAML. kwargs: those of yaml.safe_dump."""
        text: str = files().to_yaml(self, vintage, **kwargs)
        return text


def _check_format(what: str, path: Any, save_format: Any) -> None:
    """A format that the path has. Raises InputError, UnsupportedError."""
    if save_format is None or _is_group(path):
        return
    label, endings = f"{what}: save_format", FORMATS.get(save_format if isinstance(save_format, str) else "")
    if endings is None:
        raise UnsupportedError(describe(label, "'keras' or 'h5'", repr(save_format), SAVED_MODEL))
    if not str(path).lower().endswith(endings):
        wanted = f"a path that ends in {' or '.join(endings)}"
        raise InputError(describe(f"{label}={save_format!r}", wanted, repr(str(path))))


def _path(value: Any) -> Any:
    """A path, and no open file."""
    return check_path("filepath", value, "Save to a file, and copy it.")


def _asked(path: Any, overwrite: bool) -> bool | None:
    """Whether a file may be overwritten; None where somebody was asked, and said no."""
    if overwrite or not (isinstance(path, (str, os.PathLike)) and os.path.isfile(path)):
        return overwrite
    try:
        return ask_to_proceed_with_overwrite(path) or None
    except (EOFError, OSError):  # nobody is there to ask
        return False


def _is_group(value: Any) -> bool:
    """Whether it is a group of h5py, which is not imported to find out."""
    kinds = [f"{kind.__module__}.{kind.__name__}" for kind in type(value).__mro__]
    return "h5py._hl.group.Group" in kinds


@contextmanager
def _beside() -> Iterator[str]:
    """The path of an HDF5 file for the time being."""
    with tempfile.TemporaryDirectory() as folder:
        yield os.path.join(folder, "model.h5")


@contextmanager
def _opened(path: str, mode: str) -> Iterator[Any]:
    import h5py

    with h5py.File(path, mode) as file:
        yield file


def _copy(source: Any, target: Any) -> None:
    """What a group of h5py has into another. Raises a KeyError where a name is there already."""
    for name in source:
        if name in target:
            raise KeyError(f"save: there is a {name!r} in {target.name!r} already")
        source.copy(name, target)
    target.attrs.update(source.attrs)


def preprocess_weights_for_loading(
    layer: Any,
    weights: Any,
    original_keras_version: str | None = None,
    original_backend: str | None = None,
    reshape: bool = False,
) -> list[Any]:
    """Arrays of a layer as another Keras stored them ("1" is Keras 1; backend: "theano" or "tensorflow") as
    the layer has them. reshape: kernels take another shape of as many numbers. Raises ModelError."""
    made: list[Any] = files().converted_weights(
        layer, weights, original_keras_version, original_backend, check_flag("reshape", reshape)
    )
    return made


def save_model(
    model: Any, filepath: PathLike, overwrite: bool = True, include_optimizer: bool = True, **options: Any
) -> None:
    """`model.save`, with its options."""
    if not isinstance(model, Saving):
        raise InputTypeError(describe("save_model", "a model", type(model).__name__))
    model.save(filepath, overwrite=overwrite, include_optimizer=include_optimizer, **options)


def load_model(
    filepath: PathLike, custom_objects: Custom = None, compile: bool = True, safe_mode: bool = True
) -> Any:
    """The model in a .keras or .h5 file of any Keras, or in a group of h5py; `kcompile.load` says more. Warns
    where HDF5 has a model that was saved before `compile`. safe_mode: True or False mean the same, as code
    in files is never run."""
    check_flag("load_model: safe_mode", safe_mode)
    if _is_group(filepath):
        with _beside() as path:
            with _opened(path, "w") as file:
                _copy(filepath, file)
            return load_model(path, custom_objects, compile, safe_mode)
    model = files().load(_path(filepath), custom_objects=custom_objects, compile=compile)
    untrained = hasattr(model, "trainer") and model.trainer.arguments is None
    if compile and untrained and files().lacks_training(filepath):
        warnings.warn(
            f"{filepath}: no training configuration was found, and the model is not compiled. Compile it",
            stacklevel=2,
        )
    return model


def model_from_json(json_string: str, custom_objects: Custom = None) -> Any:
    """The model that `to_json` wrote, with fresh weights. Raises ModelError for other text."""
    return files().model_from_json(check_text("json_string", json_string), custom_objects)


def model_from_yaml(yaml_string: str, custom_objects: Custom = None) -> Any:
    """The model that `to_yaml` wrote, with fresh weights. Raises ModelError for other text."""
    return files().model_from_yaml(check_text("yaml_string", yaml_string), custom_objects)
