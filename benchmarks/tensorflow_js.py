"""WebAssembly beside TensorFlow.js with its backend of WebAssembly, in Node, on the same network for digits.

Run: python -m benchmarks.tensorflow_js [--rounds N] [--folder DIR]
It needs Node, and npm, which installs @tensorflow/tfjs into DIR (default: a temporary folder). Prints the
time of a prediction of 1 and of 32 samples, from the start of a process to its first prediction, and what a
page loads. Both run on one thread, with simd128. A round runs each once, in turn; of the rounds the median is
printed.
"""

from __future__ import annotations

import argparse
import base64
import json
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import kcompile
from kcompile.keras.datasets import digits
from kcompile.keras.layers import Conv2D, Dense, Flatten, MaxPooling2D
from kcompile.keras.models import Sequential

VERSION = "4.22.0"
PACKAGES = ("tfjs", "tfjs-backend-wasm")
# What a page loads of TensorFlow.js, minified, as content delivery networks have it
FILES = (
    "tfjs/dist/tf.min.js",
    "tfjs-backend-wasm/dist/tf-backend-wasm.min.js",
    "tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm",
)
KEPT = ("filters", "kernel_size", "padding", "activation", "pool_size", "units")
SPELLED = {"kernel_size": "kernelSize", "pool_size": "poolSize"}


def network() -> Sequential:
    """That of examples/web_page.py, without its training."""
    return Sequential(
        [
            Conv2D(8, 3, padding="same", activation="relu", input_shape=(8, 8, 1)),
            Conv2D(16, 3, padding="same", activation="relu"),
            MaxPooling2D(2),
            Flatten(),
            Dense(32, activation="relu"),
            Dense(10, activation="softmax"),
        ],
        name="digits",
    )


def text(array: Any) -> str:
    return base64.b64encode(np.ascontiguousarray(array, np.float32).tobytes()).decode()


def for_tensorflow(model: Sequential) -> list[dict[str, Any]]:
    """The layers as TensorFlow.js spells them, with their weights."""
    found = []
    for i, layer in enumerate(model.layers):
        config = {SPELLED.get(k, k): v for k, v in layer.get_config().items() if k in KEPT}
        weights = [{"shape": list(w.shape), "data": text(w)} for w in layer.get_weights()]
        shape = {"inputShape": [8, 8, 1]} if i == 0 else {}
        found.append({"kind": type(layer).__name__, "config": {**config, **shape}, "weights": weights})
    return found


def prepare(folder: Path) -> tuple[Sequential, np.ndarray]:
    """Write both sides into a folder. Gives the network, and 32 samples."""
    np.random.seed(1)
    model, x = network(), digits.load_data()[1][0][:32, ..., None].astype("float32") / 16
    kcompile.export_npm(model, folder / "ours")
    (folder / "layers.json").write_text(json.dumps({"layers": for_tensorflow(model), "x": text(x)}))
    wanted = {f"@tensorflow/{name}": VERSION for name in PACKAGES}
    (folder / "package.json").write_text(json.dumps({"private": True, "dependencies": wanted}))
    shutil.copy(Path(__file__).with_suffix(".mjs"), folder)
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return model, x


def run(folder: Path, side: str) -> dict[str, Any]:
    command = ["node", "tensorflow_js.mjs", side]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def loaded(folder: Path, model: Sequential) -> dict[str, int]:
    """Bytes that a page loads: code and weights."""
    ours = sum((folder / "ours" / name).stat().st_size for name in ("index.js", "model.js", "model.wasm"))
    code = sum((folder / "node_modules" / "@tensorflow" / name).stat().st_size for name in FILES)
    return {"ours": ours, "theirs": code + 4 * model.count_params()}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description="WebAssembly beside TensorFlow.js, in Node.")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--folder", type=Path, help="where both sides are kept (default: a temporary one)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        model, x = prepare(folder)
        found: dict[str, list[dict[str, Any]]] = {"ours": [], "theirs": []}
        for _ in range(arguments.rounds):
            for side, results in found.items():
                results.append(run(folder, side))
        want = model.predict(x, verbose=0).ravel()
        for side, results in found.items():
            distance = np.abs(np.array(results[0]["outputs"]) - want).max()
            assert distance < 1e-4, f"{side} predicts something else: {distance}"
        sizes = loaded(folder, model)
    rows = [
        ("prediction of 1, microseconds", lambda r: 1000 * r["times"]["1"]),
        ("prediction of 32, microseconds", lambda r: 1000 * r["times"]["32"]),
        ("start to first prediction, ms", lambda r: r["start"]),
    ]
    print(f"{'':34}{'kcompile':>12}{'TensorFlow.js':>16}{'ratio':>10}")
    for name, value in rows:
        a, b = (statistics.median(map(value, found[side])) for side in ("ours", "theirs"))
        print(f"{name:34}{a:12.1f}{b:16.1f}{b / a:10.1f}")
    a, b = sizes["ours"], sizes["theirs"]
    print(f"{'bytes that a page loads':34}{a:12,}{b:16,}{b / a:10.1f}")


if __name__ == "__main__":
    main()
