"""Taking a live Keras model in, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile
from kcompile.files.live import from_keras, is_live
from kcompile_runtime.errors import ModelError, UnsupportedError

keras = pytest.importorskip("keras")
layers = keras.layers


def small(*more: Any) -> Any:
    return keras.Sequential([layers.Input((4,)), layers.Dense(3, name="first"), *more])


def refused(model: Any) -> str:
    with pytest.raises(UnsupportedError) as caught:
        from_keras(model)
    return str(caught.value)


def test_names_weights_and_structure_are_kept() -> None:
    inside = keras.Sequential([layers.Input((5,)), layers.Dense(2, name="deep")], name="inside")
    shared = layers.Dense(5, name="shared", activation="relu")
    a, b = layers.Input((4,), name="a"), layers.Input((4,), name="b")
    y = layers.Add(name="sum")([inside(shared(a)), inside(shared(b))])
    live = keras.Model([a, b], [y, layers.Flatten(name="flat")(y)], name="whole")
    ours = from_keras(live)
    assert ours.name == "whole"
    assert [x.name for x in ours.layers] == [x.name for x in live.layers]
    assert ours.input_names == ["a", "b"]
    assert ours.output_names == ["sum", "flat"]
    assert ours.vintage == "keras3"
    for mine, theirs in zip(ours.get_weights(), live.get_weights()):
        np.testing.assert_array_equal(mine, theirs)
    assert len(ours.get_layer("shared").nodes_made) == 2


def test_conversion_draws_no_seeds() -> None:
    np.random.seed(3)
    expected = np.random.randint(1000)
    np.random.seed(3)
    from_keras(small())
    assert np.random.randint(1000) == expected


def test_uncompiled_models_stay_so() -> None:
    assert from_keras(small()).compile_arguments is None


def test_the_compilation_comes_along() -> None:
    live = small()
    live.compile(
        keras.optimizers.RMSprop(0.02, rho=0.8, clipvalue=0.5),
        loss=keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.1),
        metrics=["accuracy", keras.metrics.BinaryAccuracy(threshold=0.3)],
    )
    ours = from_keras(live)
    optimizer = ours.optimizer
    assert type(optimizer).__name__ == "RMSprop"
    assert (optimizer.rho, optimizer.clipvalue) == (0.8, 0.5)
    assert float(optimizer.lr.value) == pytest.approx(0.02)
    assert ours.compile_arguments.losses[0].arguments == {"from_logits": True, "label_smoothing": 0.1}
    assert len(ours.compile_arguments.metrics[0]) == 2


# ---------------------------------------------------------------- refused


def test_everything_unsupported_is_told_at_once() -> None:
    """Of a model that cannot be traced."""

    class Mine(layers.Layer):
        def call(self, x: Any) -> Any:
            return keras.ops.real(keras.ops.eig(x[:, None] * x[:, :, None])[0])

    class Slower(keras.optimizers.SGD):
        pass

    live = small(Mine(name="mine"), layers.Dense(2, name="few", dtype="int8_from_float32"))
    live.compile(Slower(), loss="mse")
    text = refused(live)
    for part in (
        "'mine' (Mine)",
        "'few' (Dense): dtype int8_from_float32. Quantized",
        "cannot be traced",
        "Slower",
    ):
        assert part in text
    assert "'first'" not in text


def test_a_model_that_is_not_built() -> None:
    with pytest.raises(ModelError, match="has no weights yet"):
        from_keras(keras.Sequential([layers.Dense(3)]))


@pytest.mark.parametrize("thing", [None, 3, "text", object(), layers.Dense])
def test_what_is_no_model(thing: Any) -> None:
    assert not is_live(thing)
    with pytest.raises(ModelError, match="Received"):
        from_keras(thing)


def test_callbacks_of_functions_hear_the_batches() -> None:
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    heard: list[int] = []
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: heard.append(batch))
    batches = ((np.ones((4, 2)), np.ones((4, 1))) for _ in range(3))
    kcompile.compile(model).fit(batches, epochs=1, verbose=0, callbacks=[callback])
    assert heard == [0, 1, 2]
