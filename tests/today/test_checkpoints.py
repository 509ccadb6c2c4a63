"""tf.train.Checkpoint: files that are damaged, other objects, and what is left of a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kcompile import tf_keras
from kcompile.tensorflow import around, modules
from kcompile_runtime.errors import InputError, ModelError


def network(units: int = 3) -> tf_keras.Model:
    return tf_keras.Sequential([tf_keras.Input((2,)), tf_keras.layers.Dense(units)])


def test_a_damaged_file_changes_nothing(tmp_path: Path) -> None:
    model = network()
    checkpoint = modules.Checkpoint(model=model)
    path = checkpoint.save(str(tmp_path / "ckpt"))
    file = Path(f"{path}.npz")
    whole, before = file.read_bytes(), [w.copy() for w in model.get_weights()]
    for damaged in (whole[: len(whole) // 2], b"", whole[:100] + b"\xff" * 40 + whole[140:]):
        file.write_bytes(damaged)
        with pytest.raises(InputError, match="ckpt-1"):
            checkpoint.restore(path)
        for now, then in zip(model.get_weights(), before):
            np.testing.assert_array_equal(now, then)
    with pytest.raises(InputError, match="no such file"):
        checkpoint.restore(tmp_path / "other")
    (tmp_path / "theirs.index").touch()
    with pytest.raises(InputError, match="TensorFlow itself"):
        checkpoint.restore(tmp_path / "theirs")


def test_other_objects(tmp_path: Path) -> None:
    path = modules.Checkpoint(model=network()).save(str(tmp_path / "ckpt"))
    with pytest.raises(InputError, match="model/0"):
        modules.Checkpoint(model=network(4)).restore(path)
    with pytest.raises(InputError, match="net/0"):
        modules.Checkpoint(net=network()).restore(path)
    with pytest.raises(InputError, match="Build models"):
        modules.Checkpoint(model=tf_keras.Sequential([tf_keras.layers.Dense(3)])).restore(path)
    with pytest.raises(ModelError, match="variables, models, optimizers"):
        modules.Checkpoint(model=3)


def test_the_last_ones_stay(tmp_path: Path) -> None:
    step = around.Variable(0, dtype="int64")
    manager = modules.CheckpointManager(modules.Checkpoint(step=step), tmp_path, max_to_keep=2)
    for _ in range(4):
        step.assign_add(1)
        manager.save()
    assert [Path(p).name for p in manager.checkpoints] == ["ckpt-3", "ckpt-4"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint", "ckpt-3.npz", "ckpt-4.npz"]
    again = modules.CheckpointManager(modules.Checkpoint(step=step), tmp_path, max_to_keep=2)
    assert again.latest_checkpoint == modules.latest_checkpoint(tmp_path) == manager.latest_checkpoint
    step.assign(9)
    assert again.restore_or_initialize() == again.latest_checkpoint
    assert int(step) == 4
