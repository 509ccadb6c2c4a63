"""Helpers of keras.utils that layers and scripts of one's own use; the answers are those of Keras 2.3.1."""

from __future__ import annotations

import numpy as np
import pytest

from kcompile.keras import layers, models, utils
from kcompile.keras.utils.conv_utils import (
    conv_input_length,
    conv_output_length,
    convert_kernel,
    deconv_length,
    normalize_padding,
    normalize_tuple,
)
from kcompile.keras.utils.generic_utils import (
    check_for_unexpected_keys,
    deserialize_keras_object,
    has_arg,
    is_all_none,
    make_batches,
    serialize_keras_object,
    slice_arrays,
    to_list,
    transpose_shape,
    unpack_singleton,
)
from kcompile.keras.utils.layer_utils import (
    convert_all_kernels_in_model,
    convert_dense_weights_data_format,
    count_params,
)
from kcompile.keras.utils.test_utils import get_test_data, layer_test


@pytest.mark.parametrize(
    ("arguments", "length"),
    [
        ((10, 3, "valid", 2), 4),
        ((10, 3, "same", 2), 5),
        ((10, 3, "causal", 1, 2), 10),
        ((10, 3, "full", 1), 12),
        ((None, 3, "valid", 1), None),
        ((11, 4, "full", 3, 2), 6),
    ],
)
def test_sizes_behind_convolutions(arguments, length):
    assert conv_output_length(*arguments) == length


def test_sizes_before_convolutions_and_behind_transposed_ones():
    assert [conv_input_length(4, 3, p, s) for p, s in (("valid", 2), ("same", 2), ("full", 1))] == [9, 7, 2]
    assert conv_input_length(None, 3, "valid", 1) is None
    cases = [
        ((4, 2, 3, "valid", None), 9),
        ((4, 2, 3, "same", None), 8),
        ((4, 2, 3, "full", None), 5),
        ((4, 2, 3, "same", 1), 8),
        ((4, 3, 3, "valid", 0), 12),
        ((4, 2, 5, "full", 1), 4),
        ((4, 2, 1, "valid", None), 8),
        ((4, 2, 3, "valid", None, 2), 11),
        ((4, 1, 3, "same", 0, 3), 4),
        ((None, 2, 3, "same", None), None),
    ]
    assert [deconv_length(*arguments) for arguments, _ in cases] == [length for _, length in cases]


def test_windows():
    assert normalize_tuple(3, 2, "size") == (3, 3) and normalize_tuple([1, 2], 2, "size") == (1, 2)
    assert normalize_padding("SAME") == "same"
    turned = convert_kernel(np.arange(24).reshape(2, 3, 2, 2))
    assert turned.ravel().tolist()[:8] == [20, 21, 22, 23, 16, 17, 18, 19]
    for wrong in (
        lambda: normalize_tuple((1, 2), 3, "size"),
        lambda: normalize_tuple("ab", 2, "size"),
        lambda: normalize_padding("none"),
        lambda: convert_kernel(np.ones((2, 2))),
        lambda: conv_output_length(3, 2, "none", 1),
    ):
        with pytest.raises(ValueError, match="expected"):
            wrong()


def test_arguments_and_lists():
    def f(a, b=1, *, c=2, **rest):
        return a

    assert [has_arg(f, n) for n in ("a", "c", "rest", "z")] == [True, True, False, False]
    assert has_arg(f, "z", accept_all=True) and not has_arg(lambda a: a, "z", accept_all=True)
    assert to_list((1, 2)) == [(1, 2)] and to_list((1, 2), allow_tuple=True) == [1, 2] and to_list(3) == [3]
    assert unpack_singleton([3]) == 3 and unpack_singleton([1, 2]) == [1, 2]
    assert is_all_none([None, None]) and is_all_none(None) and not is_all_none([1, None])
    a = np.arange(10)
    assert [x.tolist() for x in slice_arrays([a, a * 2], [1, 3])] == [[1, 3], [2, 6]]
    assert slice_arrays(None) == [None] and slice_arrays([a, None], 8)[0].tolist() == [8, 9]
    assert transpose_shape((None, 4, 5, 3), "channels_first", (1, 2)) == (None, 3, 4, 5)
    assert transpose_shape([None, 4, 5, 3], "channels_last", (1, 2)) == [None, 4, 5, 3]
    assert make_batches(7, 3) == [(0, 3), (3, 6), (6, 7)]
    check_for_unexpected_keys("x", {"a": 1}, ["a", "b"])
    with pytest.raises(ValueError, match="keys among 'a'"):
        check_for_unexpected_keys("x", {"c": 1}, ["a"])


def test_objects_become_configurations_and_come_back():
    config = serialize_keras_object(layers.Dense(3, name="d"))
    assert config["class_name"] == "Dense" and config["config"]["units"] == 3
    made = deserialize_keras_object(config, {"Dense": layers.Dense})
    assert isinstance(made, layers.Dense) and made.units == 3
    assert deserialize_keras_object("f", custom_objects={"f": has_arg}) is has_arg
    assert deserialize_keras_object("to_list", globals()) is to_list
    with pytest.raises(ValueError, match="is not known"):
        deserialize_keras_object("nothing", {}, printable_module_name="thing")


def test_kernels_and_feature_maps_are_turned():
    model = models.Sequential(
        [layers.Conv2D(2, (2, 3), input_shape=(4, 5, 1)), layers.Flatten(), layers.Dense(2)]
    )
    model.set_weights([np.arange(w.size).reshape(w.shape) for w in model.get_weights()])
    convert_all_kernels_in_model(model)
    assert model.get_weights()[0].ravel().tolist() == [10, 11, 8, 9, 6, 7, 4, 5, 2, 3, 0, 1]
    dense = model.layers[-1]
    convert_dense_weights_data_format(dense, (2, 3, 3), "channels_first")
    rows = [0, 4, 8, 12, 16, 20, 24, 28, 32, 2, 6, 10, 14, 18, 22, 26, 30, 34]
    assert dense.get_weights()[0][:, 0].tolist() == rows
    convert_dense_weights_data_format(dense, (3, 3, 2), "channels_last")
    assert dense.get_weights()[0][:, 0].tolist() == list(range(0, 36, 2))
    assert count_params(model.weights) == count_params([*model.weights, *model.weights]) == 52
    with pytest.raises(ValueError, match="three sizes of 18 elements"):
        convert_dense_weights_data_format(dense, (3, 3, 3))


def test_inputs_of_a_tensor():
    a, b = layers.Input((3,)), layers.Input((3,))
    y = layers.add([layers.Dense(3)(a), b])
    assert set(utils.get_source_inputs(y)) == {a, b}
    assert utils.get_source_inputs(a) == [a]


def test_data_are_those_of_keras():
    np.random.seed(3)
    (x, y), (_, held) = get_test_data(4, 2, (2,), num_classes=3)
    assert (round(float(x.sum()), 3), y.tolist(), held.tolist()) == (4.269, [2, 0, 1, 0], [0, 0])
    np.random.seed(3)
    (x, y), (_, held) = get_test_data(4, 2, (2,), (3,), classification=False)
    assert (round(float(x.sum()), 3), round(float(held.sum()), 3)) == (0.577, 5.229)


@pytest.mark.parametrize(
    ("layer", "arguments", "shape"),
    [
        (layers.Dense, {"units": 3}, (3, 2)),
        (layers.LSTM, {"units": 3}, (2, 4, 3)),
        (layers.Lambda, {"function": lambda x: x + 1}, (3, None, 2)),
    ],
)
def test_layers_are_tested_as_keras_tests_them(layer, arguments, shape):
    layer_test(layer, kwargs=arguments, input_shape=shape)


def test_a_layer_that_says_another_shape_than_it_has_is_found():
    class Wrong(layers.Layer):
        def call(self, inputs):
            return inputs

        def compute_output_shape(self, input_shape):
            return (*input_shape, 1)

    with pytest.raises(AssertionError):
        layer_test(Wrong, input_shape=(2, 3))
    with pytest.raises(AssertionError):
        layer_test(layers.Flatten, input_data=np.ones((2, 3, 2)), expected_output=np.zeros((2, 6)))
