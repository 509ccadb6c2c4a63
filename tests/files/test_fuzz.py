"""Some hundred files with something wrong in them; `fuzz.py` does it for as long as you like."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FUZZ = Path(__file__).with_name("fuzz.py")


def test_changed_files_give_a_model_or_an_error_that_helps() -> None:
    done = subprocess.run([sys.executable, FUZZ, "--cases", "200"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "200 files, 0 failures" in done.stdout
