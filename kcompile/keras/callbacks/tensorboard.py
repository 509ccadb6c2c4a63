"""The callback that writes logs for TensorBoard, through tensorboardX (extra `tensorboard`)."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kcompile.keras.callbacks.base import Callback, Report
from kcompile.keras.extras import library
from kcompile_runtime.checks import check_count, check_flag, check_path
from kcompile_runtime.errors import InputError, ModelError, describe

IMAGES = 3  # of a weight of three axes, as many as TensorFlow writes


class TensorBoard(Callback):
    """Writes what TensorBoard shows: `tensorboard --logdir=log_dir`.

    log_dir: the folder of the logs; what Keras 2 calls "loss" and "val_loss" there, tf.keras and Keras 3
    call "epoch_loss" in the folders train and validation. histogram_freq: after each so many epochs,
    histograms of weights, in Keras 2 also of the outputs of layers for the validation data, which then must
    be arrays; with write_images weights as images too. batch_size: for these outputs. write_graph: the layers
    and how they are connected. update_freq: "epoch", "batch", or a number (of samples in Keras 2, else of
    batches), after which values are written too.
    embeddings_freq: after each so many epochs, in Keras 2 the outputs of the layers embeddings_layer_names
    (default: the Embeddings) for embeddings_data, else the weights of Embeddings. embeddings_metadata: the
    name of a table with a line for each point, in log_dir or from here; or one by the name of each layer.
    write_steps_per_second: how many batches a second went by. write_grads and profile_batch are not done, and
    warned of. A training that goes on from a state writes what came after that state once more.
    """

    _kept = ("samples_seen", "_written", "_batches")

    def __init__(
        self,
        log_dir: Any = "./logs",
        histogram_freq: int = 0,
        batch_size: int | None = None,
        write_graph: bool = True,
        write_grads: bool = False,
        write_images: bool = False,
        embeddings_freq: int = 0,
        embeddings_layer_names: Any = None,
        embeddings_metadata: Any = None,
        embeddings_data: Any = None,
        update_freq: Any = "epoch",
        write_steps_per_second: bool = False,
        profile_batch: Any = 0,
    ) -> None:
        super().__init__()
        library("tensorboardX", "tensorboard")  # what is missing is told before the training
        self.log_dir = os.fspath(check_path("TensorBoard: log_dir", log_dir))
        self.histogram_freq = _frequency("histogram_freq", histogram_freq)
        self.batch_size = 32 if batch_size is None else check_count("TensorBoard: batch_size", batch_size)
        self.write_graph = check_flag("TensorBoard: write_graph", write_graph)
        self.write_images = check_flag("TensorBoard: write_images", write_images)
        self.embeddings_freq = _frequency("embeddings_freq", embeddings_freq)
        self.embeddings_layer_names = embeddings_layer_names
        self.embeddings_metadata = embeddings_metadata
        self.embeddings_data = embeddings_data
        if isinstance(update_freq, str) and update_freq in ("epoch", "batch"):
            self.update_freq: Any = 1 if update_freq == "batch" else update_freq
        else:
            self.update_freq = check_count("TensorBoard: update_freq", update_freq)
        self.write_steps_per_second = check_flag(
            "TensorBoard: write_steps_per_second", write_steps_per_second
        )
        profiles = not (profile_batch is None or (isinstance(profile_batch, int) and profile_batch == 0))
        self.write_grads = check_flag("TensorBoard: write_grads", write_grads)
        for name, wanted in (("write_grads", self.write_grads), ("profile_batch", profiles)):
            if wanted:
                warnings.warn(f"TensorBoard: {name} is not supported: nothing is written", stacklevel=2)
        self._writers: dict[str, Any] = {}
        self.samples_seen = 0
        self._written = 0  # samples or batches when values were written last
        self._batches = 0
        self._begin = 0.0

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_writers": {}}

    def wants_batches(self, mode: str) -> bool:
        counts = self.update_freq != "epoch" or self.write_steps_per_second
        return (counts or type(self) is not TensorBoard) and super().wants_batches(mode)

    # ---- events

    def on_train_begin(self, logs: Report = None) -> None:
        self._one_folder = self.model.semantics.boards == "one folder"
        if self.embeddings_freq and self._one_folder and self.embeddings_data is None:
            raise InputError(
                describe(
                    "TensorBoard: embeddings_data",
                    "the data whose points are shown, as there is an embeddings_freq",
                    "None",
                )
            )
        if self.write_graph and self.model.built:
            self._writer("train")._get_file_writer().add_event(_graph_event(self.model))

    def on_epoch_begin(self, epoch: int, logs: Report = None) -> None:
        self._begin, self._first = time.perf_counter(), self._batches

    def on_train_batch_end(self, batch: int, logs: Report = None) -> None:
        super().on_train_batch_end(batch, logs)
        logs = logs or {}
        self._batches += 1
        self.samples_seen += logs.get("size", 0)
        if self.update_freq == "epoch":
            return
        seen = self.samples_seen if self._one_folder else self._batches
        if seen - self._written >= self.update_freq:
            self._written = seen
            self._write_values(logs, seen, "batch")

    def on_epoch_end(self, epoch: int, logs: Report = None) -> None:
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._write_histograms(epoch)
        if self.embeddings_freq and epoch % self.embeddings_freq == 0:
            self._write_embeddings(epoch)
        by_samples = self._one_folder and self.update_freq != "epoch"
        self._write_values(logs or {}, self.samples_seen if by_samples else epoch, "epoch")
        if self.write_steps_per_second:
            rate = (self._batches - self._first) / max(time.perf_counter() - self._begin, 1e-9)
            self._writer("train").add_scalar("epoch_steps_per_second", rate, epoch)
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs: Report = None) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    # ---- what is written

    def _writer(self, part: str) -> Any:
        """The writer of the folder of a part, "train" or "validation"; of the only one in Keras 2."""
        name = "" if self._one_folder else part
        if name not in self._writers:
            folder = os.path.join(self.log_dir, name)
            self._writers[name] = library("tensorboardX", "tensorboard").SummaryWriter(folder)
        return self._writers[name]

    def _write_values(self, logs: Mapping[str, Any], step: int, when: str) -> None:
        for name, value in logs.items():
            if name in ("batch", "size"):
                continue
            held_out = name.startswith("val_")
            tag = name if self._one_folder else f"{when}_{name.removeprefix('val_')}"
            self._writer("validation" if held_out else "train").add_scalar(tag, float(value), step)

    def _write_histograms(self, epoch: int) -> None:
        if self._one_folder and self.validation_data is None:
            raise InputError(
                describe(
                    "TensorBoard: histogram_freq",
                    "validation data that are arrays, for which the outputs of layers are shown",
                    "none",
                )
            )
        writer = self._writer("train")
        for layer in self.model.layers:
            for weight in layer.weights:
                name, value = weight.name.replace(":", "_"), np.asarray(weight.array)
                tag = name if self._one_folder else f"{name}/histogram"
                if value.size:
                    writer.add_histogram(tag, value, epoch)
                if self.write_images:
                    for k, image in enumerate(_images(value)):
                        writer.add_image(f"{name}/image/{k}", image, epoch, dataformats="HW")
        if self._one_folder:
            for name, value in self._outputs().items():
                writer.add_histogram(name, value, epoch)

    def _outputs(self) -> dict[str, np.ndarray]:
        """The outputs of layers for the validation data."""
        tensors = {}
        for layer in self.model.layers:
            try:
                found = layer.output
            except (AttributeError, ModelError):  # of several calls
                continue
            several = found if isinstance(found, list) else [found]
            for k, tensor in enumerate(several):
                tensors[f"{layer.name}_out" + (f"_{k}" if len(several) > 1 else "")] = tensor
        x = self.validation_data[: len(self.model.inputs)]
        return dict(zip(tensors, self._computed(list(tensors.values()), x)))

    def _computed(self, tensors: list[Any], x: Any) -> list[np.ndarray]:
        """Tensors of the model for data."""
        # A model of other outputs, of the same kind, over the same layers
        kind = next(k for k in type(self.model).__mro__ if k.__name__ == "Model")
        state = np.random.get_state()
        model = kind(self.model.inputs, tensors, name="tensorboard", vintage=self.model.vintage)
        found = model.predict(x, batch_size=self.batch_size)
        np.random.set_state(state)  # the training draws as if nobody looked
        return [found] if len(tensors) == 1 else list(found)

    def _write_embeddings(self, epoch: int) -> None:
        named = self.embeddings_layer_names
        wanted = [named] if isinstance(named, str) else list(named or [])
        layers = [
            layer
            for layer in self.model.layers
            if (layer.name in wanted if wanted else type(layer).__name__ == "Embedding")
        ]
        if missing := set(wanted) - {layer.name for layer in layers}:
            names = ", ".join(layer.name for layer in self.model.layers)
            raise InputError(
                describe("TensorBoard: embeddings_layer_names", f"layers among {names}", f"{missing}")
            )
        if self._one_folder:
            points = self._computed([layer.output for layer in layers], self.embeddings_data)
        else:
            points = [np.asarray(layer.weights[0].array) for layer in layers]
        for layer, value in zip(layers, points):
            matrix = value.reshape(len(value), -1)
            rows, header = self._metadata(layer.name, len(matrix))
            options = {} if rows is None else {"metadata": rows, "metadata_header": header}
            self._writer("train").add_embedding(matrix, tag=layer.name, global_step=epoch, **options)

    def _metadata(self, layer: str, points: int) -> tuple[list[Any] | None, list[str] | None]:
        """The lines of the table of a layer, and its header where it has one."""
        given = self.embeddings_metadata
        name = given.get(layer) if isinstance(given, Mapping) else given
        if name is None:
            return None, None
        path = next((p for p in (Path(self.log_dir) / name, Path(name)) if p.is_file()), None)
        if path is None:
            raise InputError(
                describe(
                    "TensorBoard: embeddings_metadata",
                    f"a file in {self.log_dir}, or a path to one",
                    repr(name),
                )
            )
        lines = path.read_text(encoding="utf-8").splitlines()
        header, lines = (lines[0], lines[1:]) if len(lines) == points + 1 else (None, lines)
        if len(lines) != points:
            raise InputError(
                describe(
                    f"TensorBoard: embeddings_metadata {name!r}", f"{points} lines", f"{len(lines)} lines"
                )
            )
        if header is None and not any("\t" in line for line in lines):
            return lines, None
        columns = len(lines[0].split("\t"))
        title = [f"column {k}" for k in range(columns)] if header is None else header.split("\t")
        return [line.split("\t") for line in lines], title


def _frequency(name: str, value: Any) -> int:
    """A number of epochs, 0 for never."""
    return 0 if value is None else check_count(f"TensorBoard: {name}", value, 0)


def _images(weight: np.ndarray) -> list[np.ndarray]:
    """A weight as images with values from 0 to 1: a matrix lies, of three axes each filter is one."""
    squeezed = weight.squeeze()
    if squeezed.ndim == 2:
        found = [squeezed.T if squeezed.shape[0] > squeezed.shape[1] else squeezed]
    elif squeezed.ndim == 3:
        found = list(np.moveaxis(squeezed, -1, 0)[:IMAGES])
    else:
        found = [squeezed[:, None]] if squeezed.ndim == 1 else []
    low, high = weight.min(initial=np.inf), weight.max(initial=-np.inf)
    return [(image - low) / max(high - low, 1e-12) for image in found]


def _graph_event(model: Any) -> Any:
    """The event of a log that holds the layers of a model and their connections."""
    protos = [library(f"tensorboardX.proto.{name}_pb2", "tensorboard") for name in ("event", "graph")]
    event, graph = protos
    made = graph.GraphDef()
    names: dict[int, str] = {}
    taken: set[str] = set()
    for node in model.nodes:
        name = unique_name(node.layer.name, taken)
        taken.add(name)
        sources = [names[id(x)] for x in node.inputs if id(x) in names]
        made.node.add(name=name, op=type(node.layer).__name__, input=sources)
        names.update((id(y), name) for y in node.outputs)
    return event.Event(graph_def=made.SerializeToString(), wall_time=time.time())


def unique_name(name: str, taken: set[str]) -> str:
    """The name of a call: of the layer, with a number behind it for each further one."""
    number, found = 0, name
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    return found
