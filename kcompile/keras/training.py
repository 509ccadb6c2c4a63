"""Keras' methods that train, evaluate and run a model: their arguments, checked.

Enters: arguments as Keras takes them. Leaves: what the model's `Trainer` makes of them.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from kcompile.keras import callbacks as events
from kcompile.keras import graphs, keras1, optimizers
from kcompile.keras.editions import edition
from kcompile.keras.engines import Engine
from kcompile.keras.feeding import Queue
from kcompile.keras.generator_methods import GeneratorMethods
from kcompile.keras.graphs import CompileArguments
from kcompile.keras.loss_scaling import scaling
from kcompile.keras.method_orders import of_vintage
from kcompile.keras.settings import max_epochs
from kcompile.keras.steps import Steps
from kcompile.keras.tensors import one_or_list
from kcompile.keras.trainer import Trainer
from kcompile.keras.trainer_feeds import Data, Validation
from kcompile_runtime.arrays import Array
from kcompile_runtime.checks import check_count, check_flag, check_number
from kcompile_runtime.errors import InputError, InputTypeError, NotCompiledError, describe

SHUFFLES = (False, True, "batch")


class Training(Steps, GeneratorMethods):
    """The part of `Model` that is about data. It has a trainer, which does what the methods say."""

    trainer: Trainer
    semantics: Any
    dtype_policy: Any
    vintage: str
    history: Any = None
    stop_training = False

    # ---- the engine

    def use_engine(self, engine: Engine) -> None:
        """Run on this engine from now on; methods of a compiled model run on its own."""
        self.trainer.engines.attach(engine)

    @property
    def engine(self) -> Engine:
        """The engine of the compiled model whose method is running, else the latest one."""
        return self.trainer.engines.needed()

    def structure_changed(self, entries: Iterable[str] = ("predict", "test", "train")) -> None:
        """Graphs of these entries are out of date: layers, what is trainable, or `compile` changed."""
        self.trainer.changed(entries)

    # ---- compile

    @of_vintage
    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        metrics: Any = None,
        loss_weights: Any = None,
        sample_weight_mode: Any = None,
        weighted_metrics: Any = None,
        target_tensors: Any = None,
        run_eagerly: Any = None,
        steps_per_execution: Any = None,
        jit_compile: Any = None,
        auto_scale_loss: Any = True,
        pss_evaluation_shards: Any = 0,
    ) -> None:
        """Say how to train. Arguments by position: in the order of the model's Keras.

        optimizer: a name or an Optimizer. loss: a name, a Loss or a function of (y_true, y_pred); for
        several outputs also a list, or a dict by output name (None: not trained). metrics: a list
        (for all outputs), a list of lists, or a dict by output name; they ignore sample weights, and
        weighted_metrics use them. loss_weights: a list or dict of numbers. sample_weight_mode:
        "temporal" where each step of a sample has a weight, sample_weight [n, time]; also a list, or a
        dict by output name. run_eagerly, steps_per_execution, jit_compile and pss_evaluation_shards say how
        another Keras computes, and mean nothing here. auto_scale_loss: whether the optimizer of a model whose
        policy is mixed_float16 scales the loss (LossScaleOptimizer). In Keras 3 a loss, or metrics, that are
        None are those of the `compile` before.
        target_tensors: placeholders, which are fed as labels are, or variables, which hold the labels, so
        that y is None: one, a list, or a dict by output name.
        """
        before = self.trainer.arguments if self.semantics.compiled_again == "keeps what is None" else None
        if before is not None and loss is None:
            loss, loss_weights = before["loss"], before["loss_weights"]
        if before is not None and metrics is None and weighted_metrics is None:
            metrics, weighted_metrics = before["metrics"], before["weighted_metrics"]
        scales = check_flag("auto_scale_loss", auto_scale_loss) and self.dtype_policy.name == "mixed_float16"
        self.trainer.compile(
            {
                "optimizer": scaling(optimizers.get(optimizer, self.vintage), scales),
                "loss": loss,
                "metrics": metrics,
                "loss_weights": loss_weights,
                "weighted_metrics": weighted_metrics,
                "sample_weight_mode": sample_weight_mode,
            },
            target_tensors,
        )

    @property
    def compile_arguments(self) -> CompileArguments | None:
        """The arguments of `compile` for each output, None before it. Layers added since count."""
        return self.trainer.compile_arguments

    @property
    def optimizer(self) -> Any:
        """The optimizer; None before `compile`."""
        return (self.trainer.arguments or {}).get("optimizer")

    @optimizer.setter
    def optimizer(self, optimizer: Any) -> None:
        """Train by this one from now on. Raises NotCompiledError before `compile`, which takes it."""
        arguments = self.trainer.arguments
        if arguments is None:
            raise NotCompiledError(f"model {self.name!r}: call compile with the optimizer first")
        chosen = optimizers.get(optimizer, self.vintage)
        self.trainer.compile({**arguments, "optimizer": chosen}, self.trainer.target_tensors)

    @property
    def loss(self) -> Any:
        """The loss that `compile` was given. Raises NotCompiledError before it."""
        if self.trainer.arguments is None:
            raise NotCompiledError(f"model {self.name!r}: call compile with a loss first")
        return self.trainer.arguments["loss"]

    @property
    def loss_weights(self) -> Any:
        """The weights of losses that `compile` was given. Raises NotCompiledError before it."""
        if self.trainer.arguments is None:
            raise NotCompiledError(f"model {self.name!r}: call compile first")
        return self.trainer.arguments["loss_weights"]

    @property
    def sample_weight_mode(self) -> Any:
        """What `compile` was told of the weights of samples."""
        return graphs.compile_arguments(self).given["sample_weight_mode"]

    @property
    def metrics_names(self) -> list[str]:
        """Names of what evaluate and train_on_batch give, "loss", then the metrics, as far as they are known:
        see `Trainer.known_names`."""
        return self.trainer.known_names()

    # ---- one batch

    def standardize_inputs(self, x: Any) -> list[Array]:
        """The arrays of the inputs, as the graphs take them. Raises InputError, InputTypeError."""
        return self.trainer.adapter.inputs(x)[0]

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        reset_metrics: bool = True,
        return_dict: bool = False,
    ) -> Any:
        """One training step: the loss of this batch, or the list of loss and metrics.

        reset_metrics: False for values over the batches so far, since the last call that reset them.
        return_dict: whether the values come by name.
        """
        reset = reset_metrics is True or check_flag("reset_metrics", reset_metrics)
        by_name = return_dict is not False and check_flag("return_dict", return_dict)
        return self.trainer.batch("train", x, y, sample_weight, class_weight, reset, by_name)

    def test_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        reset_metrics: bool = True,
        return_dict: bool = False,
    ) -> Any:
        """Loss and metrics of this batch. Arguments as those of `train_on_batch`."""
        reset = reset_metrics is True or check_flag("reset_metrics", reset_metrics)
        by_name = return_dict is not False and check_flag("return_dict", return_dict)
        return self.trainer.batch("test", x, y, sample_weight, None, reset, by_name)

    def predict_on_batch(self, x: Any) -> Any:
        """The output (a list for several, a dict for a model made of one) for all samples of x, as one
        batch."""
        engine = self.trainer.engines.found()
        if engine is not None and engine.quick is not None and type(x) is np.ndarray:
            with contextlib.suppress(InputError):  # of another length, say, which is looked at below
                return engine.quick(x)  # here, as a row at a time costs hardly more than a call
        found = None if engine is None else self._of_list(engine, x)
        return self.trainer.predict_on_batch(x) if found is None else found

    def _of_list(self, engine: Engine, x: Any) -> Any:
        """What the model gives of a list of conforming arrays, None of anything else."""
        call = engine.quick_list if type(x) in (list, tuple) else None
        outputs = None if call is None else call(x)
        if outputs is None:
            return None
        return outputs[0] if len(outputs) == 1 else self.trainer.formed(outputs)

    def reset_metrics(self) -> None:
        """Begin values over several batches anew."""
        self.trainer.reset_metrics()

    # ---- all data

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = 1,
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: Any = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
        max_queue_size: int = 10,
        workers: int = 1,
        use_multiprocessing: bool = False,
        resume: Any = None,
        **old: Any,
    ) -> Any:
        """Train for `epochs` passes over the data, and give back the History.

        x, y: arrays, lists of arrays, or dicts by name; or x alone, an object of batches (`feeding.Batches`),
        each (x, y) or (x, y, sample_weight). batch_size: default 32; the last batch may be smaller. verbose:
        0, 1 (bar) or 2 (a line an epoch). validation_split: the share at the end of the data, taken before
        shuffling; or validation_data: (x, y), (x, y, sample_weight), or an object of batches.
        validation_freq: validate after so many epochs, or after each of these. shuffle: True, False or
        "batch"; of a sequence of batches, their order. class_weight: {class: weight}. initial_epoch: number
        of the first epoch; epochs is the last one's. steps_per_epoch: batches in an epoch, of arrays at most
        what they hold. Of an object of batches, up to max_queue_size are made ahead by so many workers:
        threads, with use_multiprocessing processes; 0: by the thread that trains. resume: the folder of a
        callback `Checkpoint`, or one of its files: the training goes on where that was written, and ends as
        if nothing had been between; with its beginning where the folder is not there or empty. All other
        arguments as then; epochs may be more. Raises InputError, InputTypeError and ModelError before the
        first step.
        """
        epochs = check_count("epochs", _old_epochs(epochs, old), 0)
        if (most := max_epochs()) and most < epochs:
            warnings.warn(f"Limiting epochs to {most}", stacklevel=2)
            epochs = most
        initial_epoch = check_count("initial_epoch", initial_epoch, 0)
        verbose = check_verbose(verbose)
        if not (isinstance(shuffle, (bool, int, str, np.bool_)) and shuffle in SHUFFLES):
            raise InputError(describe("shuffle", "True, False or 'batch'", repr(shuffle)))
        queue = Queue.checked(max_queue_size, workers, use_multiprocessing)
        share = 0.0 if validation_split is None else check_number("validation_split", validation_split, 0, 1)
        validates, listed = _frequency(validation_freq), events.check(callbacks)
        size = _batch_size("batch_size", batch_size)
        other = _batch_size("validation_batch_size", validation_batch_size)
        return self.trainer.fit(
            Data(x, y, sample_weight, class_weight, size, steps_per_epoch, queue),
            Validation(validation_data, share, other or size, validation_steps, validates),
            listed,
            verbose,
            shuffle,
            epochs,
            initial_epoch,
            resume,
        )

    @of_vintage
    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = 1,
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        max_queue_size: int = 10,
        workers: int = 1,
        use_multiprocessing: bool = False,
        return_dict: bool = False,
    ) -> Any:
        """The loss, or the list of loss and metrics, averaged over all samples; by name with return_dict.
        x, y and the other arguments: as `fit` takes them."""
        listed, verbose = events.check(callbacks), check_verbose(verbose)
        queue = Queue.checked(max_queue_size, workers, use_multiprocessing)
        by_name = check_flag("return_dict", return_dict)
        size = _batch_size("batch_size", batch_size)
        data = Data(x, y, sample_weight, None, size, steps, queue)
        names, values = self.trainer.evaluate(data, listed, verbose)
        found = dict(zip(names, values))
        if by_name:
            return {n: found[n] for n in sorted(found)} if edition(self.vintage).operations else found
        return one_or_list(values)

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = 0,
        steps: int | None = None,
        callbacks: Any = None,
        max_queue_size: int = 10,
        workers: int = 1,
        use_multiprocessing: bool = False,
    ) -> Any:
        """The output (a list for several, a dict for a model made of one) for all samples, computed batch
        by batch. x: as `fit` takes it; what an object of batches gives beside inputs is left out."""
        size = check_count("batch_size", 32 if batch_size is None else batch_size)
        verbose = check_verbose(verbose)
        model: Any = self
        if type(x) is np.ndarray:
            model.widened_for(x)
        engine = self.trainer.engines.found()
        if engine is not None and not verbose and steps is None and callbacks is None:
            if engine.quick is not None and type(x) is np.ndarray and x.ndim and len(x) <= size:
                return engine.quick(x)
            found = self._of_list(engine, x) if _len_of_first(x) <= size else None
            if found is not None:
                return found
        listed = events.check(callbacks)
        queue = Queue.checked(max_queue_size, workers, use_multiprocessing)
        data = Data(x, batch_size=batch_size, steps=steps, queue=queue)
        return self.trainer.predict(data, listed, verbose)


def _len_of_first(x: Any) -> float:
    """The samples of the first array of a list, infinite where there is none."""
    first = x[0] if type(x) in (list, tuple) and x else None
    return len(first) if type(first) is np.ndarray and first.ndim else math.inf


def _batch_size(name: str, value: Any) -> int | None:
    return None if value is None else check_count(name, value)


def check_verbose(verbose: Any) -> int:
    """0, 1 or 2; True, False and "auto" as Keras takes them."""
    value = 1 if isinstance(verbose, str) and verbose == "auto" else verbose
    if not isinstance(value, (bool, int, np.integer, np.bool_)) or value not in (0, 1, 2):
        raise InputError(describe("verbose", "0, 1 or 2", repr(verbose)))
    return int(value)


def _frequency(value: Any) -> Callable[[int], bool]:
    """After which epochs, from 0 on, to validate: each of so many, or those of a collection (from 1 on)."""
    if isinstance(value, (list, tuple, set, frozenset, range, np.ndarray)):
        wanted = {check_count("validation_freq: an epoch", v) for v in value}
        return lambda epoch: epoch + 1 in wanted
    every = check_count("validation_freq", value)
    return lambda epoch: (epoch + 1) % every == 0


def _old_epochs(epochs: Any, old: dict[str, Any]) -> Any:
    """Keras 1's spelling of epochs."""
    old = keras1.renamed("fit", old, stacklevel=4)
    epochs = old.pop("epochs", epochs)
    if old:
        raise InputTypeError(describe("fit", "the arguments of Keras' fit", ", ".join(map(repr, old))))
    return epochs
