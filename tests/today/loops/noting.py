"""What the loops of this folder note: numbers, that both TensorFlow and kcompile must come to.

Each script here is one of today's guides whose loop over batches is its own, with `tf.GradientTape`. Weights
begin with values that follow from their shapes. `python tests/today/loops/noting.py` runs all of them by
TensorFlow and tf_keras, and writes loops.json, for the tests without them.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

NOTED = []


def settle(*models):
    """Give weights their first values."""
    for model in models:
        draw = np.random.RandomState(7)
        values = []
        for old in model.get_weights():
            fans = np.sqrt(max(1, np.prod(old.shape[:-1])))
            values.append(
                draw.normal(size=old.shape) / fans
                if old.ndim > 1
                else old + 0.1 * draw.uniform(size=old.shape)
            )
        model.set_weights([v.astype("float32") for v in values])


def note(*values):
    """Write down the first numbers of each value."""
    for value in values:
        NOTED.append([float(f"{v:.7g}") for v in np.asarray(value, "float64").ravel()[:8]])


def done():
    """Print what was noted, and begin anew."""
    print(json.dumps(NOTED))
    NOTED.clear()


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    found = {}
    for script in sorted(here.glob("*.py")):
        if script.name != "noting.py":
            command, environment = [sys.executable, script.name], {**os.environ, "TF_USE_LEGACY_KERAS": "1"}
            made = subprocess.run(
                command, check=True, capture_output=True, text=True, cwd=here, env=environment
            )
            found[script.stem] = json.loads(made.stdout.splitlines()[-1])
    (here / "loops.json").write_text(json.dumps(found) + "\n")
