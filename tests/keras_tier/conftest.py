"""Comparison with an installed Keras 3, on the JAX backend."""

from __future__ import annotations

import os

import pytest

os.environ["KERAS_BACKEND"] = "jax"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "keras_tier" in item.path.parts:
            item.add_marker(pytest.mark.keras)
            # Keras' own variables under numpy 2
            item.add_marker(pytest.mark.filterwarnings("ignore:__array__ implementation"))
