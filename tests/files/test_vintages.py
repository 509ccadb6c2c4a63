"""Keras 0.3 and 1: classes and arguments in other words, files of other forms."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import crafted
import h5py
import numpy as np
import pytest
from crafted import layer, write_json

import kcompile
from kcompile.files import vintage
from kcompile.files.calls import without_mask_ops
from kcompile.files.vintage import Vintage, parse_version, vintage_of
from kcompile.interpreted import InterpreterEngine
from kcompile_runtime.errors import ModelError, UnsupportedError

RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def loaded(path: Path, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kcompile.load(path, **options)


# ---------------------------------------------------------------- which Keras it was


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.2.2", ((1, 2, 2), False)),
        ("2.2.4-tf", ((2, 2, 4), True)),
        ("2.3.1", ((2, 3, 1), False)),
        ("2.13.1-rc0", ((2, 13, 1), True)),
        ("3.9.2", ((3, 9, 2), False)),
        ("2.4.0", ((2, 4, 0), True)),
    ],
)
def test_versions(text: str, expected: Any) -> None:
    assert parse_version(text) == expected


def test_a_version_that_is_none() -> None:
    with pytest.raises(ModelError, match="keras_version"):
        parse_version("new")


@pytest.mark.parametrize(
    ("entry", "version"),
    [
        ({"class_name": "Sequential", "config": [layer("Dense", "d", output_dim=3)]}, (1,)),
        ({"class_name": "Model", "config": {"layers": [layer("Dense", "d", units=3)]}}, (2, 3)),
        ({"class_name": "Sequential", "config": [], "keras_version": "2.1.0"}, (2, 1, 0)),
        ({"class_name": "Functional", "module": "keras", "config": {}}, (3,)),
        ({"name": "Sequential", "layers": [{"name": "Dense", "output_dim": 3}]}, (1,)),
    ],
)
def test_vintages_without_a_version(entry: dict[str, Any], version: tuple[int, ...]) -> None:
    assert vintage_of(entry, None, None).version == version


def test_semantics() -> None:
    assert Vintage((2, 3, 1)).semantics == "keras2" and Vintage((2, 2, 4)).semantics == "keras2.2"
    assert Vintage((2, 4), tf=True).semantics == "tf_keras2.10"
    assert Vintage((2, 15), tf=True).semantics == "tf_keras" and Vintage((3, 0)).semantics == "keras3"


# ---------------------------------------------------------------- arguments


def test_arguments_of_keras_1_in_new_words() -> None:
    made = vintage.upgrade(
        layer(
            "Convolution2D",
            "c",
            nb_filter=4,
            nb_row=3,
            nb_col=2,
            border_mode="same",
            subsample=[1, 2],
            dim_ordering="th",
            init="glorot_normal",
            bias=False,
            activation="relu",
            W_regularizer={"name": "WeightRegularizer", "l1": 0.0, "l2": 0.1},
            b_constraint={"name": "MaxNorm", "m": 2, "axis": 0},
            input_dtype="float32",
        )
    )
    assert made == {
        "class_name": "Conv2D",
        "config": {
            "name": "c",
            "filters": 4,
            "kernel_size": [3, 2],
            "padding": "same",
            "strides": [1, 2],
            "data_format": "channels_first",
            "kernel_initializer": "glorot_normal",
            "use_bias": False,
            "activation": "relu",
            "dtype": "float32",
            "kernel_regularizer": {"class_name": "L1L2", "config": {"l1": 0.0, "l2": 0.1}},
            "bias_constraint": {"class_name": "MaxNorm", "config": {"max_value": 2, "axis": 0}},
        },
    }


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("sum", "Add"), ("mul", "Multiply"), ("concat", "Concatenate"), ("cos", "Dot"), ("odd", "Merge")],
)
def test_merges(mode: str, kind: str) -> None:
    made = vintage.upgrade(layer("Merge", "m", mode=mode, concat_axis=2, dot_axes=-1))
    assert made["class_name"] == kind
    assert made["config"].get("axis") == (2 if mode == "concat" else None)


def branched(mode: Any, *rest: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    """A Sequential of two branches: numbers to vectors, and a functional model."""
    first = {
        "class_name": "Sequential",
        "config": [
            layer(
                "Embedding",
                "words",
                batch_input_shape=[None, 3],
                input_dtype="int32",
                input_dim=5,
                output_dim=2,
                input_length=3,
            ),
            layer("Flatten", "flat"),
        ],
    }
    second = {
        "class_name": "Model",
        "config": {
            "name": "inside",
            "input_layers": [["x", 0, 0]],
            "output_layers": [["d", 0, 0]],
            "layers": [
                layer("InputLayer", "x", [], batch_input_shape=[None, 4], input_dtype="float32"),
                layer("Dense", "d", [[["x", 0, 0]]], output_dim=6),
            ],
        },
    }
    return [layer("Merge", "m", layers=[first, second], mode=mode, concat_axis=-1, **options), *rest]


def test_a_merge_that_holds_its_branches(tmp_path: Path) -> None:
    weights = {"words": [draw(5, 2)], "flat": [], "d": [draw(4, 6), draw(6)], "out": [draw(12, 1), draw(1)]}
    path = crafted.write_keras1(
        tmp_path / "m.h5", branched("concat", layer("Dense", "out", output_dim=1)), weights, ":0"
    )
    model = loaded(path)
    words, x = RNG.integers(0, 5, (4, 3)), draw(4, 4)
    (table,), (w, b), (v, c) = weights["words"], weights["d"], weights["out"]
    joined = np.concatenate([table[words].reshape(4, 6), x @ w + b], -1)
    np.testing.assert_allclose(crafted.predict(model, words.astype("int32"), x), joined @ v + c, rtol=1e-5)


def test_a_merge_by_a_function_takes_the_users(tmp_path: Path) -> None:
    path = write_json(
        tmp_path / "m.json",
        {
            "class_name": "Sequential",
            "config": branched(
                ["4wEAAAAC", None, None], mode_type="lambda", output_shape_type="raw", arguments={}
            ),
        },
    )
    with pytest.raises(UnsupportedError, match="custom_objects"):
        kcompile.load(path)
    model = kcompile.load(path, custom_objects={"m": lambda tensors: tensors[0] * tensors[1]})
    assert model.output_shape == (None, 6)


def test_a_merge_elsewhere_or_of_branches_without_inputs_is_told(tmp_path: Path) -> None:
    held = layer("Merge", "m", mode="sum", layers=[layer("Dense", "a", output_dim=2)])
    path = write_json(tmp_path / "m.json", {"class_name": "Sequential", "config": [held]})
    with pytest.raises(ModelError, match=r"'a'.*batch_input_shape"):
        kcompile.load(path)
    path = write_json(
        tmp_path / "m.json",
        {
            "class_name": "Sequential",
            "config": [layer("Dense", "d", output_dim=2, batch_input_shape=[None, 3]), held],
        },
    )
    with pytest.raises(UnsupportedError, match=r"'m' \(Merge\)"):
        kcompile.load(path)


def test_modes_of_batch_normalization(tmp_path: Path) -> None:
    for mode, fits in ((0, True), (1, False), (2, False)):
        path = write_json(
            tmp_path / "m.json",
            {
                "class_name": "Sequential",
                "config": [
                    layer(
                        "BatchNormalization",
                        "b",
                        mode=mode,
                        axis=-1,
                        epsilon=1e-6,
                        momentum=0.9,
                        batch_input_shape=[None, 4],
                        input_dtype="float32",
                    )
                ],
            },
        )
        if fits:
            assert kcompile.load(path).layers[0].epsilon == 1e-6
        else:
            with pytest.raises(UnsupportedError, match=f"mode={mode}"):
                kcompile.load(path)


def test_flatten_does_not_follow_this_machines_settings(tmp_path: Path) -> None:
    from kcompile import keras

    path = write_json(
        tmp_path / "m.json",
        {"class_name": "Sequential", "config": [layer("Flatten", "f", batch_input_shape=[None, 2, 3, 4])]},
    )
    before = keras.backend.image_data_format()
    keras.backend.set_image_data_format("channels_first")
    try:
        assert kcompile.load(path).layers[0].data_format == "channels_last"
    finally:
        keras.backend.set_image_data_format(before)


def test_hard_sigmoid_is_that_of_its_vintage(tmp_path: Path) -> None:
    x = np.array([[1.0, -2.0, 2.7]], np.float32)
    for version, expected in (("2.3.1", 0.2 * x + 0.5), ("2.13.0", 0.2 * x + 0.5), ("3.1.0", (x + 3) / 6)):
        path = write_json(
            tmp_path / "m.json",
            {
                **crafted.config_of(
                    layer("Activation", "a", activation="hard_sigmoid", batch_input_shape=[None, 3])
                ),
                "keras_version": version,
            },
        )
        np.testing.assert_allclose(
            crafted.predict(kcompile.load(path), x), np.clip(expected, 0, 1), rtol=1e-6
        )


def test_frozen_batch_normalization_is_that_of_its_vintage(tmp_path: Path) -> None:
    for version, expected in (
        ("2.3.1", "keras2"),
        ("2.4.0", "tf_keras2.10"),
        ("2.15.0", "tf_keras"),
        ("3.1.0", "keras3"),
    ):
        path = write_json(
            tmp_path / "m.json",
            {
                **crafted.config_of(
                    layer("BatchNormalization", "b", trainable=False, batch_input_shape=[None, 3])
                ),
                "keras_version": version,
            },
        )
        assert kcompile.load(path).layers[0].vintage == expected


def test_keras_0_3(tmp_path: Path) -> None:
    path = write_json(
        tmp_path / "m.json",
        {
            "name": "Sequential",
            "layers": [
                {
                    "name": "Dense",
                    "custom_name": "dense",
                    "output_dim": 3,
                    "init": "uniform",
                    "input_shape": [4],
                    "input_dim": 4,
                    "cache_enabled": True,
                    "activation": "tanh",
                },
                {"name": "Dropout", "custom_name": "d", "p": 0.5},
                {"name": "Dense", "output_dim": 2},
            ],
        },
    )
    arrays = [draw(4, 3), draw(3), draw(3, 2), draw(2)]
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs["nb_layers"] = 3
        for k, part in enumerate((arrays[:2], [], arrays[2:])):
            group = file.create_group(f"layer_{k}")
            group.attrs["nb_params"] = len(part)
            for p, array in enumerate(part):
                group[f"param_{p}"] = array
    model = kcompile.load(path, weights=tmp_path / "w.h5")
    x = draw(5, 4)
    expected = np.tanh(x @ arrays[0] + arrays[1]) @ arrays[2] + arrays[3]
    np.testing.assert_allclose(crafted.predict(model, x), expected, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------- other files of Keras 2


def test_sequential_as_a_bare_list(tmp_path: Path) -> None:
    path = write_json(
        tmp_path / "m.json",
        {
            "class_name": "Sequential",
            "keras_version": "2.1.0",
            "backend": "tensorflow",
            "config": [crafted.first_dense(), layer("Dense", "e", units=3)],
        },
    )
    assert kcompile.load(path).output_shape == (None, 3)


def test_yaml_of_keras_2(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(
        "backend: tensorflow\nclass_name: Sequential\nconfig:\n- class_name: Conv2D\n  config:\n"
        "    batch_input_shape: !!python/tuple [null, 6, 6, 2]\n    name: c\n    filters: 3\n"
        "    kernel_size: !!python/tuple [3, 3]\n    strides: &id001 !!python/tuple [1, 1]\n"
        "    dilation_rate: *id001\n    kernel_regularizer:\n      class_name: L1L2\n"
        "      config: {l1: 0.0, l2: 1e-3}\nkeras_version: 2.1.3\n"
    )
    model = kcompile.load(tmp_path / "m.yaml")
    assert model.output_shape == (None, 4, 4, 3)
    assert model.layers[0].kernel_regularizer.l2 == 1e-3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("use_bias: no", "'no'"),
        ("units: 010", "'010'"),
        ("units: '3'", "Received: '3'"),
        ("units: 1e1", "Received: 10.0"),
    ],
)
def test_yaml_values_are_not_bent(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "m.yaml").write_text(
        "class_name: Sequential\nconfig:\n- class_name: Dense\n  config:\n    name: d\n"
        f"    batch_input_shape: [null, 4]\n    {text}\n"
        + ("" if text.startswith("units") else "    units: 3\n")
        + "keras_version: 2.1.3\n"
    )
    with pytest.raises(ModelError, match=said):
        kcompile.load(tmp_path / "m.yaml")


def test_optimizer_state_of_keras_2(tmp_path: Path) -> None:
    """Slot by slot, with the placeholders that Adam had without amsgrad; SGD's without momentum."""
    model = crafted.dense()
    model.compile("adam", "mse")
    model.save(tmp_path / "m.h5")
    shapes = [w.shape for w in model.get_weights()]
    arrays = [draw(*s) for s in shapes * 2]

    def change(file: h5py.File) -> None:
        del file.attrs["kcompile"], file["optimizer_weights"]
        file.attrs["keras_version"] = "2.3.1"
        given = json.loads(file.attrs["training_config"])
        given["optimizer_config"]["config"]["lr"] = 0.001
        file.attrs["training_config"] = json.dumps(given)
        group = file.create_group("optimizer_weights")
        stored = [np.int64(7), *arrays, *[np.zeros(1, "f4")] * 4]
        group.attrs["weight_names"] = [f"Variable_{i}:0".encode() for i in range(len(stored))]
        for i, array in enumerate(stored):
            group[f"Variable_{i}:0"] = array

    crafted.edit_h5(tmp_path / "m.h5", change)
    found = kcompile.load(tmp_path / "m.h5").optimizer.get_weights()
    assert int(found[0]) == 7
    for a, b in zip(found[1:], arrays, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("version", "options", "expected"),
    [
        ("2.2.4-tf", {}, "tf_keras2.10"),
        ("2.15.0", {"is_legacy_optimizer": False}, "tf_keras"),
        ("2.15.0", {}, "tf_keras2.10"),
        ("2.3.1", {}, None),
        ("3.0.0", {}, None),
    ],
)
def test_optimizers_of_every_vintage(
    tmp_path: Path, version: str, options: dict[str, Any], expected: str | None
) -> None:
    """tf.keras before 2.11 has others, which may be used since; only the new ones say what they are."""
    model = crafted.dense()
    model.compile("nadam", "mse")
    model.save(tmp_path / "m.h5")
    legacy = expected == "tf_keras2.10"

    def change(file: h5py.File) -> None:
        del file.attrs["kcompile"], file["optimizer_weights"]
        file.attrs["keras_version"] = version
        given = json.loads(file.attrs["training_config"])
        config = given["optimizer_config"]["config"]
        config.update(options)
        if legacy:
            config["decay"] = config.pop("schedule_decay", 0.005)
        file.attrs["training_config"] = json.dumps(given)

    crafted.edit_h5(tmp_path / "m.h5", change)
    found = kcompile.load(tmp_path / "m.h5")
    assert found.optimizer.vintage == expected
    assert (found.optimizer.decay, found.optimizer.schedule_decay) == (0, 0.005 if legacy else 0.004)
    for name in ("again.h5", "again.keras"):
        found.save(tmp_path / name)
        assert kcompile.load(tmp_path / name).optimizer.vintage == expected


def test_optimizer_state_that_does_not_fit_starts_afresh(tmp_path: Path) -> None:
    model = crafted.dense()
    model.compile("adam", "mse")
    model.save(tmp_path / "m.h5", vintage="tf_keras")

    def change(file: h5py.File) -> None:
        names = file["optimizer_weights"].attrs["weight_names"]
        file["optimizer_weights"].attrs["weight_names"] = names[:-1]

    crafted.edit_h5(tmp_path / "m.h5", change)
    with pytest.warns(UserWarning, match="starts afresh"):
        found = kcompile.load(tmp_path / "m.h5")
    assert int(found.optimizer.iterations.value) == 0


@pytest.mark.parametrize(
    ("version", "shape", "axis", "factor"),
    [
        ("2.15.0", [5, 5, 4], -1, 150 / 149),
        ("2.15.0", [3, 10, 4], 1, 240 / 239),
        ("2.15.0", [5, 5, 4], 2, 1.0),
        ("2.15.0", [4], -1, 1.0),
        ("2.15.0", [9, 4], -1, 1.0),
        ("3.5.0", [5, 5, 4], -1, 1.0),
        ("2.3.1", [5, 5, 4], -1, 150 / 149 * 150 / (149 - 1e-3)),
        ("2.3.1", [4], -1, 6 / (5 - 1e-3)),
        ("2.2.4", [5, 5, 4], -1, 150 / 149 * 150 / (149 - 1e-3)),
        ("2.2.4", [4], -1, 6 / (5 - 1e-3)),
    ],
)
def test_moving_variances_of_every_vintage(
    tmp_path: Path, version: str, shape: list[int], axis: int, factor: float
) -> None:
    """Unbiased in Keras 2, and in tf.keras for images with a fused kernel (so that Keras 2 corrects twice
    there); biased elsewhere. In Keras 2.2 the average of one batch is that batch's."""
    path = write_json(
        tmp_path / "m.json",
        {
            **crafted.config_of(
                layer(
                    "BatchNormalization",
                    "b",
                    axis=axis,
                    momentum=0.75,
                    epsilon=1e-3,
                    batch_input_shape=[None, *shape],
                )
            ),
            "keras_version": version,
        },
    )
    model = kcompile.load(path)
    model.compile("sgd", "mse")
    model.use_engine(InterpreterEngine(model))
    x = draw(6, *shape)
    model.train_on_batch(x, x)
    others = tuple(a for a in range(x.ndim) if a != axis % x.ndim)
    before = 0.75 if version != "2.2.4" else 0.0
    expected = before + (1 - before) * x.var(others) * factor
    np.testing.assert_allclose(model.get_weights()[3], expected, rtol=1e-6)


@pytest.mark.parametrize(
    "node",
    [
        [["e", 0, 0, {}], ["e", 0, 0, {}]],
        {
            "args": [[{"class_name": "__keras_tensor__", "config": {"keras_history": ["e", 0, 0]}}]],
            "kwargs": {},
        },
    ],
)
def test_what_joins_masked_inputs_is_no_operation_on_masks(node: Any) -> None:
    """Keras 3 names no module in .h5, and calls an operation on masks as a layer is called."""
    x = {"class_name": "__keras_tensor__", "config": {"keras_history": ["i", 0, 0]}}
    embedded = {"args": [x], "kwargs": {}}
    entries = [
        {"class_name": "InputLayer", "name": "i", "config": {}, "inbound_nodes": []},
        {"class_name": "Embedding", "name": "e", "config": {"mask_zero": True}, "inbound_nodes": [embedded]},
        {"class_name": "Concatenate", "name": "c", "config": {"axis": -1}, "inbound_nodes": [node]},
        {"class_name": "NotEqual", "name": "n", "config": {}, "inbound_nodes": [{"args": [x, 0]}]},
    ]
    last = [["c", 0, 0]] if isinstance(node, dict) else [["r", 0, 0]]
    if isinstance(node, list):
        entries.append(
            {"class_name": "Dense", "name": "r", "config": {}, "inbound_nodes": [[["c", 0, 0, {}]]]}
        )
    kept = without_mask_ops({"layers": entries, "input_layers": [["i", 0, 0]], "output_layers": last})
    names = [layer["name"] for layer in kept["layers"]]
    assert "c" in names and "n" not in names
