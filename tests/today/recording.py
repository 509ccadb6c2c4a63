"""Writes losses.json: what some of the scripts report under the real Keras, for the tests without Keras.

python tests/today/recording.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from today.running import HERE, SCRIPTS, really

QUICK = ("siamese_contrastive", "text_classification_with_transformer")

if __name__ == "__main__":
    found = {name: really(SCRIPTS / f"{name}.py") for name in QUICK}
    (HERE / "losses.json").write_text(json.dumps(found, indent=1) + "\n")
