"""Every public name of the installed Keras: ours, or refused by name with what to write instead."""

from __future__ import annotations

import importlib
import types
from collections import Counter, OrderedDict, deque, namedtuple
from typing import Any

import numpy as np
import pytest

from kcompile import keras3
from kcompile.keras import keras3_absent, places
from kcompile_runtime.errors import UnsupportedError

keras = pytest.importorskip("keras")


def _names() -> list[str]:
    """The paths below `keras` of what its public modules have."""
    found, left = [], [""]
    while left:
        path = left.pop()
        for name, value in vars(importlib.import_module(f"keras.{path}".rstrip("."))).items():
            full = f"{path}.{name}".lstrip(".")
            if name.startswith("_") or full == "src":
                continue
            if not isinstance(value, types.ModuleType):
                found.append(full)
            elif value.__name__ == f"keras.{full}":
                left.append(full)
    return sorted(found)


def test_every_public_name_of_keras_is_here_or_refused_by_name_with_what_to_write_instead() -> None:
    counts: Counter[str] = Counter()
    silent, here = [], []
    for full in _names():
        place, _, name = full.rpartition(".")
        try:
            module = importlib.import_module(f"kcompile.keras3.{place}".rstrip("."))
            getattr(module, name)
        except (AttributeError, ModuleNotFoundError) as error:
            counts["refused"] += 1
            why = keras3_absent.why(full) or places.why_absent(place)
            if not why or why.lstrip(": ") not in str(error):
                silent.append((full, str(error)))
        else:
            here.append(full)
    print({**counts, "here": len(here)})
    assert not silent
    stale = [full for full in keras3_absent.ABSENT if full in here]
    assert not stale
    assert len(here) > 1300


def test_imports_of_what_is_refused_say_why() -> None:
    with pytest.raises(ImportError, match=r"KerasFileEditor.*load the model"):
        from kcompile.keras3.saving import KerasFileEditor  # noqa: F401
    with pytest.raises(ImportError, match=r"DataParallel.*one device"):
        from kcompile.keras3.distribution import DataParallel  # noqa: F401
    assert keras3.distribution.distribution() is None and keras3.distribution.get_device_count("gpu") == 0
    with pytest.raises(UnsupportedError, match="one device"):
        keras3.distribution.set_distribution(object())


Pair = namedtuple("Pair", "a b")
NESTED: list[Any] = [
    3,
    None,
    [],
    [5],
    {"b": 1, "a": (2, [3, None])},
    OrderedDict([("z", 1), ("a", 2)]),
    Pair(1, [2]),
    deque([1, (2,)]),
    [(1, 2), [3], {"a": 4}],
    {"x": {"d": 1, "c": []}, "w": ((), 2)},
]


def _made(function: Any) -> Any:
    try:
        return function()
    except (TypeError, ValueError) as error:
        return type(error)


def test_nested_structures_are_those_of_keras() -> None:
    for x in NESTED:
        for tree in (keras3.tree, keras.tree):
            assert tree.pack_sequence_as(x, tree.flatten(x)) == x
        calls = [
            lambda tree, x=x: tree.flatten(x),
            lambda tree, x=x: tree.flatten_with_path(x),
            lambda tree, x=x: tree.is_nested(x),
            lambda tree, x=x: tree.lists_to_tuples(x),
            lambda tree, x=x: tree.map_structure(str, x),
            lambda tree, x=x: tree.map_structure(str, x, none_is_leaf=False),
            lambda tree, x=x: tree.traverse(lambda v: 7 if isinstance(v, tuple) else None, x),
            lambda tree, x=x: tree.traverse(lambda v: tree.MAP_TO_NONE if v == 2 else None, x, False),
            lambda tree, x=x: tree.pack_sequence_as(x, [1]),
            lambda tree, x=x: tree.map_shape_structure(lambda v: ("shape", v), x),
        ]
        for other in NESTED:
            calls += [
                lambda tree, x=x, y=other: tree.map_structure(lambda a, b: (a, b), x, y),
                lambda tree, x=x, y=other: tree.map_structure_up_to(x, lambda a: [a], y),
                lambda tree, x=x, y=other: tree.assert_same_structure(x, y),
                lambda tree, x=x, y=other: tree.assert_same_paths(x, y),
            ]
        for number, call in enumerate(calls):
            mine, theirs = (_made(lambda c=call, t=tree: c(t)) for tree in (keras3.tree, keras.tree))
            assert mine == theirs and type(mine) is type(theirs), (x, number)


def test_regularizers_initializers_and_dtypes_of_keras3() -> None:
    weights = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    for mode in ("rows", "columns"):
        ours, theirs = (p.regularizers.OrthogonalRegularizer(0.1, mode) for p in (keras3, keras))
        np.testing.assert_allclose(
            keras3.ops.convert_to_numpy(ours(weights)), theirs(keras.ops.array(weights)), 1e-5
        )
        assert keras3.regularizers.get({"class_name": "OrthogonalRegularizer", "config": ours.get_config()})
    for options in ({}, {"side": "imag", "window": "hamming", "periodic": True}, {"window": None}):
        for scaling in ("density", "spectrum", None):
            ours, theirs = (p.initializers.STFT(scaling=scaling, **options) for p in (keras3, keras))
            np.testing.assert_allclose(ours((8, 1, 5)), theirs((8, 1, 5), "float32"), 1e-4, 1e-6)
    for given in (
        ("int32", "float16"),
        ("bool", int),
        ("int8", "uint8"),
        ("float16", float),
        (int, float),
        (),
    ):
        assert keras3.backend.result_type(*given) == keras.backend.result_type(*given), given
    assert keras3.datasets.reuters.get_label_names() == keras.datasets.reuters.get_label_names()


DRAW = np.random.default_rng(7)
FORMS = (
    "xyxy",
    "yxyx",
    "xywh",
    "center_xywh",
    "center_yxhw",
    "rel_xyxy",
    "rel_yxyx",
    "rel_xywh",
    "rel_center_xywh",
)


def _boxes(*shape: int) -> np.ndarray:
    low = DRAW.uniform(0, 30, (*shape, 2))
    return np.concatenate([low, low + DRAW.uniform(1, 30, (*shape, 2))], -1).astype(np.float32)


def _alike(mine: Any, theirs: Any, what: str) -> None:
    a, b = (list(keras.tree.flatten(x)) for x in (mine, theirs))
    assert len(a) == len(b)
    for one, other in zip(a, b):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), 1e-4, 1e-5, err_msg=what)


def test_boxes_are_those_of_keras() -> None:
    one, other, batch = _boxes(4), _boxes(3), _boxes(2, 4)
    some = [DRAW.uniform(-0.3, 0.3, 2).astype(np.float32) for _ in range(5)]
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
        *(("convert_format", (one, a, b, 50, 60), {}) for a in FORMS for b in FORMS),
        ("compute_iou", (one, other, "xyxy"), {}),
        ("compute_iou", (batch, batch, "xywh"), {}),
        ("compute_iou", (one - 20, other, "yxyx", True), {}),
        ("compute_ciou", (one, one[::-1].copy(), "center_xywh"), {}),
        ("crop", (one, 3, 4, 20, 30), {}),
        ("pad", (one, 3, 4), {}),
        ("encode_box_to_deltas", (one, one + 2, "xyxy", "xywh", "center_yxhw", [0.1, 0.1, 0.2, 0.2]), {}),
        ("decode_deltas_to_boxes", (one, one / 99, "xyxy", "xywh"), {"variance": [0.1, 0.1, 0.2, 0.2]}),
        ("decode_deltas_to_boxes", (one, one / 99, "rel_xyxy", "xywh"), {"image_shape": (40, 50, 3)}),
        ("clip_to_image_size", ({"boxes": one, "labels": np.arange(4)}, 25, 20), {}),
        (
            "affine_transform",
            (batch, some[0] * 90, some[1], some[2], some[3] + 1, some[4] * 40, some[0], 50, 60),
            {},
        ),
    ]
    for name, args, options in calls:
        found = (getattr(p.utils.bounding_boxes, name)(*args, **options) for p in (keras3, keras))
        _alike(*found, f"{name} {args[1:3]}")


def test_numbers_of_few_bits_are_those_of_keras() -> None:
    x = DRAW.normal(size=(4, 6)).astype(np.float32)
    four = DRAW.integers(-8, 8, (5, 3)).astype(np.int8)
    low, high = np.float32(-1.1), np.float32(1.7)
    calls: list[tuple[str, tuple[Any, ...]]] = [
        ("abs_max_quantize", (x, 1)),
        ("abs_max_quantize", (x, (0, 1), (-8, 7))),
        ("pack_int4", (four,)),
        ("pack_int4", (four, 1)),
        ("fake_quant_with_min_max_vars", (x, low, high)),
        ("fake_quant_with_min_max_vars", (x, low, high, 4, True)),
        ("fake_quant_with_min_max_vars", (x, x[0] * 0 - 1, x[0] * 0 + 2, 3, False, 1)),
        ("compute_float8_scale", (np.float32(3), np.float32(2), 448.0)),
        ("compute_float8_amax_history", (x, np.arange(4, dtype=np.float32))),
    ]
    for name, args in calls:
        given = [[p.ops.convert_to_tensor(a) if isinstance(a, (np.ndarray, np.generic)) else a for a in args]
                 for p in (keras3, keras)]  # fmt: skip
        found = (getattr(p.quantizers, name)(*g) for p, g in zip((keras3, keras), given))
        _alike(*found, name)
    for axis in (0, 1):
        packed, _, count = keras3.quantizers.pack_int4(four, axis)
        np.testing.assert_array_equal(keras3.quantizers.unpack_int4(packed, count, axis), four)
    quantizer = keras3.quantizers.get(keras3.quantizers.serialize(keras3.quantizers.AbsMaxQuantizer(-1)))
    _alike(quantizer(x), keras.quantizers.AbsMaxQuantizer(-1)(x), "AbsMaxQuantizer")


def test_weights_of_few_bits_are_trained_as_keras_trains_them() -> None:
    inputs, labels = (
        DRAW.normal(size=(16, 3)).astype(np.float32),
        DRAW.normal(size=(16, 2)).astype(np.float32),
    )

    def model(package: Any) -> Any:
        class Rounded(package.layers.Layer):  # type: ignore[misc]
            def build(self, input_shape: Any) -> None:
                self.w = self.add_weight((3, 2), initializer="ones", name="w")
                self.most = self.add_weight((), initializer="ones", name="most")

            def call(self, x: Any) -> Any:
                o = package.ops
                w = package.quantizers.fake_quant_with_min_max_vars(self.w, -self.most, self.most, 3)
                return o.matmul(x, w)

        made = package.Sequential([package.Input((3,)), Rounded()])
        made.compile(package.optimizers.SGD(0.1), "mse")
        return made

    ours, theirs = model(keras3), model(keras)
    for one in (ours, theirs):
        one.fit(inputs, labels, epochs=4, batch_size=4, shuffle=False, verbose=0)
    for mine, other in zip(ours.get_weights(), theirs.get_weights()):
        np.testing.assert_allclose(mine, other, 1e-4, 1e-5)


def test_the_epochs_of_every_fit_may_be_limited() -> None:
    model = keras3.Sequential([keras3.Input((2,)), keras3.layers.Dense(1)])
    model.compile("sgd", "mse")
    keras3.config.set_max_epochs(2)
    try:
        with pytest.warns(UserWarning, match="Limiting epochs to 2"):
            history = model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=5, verbose=0)
    finally:
        keras3.config.set_max_epochs(None)
    assert len(history.history["loss"]) == 2 and keras3.config.max_epochs() is None
    function = keras3.Function(model.inputs, model.outputs)
    np.testing.assert_array_equal(function(np.ones((1, 2), np.float32)), model(np.ones((1, 2), np.float32)))
    assert isinstance(model.layers[0], keras3.Operation)
