"""Measure us on a graphics processor: against our own code for the processor, and JAX and PyTorch there.

    python -m benchmarks.gpu [--only NAME ...] [--peers NAME ...] [--rounds N] [--simulate]

Models have the weights and inputs of `benchmarks`; a call takes numpy arrays and gives numpy arrays,
copies to the device and back included. Engines take turns, round after round, after their results
were compared with ours. Peers compute in full float32 (no TF32), as we do. Printed: median and
quartiles, the ratio of each peer's median to ours (above 1: we are faster), and our time on the device
alone. Then the rate of the kernel for products of square matrices, and its share of the float32 peak.

--simulate runs all of it at tiny sizes on the interpreter of blocks and threads, to see that it works;
the times mean nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import kcompile
from benchmarks.models import BENCHMARKS, Benchmark, flat_weights, inputs, weight_table
from benchmarks.worker import CHECKED_STEPS, Row
from kcompile import compiler, keras, model
from kcompile.codegen import targets
from kcompile.ir import ops
from kcompile.ir.graph import Graph
from kcompile.ir.tensor import Tensor
from kcompile.ir.types import Batch, TensorType
from kcompile_runtime.cuda import CudaProgram, Held
from kcompile_runtime.cuda_driver import Driver, connect
from kcompile_runtime.errors import DeviceError

MODELS = {
    "mlp": (1, 128, 1024),
    "mnist-mlp": (128, 1024),
    "digits-cnn": (1, 32, 1024),
    "conv-3x3": (8, 64),
    "stacked-lstm": (32, 1024),
    "embedding-lstm": (1, 32, 256),
}
SQUARES = (1024, 2048, 4096)
ROUND_SECONDS = 0.05  # one engine's share of one round
TOLERANCE = 2e-3
LANES = 128  # multiply-adds of a multiprocessor in a cycle, from compute capability 8.6 on

Call = Callable[[], Any]


class Ours:
    def __init__(self, target: str) -> None:
        self.target = target

    def call(self, benchmark: Benchmark, row: Row) -> Call:
        made = benchmark.model(keras)
        made.set_weights(flat_weights(benchmark))
        x, labels = inputs(benchmark, row.batch)
        if row.mode == "train":
            made.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
        self.compiled = kcompile.compile(made, target=self.target)
        if row.mode == "train":
            return lambda: self.compiled.train_on_batch(x, labels)
        return lambda: self.compiled.predict_on_batch(x)


class Jax:
    """`benchmarks.in_jax`, where jax finds the same device."""

    def __init__(self) -> None:
        import jax

        if jax.devices()[0].platform != "gpu":
            raise RuntimeError("jax has no graphics processor")
        jax.config.update("jax_default_matmul_precision", "highest")
        from benchmarks import in_jax

        self.code = in_jax

    def call(self, benchmark: Benchmark, row: Row) -> Call:
        x, labels = inputs(benchmark, row.batch)
        if row.mode == "predict":
            predict = self.code.predictor(benchmark)
            return lambda: predict(x)
        train = self.code.trainer(benchmark)
        return lambda: train(x, labels)


class Torch:
    """Eager modules (LSTMs by cuDNN), float32 without TF32."""

    def __init__(self) -> None:
        import torch

        if not torch.cuda.is_available():
            raise RuntimeError("torch has no graphics processor")
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        self.torch = torch

    def call(self, benchmark: Benchmark, row: Row) -> Call:
        torch = self.torch
        net = torch_model(torch, benchmark).cuda()
        arrays = inputs(benchmark, row.batch)
        last = benchmark.layers[-1][1].get("activation") == "softmax"

        def sent(array: np.ndarray) -> Any:
            return torch.from_numpy(array).cuda()

        if row.mode == "predict":
            net.eval()

            def predict() -> Any:
                with torch.no_grad():
                    y = net(sent(arrays[0]))
                    return (torch.softmax(y, -1) if last else y).cpu().numpy()

            return predict
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, eps=1e-7, fused=True)

        def train() -> float:
            loss = torch.nn.functional.cross_entropy(net(sent(arrays[0])), sent(arrays[1]).long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return float(loss)

        return train


def torch_model(torch: Any, benchmark: Benchmark) -> Any:
    """The model without its last softmax. Images are [n, h, w, c] outside, and in channels-last
    memory inside."""
    nn = torch.nn

    class Moved(nn.Module):
        def __init__(self, *axes: int) -> None:
            super().__init__()
            self.axes = axes

        def forward(self, x: Any) -> Any:
            return x.permute(*self.axes)

    class Recurrent(nn.Module):
        def __init__(self, cell: Any, sequences: bool) -> None:
            super().__init__()
            self.cell, self.sequences = cell, sequences

        def forward(self, x: Any) -> Any:
            outputs = self.cell(x)[0]
            return outputs if self.sequences else outputs[:, -1]

    def filled(module: Any, **values: np.ndarray) -> Any:
        state = module.state_dict()
        module.load_state_dict(
            state | {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in values.items()}
        )
        return module

    images = len(benchmark.input_shape) == 3
    made: list[Any] = [Moved(0, 3, 1, 2)] if images else []
    for (kind, arguments), w in zip(benchmark.layers, weight_table(benchmark)):
        if kind == "Dense":
            size, bias = w["kernel"].shape, {k: v for k, v in w.items() if k == "bias"}
            made.append(filled(nn.Linear(*size, bias=bool(bias)), weight=w["kernel"].T, **bias))
        elif kind == "Conv2D":
            size, bias = w["kernel"].shape, {k: v for k, v in w.items() if k == "bias"}
            conv = nn.Conv2d(size[2], size[3], size[0], padding="same", bias=bool(bias))
            kernel = w["kernel"].transpose(3, 2, 0, 1)
            made.append(filled(conv, weight=kernel, **bias).to(memory_format=torch.channels_last))
        elif kind == "BatchNormalization":
            norm = nn.BatchNorm2d(len(w["gamma"]), eps=1e-3, momentum=0.01)
            made.append(
                filled(
                    norm,
                    weight=w["gamma"],
                    bias=w["beta"],
                    running_mean=w["moving_mean"],
                    running_var=w["moving_variance"],
                )
            )
        elif kind == "LSTM":
            cell = nn.LSTM(w["kernel"].shape[0], arguments["units"], batch_first=True)
            weights = {"weight_ih_l0": w["kernel"].T, "weight_hh_l0": w["recurrent_kernel"].T}
            biases = {"bias_ih_l0": w["bias"], "bias_hh_l0": np.zeros_like(w["bias"])}
            made.append(Recurrent(filled(cell, **weights, **biases), arguments["return_sequences"]))
        elif kind == "Embedding":
            made.append(filled(nn.Embedding(*w["embeddings"].shape), weight=w["embeddings"]))
        elif kind == "MaxPooling2D":
            made.append(nn.MaxPool2d(arguments["pool_size"]))
        elif kind == "Flatten":
            made += [Moved(0, 2, 3, 1), nn.Flatten()]
            images = False
        if arguments.get("activation") == "relu":
            made.append(nn.ReLU())
    return nn.Sequential(*made, *([Moved(0, 2, 3, 1)] if images else []))


PEERS: dict[str, Callable[[], Any]] = {"native": lambda: Ours("native"), "jax": Jax, "torch": Torch}


def start(names: Sequence[str]) -> dict[str, Any]:
    """Us, and the peers that are installed and find a device."""
    engines: dict[str, Any] = {"cuda": Ours("cuda")}
    for name in names:
        try:
            engines[name] = PEERS[name]()
        except (ImportError, RuntimeError) as error:
            print(f"  {name}: not measured ({error})")
    return engines


def result(call: Call, mode: str) -> np.ndarray:
    """What is compared: predictions, or the losses of the first steps."""
    if mode == "predict":
        return np.asarray(call())
    return np.array([float(np.ravel(np.asarray(call()))[0]) for _ in range(CHECKED_STEPS)])


def measure(calls: dict[str, Call], rounds: int) -> dict[str, np.ndarray]:
    """Seconds a call, [rounds], for each engine; the first round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    repeats = dict.fromkeys(calls, 1)
    for number in range(rounds + 1):
        for name, call in calls.items():
            begin = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            each = (time.perf_counter() - begin) / repeats[name]
            if number:
                seconds[name].append(each)
            else:
                repeats[name] = max(1, round(ROUND_SECONDS / each))
    return {name: np.array(values) for name, values in seconds.items()}


def run_row(engines: dict[str, Any], benchmark: Benchmark, row: Row, rounds: int) -> None:
    """Compare, measure and print one line for each engine."""
    print(f"{row}")
    calls: dict[str, Call] = {}
    reference = np.zeros(0)
    for name, engine in engines.items():
        try:
            call = engine.call(benchmark, row)
            got = result(call, row.mode)
        except Exception as error:
            if not calls:
                raise  # ours
            print(f"  {name}: failed: {type(error).__name__}: {error}")
            continue
        reference = reference if calls else got
        difference = float(np.abs(got - reference).max() / np.abs(reference).max())
        if got.shape == reference.shape and difference <= TOLERANCE:
            calls[name] = call
        else:
            print(f"  {name}: WRONG: differs from ours by {difference:.1e}; not timed")
    times = measure(calls, rounds)
    ours = float(np.median(times["cuda"]))
    for name, values in times.items():
        low, middle, high = np.percentile(values, (25, 50, 75)) * 1e6
        print(f"  {name:8} {middle:10.1f} us  ({low:.1f} to {high:.1f})  {middle / ours / 1e6:6.2f}")
    program = engines["cuda"].compiled.engine.program(row.mode)
    alone = program.seconds(row.mode, row.batch, max(2, round(ROUND_SECONDS / ours)))
    print(f"  {'':8} {alone * 1e6:10.1f} us of ours on the device, without copies")


def product(driver: Driver, size: int) -> tuple[CudaProgram, np.ndarray, np.ndarray]:
    """A program for x @ w of square matrices, the operands."""
    graph = Graph("product")
    x = Tensor(graph, graph.input("x", TensorType((Batch(), size))))
    w = Tensor(graph, graph.variable("w", TensorType((size, size))))
    graph.outputs["y"] = ops.matmul(x, w).value
    made = compiler.compile_graph(graph, "run", targets.device(driver.architecture), frozen=False)
    generator = np.random.default_rng(0)
    a, b = (generator.normal(size=(size, size)).astype(np.float32) for _ in range(2))
    return compiler.load_on_device(made, driver, {"w": Held(driver, b)}), a, b


def run_products(driver: Driver, sizes: Sequence[int], rounds: int) -> None:
    """Print the rate of the kernel for products, and its share of what the device could do."""
    clock = driver.attribute("CLOCK_RATE") * 1e3
    peak = driver.attribute("MULTIPROCESSOR_COUNT") * LANES * 2 * clock
    print(f"products of float32 matrices; peak {peak / 1e12:.1f} TFLOP/s")
    for size in sizes:
        program, a, b = product(driver, size)
        (y,) = program.run("run", size, [a])
        right = a[:8].astype(np.float64) @ b
        error = np.linalg.norm(y[:8] - right) / np.linalg.norm(right)
        if not error < 1e-5:
            print(f"  {size}: WRONG: relative error {error:.1e}")
            continue
        rates = [2 * size**3 / program.seconds("run", size, 3) for _ in range(rounds)]
        rate = float(np.median(rates))
        print(f"  {size:5}  {rate / 1e12:8.2f} TFLOP/s  {rate / peak:6.1%}  (error {error:.1e})")


def simulated() -> Driver:
    """A device made of the interpreter, which the tests use."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    from gpu.device import FakeDriver, remembering

    from kcompile.codegen.gpu import emission

    fake = FakeDriver()
    emission.emit_program = remembering(fake)
    driver = connect(fake)
    model.connect = lambda: driver
    return driver


def tiny(benchmark: Benchmark) -> Benchmark:
    """The same layers, of a size for the interpreter."""
    small = {"units": 3, "filters": 2, "input_dim": 9, "output_dim": 3}
    layers = tuple(
        (kind, {k: small.get(k, v) for k, v in arguments.items()}) for kind, arguments in benchmark.layers
    )
    shape = tuple(min(size, 4) for size in benchmark.input_shape)
    return replace(benchmark, layers=layers, input_shape=shape, vocabulary=benchmark.vocabulary and 9)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=[*MODELS, "products"], default=[*MODELS, "products"])
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--simulate", action="store_true")
    options = parser.parse_args(arguments)
    try:
        driver = simulated() if options.simulate else connect()
    except DeviceError as error:
        print(error)
        return 1
    print(
        "simulated"
        if options.simulate
        else f"compute capability {'.'.join(map(str, driver.capability))}, code for {driver.architecture}"
    )
    engines = start(["native"] if options.simulate else options.peers)
    for benchmark in BENCHMARKS:
        if benchmark.name in options.only:
            chosen = tiny(benchmark) if options.simulate else benchmark
            modes = ("predict", "train") if benchmark.train else ("predict",)
            for mode in modes:
                for batch in (2,) if options.simulate else MODELS[benchmark.name]:
                    run_row(engines, chosen, Row(benchmark.name, mode, batch), options.rounds)
    if "products" in options.only:
        run_products(driver, (20,) if options.simulate else SQUARES, options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
