"""Networks of keras.applications: layers, connections and weights as in Keras 2, arguments, images, classes.

`applications.json` holds what keras_applications 1.0.8 builds under Keras 2.3.1: the model's name, how many
layers it has, and a digest of the layers' names, classes, weight shapes and inputs, in order;
`applications_since_tf.json` and `newer_networks.json` the same of tf_keras 2.21 and Keras 3.15, where calls
of functions of TensorFlow count as the layers that compute the same.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kcompile import keras3, tf_keras
from kcompile.keras import applications as A
from kcompile.keras import backend as K
from kcompile.keras.applications import building, imagenet_utils
from kcompile.keras.applications.building import Weights
from kcompile.keras.layers import Input
from kcompile.keras.layers.of_networks import CustomScaleLayer, LayerScale, StochasticDepth
from kcompile.keras.models import Model
from kcompile.keras.network_names import FAMILIES
from kcompile_runtime.errors import InputError, ModelError

NETWORKS = json.loads((Path(__file__).parent / "applications.json").read_text())
QUICK = ("MobileNet", "MobileNetV2", "ResNet50V2", "Xception")  # to build


def rows(model: Model) -> list[Any]:
    return [
        [
            layer.name,
            type(layer).__name__,
            [list(w.shape) for w in layer.weights],
            [x.layer.name for x in layer.nodes_made[-1].inputs],
            *([rows(layer)] if isinstance(layer, Model) else []),
        ]
        for layer in model.layers
    ]


def digest(model: Model) -> str:
    return hashlib.sha256(json.dumps(rows(model)).encode()).hexdigest()[:16]


def row(found: dict[str, Any]) -> Any:
    marks = () if found["network"] in QUICK else pytest.mark.slow
    return pytest.param(found, id=f"{found['network']}-{found['options']}", marks=marks)


@pytest.mark.parametrize("found", [*map(row, NETWORKS)])
def test_a_network_has_the_layers_and_weights_of_keras(found: dict[str, Any]) -> None:
    K.clear_session()  # automatic names begin anew
    options = dict(found["options"])
    data_format = options.pop("data_format", "channels_last")
    before = K.image_data_format()
    try:
        K.set_image_data_format(data_format)
        make = getattr(
            importlib.import_module(f"kcompile.keras.applications.{found['module']}"), found["network"]
        )
        model = make(weights=None, **options)
    finally:
        K.set_image_data_format(before)
    assert (model.name, len(model.layers), digest(model)) == (found["name"], found["layers"], found["digest"])


SINCE_TF = [
    found
    for file in ("applications_since_tf.json", "newer_networks.json")
    for found in json.loads((Path(__file__).parent / file).read_text())
]
PROMPT = ("ConvNeXtTiny", "EfficientNetV2B0", "MobileNet", "MobileNetV2", "MobileNetV3Small", "ResNet50V2")


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(
            found,
            id=f"{found['edition']}-{found['network']}-{found['options']}",
            marks=() if found["network"] in PROMPT else pytest.mark.slow,
        )
        for found in SINCE_TF
    ],
)
def test_a_network_has_the_layers_and_weights_of_tf_keras_and_keras_3(found: dict[str, Any]) -> None:
    K.clear_session()
    home = {"keras3": keras3, "tf_keras": tf_keras}[found["edition"]].applications
    model = getattr(home, found["network"])(weights=None, **found["options"])
    assert (model.name, len(model.layers), digest(model)) == (found["name"], found["layers"], found["digest"])


def small(**options: Any) -> Model:
    return A.MobileNet(alpha=0.25, weights=None, input_shape=(32, 32, 3), include_top=False, **options)


def test_pooling_and_classes_say_what_stands_at_the_end() -> None:
    assert small().output_shape == (None, 1, 1, 256)
    assert small(pooling="avg").output_shape == small(pooling="max").output_shape == (None, 256)
    made = A.MobileNetV2((32, 32, 3), 0.35, weights=None, classes=7)
    assert made.output_shape == (None, 7)
    assert A.MobileNet(alpha=0.25, weights=None, include_top=False).input_shape == (None, None, None, 3)


def test_the_top_may_give_scores_and_the_model_has_a_name(tmp_path: Path) -> None:
    small_images: dict[str, Any] = {"input_shape": (32, 32, 3), "alpha": 0.25, "classes": 4, "name": "mine"}
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("f")
    for module in (A, tf_keras.applications, keras3.applications):
        scores = module.MobileNet(weights=None, classifier_activation=None, **small_images)
        shares = module.MobileNet(weights=None, **small_images)
        assert scores.name == shares.name == "mine"
        shares.set_weights(scores.get_weights())
        expected = np.exp(scores.predict(x))
        np.testing.assert_allclose(shares.predict(x), expected / expected.sum(-1, keepdims=True), rtol=1e-4)
    scores.save_weights(str(tmp_path / "w.weights.h5"))
    with pytest.raises(InputError, match=r"classifier_activation.*'sigmoid'"):
        A.MobileNet(weights=str(tmp_path / "w.weights.h5"), classifier_activation="sigmoid", **small_images)


def test_a_network_goes_on_from_a_tensor() -> None:
    given = Input((16, 16, 3))
    doubled = K.resize_images(given, 2, 2, "channels_last")
    model = small_on(doubled)
    assert model.inputs[0] is given and model.output_shape == (None, 1, 1, 256)
    assert small_on(Input((32, 32, 3))).count_params() == small().count_params()


def small_on(tensor: Any) -> Model:
    return A.MobileNet(alpha=0.25, weights=None, include_top=False, input_tensor=tensor)


@pytest.mark.slow
def test_a_network_predicts_and_its_weights_come_from_a_file(tmp_path: Path) -> None:
    model = small(pooling="avg")
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("f")
    model.save_weights(str(tmp_path / "weights.h5"))
    options = {"include_top": False, "input_shape": (32, 32, 3), "pooling": "avg"}
    again = A.MobileNet(alpha=0.25, weights=str(tmp_path / "weights.h5"), **options)
    assert again.predict(x).shape == (2, 256)
    np.testing.assert_array_equal(again.predict(x), model.predict(x))


def test_weights_for_imagenet_come_from_the_cache_by_their_digest(tmp_path: Path, monkeypatch: Any) -> None:
    asked = []

    def get_file(name: str, origin: str, **options: Any) -> str:
        asked.append((name, origin, options["file_hash"], options["cache_subdir"]))
        return str(tmp_path / "weights.h5")

    model = small()
    model.save_weights(str(tmp_path / "weights.h5"))
    monkeypatch.setattr(building, "get_file", get_file)
    with pytest.warns(UserWarning, match="224 x 224"):
        A.MobileNet(input_shape=(32, 32, 3), alpha=0.25, include_top=False)
    home = "https://github.com/fchollet/deep-learning-models/releases/download/v0.6"
    assert asked == [
        ("mobilenet_2_5_224_tf_no_top.h5", f"{home}/mobilenet_2_5_224_tf_no_top.h5", None, "models")
    ]
    asked.clear()
    files = Weights("https://host", ("a.h5", "1"), ("b.h5", "2"), ("c.h5", "d.h5"))
    assert files.path(True) == files.path(False)
    assert [a[:3] for a in asked] == [("c.h5", "https://host/a.h5", "1"), ("d.h5", "https://host/b.h5", "2")]


# Files of weights and the digests of them, by the arguments that ask for them
PRETRAINED: list[tuple[str, dict[str, Any], str, str]] = [
    ("EfficientNetB0", {}, "efficientnetb0.h5", "902e53a9f72be733fc0bcb005b3ebbac"),
    ("EfficientNetV2S", {}, "efficientnetv2-s_notop.h5", "af0682fb74e8c54910f2d4393339c070"),
    ("MobileNetV3Small", {"minimalistic": True},
     "weights_mobilenet_v3_small_minimalistic_224_1.0_float_no_top_v2.h5",
     "cde8136e733e811080d9fcd8a252f7e4"),
    ("ConvNeXtTiny", {}, "convnext_tiny.h5",
     "8ae6e78ce2933352b1ef4008e6dd2f17bc40771563877d156bc6426c7cf503ff"),
    ("ResNetRS50", {"weights": "imagenet-i160"}, "resnet-rs-50-i160.h5", "69d9d925319f00a8bdd4af23c04e4102"),
    ("RegNetX002", {}, "regnetx002.h5", "49fb46e56cde07fdaf57bffd851461a86548f6a3a4baef234dd37290b826c0b8"),
]  # fmt: skip


def test_newer_networks_ask_for_their_weights_by_name_and_digest(monkeypatch: Any) -> None:
    asked: list[Any] = []

    def get_file(name: str, origin: str, **options: Any) -> str:
        asked.append((name, origin.rpartition("/")[2], options["file_hash"]))
        raise OSError("no network")

    monkeypatch.setattr(building, "get_file", get_file)
    for network, options, file, sha in PRETRAINED:
        with pytest.raises(OSError, match="no network"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            getattr(tf_keras.applications, network)(include_top="top" not in file, **options)
        assert asked.pop() == (file, file, sha)


def test_arguments_of_newer_networks() -> None:
    """Positions differ between editions, a preprocessing layer may be left out, names begin layers."""
    first, second = tf_keras.applications.ConvNeXtTiny, keras3.applications.ConvNeXtTiny
    assert list(inspect.signature(first).parameters)[:2] == ["model_name", "include_top"]
    assert list(inspect.signature(second).parameters)[:2] == ["include_top", "include_preprocessing"]
    small_images: dict[str, Any] = {"weights": None, "input_shape": (32, 32, 3)}
    made = second(False, False, name="mine", **small_images)
    assert made.layers[1].name == "mine_stem" and made.name == "mine"
    whole = tf_keras.applications.RegNetX002(model_name="mine", classes=3, **small_images)
    assert whole.layers[1].name == "mine_prestem_rescaling" and whole.output_shape == (None, 3)
    with pytest.raises(TypeError, match=r"EfficientNetB0.*include_preprocessing"):
        keras3.applications.EfficientNetB0(include_preprocessing=False, **small_images)
    with pytest.raises(InputError, match="channels_last"):
        K.set_image_data_format("channels_first")
        try:
            second(weights=None)
        finally:
            K.set_image_data_format("channels_last")


def test_editions_have_the_networks_that_their_keras_has() -> None:
    assert not hasattr(A, "EfficientNetB0") and not hasattr(keras3.applications, "RegNetX002")
    for keras in (keras3, tf_keras):
        assert keras.applications.EfficientNetB7.__name__ == "EfficientNetB7"
        assert set(FAMILIES["efficientnet"]) <= set(vars(keras.applications.efficientnet))
        x = np.ones((1, 2, 2, 3), "f")
        assert keras.applications.mobilenet_v3.preprocess_input(x) is x
    assert tf_keras.applications.regnet.RegNetY320 and tf_keras.applications.resnet_rs.ResNetRS420
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("kcompile.keras3.applications.regnet")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("kcompile.keras.applications.efficientnet")


def test_layers_of_networks_compute_train_and_are_read() -> None:
    x = keras3.layers.Input((4, 4, 3))
    y = LayerScale(0.5, 3)(x)
    z = CustomScaleLayer(2.0)([x, StochasticDepth(0.25)(y)])
    model = keras3.Model(x, z)
    again = keras3.models.model_from_json(model.to_json())
    ones = np.ones((4000, 4, 4, 3), "f")
    np.testing.assert_allclose(again.predict(ones), np.full_like(ones, 2.0))
    model.compile("sgd", "mse")
    # Samples are 1 + 2 * 0.5 / 0.75 with probability 0.75, and 1 else
    expected = 0.75 * (1 / 0.75) ** 2
    assert model.train_on_batch(ones, ones) == pytest.approx(expected, rel=0.1)
    with pytest.raises(ModelError, match="drop_path_rate"):
        StochasticDepth(1.0)


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: A.VGG16(weights="nowhere.h5"), "'imagenet'"),
        (lambda: A.VGG16(classes=10), "1000"),
        (lambda: A.VGG16(weights=None, pooling="sum"), "'avg'"),
        (lambda: A.VGG16(weights=None, input_shape=(16, 16, 3)), "at least 32"),
        (lambda: A.VGG16(weights=None, input_shape=(32, 3)), "three sizes"),
        (lambda: A.VGG16(weights=None, input_shape=(None, None, 3)), "known sizes"),
        (lambda: A.VGG16(input_shape=(64, 64, 3)), "224"),
        (lambda: A.VGG16(include_top=False, input_shape=(64, 64, 1)), "3 channels"),
        (lambda: A.MobileNet(alpha=0.3), "alpha"),
        (lambda: keras3.applications.MobileNetV3Small(alpha=0.5), "0.75 or 1.0"),
        (lambda: keras3.applications.MobileNetV3Large(alpha=0.75, minimalistic=True), "alpha.*1.0"),
        (lambda: tf_keras.applications.ResNetRS50(weights="imagenet-i224"), "'imagenet-i160'"),
        (lambda: keras3.applications.EfficientNetB0(classes=3), "1000"),
        (lambda: A.MobileNetV2(alpha=0.3), "alpha"),
        (lambda: A.MobileNet(depth_multiplier=2), "depth_multiplier"),
        (lambda: A.NASNetMobile(weights=None, include_top=False, input_shape=(None, None, 3)), "known sizes"),
    ],
)
def test_arguments_that_do_not_fit_are_told(make: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()


def test_unusual_channels_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="1 or 3 channels"):
        A.VGG16(weights=None, include_top=False, input_shape=(32, 32, 2))


@pytest.mark.parametrize("keras", [tf_keras, keras3])
def test_networks_of_another_edition_are_of_its_vintage(keras: Any) -> None:
    model = keras.applications.MobileNet((32, 32, 3), 0.25, weights=None, include_top=False)
    assert {layer.vintage for layer in model.layers} == {model.vintage} == {keras.layers.Dense.vintage}


# What preprocess_input of Keras 2.2.4 makes of the pixels (0, 128, 255) and (10, 20, 30)
PIXELS = {
    "caffe": [[151.061, 11.221, -123.68], [-73.939, -96.779, -113.68]],
    "tf": [[-1.0, 0.0039, 1.0], [-0.9216, -0.8431, -0.7647]],
    "torch": [[-2.1179, 0.2052, 2.64], [-1.9467, -1.6856, -1.2816]],
}


@pytest.mark.parametrize("mode", PIXELS)
def test_images_are_made_as_a_network_wants_them(mode: str) -> None:
    x = np.array([[[[0, 128, 255], [10, 20, 30]]]], "float32")
    right = np.array([[PIXELS[mode]]])
    preprocess = imagenet_utils.preprocess_input
    np.testing.assert_allclose(preprocess(x.copy(), mode=mode), right, atol=1e-4)
    np.testing.assert_allclose(preprocess(x[0].copy(), mode=mode), right[0], atol=1e-4)
    np.testing.assert_allclose(preprocess(x.astype("uint8"), mode=mode), right, atol=1e-4)
    first = preprocess(np.moveaxis(x, -1, 1).copy(), "channels_first", mode)
    np.testing.assert_allclose(np.moveaxis(first, 1, -1), right, atol=1e-4)
    np.testing.assert_allclose(K.eval(preprocess(K.variable(x), mode=mode)), right, atol=1e-4)
    given = Input((1, 2, 3))
    np.testing.assert_allclose(Model(given, preprocess(given, mode=mode)).predict(x), right, atol=1e-4)
    changed = x.copy()
    assert np.shares_memory(preprocess(changed, mode=mode), changed), "floats are changed in place"


def test_each_family_has_its_own_preprocessing() -> None:
    modes = {"vgg16": "caffe", "resnet50": "caffe", "resnet_v2": "tf", "densenet": "torch", "nasnet": "tf"}
    x = np.random.default_rng(0).uniform(0, 255, (2, 4, 4, 3)).astype("f")
    for name, mode in modes.items():
        module = importlib.import_module(f"kcompile.keras.applications.{name}")
        right = imagenet_utils.preprocess_input(x.copy(), mode=mode)
        np.testing.assert_array_equal(module.preprocess_input(x.copy()), right)
    with pytest.raises(ValueError, match="'caffe'"):
        imagenet_utils.preprocess_input(x, mode="rgb")


def test_predictions_are_told_by_the_names_of_classes(tmp_path: Path, monkeypatch: Any) -> None:
    index = {str(i): [f"n{i:08d}", f"thing {i}"] for i in range(1000)}
    (tmp_path / "index.json").write_text(json.dumps(index))
    monkeypatch.setattr(imagenet_utils, "get_file", lambda *args, **options: str(tmp_path / "index.json"))
    imagenet_utils._class_names.cache_clear()
    try:
        found = np.zeros((2, 1000), "f")
        found[0, [3, 7, 9]] = 0.2, 0.5, 0.3
        found[1, 999] = 1
        decoded = A.vgg.decode_predictions(found, top=2)
    finally:
        imagenet_utils._class_names.cache_clear()
    assert [(kind, name) for kind, name, _ in decoded[0]] == [
        ("n00000007", "thing 7"),
        ("n00000009", "thing 9"),
    ]
    assert decoded[1][0] == ("n00000999", "thing 999", 1.0) and len(decoded[1]) == 2
    with pytest.raises(ValueError, match="1000"):
        A.vgg.decode_predictions(np.zeros((2, 10)))
