"""The engines that are compared. Each makes functions on numpy arrays for a benchmark.

`predict(benchmark)` gives x -> y, `train(benchmark)` gives (x, labels) -> loss after one step,
`fit(benchmark, batch)` gives (x, labels, shuffle) -> mean loss of an epoch. An engine raises
ImportError where it is not installed and NotImplementedError for what it cannot do. Each runs in a
process of its own (`worker`), so none of them is imported here at the top.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.models import Benchmark, flat_weights
from benchmarks.networks import random_weights

Predict = Callable[[np.ndarray], np.ndarray]
Train = Callable[[np.ndarray, np.ndarray], float]
Fit = Callable[[np.ndarray, np.ndarray, bool], float]


class Engine:
    """One way to run a benchmark on `threads` threads."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def version(self) -> str:
        raise NotImplementedError

    def predict(self, benchmark: Benchmark) -> Predict:
        raise NotImplementedError

    def train(self, benchmark: Benchmark) -> Train:
        raise NotImplementedError

    def fit(self, benchmark: Benchmark, batch: int) -> Fit:
        raise NotImplementedError


def with_weights(benchmark: Benchmark, keras: Any) -> Any:
    """The model, with the weights that it has in every package."""
    model = benchmark.model(keras)
    model.set_weights(random_weights(model) if benchmark.network else flat_weights(benchmark))
    return model


def loss_of(benchmark: Benchmark) -> str:
    return "mse" if benchmark.network else "sparse_categorical_crossentropy"


def as_onnx(benchmark: Benchmark) -> bytes:
    """The model as ONNX: written by hand, or what another process makes of the network."""
    if not benchmark.network:
        from benchmarks.to_onnx import to_onnx

        return to_onnx(benchmark)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        command = [sys.executable, "-m", "benchmarks.networks", benchmark.network, str(path)]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        return path.read_bytes()


def parts(x: Any) -> list[np.ndarray]:
    return list(x) if isinstance(x, list) else [x]


class Ours(Engine):
    """kcompile through its public interface."""

    def _compiled(self, benchmark: Benchmark, training: bool) -> Any:
        import kcompile
        from kcompile import keras, keras3

        model = with_weights(benchmark, keras3 if benchmark.network else keras)
        if training:
            model.compile(optimizer="adam", loss=loss_of(benchmark))
        return kcompile.compile(model, threads=self.threads)

    def version(self) -> str:
        import kcompile

        return f"kcompile {kcompile.__version__}"

    def predict(self, benchmark: Benchmark) -> Predict:
        return self._compiled(benchmark, False).predict_on_batch  # type: ignore[no-any-return]

    def train(self, benchmark: Benchmark) -> Train:
        return self._compiled(benchmark, True).train_on_batch  # type: ignore[no-any-return]

    def fit(self, benchmark: Benchmark, batch: int) -> Fit:
        return _keras_fit(self._compiled(benchmark, True), batch)


class OnnxRuntime(Engine):
    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        import onnxruntime

        self.ort = onnxruntime

    def version(self) -> str:
        return f"onnxruntime {version('onnxruntime')}"

    def predict(self, benchmark: Benchmark) -> Predict:
        options = self.ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        session = self.ort.InferenceSession(as_onnx(benchmark), options, providers=["CPUExecutionProvider"])
        names = [x.name for x in session.get_inputs()]
        return lambda x: session.run(None, dict(zip(names, parts(x))))[0]  # type: ignore[no-any-return]


class OpenVino(Engine):
    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        import openvino

        self.openvino = openvino

    def version(self) -> str:
        return f"openvino {version('openvino')}"

    def predict(self, benchmark: Benchmark) -> Predict:
        core = self.openvino.Core()
        model = core.read_model(as_onnx(benchmark))
        options = {
            "INFERENCE_NUM_THREADS": self.threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        }
        request = core.compile_model(model, "CPU", options).create_infer_request()
        return lambda x: request.infer(dict(enumerate(parts(x))))[0].copy()  # type: ignore[no-any-return]


class Keras(Engine):
    """Keras 3 on a backend."""

    backend = ""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        os.environ["KERAS_BACKEND"] = self.backend
        self._configure()
        import keras

        self.keras = keras

    def _configure(self) -> None:
        """What must be set before the backend starts."""

    def version(self) -> str:
        return f"keras {version('keras')} on {self.backend} {version(self.backend)}"

    def _model(self, benchmark: Benchmark) -> Any:
        return with_weights(benchmark, self.keras)

    def predict(self, benchmark: Benchmark) -> Predict:
        model = self._model(benchmark)
        model.compile()
        return lambda x: np.asarray(model.predict_on_batch(x))

    def train(self, benchmark: Benchmark) -> Train:
        model = self._model(benchmark)
        model.compile(optimizer="adam", loss=loss_of(benchmark))

        def step(x: np.ndarray, labels: np.ndarray) -> float:
            model.reset_metrics()  # its loss is a running mean; ours is this batch's
            return float(np.asarray(model.train_on_batch(x, labels)).ravel()[0])

        return step

    def fit(self, benchmark: Benchmark, batch: int) -> Fit:
        model = self._model(benchmark)
        model.compile(optimizer="adam", loss=loss_of(benchmark))
        return _keras_fit(model, batch)


def _keras_fit(model: Any, batch: int) -> Fit:
    return lambda x, labels, shuffle: float(
        model.fit(  # type: ignore[no-any-return]
            x, labels, batch_size=batch, epochs=1, shuffle=shuffle, verbose=0
        ).history["loss"][0]
    )


class KerasJax(Keras):
    backend = "jax"


class KerasTensorFlow(Keras):
    backend = "tensorflow"

    def _configure(self) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(self.threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)


class Jax(Engine):
    """Hand-written, jitted."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        from benchmarks import in_jax

        self.code = in_jax

    def version(self) -> str:
        return f"jax {version('jax')}"

    def predict(self, benchmark: Benchmark) -> Predict:
        if benchmark.network:
            from benchmarks import in_jax_by_keras

            return in_jax_by_keras.predictor(benchmark)
        return self.code.predictor(benchmark)  # type: ignore[no-any-return]

    def train(self, benchmark: Benchmark) -> Train:
        if benchmark.network:
            from benchmarks import in_jax_by_keras

            return in_jax_by_keras.trainer(benchmark)
        return self.code.trainer(benchmark)  # type: ignore[no-any-return]

    def fit(self, benchmark: Benchmark, batch: int) -> Fit:
        return self.code.fitter(benchmark, batch)  # type: ignore[no-any-return]


OURS = "kcompile"
ENGINES: dict[str, type[Engine]] = {
    OURS: Ours,
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
    "keras-jax": KerasJax,
    "keras-tensorflow": KerasTensorFlow,
    "jax": Jax,
}
