"""x[0] and x[1:3] of tensors whose first axis is the batch, as in TensorFlow 1. Shapes are Keras 2.2.4's."""

from __future__ import annotations

import numpy as np
import pytest

from kcompile.keras import backend as K
from kcompile.keras import layers as L

X = np.arange(24.0).reshape(4, 3, 2)
FIXED = {
    "0": (0, (3, 2)),
    "-1": (-1, (3, 2)),
    ":,0": ((slice(None), 0), (4, 2)),
    "1:3": (slice(1, 3), (2, 3, 2)),
    "1:": (slice(1, None), (3, 3, 2)),
    "::2": (slice(None, None, 2), (2, 3, 2)),
    "2,1:": ((2, slice(1, None)), (2, 2)),
    "...,0": ((Ellipsis, 0), (4, 3)),
    "-2:-1": (slice(-2, -1), (1, 3, 2)),
    "None,1": ((None, 1), (1, 3, 2)),
    "0:9": (slice(0, 9), (4, 3, 2)),
}
FREE = ("0", "-1", ":,0", "2,1:", "...,0", "None,1", "1:3", "-2:-1")


@pytest.mark.parametrize("text", FIXED)
def test_of_an_input_of_a_fixed_batch(text):
    key, shape = FIXED[text]
    x = L.Input(batch_shape=(4, 3, 2))
    assert K.int_shape(x[key]) == shape == X[key].shape
    np.testing.assert_array_equal(K.function([x], [x[key]])([X])[0], X[key])
    np.testing.assert_array_equal(K.eval(K.variable(X)[key]), X[key])


@pytest.mark.parametrize("text", FREE)
def test_of_an_input_of_any_batch(text):
    key, x = FIXED[text][0], L.Input((3, 2))
    f = K.function([x], [x[key]])
    for rows in (X, X[:3]):
        np.testing.assert_array_equal(f([rows])[0], rows[key])


def test_gradients_go_to_the_samples_that_were_taken():
    x = K.placeholder((None, 2))
    slopes = K.function([x], K.gradients(K.sum(K.square(x[1])), [x]))
    np.testing.assert_array_equal(slopes([X[0]])[0], [[0, 0], [4, 6], [0, 0]])


def test_samples_that_are_not_there():
    with pytest.raises(IndexError, match="batch of 4"):
        L.Input(batch_shape=(4, 3))[4]
    x = L.Input((3, 2))
    with pytest.raises(ValueError, match="outside axis 0"):
        K.function([x], [x[7]])([X])
    with pytest.raises(ValueError, match="batch"):
        x[1:]
