"""Losses that are one number for a batch, in `compile`: what weights, masks and reductions make of them."""

import numpy as np
import pytest

from kcompile import keras3
from kcompile.keras import backend as K
from kcompile.keras import losses
from kcompile_runtime.errors import InputError, ModelError

SCORES = np.arange(1.0, 25.0, dtype=np.float32).reshape(4, 3, 2) / 25
TRUTH = (np.arange(24).reshape(4, 3, 2) % 3 == 0).astype(np.float32)
WEIGHTS = np.array([0.5, 1.0, 2.0, 0.0], np.float32)
OF_KERAS_3 = {  # by executed Keras 3.12: without weights, with WEIGHTS, with ones
    "sum": (0.6, 2.1, 2.4),
    "sum_over_batch_size": (0.6, 0.525, 0.6),
    "mean_with_sample_weight": (0.6, 0.6, 0.6),
}


def one_for_a_batch(keras, reduction):
    class Farthest(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return keras.ops.max(keras.ops.abs(y_true - y_pred)) * 0 + 0.6

    return Farthest(reduction=reduction)


def passing(keras, loss, steps=False):
    class Own(keras.Model):
        def train_step(self, data):
            return super().train_step(data)

        def test_step(self, data):
            x, y, w = keras.utils.unpack_x_y_sample_weight(data)
            return {"value": self.compute_loss(x=x, y=y, y_pred=self(x), sample_weight=w)}

    x = keras.layers.Input((3, 2))
    y = keras.layers.Dense(2, use_bias=False, kernel_initializer="identity")(x)
    model = (Own if steps else keras.Model)(x, y)
    model.compile(keras.optimizers.SGD(0.0), loss)
    return model


@pytest.mark.parametrize("reduction", OF_KERAS_3)
@pytest.mark.parametrize("steps", [False, True])
def test_a_loss_of_one_number_for_a_batch(reduction, steps):
    model = passing(keras3, one_for_a_batch(keras3, reduction), steps)
    for weights, wanted in zip((None, WEIGHTS, np.ones(4)), OF_KERAS_3[reduction]):
        told = model.evaluate(SCORES, TRUTH, sample_weight=weights, verbose=0)
        assert told == pytest.approx(wanted, rel=1e-5)
        told = model.train_on_batch(SCORES, TRUTH, sample_weight=weights)
        assert steps or told == pytest.approx(wanted, rel=1e-5)


def test_sums_of_dice_by_whether_there_are_weights_or_class_weights():
    one = float(K.eval(losses.Dice()(TRUTH, SCORES)))
    for loss in (keras3.losses.Dice, keras3.losses.Tversky):
        model = passing(keras3, loss(reduction="sum"))
        assert model.evaluate(SCORES, TRUTH, verbose=0) == pytest.approx(one, rel=1e-5)
        found = model.evaluate(SCORES, TRUTH, sample_weight=WEIGHTS, verbose=0)
        assert found == pytest.approx(one * 3.5, rel=1e-5)
        told = model.fit(SCORES, TRUTH, validation_data=(SCORES, TRUTH, WEIGHTS), verbose=0, epochs=2).history
        np.testing.assert_allclose(told["loss"], [one] * 2, rtol=1e-5)
        np.testing.assert_allclose(told["val_loss"], [one * 3.5] * 2, rtol=1e-5)
        model = passing(keras3, loss(reduction="none"))
        assert model.evaluate(SCORES, TRUTH, verbose=0) == pytest.approx(one, rel=1e-5)
        with pytest.raises(InputError, match="one number for the batch"):
            model.evaluate(SCORES, TRUTH, sample_weight=WEIGHTS, verbose=0)
    model = passing(keras3, keras3.losses.Dice(axis=(1, 2), reduction="none"))
    with pytest.raises(ModelError, match="reduction='none'"):
        model.evaluate(SCORES, TRUTH, verbose=0)


def test_a_loss_along_the_batch_is_reduced():
    x = keras3.layers.Input((2,))
    model = keras3.Model(x, keras3.layers.Dense(2, use_bias=False, kernel_initializer="identity")(x))
    data, zeros = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), np.zeros((3, 2))
    for reduction, wanted in (("sum", 9.0 + 12.0), ("mean", 10.5)):

        class Along(keras3.losses.Loss):
            def call(self, y_true, y_pred):
                return keras3.ops.sum(y_pred - y_true, axis=0)

        model.compile("sgd", Along(reduction=reduction))
        assert model.evaluate(data, zeros, verbose=0) == pytest.approx(wanted)


def test_ignored_classes_count_in_weighted_metrics_where_no_weights_are_given():
    """As zeros, in Keras 3; and where there are weights not at all."""
    x = keras3.layers.Input((2,))
    model = keras3.Model(x, keras3.layers.Activation("linear")(x))
    ignoring = keras3.metrics.SparseCategoricalCrossentropy(ignore_class=1)
    model.compile("sgd", "sparse_categorical_crossentropy", weighted_metrics=[ignoring])
    data, labels = np.full((5, 2), 0.5), np.array([0, 1, 0, 0, 1])
    told = model.evaluate(data, labels, verbose=0)
    np.testing.assert_allclose(told[1], np.log(2) * 3 / 5, rtol=1e-5)
    told = model.evaluate(data, labels, sample_weight=np.array([1.0, 2, 3, 4, 5]), verbose=0)
    np.testing.assert_allclose(told[1], np.log(2), rtol=1e-5)


def test_weighted_metrics_of_one_number_count_each_batch_once_without_weights():
    """As executed Keras 3.15 and tf_keras say it."""
    x = keras3.layers.Input((2,))
    model = keras3.Model(x, keras3.layers.Activation("linear")(x))

    def one(y_true, y_pred):
        return keras3.ops.mean(keras3.ops.square(y_true - y_pred) * 3.0)

    model.compile("sgd", "mse", weighted_metrics=[one])
    data = np.arange(10.0).reshape(5, 2)
    for weights, wanted in ((None, 107.5), (np.ones(5), 85.5), (np.array([0.5, 1, 2, 0, 3]), 131.8846)):
        told = model.evaluate(data, data * 0, sample_weight=weights, batch_size=2, verbose=0)
        assert told[1] == pytest.approx(wanted, rel=1e-5)
