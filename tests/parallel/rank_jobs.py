"""What the tests run on several ranks: `mpiexec -n N python -m mpi4py rank_jobs.py JOB FOLDER [ARGUMENTS]`.

A job leaves RANK.json in the folder."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import zlib
from pathlib import Path

import numpy as np

import kcompile
from kcompile.keras import callbacks, models, optimizers
from kcompile.keras import layers as L
from kcompile.keras.gradient_tape import GradientTape
from kcompile.keras.utils import Sequence
from kcompile_runtime.errors import InputError, RankError


def drawn(model, seed):
    """Weights and seed that do not depend on what was made before."""
    rng = np.random.default_rng(seed)
    model.set_weights([np.abs(rng.normal(0.1, 0.3, w.shape)).astype(w.dtype) for w in model.get_weights()])
    model.random_state.seed.assign(np.uint32(seed))
    np.random.seed(seed)
    random.seed(seed)
    return model


def tables():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(53, 6)).astype("f")
    return x, rng.integers(0, 3, 53), rng.random(53).astype("f")


def dense():
    model = models.Sequential(
        [
            L.Dense(8, activation="relu", input_shape=(6,)),
            L.BatchNormalization(),
            L.Dropout(0.25),
            L.Dense(3, activation="softmax"),
        ]
    )
    optimizer = optimizers.Adam(clipnorm=0.5, weight_decay=0.01)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return drawn(model, 3)


def words():
    model = models.Sequential(
        [L.Embedding(9, 4, input_length=5, mask_zero=True), L.LSTM(5, dropout=0.2), L.Dense(1)]
    )
    model.compile("rmsprop", "mse", metrics=["mae"])
    return drawn(model, 4)


def fits(**options):
    """(history, weights) of several models."""
    x, y, weight = tables()
    tokens, target = np.random.default_rng(2).integers(0, 9, (31, 5)), x[:31, :1]
    several = {"sample_weight": weight, "class_weight": {0: 1.0, 1: 2.0, 2: 0.5}, "validation_split": 0.2}
    runs = {
        "dense": (dense, (x, y), {"batch_size": 16, **several}),
        "one": (dense, (x[:9], y[:9]), {"batch_size": 4, "shuffle": False}),  # a last batch of one sample
        "words": (words, (tokens, target), {"batch_size": 8, "validation_data": (tokens[:7], target[:7])}),
    }
    found = {}
    for name, (make, data, given) in runs.items():
        model = make()
        history = model.fit(*data, epochs=3, verbose=0, **given).history
        values = {k: [float(v) for v in vs] for k, vs in history.items()}
        found[name] = values, model.evaluate(*data, verbose=0), [w.tolist() for w in model.get_weights()]
    return found


def curves(team):
    found = fits()
    check = zlib.crc32(json.dumps([w for _, _, w in found.values()]).encode())
    return {"check": check, "found": found if team is None or team.rank == 0 else None}


class Halves(Sequence):
    """Two batches of an epoch, in an order of chance."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return 3

    def __getitem__(self, at):
        return self.x[at * 10 : at * 10 + 10], self.y[at * 10 : at * 10 + 10]


class Tells(callbacks.Callback):
    """Draws from everybody's chance, sets the rate, and stops."""

    def __init__(self):
        super().__init__()
        self.told = []

    def on_epoch_begin(self, epoch, logs=None):
        np.random.random(5)

    def on_batch_end(self, batch, logs=None):
        self.told.append(batch)

    def on_epoch_end(self, epoch, logs=None):
        self.model.optimizer.lr = 0.01 / (epoch + 1)
        logs["own"] = epoch * 2.0
        self.model.stop_training = epoch == 2


class Evaluates(callbacks.Callback):
    """Evaluates and predicts on rank 0 alone, while others wait."""

    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def on_epoch_end(self, epoch, logs=None):
        logs["other"] = self.model.evaluate(self.x, self.y, verbose=0)[0]
        logs["mean"] = float(np.mean(self.model.predict(self.x)))


def loops(team):
    """Callbacks, sequences, generators, single batches, files."""
    x, y, _ = tables()
    found = {}
    model, told = dense(), Tells()
    history = model.fit(Halves(x, y), epochs=5, callbacks=[told], shuffle=True, verbose=0).history
    found["sequence"] = history
    found["told"] = len(told.told)
    found["rate"] = float(model.optimizer.lr.array)

    def parts():
        while True:
            for at in range(0, 50, 7):
                yield x[at : at + 7], y[at : at + 7]

    file = Path(sys.argv[2]) / f"{found_rank(team)}.npy"  # a rank does not read what another writes
    np.save(file, x)
    mapped = np.load(file, mmap_mode="r")
    model = dense()
    found["file"] = model.fit(
        mapped, y, batch_size=9, epochs=2, verbose=0, callbacks=[Evaluates(mapped, y)]
    ).history
    found["file"]["test"] = model.evaluate(mapped, y, batch_size=52, verbose=0)

    model = dense()
    found["generator"] = model.fit(parts(), steps_per_epoch=4, epochs=2, verbose=0).history
    found["batch"] = [model.train_on_batch(x[:n], y[:n]) for n in (1, 2, 5)]
    found["test"] = model.test_on_batch(x, y)
    found["weights"] = [w.tolist() for w in model.get_weights()]
    model.save(Path(sys.argv[2]) / f"{found_rank(team)}.h5")
    return found


def found_rank(team):
    return 0 if team is None else team.rank


def shards(team):
    """Each rank has its own rows, of another number; batches of a rank may be over before those of others."""
    x, y, _ = tables()
    rank, size = (0, 1) if team is None else (team.rank, team.size)
    cuts = [0, 30, 53] if size == 2 else [0, 53]
    own = slice(cuts[rank], cuts[rank + 1])
    model = dense()
    found = {"rows": model.fit(x[own], y[own], batch_size=16, epochs=3, shuffle=False, verbose=0).history}
    found["test"] = model.evaluate(x[own], y[own], verbose=0)

    def parts():
        for at in range(cuts[rank], cuts[rank + 1], 10):
            yield x[at : min(at + 10, cuts[rank + 1])], y[at : min(at + 10, cuts[rank + 1])]

    model = dense()
    model.vintage = "keras3"
    found["batches"] = model.fit(parts(), steps_per_epoch=3, verbose=0).history
    found["weights"] = [w.tolist() for w in model.get_weights()]
    return found


def differences(team):
    """The messages of what is not the same on all ranks."""
    x, y, _ = tables()
    other = team.rank == 1

    def message(call):
        try:
            call()
        except (RankError, InputError) as error:
            return str(error)
        return "nothing"

    def wider():
        model = models.Sequential([L.Dense(3 + other, input_shape=(6,)), L.Dense(1)])
        model.compile("sgd", "mse")
        return model

    def option(**given):
        model = models.Sequential([L.Dense(3, input_shape=(6,))])
        model.compile(optimizers.SGD(**given), "mse")
        return model

    changed = x.copy()
    changed[7] += other
    return {
        "length": message(lambda: dense().fit(x[: 50 + other], y[: 50 + other], verbose=0)),
        "numbers": message(lambda: dense().fit(changed, y, verbose=0)),
        "batch size": message(lambda: dense().fit(x, y, batch_size=8 + other, verbose=0)),
        "epochs": message(lambda: dense().fit(x, y, epochs=2 + other, verbose=0)),
        "model": message(lambda: wider().fit(x, x[:, :1], verbose=0)),
        "momentum": message(lambda: option(momentum=0.5 + 0.1 * other).fit(x, x[:, :3], verbose=0)),
        "wrong data": message(lambda: dense().fit(x[:, : 6 - other], y, verbose=0)),
        "then": message(lambda: dense().fit(x, y, verbose=0)),
    }


def fails(team, how):
    """Rank 1 fails in the third batch."""
    x, y, _ = tables()

    def parts():
        for number in range(9):
            if number == 3 and team.rank == 1:
                if how == "raise":
                    raise OSError("the disk is gone")
                if how == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                if how == "end":
                    return
            yield x[:9], y[:9]

    class Raises(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise ValueError("a callback's")

    if how == "callback":
        dense().fit(x, y, verbose=0, callbacks=[Raises()])
    if how == "nan":
        x[40] = np.nan
        return dense().fit(x, y, shuffle=False, verbose=0, callbacks=[callbacks.TerminateOnNaN()]).history
    if how == "outside" and team.rank == 1:
        raise KeyError("between two fits")
    dense().fit(parts(), steps_per_epoch=8, verbose=0)
    return {}


def resumes(team):
    """A training that is written down and goes on, beside one that does not end between."""
    x, y, _ = tables()
    folder = Path(sys.argv[2]) / "states"
    found = {}
    for kind, data in (("rows", {"x": x, "y": y, "batch_size": 16}), ("batches", {"x": Halves(x, y)})):
        for name, epochs, resume in (("whole", 4, False), ("begun", 2, False), ("resumed", 4, True)):
            model = dense()
            path = folder / kind / ("whole" if name == "whole" else "parts")
            given = {"resume": path} if resume else {}
            told = [callbacks.Checkpoint(path, every="2 batches")]
            history = model.fit(**data, epochs=epochs, verbose=0, callbacks=told, **given).history
            found[f"{kind} {name}"] = history, [w.tolist() for w in model.get_weights()]
    return found


def own_steps(team):
    """A train_step of the model's class."""
    from kcompile import tf_keras as keras

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden, self.last = keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(3)

        def call(self, x):
            return self.last(self.hidden(x))

        def train_step(self, data):
            x, y = data
            with GradientTape() as tape:
                loss = keras.backend.mean(keras.backend.square(self(x, training=True) - y))
            variables = self.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
            return {"loss": loss}

    x, _, _ = tables()
    model = Own()
    model.build((None, 6))
    model.compile("sgd")
    drawn(model, 5)
    history = model.fit(x, x[:, :3], batch_size=16, epochs=2, verbose=0).history
    return {"loss": history["loss"], "weights": [w.tolist() for w in model.get_weights()]}


JOBS = {job.__name__: job for job in (curves, loops, shards, differences, fails, resumes, own_steps)}

if __name__ == "__main__":
    name, folder, *given = sys.argv[1:]
    options = json.loads(os.environ.get("RANK_OPTIONS", "{}"))
    team = None if options.pop("alone", False) else kcompile.distribute(**options)
    result = JOBS[name](team, *given)
    (Path(folder) / f"{found_rank(team)}.json").write_text(json.dumps(result))
