"""`target="cuda"` from end to end on a driver that runs kernels in the interpreter: the order of calls, the
packing of arguments, memory that stays on the device and comes back when it is read."""

from __future__ import annotations

import gc
import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu import nets
from gpu.device import FakeDriver, remembering

import kcompile
import kcompile_runtime as rt
from kcompile import compiler, keras, model
from kcompile.codegen import targets
from kcompile.codegen.gpu import emission
from kcompile.codegen.gpu.device import Grid, device_function
from kcompile.codegen.program import Size
from kcompile.ir import interpreter
from kcompile.parallel.communicator import Alone
from kcompile_runtime import cuda_driver
from kcompile_runtime.cuda import CudaProgram, Held


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    """A fake device that `compile(target="cuda")` finds, and that knows the kernels it is given."""
    fake = FakeDriver()
    monkeypatch.setenv("KC_CACHE", "off")  # kernels are learnt when they are emitted
    monkeypatch.setattr(emission, "emit_program", remembering(fake))
    monkeypatch.setattr(model, "connect", lambda: cuda_driver.connect(fake))
    return fake


def dense(compiled: bool = True) -> Any:
    layers = keras.layers
    net = keras.Sequential([layers.Dense(6, activation="tanh", input_shape=(4,)), layers.Dense(3)])
    if compiled:
        net.compile(optimizer="adam", loss="mse")
    return net


def data(rows: int = 8) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.normal(size=(rows, 4)).astype("float32"), generator.normal(size=(rows, 3)).astype(
        "float32"
    )


def test_predictions_are_the_processors(device: FakeDriver):
    net, (x, _) = dense(), data()
    expected = kcompile.compile(net).predict(x)
    on_device = kcompile.compile(net, target="cuda")
    for batch_size in (8, 3):
        np.testing.assert_allclose(
            on_device.predict(x, batch_size=batch_size), expected, rtol=1e-5, atol=1e-6
        )
    assert on_device.verify(x).ok


def test_stages_between_sums_of_ranks(device: FakeDriver):
    """Data-parallel training: gradients come back to be summed, and go to the step that updates; dropout
    draws by the numbers of the samples."""
    (x, y), losses = data(), []
    for target in ("native", "cuda"):
        net = keras.Sequential(
            [keras.layers.Dense(6, input_shape=(4,)), keras.layers.Dropout(0.5), keras.layers.Dense(3)]
        )
        net.compile(optimizer=keras.optimizers.Adam(clipnorm=0.5), loss="mse")
        net.set_weights([np.full(w.shape, 0.2, "float32") for w in net.get_weights()])
        net.random_state.seed.assign(np.uint32(3))
        compiled = kcompile.compile(net, target=target)
        with kcompile.distribute(Alone()):
            history = compiled.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0).history
        losses.append(history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_sizes_that_only_the_data_say(device: FakeDriver):
    def pooled() -> Any:
        net = keras.Sequential(
            [
                keras.layers.Conv1D(3, 2, input_shape=(None, 2)),
                keras.layers.GlobalMaxPooling1D(),
                keras.layers.Dense(2),
            ]
        )
        net.compile(optimizer="sgd", loss="mse")
        return net

    nets_ = [pooled(), pooled()]
    nets_[1].set_weights(nets_[0].get_weights())
    native, on_device = kcompile.compile(nets_[0]), kcompile.compile(nets_[1], target="cuda")
    generator = np.random.default_rng(0)
    for length in (4, 6, 4):
        x, y = generator.normal(size=(3, length, 2)), generator.normal(size=(3, 2))
        np.testing.assert_allclose(*(m.train_on_batch(x, y) for m in (native, on_device)), rtol=1e-4)
        np.testing.assert_allclose(native.predict(x), on_device.predict(x), rtol=1e-4, atol=1e-6)


def test_weights_stay_on_the_device_and_come_back_when_read(device: FakeDriver):
    nets_ = [dense(), dense()]
    nets_[1].set_weights(nets_[0].get_weights())
    x, y = data()
    native, on_device = kcompile.compile(nets_[0]), kcompile.compile(nets_[1], target="cuda")
    native.train_on_batch(x, y), on_device.train_on_batch(x, y)
    device.calls.clear()
    losses = [m.train_on_batch(x, y) for m in (native, on_device)]
    copies = [c for c in device.calls if c.startswith("cuMemcpy")]
    assert copies.count("cuMemcpyDtoH") == 1, "the losses"
    assert copies.count("cuMemcpyHtoD") == 3, "x, y and sample weights; no weights"
    np.testing.assert_allclose(*losses, rtol=1e-5)
    for a, b in zip(native.get_weights(), on_device.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(native.predict(x), on_device.predict(x), rtol=1e-4, atol=1e-6)


def test_assigned_weights_are_sent(device: FakeDriver):
    net, (x, _) = dense(), data()
    on_device = kcompile.compile(net, target="cuda")
    before = on_device.predict(x)
    on_device.set_weights([2 * w for w in on_device.get_weights()])
    after = on_device.predict(x)
    assert not np.allclose(before, after)
    np.testing.assert_allclose(after, kcompile.compile(net).predict(x), rtol=1e-5, atol=1e-6)


def test_the_digits_cnn_trains(device: FakeDriver):
    pair = []
    for _ in range(2):  # with the same weights, and the same masks of Dropout
        np.random.seed(0)
        pair.append(nets.digits_cnn(size=4, filters=2))
    generator = np.random.default_rng(0)
    x, y = generator.random((6, 4, 4, 1)).astype("float32"), generator.integers(0, 10, 6)
    results = []
    for net, target in zip(pair, ("native", "cuda")):
        compiled = kcompile.compile(net, target=target)
        history = compiled.fit(x, y, batch_size=4, epochs=1, verbose=0, shuffle=False)
        results.append((history.history["loss"], compiled.predict(x)))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-3)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-2, atol=1e-3)


def test_a_text_classifier_trains(device: FakeDriver):
    pair = []
    for _ in range(2):
        np.random.seed(0)
        pair.append(nets.text_lstm(words=20, width=3, units=4, steps=5))
    generator = np.random.default_rng(0)
    x, y = generator.integers(0, 20, (6, 5)), generator.integers(0, 2, (6, 1))
    results = []
    for net, target in zip(pair, ("native", "cuda")):
        compiled = kcompile.compile(net, target=target)
        losses = compiled.fit(x, y, batch_size=4, epochs=2, verbose=0, shuffle=False).history["loss"]
        results.append((losses, compiled.predict(x), *compiled.get_weights()))
    for right, got in zip(*results):
        np.testing.assert_allclose(got, right, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("train", [False, True])
def test_an_lstm_runs_its_rounds(device: FakeDriver, train: bool):
    graph = nets.lstm(train, steps=3)
    made = compiler.compile_graph(graph, "run", targets.device("sm_80"), frozen=not train)
    driver = cuda_driver.Driver(device)
    x, variables = nets.lstm_arrays(graph, 2)
    held = {name: Held(driver, value.copy()) for name, value in variables.items()}
    program = compiler.load_on_device(made, driver, held)
    expected = interpreter.run(graph, 2, x, variables, "float64")
    for y, right in zip(program.run("run", 2, list(x.values())), expected.outputs.values()):
        np.testing.assert_allclose(y, right, rtol=1e-4, atol=1e-5)
    for name, right in expected.updates.items():
        held[name].to_host()
        np.testing.assert_allclose(held[name].array, right, rtol=1e-4, atol=1e-5)


def test_the_order_of_a_first_call(device: FakeDriver):
    net, (x, _) = dense(False), data(2)
    kcompile.compile(net, target="cuda").predict_on_batch(x)
    calls = [c for i, c in enumerate(device.calls) if c != (device.calls[i - 1] if i else "")]
    calls = [c for c in calls if c not in ("cuCtxPushCurrent", "cuCtxPopCurrent", "cuModuleGetFunction")]
    assert calls[:4] == ["cuInit", "cuDeviceGet", "cuDeviceGetAttribute", "cuDevicePrimaryCtxRetain"]
    assert calls[4] == "cuMemAlloc" and "cuModuleLoadDataEx" in calls
    assert calls[-3:] == ["cuMemcpyHtoD", "cuLaunchKernel", "cuMemcpyDtoH"]
    assert all(launch.threads == 256 for launch in device.launches)


def test_memory_is_given_back(device: FakeDriver):
    net, (x, _) = dense(False), data()
    on_device = kcompile.compile(net, target="cuda")
    on_device.predict(x, batch_size=3)
    on_device.engine.reset()
    gc.collect()
    held = sum(w.nbytes for w in net.get_weights())
    assert device.used == held and not device.modules and not device.graphs


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch):
    def told(connect: Callable[[], Any]) -> str:
        with pytest.raises(rt.DeviceError, match="target 'cuda': expected an NVIDIA") as caught:
            connect()
        return str(caught.value)

    assert "compute capability 7.5" in told(lambda: cuda_driver.connect(FakeDriver((7, 5))))
    broken = FakeDriver()
    broken.fails = "cuInit"
    assert "CUDA_ERROR_LAUNCH_FAILED" in told(lambda: cuda_driver.connect(broken))

    def absent() -> None:
        raise ImportError("No module named 'cuda'")

    monkeypatch.setattr(cuda_driver, "_default", absent)
    assert "No module named 'cuda'" in told(lambda: kcompile.compile(dense(), target="cuda"))


@pytest.mark.parametrize("call", ["cuLaunchKernel", "cuGraphInstantiate", "cuGraphLaunch", "cuMemcpyDtoH"])
def test_a_failure_on_the_device_is_an_error(device: FakeDriver, call: str):
    """Also one of a kernel that started well: the copy after it reports that."""
    net, (x, _) = dense(False), data()
    on_device = kcompile.compile(net, target="cuda")
    expected = on_device.predict(x)
    device.fails = call
    with pytest.raises(rt.DeviceError, match=f"{call} failed"):
        on_device.predict(x if call != "cuLaunchKernel" else x[:2])
    device.fails = ""
    np.testing.assert_array_equal(on_device.predict(x), expected)


def test_launches_that_come_again_are_recorded(device: FakeDriver):
    """The first call of a size launches one by one, the second records, all later ones replay."""
    net, (x, _) = dense(False), data()
    on_device = kcompile.compile(net, target="cuda")
    counts = []
    for _ in range(4):
        device.calls.clear()
        results = on_device.predict_on_batch(x)
        counts.append(
            [device.calls.count(f"cu{name}") for name in ("LaunchKernel", "GraphInstantiate", "GraphLaunch")]
        )
        np.testing.assert_allclose(results, kcompile.compile(net).predict(x), rtol=1e-5, atol=1e-6)
        on_device.model.use_engine(on_device.engine)
    assert counts[0][0] > 1 and counts == [counts[0], [0, 1, 1], [0, 0, 1], [0, 0, 1]]
    on_device.predict_on_batch(np.repeat(x, 9, 0))  # more room: old launches are of no use
    gc.collect()
    assert not device.graphs


def test_a_thread_of_its_own(device: FakeDriver):
    """A thread has no device until it is given one, and is left as it was found."""
    net, (x, y) = dense(), data()
    expected = kcompile.compile(net).predict(x)
    results: list[Any] = []

    def work() -> None:
        on_device = kcompile.compile(net, target="cuda")
        results.append(on_device.predict(x))
        on_device.train_on_batch(x, y)
        results.append(on_device)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    np.testing.assert_allclose(results[0], expected, rtol=1e-5, atol=1e-6)
    results[1].get_weights()  # here, from what the other thread made
    assert not device.contexts


def test_too_little_memory_is_told_and_survived(device: FakeDriver):
    net, (x, _) = dense(False), data()
    on_device = kcompile.compile(net, target="cuda")
    few = on_device.predict_on_batch(x)
    device.room = device.used + 1000
    with pytest.raises(rt.DeviceError, match=r"cuMemAlloc of \d+ bytes .*OUT_OF_MEMORY.* smaller batch"):
        on_device.predict_on_batch(np.repeat(x, 1000, 0))
    np.testing.assert_array_equal(on_device.predict_on_batch(x), few)


def test_two_models_at_once(device: FakeDriver):
    nets_, (x, y) = [dense(), dense()], data()
    pairs = [(kcompile.compile(dense_like(net)), kcompile.compile(net, target="cuda")) for net in nets_]
    for _ in range(2):
        for native, on_device in pairs:
            np.testing.assert_allclose(*(m.train_on_batch(x, y) for m in (native, on_device)), rtol=1e-5)
    for native, on_device in pairs:
        np.testing.assert_allclose(native.predict(x), on_device.predict(x), rtol=1e-4, atol=1e-6)


def dense_like(net: Any) -> Any:
    other = dense()
    other.set_weights(net.get_weights())
    return other


def test_slices_and_other_layouts_of_arrays(device: FakeDriver):
    """What is copied is C-contiguous, whatever the caller has."""
    net, (x, _) = dense(False), data(16)
    on_device = kcompile.compile(net, target="cuda")
    for part in (x[::2], x[:, ::-1], np.asfortranarray(x), x[3:8], x.astype("float64")):
        expected = on_device.predict_on_batch(np.ascontiguousarray(part, "float32"))
        np.testing.assert_array_equal(on_device.predict_on_batch(part), expected)


def test_a_batch_too_large_for_a_launch(device: FakeDriver):
    driver = cuda_driver.connect(device)
    spec = rt.TensorSpec("x", ("n",), "float32")
    launch = {"kernel": "k", "threads": 256, "units": [0, 1], "per_block": 1, "times": 1 << 20, "places": []}
    table = {"prepared": 0, "entries": [{"name": "e", "arena": [0, 0], "writes": [], "steps": [launch]}]}
    function = device_function("k", [], Grid(Size(0, 1), 1, 1 << 20, 256), [])
    device.functions = {"k": function}
    ptx = emission.ptx(emission.emit([function], targets.device("sm_80")), targets.device("sm_80"))
    entry = rt.EntrySpec("e", (spec,))
    program = CudaProgram(driver, ptx, table, b"", [entry], [])
    with pytest.raises(rt.DeviceError, match="2147483647 blocks"):
        program.run("e", 4096, [np.zeros(4096, np.float32)])


@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("cuda", "ziglang"))),
    reason="needs the packages cuda-bindings and ziglang",
)
def test_the_package_as_it_is(tmp_path: Path, root: Path):
    """`binding.py`: the installed cuda-bindings, with a driver of ours under it."""
    library = tmp_path / "libcuda.so.1"
    source = Path(__file__).with_name("libcuda.c")
    options = ["-shared", "-fPIC", "-nostdlib", "-fno-sanitize=all", "-Wl,-soname,libcuda.so.1"]
    subprocess.run(
        [sys.executable, "-m", "ziglang", "cc", *options, "-o", str(library), str(source)], check=True
    )
    done = subprocess.run(
        [sys.executable, str(source.with_name("binding.py")), str(library)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "tests"), *sys.path])},
    )
    assert done.stdout.endswith("ok\n"), done.stdout + done.stderr


def test_wrong_arguments():
    with pytest.raises(rt.InputError, match="'native', 'cuda', or a level"):
        kcompile.compile(dense(), target="gpu")
    with pytest.raises(rt.InputError, match="threads"):
        kcompile.compile(dense(), target="cuda", threads=2)


def test_numbers_of_rows_are_checked_before_a_launch(device: FakeDriver):
    net = keras.Sequential([keras.layers.Embedding(11, 4, input_length=2), keras.layers.Flatten()])
    compiled = kcompile.compile(net, target="cuda")
    x = np.array([[0, 10], [3, 4]], np.int32)
    np.testing.assert_array_equal(compiled.predict(x), net.get_weights()[0][x].reshape(2, 8))
    for number in (11, -1):
        x[1, 0] = number
        told = rf"from 0 to 10\. Received: {number}, at place 0 of sample 1"
        with pytest.raises(rt.InputError, match=told):
            compiled.predict(x)
