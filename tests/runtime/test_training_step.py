"""Libraries with a training step: in Python by the runtime alone, in C, and for every target."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import elsewhere
import numpy as np
import pytest

import kcompile
from kcompile import cli
from kcompile.keras import layers as L
from kcompile.keras import losses, metrics, newer_optimizers, optimizers
from kcompile.keras.models import Model, Sequential
from kcompile.keras.settings import running
from kcompile_runtime import ArtifactError, InputError, InputTypeError, Trainer, contents, load
from kcompile_runtime.errors import NotCompiledError, RowError, UnsupportedError

RNG = np.random.default_rng(7)
N = 12
X = RNG.normal(size=(N, 8, 8, 1)).astype(np.float32)
Y = RNG.integers(0, 10, N).astype(np.int32)
W = RNG.random(N).astype(np.float32)


def images(frozen: int = 0, name: str = "images") -> Sequential:
    """All that a state holds: weights, moving averages, slots, numbers of the step, a seed."""
    np.random.seed(3)
    model = Sequential(
        [
            L.Conv2D(6, 3, activation="relu", input_shape=(8, 8, 1)),
            L.BatchNormalization(),
            L.Flatten(),
            L.Dropout(0.4),
            L.Dense(20, activation="tanh", kernel_regularizer="l2"),
            L.Dense(10, activation="softmax"),
        ],
        name=name,
    )
    for layer in model.layers[:frozen]:
        layer.trainable = False
    optimizer = optimizers.Adam(clipnorm=1.0)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def same_steps(model: Model, trainer: Trainer, x, y, w, count: int = 4) -> None:
    """Steps with and without weights, and what is trained, are those of the model, bit for bit."""
    for k in range(count):
        weights = None if k % 2 else w
        want = model.train_on_batch(x, y, sample_weight=weights)
        assert trainer.train_on_batch(x, y, weights) == want
    got, want = trainer.predict_on_batch(x), model.predict_on_batch(x)
    several = isinstance(want, list)
    for a, b in zip(got if several else [got], want if several else [want]):
        np.testing.assert_array_equal(a, b)
    trained = list(trainer.state.values())
    for weight in model.trainable_weights:
        assert any(np.array_equal(weight.numpy(), array) for array in trained)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kcompile.export(images(), tmp_path_factory.mktemp("step") / "images.so", train=True)


def test_steps_are_those_of_the_model(made: Path) -> None:
    loaded = load(made)
    model, trainer, other = images(), loaded.trainer(), loaded.trainer()
    # The seed is drawn for each model; it is a part of the state.
    seed = {"seed": np.uint32(model.random_state.seed.numpy())}
    trainer.set_state(seed)
    np.testing.assert_array_equal(trainer.predict(X), loaded.predict(X))
    same_steps(model, trainer, X, Y, W)
    assert loaded.selftest() < 1e-4 and trainer.selftest() < 1e-3
    assert trainer.metrics_names == tuple(model.metrics_names)
    # another trainer, and the library itself, know nothing of it; a trainer may begin anew
    np.testing.assert_array_equal(other.predict(X), loaded.predict(X))
    assert not np.array_equal(trainer.predict(X, batch_size=5), loaded.predict(X))
    kept = trainer.state
    other.set_state(kept)
    np.testing.assert_array_equal(other(X), trainer(X))
    assert other.train_on_batch(X, Y) == trainer.train_on_batch(X, Y)
    trainer.reset()
    trainer.set_state(seed)
    same_steps(images_with(model.random_state.seed.numpy()), trainer, X, Y, W, 2)


def images_with(seed: np.ndarray) -> Sequential:
    model = images()
    model.random_state.seed.assign(seed)
    return model


def test_frozen_layers_stay_in_the_file(tmp_path: Path) -> None:
    """The last layer alone is in the state, with its optimizer; dropout draws on."""
    model = images(frozen=5, name="last")
    path = kcompile.export(model, tmp_path / "last.so", train=True)
    trainer = load(path).trainer()
    last = model.layers[-1].name
    before = [w.numpy() for layer in model.layers[:5] for w in layer.weights]
    same_steps(model, trainer, X, Y, W)
    assert all(map(np.array_equal, before, (w.numpy() for layer in model.layers[:5] for w in layer.weights)))
    names = list(trainer.state)
    assert [name for name in names if "/kernel" in name] == [
        f"{last}/kernel",
        f"training/Adam/{last}/kernel/m",
        f"training/Adam/{last}/kernel/v",
    ]
    assert {"seed", "step", "training/Adam/learning_rate"} <= {*names} and len(names) == 10


def two() -> Model:
    """Two inputs, of rows of a table and of numbers, and two outputs, of which one has weights of steps."""
    np.random.seed(5)
    a, b = L.Input((4,), dtype="int32", name="rows"), L.Input((4, 3), name="numbers")
    steps = L.GRU(5, return_sequences=True)(L.Concatenate()([L.Embedding(9, 6)(a), b]))
    model = Model([a, b], [L.Dense(2, name="each")(steps), L.Dense(1, name="all")(L.Flatten()(steps))])
    model.compile(
        optimizers.SGD(0.05, momentum=0.9, nesterov=True),
        ["mse", "binary_crossentropy"],
        loss_weights=[1.0, 0.3],
        metrics=[["mae"], []],
        sample_weight_mode=["temporal", None],
    )
    return model


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    model = two()
    trainer = load(kcompile.export(model, tmp_path / "two.so", train=True)).trainer()
    assert [spec.name for spec in trainer.inputs] == ["rows", "numbers", "y:each", "y:all", "w:each", "w:all"]
    x = [RNG.integers(0, 9, (N, 4)).astype(np.int32), RNG.normal(size=(N, 4, 3)).astype(np.float32)]
    y = [RNG.random((N, 4, 2), dtype=np.float32), RNG.integers(0, 2, (N, 1)).astype(np.float32)]
    same_steps(model, trainer, x, y, [RNG.random((N, 4), dtype=np.float32), W])
    x[0][2, 1] = 9
    before = trainer.state
    with pytest.raises(RowError, match=r"whole numbers from 0 to 8\. Received: 9"):
        trainer.train_on_batch(x, y)
    assert all(np.array_equal(before[name], array) for name, array in trainer.state.items())


@pytest.mark.parametrize("limit", [False, True])
def test_metrics_that_keep_a_state(limit: bool, tmp_path: Path) -> None:
    np.random.seed(2)
    model = Sequential([L.Dense(8, activation="relu", input_shape=(5,)), L.Dense(1, activation="sigmoid")])
    model.compile(
        optimizers.RMSprop(0.01),
        losses.BinaryCrossentropy(label_smoothing=0.1),
        metrics=[metrics.AUC(num_thresholds=20), "accuracy", metrics.Recall()],
    )
    x, y = RNG.normal(size=(N, 5)).astype(np.float32), RNG.integers(0, 2, (N, 1)).astype(np.float32)
    given, batch = model, None
    if limit:
        probe = kcompile.compile(model)
        given, batch = kcompile.compile(model, memory_limit=probe.planned_memory(N)), N
        with pytest.raises(InputError, match="the size of batches"):
            kcompile.export(given, tmp_path / "auc.so", train=True)
    trainer = load(kcompile.export(given, tmp_path / "auc.so", train=True, batch=batch)).trainer()
    same_steps(model, trainer, x, y, W, 3)
    # over several batches
    want = [model.train_on_batch(x, y, reset_metrics=reset) for reset in (True, False, False)]
    got = [trainer.train_on_batch(x, y, reset_metrics=reset) for reset in (True, False, False)]
    np.testing.assert_allclose(got, want, rtol=1e-6)
    assert list(trainer.train_on_batch(x, y, return_dict=True)) == list(trainer.metrics_names)


def test_layers_that_keep_states_and_the_rate(tmp_path: Path) -> None:
    """The state of a layer is kept from step to step; the learning rate is a tensor of the state."""
    np.random.seed(4)
    lstm = L.LSTM(3, stateful=True, batch_input_shape=(4, 2, 5))
    model = Sequential([lstm, L.Dense(1)], name="keeps")
    model.compile("sgd", "mse")
    trainer = load(kcompile.export(model, tmp_path / "keeps.so", train=True)).trainer()
    x, y = RNG.normal(size=(4, 2, 5)).astype(np.float32), RNG.normal(size=(4, 1)).astype(np.float32)
    (rate,) = (name for name in trainer.state if "learning_rate" in name or name.endswith("/lr"))
    for k in range(4):
        if k == 2:
            model.optimizer.lr = 0.5
            trainer.set_state({rate: 0.5})
        assert trainer.train_on_batch(x, y) == model.train_on_batch(x, y)


def driven(command: list, path: Path, steps: int, threads: int, folder: Path, w: bool):
    """The losses, state and predictions of steps in C."""
    about = elsewhere.metadata(path)
    files = [folder / "x", folder / "y", folder / "w"]
    for file, array in zip(files, (X, Y.reshape(-1, 1), W)):
        array.tofile(file)
    given = [*files[:2], files[2] if w else "-"]
    arguments = [path, about["name"], N, steps, threads, *given, folder / "state", folder / "predicted"]
    done = subprocess.run([*command, *map(str, arguments)], capture_output=True, timeout=300)
    assert done.returncode == 0, (done.returncode, done.stderr)
    state, place, data = {}, 0, (folder / "state").read_bytes()
    for spec in about["step"]["state"]:
        size = int(np.prod(spec["shape"])) * np.dtype(spec["dtype"]).itemsize
        state[spec["name"]] = np.frombuffer(data[place : place + size], spec["dtype"]).reshape(spec["shape"])
        place += size
    assert place == len(data)
    return np.array(done.stdout.split(), np.float32), state, np.fromfile(folder / "predicted", np.float32)


@pytest.mark.parametrize("threads", [1, 3])
def test_in_c(made: Path, threads: int, tmp_path: Path) -> None:
    """The same bits as in Python, in a process that knows neither."""
    command = [elsewhere.driver(f"{platform.machine()}-linux-gnu.2.28", source=elsewhere.TRAIN_DRIVER)]
    found, state, predicted = driven(command, made, 3, threads, tmp_path, w=threads > 1)
    trainer = load(made, threads).trainer()
    for loss in found:
        assert trainer.train_on_batch(X, Y, W if threads > 1 else None)[0] == loss
    for name, array in trainer.state.items():
        np.testing.assert_array_equal(state[name], array, name)
    np.testing.assert_array_equal(predicted.reshape(N, 10), trainer.predict(X))


@pytest.mark.parametrize(
    "target",
    [
        "x86-64",
        "x86-64-v3",
        "aarch64",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("x86-64-v2", "x86-64-v4", "riscv64")),
    ],
)
def test_every_target(target: str, made: Path, tmp_path: Path) -> None:
    """The state has the same tensors in the same places; losses, weights and predictions are near. On this
    machine they are those of `train_on_batch` for the target, bit for bit."""
    model = images()
    path = kcompile.export(model, tmp_path / "images.so", target=target, train=True)
    machine = "x86_64" if "x86" in target else target
    program = elsewhere.driver(f"{machine}-linux-gnu.2.28", source=elsewhere.TRAIN_DRIVER)
    here = machine == platform.machine()
    if here:
        try:
            load(path)
        except ValueError as error:
            pytest.skip(str(error))
    command = [program] if here else [*elsewhere.emulator(machine), program]
    found, _, predicted = driven(command, path, 3, 2, tmp_path, w=True)
    own = kcompile.compile(model, target=target if target in elsewhere.X86 else "native")
    want = [own.train_on_batch(X, Y, sample_weight=W)[0] for _ in range(3)]
    if target in elsewhere.X86:
        assert found.tolist() == want
        np.testing.assert_array_equal(predicted.reshape(N, 10), own.predict(X))
    else:
        np.testing.assert_allclose(found, want, rtol=1e-4)
        np.testing.assert_allclose(predicted.reshape(N, 10), own.predict(X), rtol=1e-2, atol=1e-4)
    places = [spec["offset"] for spec in elsewhere.metadata(path)["step"]["state"]]
    assert places == [spec["offset"] for spec in elsewhere.metadata(made)["step"]["state"]]


def test_the_header_is_c_and_says_what_is_what(made: Path, tmp_path: Path) -> None:
    pytest.importorskip("ziglang")
    header = made.with_suffix(".h").read_text()
    for words in ("0: float32[n, 8, 8, 1] ", "1: int32[n, 1] y:", "2: float32[n] w:", ", total and count"):
        assert words in header, header
    source = tmp_path / "uses.c"
    main = "int main(void) { return KC_BAD_STATE - 8; }"
    source.write_text(f'#include "{made.with_suffix(".h")}"\n{main}\n')
    command = [sys.executable, "-m", "ziglang", "cc", "-c", "-o", tmp_path / "uses.o", "-std=c99"]
    subprocess.run([*command, "-Wall", "-Wextra", "-Werror", "-pedantic", source], check=True)


def test_the_runtime_alone_trains(made: Path) -> None:
    """With nothing of the compiler imported."""
    script = (
        "import sys, numpy as np, kcompile_runtime as rt\n"
        f"trainer = rt.load({str(made)!r}).trainer()\n"
        "x, y = np.ones((4, 8, 8, 1), np.float32), np.zeros(4, np.int32)\n"
        "first = trainer.train_on_batch(x, y)[0]\n"
        "for _ in range(30): last = trainer.train_on_batch(x, y)[0]\n"
        "print(last < first, any(m == 'kcompile' or m.startswith('kcompile.') for m in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=os.environ)
    assert done.stdout.split() == ["True", "False"], done.stderr


def test_the_same_bytes_every_time(made: Path, tmp_path: Path) -> None:
    model = images()
    both = [kcompile.export(model, tmp_path / f"{k}.so", train=True) for k in range(2)]
    assert both[0].read_bytes() == both[1].read_bytes()


def test_what_is_wrong(made: Path, tmp_path: Path) -> None:
    trainer = load(made).trainer()
    before = trainer.state
    for x, y, w in (
        (X[:3], Y, None),
        (X, None, None),
        (X, [Y, Y], None),
        (X, Y, W[:2]),
        (X[:0], Y[:0], None),
        (X[:, :5], Y, None),
        ("text", Y, None),
    ):
        with pytest.raises((InputError, InputTypeError)):
            trainer.train_on_batch(x, y, w)
    for bad in ({"none": 1}, {"step": np.zeros(3)}, {"step": np.zeros((), complex)}):
        with pytest.raises(InputError):
            trainer.set_state(bad)
    assert all(np.array_equal(before[name], array) for name, array in trainer.state.items())
    plain = Sequential([L.Dense(2, input_shape=(3,))], name="plain")
    with pytest.raises(NotCompiledError, match="must be compiled"):
        kcompile.export(plain, tmp_path / "plain.so", train=True)
    with pytest.raises(InputError, match="train=True"):
        load(kcompile.export(plain, tmp_path / "plain.so")).trainer()
    with pytest.raises(InputError, match="file of ONNX"):
        kcompile.export(images(), tmp_path / "images.onnx", train=True)
    with pytest.raises(InputError, match="train"):
        kcompile.export(images(), tmp_path / "images.so", train="yes")
    plain.compile("sgd", "mse")
    quantized = kcompile.quantize(plain, np.ones((4, 3), np.float32), verbose=0)
    with pytest.raises(UnsupportedError, match="train the model that it was made of"):
        kcompile.export(quantized, tmp_path / "plain.so", train=True)
    assert not (tmp_path / "images.so").exists()


def test_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images().save(tmp_path / "m.h5")
    library = tmp_path / "m.so"
    assert cli.main(["build", str(tmp_path / "m.h5"), "-o", str(library), "--train"]) == 0
    assert cli.main(["inspect", str(library)]) == 0
    assert "training   loss, acc" in capsys.readouterr().out
    assert load(library).trainer().train_on_batch(X, Y)[0] > 0


def test_a_step_of_its_own_is_refused(tmp_path: Path) -> None:
    class Own(Model):
        def train_step(self, data):
            return {"loss": 0.0}

    x = L.Input((3,))
    model = Own(x, L.Dense(2)(x), vintage="keras3", name="own")
    model.compile("sgd", "mse")
    with pytest.raises(UnsupportedError, match="trained by a step of its own"):
        kcompile.export(model, tmp_path / "own.so", train=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("inputs", None),
        ("outputs", []),
        ("weights", -1),
        ("weights", 99),
        ("state", [{"name": "w", "dtype": "float32", "shape": [2], "offset": -64}]),
        ("state", [{"name": "w", "dtype": "float99", "shape": [2], "offset": 64}]),
        ("checks", [1]),
        ("report", {"names": ["loss"]}),
        ("report", {"names": [1], "kept": {}, "ends": {}, "averages_loss": True, "by_name": False}),
        ("report", None),
    ],
)
def test_what_a_damaged_file_says_of_its_step_is_found(key: str, value: object, made: Path) -> None:
    about = elsewhere.metadata(made)
    good = json.dumps(about).encode()
    assert contents.parsed(good)["step"] == about["step"]
    about["step"][key] = value
    with pytest.raises(ArtifactError, match="damaged"):
        contents.parsed(json.dumps(about).encode())


def of_keras3(optimizer: object) -> Sequential:
    np.random.seed(6)
    model = Sequential(
        [
            L.Dense(8, activation="relu", input_shape=(6,)),
            L.BatchNormalization(),
            L.GaussianNoise(0.1),
            L.Dense(1, activation="sigmoid"),
        ],
        vintage="keras3",
    )
    model.compile(optimizer, "binary_crossentropy", metrics=[metrics.AUC(num_thresholds=10), "accuracy"])
    return model


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["Adam", "Nadam", "Lion", "Adafactor", "Ftrl", "Lamb", "sums", "averages", "decays"]
)
def test_optimizers_of_keras3(name: str, tmp_path: Path) -> None:
    """With all that they keep: gradients of several batches, moving averages of weights."""
    given = {
        "sums": {"gradient_accumulation_steps": 2},
        "averages": {"use_ema": True, "ema_overwrite_frequency": 2},
        "decays": {"weight_decay": 0.01},
    }.get(name, {})
    with running("keras3"):
        optimizer = getattr(newer_optimizers, name, None) or getattr(optimizers, name, optimizers.Adam)
        model = of_keras3(optimizer(**given))
    trainer = load(kcompile.export(model, tmp_path / "later.so", train=True)).trainer()
    x = RNG.normal(size=(N, 6)).astype(np.float32)
    same_steps(model, trainer, x, RNG.integers(0, 2, (N, 1)).astype(np.float32), W)
