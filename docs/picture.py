"""Makes the picture of the README, docs/fusion.svg: a small network as it is traced, and as kernels.

python docs/picture.py
"""

from __future__ import annotations

from pathlib import Path

import kcompile
from kcompile import report_page
from kcompile.keras.layers import (
    Activation,
    Add,
    BatchNormalization,
    Conv2D,
    Dense,
    GlobalAveragePooling2D,
    Input,
)
from kcompile.keras.models import Model

FILE = Path(__file__).with_name("fusion.svg")


def picture() -> str:
    """The picture, which is the same on every machine."""
    image = Input((28, 28, 1), name="image")
    x = Conv2D(8, 3, use_bias=False, name="conv")(image)
    x = Activation("relu", name="relu")(BatchNormalization(name="norm")(x))
    y = Conv2D(8, 3, padding="same", name="again")(x)
    x = GlobalAveragePooling2D(name="mean")(Add(name="sum")([x, y]))
    model = Model(image, Dense(10, name="digit")(x), name="digits")
    return report_page.picture(kcompile.compile(model), "x86-64-v3", rankdir="LR")


if __name__ == "__main__":
    FILE.write_text(picture() + "\n", encoding="utf-8")
