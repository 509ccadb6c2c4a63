"""What scripts of TensorFlow 2 write around models: dtypes, variables, constants, data sets, switches."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np

from kcompile.ir.described import DType, TensorShape
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import DTYPES
from kcompile.keras import initializers, pipelines, settings
from kcompile.keras.eager import EagerArray, EagerTensor
from kcompile.keras.gradient_tape import GradientTape
from kcompile.keras.pipelines.elements import element
from kcompile.keras.tensors import KerasTensor
from kcompile.keras.tensors import Variable as _Variable
from kcompile.keras.tracing import check_repeats, current
from kcompile.tensorflow import functions
from kcompile.tensorflow.functions import o, of_values


def constant(value: Any, dtype: Any = None, shape: Any = None, name: str = "Const") -> Any:
    """The values as an array."""
    made = np.asarray(element(list(value) if isinstance(value, tuple) else value))
    made = made if dtype is None else made.astype(str(dtype))
    return (
        made if shape is None else np.broadcast_to(made, shape) if made.ndim == 0 else made.reshape(shape)
    ).view(EagerTensor)


def convert_to_tensor(value: Any, dtype: Any = None, dtype_hint: Any = None, name: Any = None) -> Any:
    """The values as an array; tensors as they are."""
    if isinstance(value, (Tensor, KerasTensor)):
        return value if dtype is None else o.cast(value, str(dtype))
    if isinstance(value, (list, tuple)) and any(isinstance(v, (Tensor, KerasTensor)) for v in value):
        return o.stack(list(value))
    return constant(value, dtype)


class Variable(_Variable):
    """An array that is written in place: a weight of the layer or model whose attribute it becomes."""

    def __init__(
        self,
        initial_value: Any = None,
        trainable: Any = None,
        validate_shape: bool = True,
        caching_device: Any = None,
        name: str | None = None,
        variable_def: Any = None,
        dtype: Any = None,
        import_scope: Any = None,
        constraint: Any = None,
        synchronization: Any = None,
        aggregation: Any = None,
        shape: Any = None,
    ) -> None:
        value = initial_value() if callable(initial_value) else initial_value
        made = constant(np.asarray(element(value)), dtype)
        super().__init__(
            made,
            "Variable" if name is None else name,
            trainable is not False,
            made.dtype.name,
            constraint=constraint,
        )

    def read_value(self) -> Any:
        """The values now."""
        return self.numpy().view(EagerTensor)

    initialized_value = read_value

    def __getitem__(self, key: Any) -> Any:
        if current() is not None:
            return super().__getitem__(key)
        part = self.array.copy().view(VariablePart)[key]
        part.of, part.key = self, key
        return part

    def __iter__(self) -> Any:
        if current() is not None:
            return super().__iter__()
        return iter(self.read_value())

    def __repr__(self) -> str:
        text = repr(self.numpy()) if self.ndim else str(self.numpy())
        lines = f"\n{text}" if "\n" in text else text
        return f"<tf.Variable '{self.name}' shape={tuple(self.shape)} dtype={self.dtype}, numpy={lines}>"


class VariablePart(EagerTensor):
    """A part of a variable, to which other values may be assigned."""

    of: Any = None
    key: Any = None

    def assign(self, value: Any, name: Any = None) -> Any:
        """Write the part, and give the variable."""
        whole = self.of.array.copy()
        whole[self.key] = np.asarray(value)
        return self.of.assign(whole)

    def assign_add(self, value: Any, name: Any = None) -> Any:
        """Add to the part, and give the variable."""
        return self.assign(self.of.array[self.key] + np.asarray(value))

    def assign_sub(self, value: Any, name: Any = None) -> Any:
        """Subtract from the part, and give the variable."""
        return self.assign(self.of.array[self.key] - np.asarray(value))


def printed(*inputs: Any, **kwargs: Any) -> None:
    """print, of what is known now."""
    check_repeats("tf.print")
    print(*inputs, sep=kwargs.get("sep", " "), end=kwargs.get("end", "\n"))


def of_python(func: Any, inp: Any, Tout: Any, name: Any = None) -> Any:
    """What code of Python's gives for values, in the dtype Tout, or a list of those; as pipelines map it."""
    of_values("py_function", "Code of Python's cannot be traced: use tf functions", *inp)
    found = func(*(convert_to_tensor(x) for x in inp))
    if isinstance(Tout, (list, tuple)):
        many = found if isinstance(found, (list, tuple)) else [found]
        return [constant(x, dtype) for x, dtype in zip(many, Tout)]
    return constant(found, Tout)


def of_numpy(func: Any, inp: Any, Tout: Any, stateful: bool = True, name: Any = None) -> Any:
    """`of_python` of a function of numpy's arrays."""
    return of_python(lambda *given: func(*(x.numpy() for x in given)), inp, Tout)


@contextmanager
def _scope(*args: Any, **kwargs: Any) -> Iterator[Any]:
    """A scope of TensorFlow's: a strategy, a device, a recording."""
    yield None


def _ignored(*args: Any, **kwargs: Any) -> None:
    """A switch of TensorFlow that has no counterpart."""


PhysicalDevice = namedtuple("PhysicalDevice", ("name", "device_type"))


def _devices(kind: str) -> Any:
    """The devices of a type that TensorFlow would have: one processor."""

    def listed(device_type: str | None = None) -> list[Any]:
        return [PhysicalDevice(f"/{kind}device:CPU:0", "CPU")] if device_type in (None, "CPU") else []

    return listed


class _AnyTensor(type):
    """The class of `tf.Tensor`: values and tensors of graphs are its instances."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, (EagerArray, Tensor))


class TensorOfTF(metaclass=_AnyTensor):
    """tf.Tensor: what scripts ask of values, and annotate with."""


class Strategy:
    """tf.distribute.Strategy: there is one device."""

    num_replicas_in_sync = 1

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def scope(self) -> Any:
        """Nothing: models made in it are as others."""
        return _scope()


NAMES: dict[str, Any] = {
    **{dtype: DType(dtype) for dtype in DTYPES},
    **{f"dtypes.{dtype}": DType(dtype) for dtype in DTYPES},
    "double": DType("float64"),
    "string": DType("string"),
    "dtypes.string": DType("string"),
    "dtypes.as_dtype": lambda type_value: DType(np.dtype(getattr(type_value, "name", type_value)).name),
    "dtypes.cast": lambda x, dtype, name=None: o.cast(x, str(dtype)),
    "as_dtype": lambda type_value: DType(np.dtype(getattr(type_value, "name", type_value)).name),
    "GradientTape": GradientTape,
    "Tensor": TensorOfTF,
    "TensorShape": TensorShape,
    "TensorSpec": pipelines.TensorSpec,
    "Variable": Variable,
    "constant": constant,
    "constant_initializer": initializers.Constant,
    "ones_initializer": initializers.Ones,
    "random_normal_initializer": initializers.RandomNormal,
    "random_uniform_initializer": initializers.RandomUniform,
    "zeros_initializer": initializers.Zeros,
    "convert_to_tensor": convert_to_tensor,
    "executing_eagerly": lambda: True,
    "autograph.experimental.do_not_convert": lambda func=None: (lambda f: f) if func is None else func,
    "is_tensor": o.is_tensor,
    "no_op": _ignored,
    "broadcast_static_shape": lambda shape_x, shape_y: TensorShape(np.broadcast_shapes(shape_x, shape_y)),
    "broadcast_dynamic_shape": lambda shape_x, shape_y: functions.broadcast_shape(shape_x, shape_y),
    "get_static_value": lambda tensor, partial=False: (
        tensor.numpy() if isinstance(tensor, EagerArray) else None
    ),
    "numpy_function": of_numpy,
    "print": printed,
    "py_function": of_python,
    "autograph.set_verbosity": _ignored,
    "config.list_physical_devices": _devices("physical_"),
    "config.list_logical_devices": _devices(""),
    "config.get_visible_devices": _devices("physical_"),
    "config.set_visible_devices": _ignored,
    "config.set_soft_device_placement": _ignored,
    "config.optimizer.set_jit": _ignored,
    "config.threading.set_inter_op_parallelism_threads": _ignored,
    "config.threading.set_intra_op_parallelism_threads": _ignored,
    "config.experimental.list_physical_devices": _devices("physical_"),
    "config.experimental.list_logical_devices": _devices(""),
    "config.experimental.set_memory_growth": _ignored,
    "config.experimental.enable_op_determinism": _ignored,
    "config.experimental.set_visible_devices": _ignored,
    "data.Dataset": pipelines.Dataset,
    "data.Options": pipelines.Options,
    "data.AUTOTUNE": pipelines.AUTOTUNE,
    "data.INFINITE_CARDINALITY": pipelines.INFINITE,
    "data.UNKNOWN_CARDINALITY": pipelines.UNKNOWN,
    "data.experimental.AUTOTUNE": pipelines.AUTOTUNE,
    "data.experimental.INFINITE_CARDINALITY": pipelines.INFINITE,
    "data.experimental.UNKNOWN_CARDINALITY": pipelines.UNKNOWN,
    "data.experimental.cardinality": lambda dataset: dataset.cardinality(),
    "debugging.set_log_device_placement": _ignored,
    "debugging.enable_check_numerics": _ignored,
    "debugging.disable_traceback_filtering": _ignored,
    "debugging.enable_traceback_filtering": _ignored,
    "distribute.MirroredStrategy": Strategy,
    "distribute.OneDeviceStrategy": Strategy,
    "distribute.get_strategy": Strategy,
    "experimental.numpy.experimental_enable_numpy_behavior": _ignored,
    "get_logger": lambda: SimpleNamespace(setLevel=_ignored, propagate=False),
    "image.ResizeMethod": SimpleNamespace(
        AREA="area",
        BICUBIC="bicubic",
        BILINEAR="bilinear",
        GAUSSIAN="gaussian",
        LANCZOS3="lanczos3",
        LANCZOS5="lanczos5",
        MITCHELLCUBIC="mitchellcubic",
        NEAREST_NEIGHBOR="nearest",
    ),
    "profiler.experimental.start": _ignored,
    "profiler.experimental.stop": _ignored,
    "random.set_seed": settings.set_graph_seed,
    "random.set_random_seed": settings.set_graph_seed,
    "sysconfig.get_build_info": lambda: {"is_cuda_build": False},
    "test.is_built_with_cuda": lambda: False,
    "test.is_gpu_available": lambda *args, **kwargs: False,
    "test.gpu_device_name": lambda: "",
    "version.VERSION": "2.15.0",
    "version.GIT_VERSION": "unknown",
}
