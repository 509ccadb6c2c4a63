"""Images, random transforms and batches of both beside keras-preprocessing 1.1.2: the same numbers."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompile.keras.preprocessing import image

pytest.importorskip("keras_preprocessing")
pytest.importorskip("scipy")
pytest.importorskip("PIL")
pandas = pytest.importorskip("pandas")

from keras_preprocessing import image as theirs  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def without_tensorflow(monkeypatch):
    """Theirs imports it where it is there, and that draws random numbers."""
    monkeypatch.setitem(sys.modules, "tensorflow.keras.utils", None)


def picture(seed=0, shape=(9, 7, 3)):
    return (np.random.RandomState(seed).rand(*shape) * 255).astype("float32")


LAST = {"row_axis": 0, "col_axis": 1, "channel_axis": 2}
FILL = st.sampled_from(["constant", "nearest", "reflect", "wrap"])


@given(
    st.sampled_from([0, 30.0, -77]),
    st.sampled_from([0, 2, -1.5]),
    st.sampled_from([0, 1.25]),
    st.sampled_from([0, 20.0]),
    st.sampled_from([1, 0.5]),
    st.sampled_from([1, 1.7]),
    FILL,
    st.integers(0, 3),
)
@settings(max_examples=60)
def test_affine_transforms(theta, tx, ty, shear, zx, zy, fill, order):
    found = [
        m.apply_affine_transform(
            picture(), theta, tx, ty, shear, zx, zy, **LAST, fill_mode=fill, cval=3, order=order
        )
        for m in (image, theirs)
    ]
    assert found[0].dtype == found[1].dtype and np.allclose(*found, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("random_rotation", (40,)),
        ("random_shift", (0.3, 0.2)),
        ("random_shear", (25,)),
        ("random_zoom", ((0.5, 1.5),)),
        ("random_zoom", ((1, 1),)),
    ],
)
def test_random_transforms(name, arguments):
    found = []
    for module in (image, theirs):
        np.random.seed(3)
        found.append(getattr(module, name)(picture(), *arguments, **LAST))
        found.append(np.random.random())
    assert np.allclose(found[0], found[2], rtol=1e-5, atol=1e-4) and found[1] == found[3]


def test_colours():
    found = []
    for module in (image, theirs):
        np.random.seed(3)
        found.append(
            [
                module.random_channel_shift(picture(), 40, 2),
                module.random_brightness(picture(), (0.3, 1.6)),
                module.apply_brightness_shift(picture() - 90, 1.5),
                module.flip_axis(picture(), 1),
            ]
        )
    for ours, other in zip(*found):
        assert ours.dtype == other.dtype and np.array_equal(ours, other)


OPTIONS = [
    {},
    {"rotation_range": 30, "fill_mode": "constant", "cval": 7.0},
    {"width_shift_range": 0.3, "height_shift_range": 0.2},
    {"width_shift_range": 3, "height_shift_range": 2, "shear_range": 10.0},
    {"width_shift_range": [1, 2, 3], "height_shift_range": [0.1, 0.4], "fill_mode": "wrap"},
    {"width_shift_range": [0.2], "height_shift_range": 2.5, "interpolation_order": 0},
    {"zoom_range": 0.4, "horizontal_flip": True, "vertical_flip": True},
    {"zoom_range": [0.7, 0.9], "channel_shift_range": 40.0, "brightness_range": (0.5, 1.5)},
    {"rescale": 1 / 255, "samplewise_center": True, "samplewise_std_normalization": True},
    {"featurewise_center": True, "featurewise_std_normalization": True, "rescale": 0.5},
    # Eleven images leave most axes without variance: epsilon is well above what rounding leaves there
    {"zca_whitening": True, "featurewise_center": True, "zca_epsilon": 30.0},
    {"preprocessing_function": lambda x: x[::-1] - 3, "dtype": "float64"},
    {
        "rotation_range": 20,
        "shear_range": 5,
        "zoom_range": 0.2,
        "featurewise_center": True,
        "width_shift_range": 0.1,
    },
]


def same(ours, other):
    ours, other = (list(b) if isinstance(b, (tuple, list)) else [b] for b in (ours, other))
    assert len(ours) == len(other)
    for a, b in zip(ours, other):
        if isinstance(a, (list, tuple)):
            same(a, b)
        else:
            a, b = np.asarray(a), np.asarray(b)
            assert a.dtype == b.dtype and a.shape == b.shape
            assert np.allclose(a, b, rtol=1e-4, atol=2e-3) if a.dtype.kind == "f" else np.array_equal(a, b)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("options", OPTIONS)
def test_generators_of_arrays(options, data_format):
    if data_format == "channels_first" and "brightness_range" in options:
        pytest.skip("theirs takes channels for columns")
    shape = (11, 8, 6, 3) if data_format == "channels_last" else (11, 3, 8, 6)
    x, y, w = picture(1, shape), np.arange(11) % 2, np.arange(11) / 2
    batches = []
    for module in (image, theirs):
        options = {"dtype": "float32", **options}
        generator = module.ImageDataGenerator(data_format=data_format, validation_split=0.4, **options)
        np.random.seed(5)
        generator.fit(x, augment="rotation_range" in options, rounds=2, seed=9)
        flows = [
            generator.flow(x, y, batch_size=4, sample_weight=w),
            generator.flow(x, y, batch_size=3, seed=4, subset="validation"),
            generator.flow((x, [w, y]), batch_size=5, shuffle=False),
        ]
        found = []
        for flow in flows:
            found += [next(flow) for _ in range(len(flow) + 1)]
            flow.reset()
            flow.on_epoch_end()
            found += [flow[i] for i in range(len(flow))] + [next(flow)]
        batches.append((found, np.random.random()))
    for ours, other in zip(batches[0][0], batches[1][0]):
        same(ours, other)
    assert batches[0][1] == batches[1][1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    for kind, count in (("cats", 5), ("dogs", 4), ("owls", 3)):
        (root / kind / "more").mkdir(parents=True)
        for i in range(count):
            where = root / kind / "more" if i == 2 else root / kind
            mode = (10, 12, 1) if i == 1 else (10 + i, 12, 4 if i == 3 else 3)
            image.save_img(where / f"{kind}{i}.{'png' if i else 'bmp'}", picture(i, mode))
        (root / kind / "notes.txt").write_text("no image")
    return root


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("color_mode", ["rgb", "rgba", "grayscale"])
@pytest.mark.parametrize("class_mode", ["categorical", "sparse", "input", None])
def test_generators_of_folders(folder, class_mode, color_mode, data_format, capsys):
    batches, told = [], []
    for module in (image, theirs):
        generator = module.ImageDataGenerator(
            rotation_range=10, rescale=1 / 255, data_format=data_format, validation_split=0.5
        )
        found = []
        for options in (
            {},
            {"subset": "training", "interpolation": "bilinear", "shuffle": False},
            {"subset": "validation", "classes": ["owls", "cats"], "seed": 8},
        ):
            np.random.seed(2)
            flow = generator.flow_from_directory(
                str(folder),
                target_size=(8, 9),
                color_mode=color_mode,
                class_mode=class_mode,
                batch_size=4,
                **options,
            )
            found += [next(flow) for _ in range(len(flow) + 1)]
            found.append(flow.classes)
            told.append((flow.filenames, flow.class_indices, flow.samples, flow.num_classes, flow.filepaths))
        batches.append(found)
        told.append(capsys.readouterr().out)
    for ours, other in zip(*batches):
        same(ours, other)
    assert told[: len(told) // 2] == told[len(told) // 2 :]


TABLE = pandas.DataFrame(
    {
        "filename": [
            "cats/cats0.bmp",
            "cats/cats1.png",
            "none.png",
            "dogs/dogs0.bmp",
            "dogs/dogs1.png",
            "owls/owls0.bmp",
        ],
        "class": ["cat", "cat", "cat", "dog", "dog", "owl"],
        "two": ["cat", "cat", "dog", "dog", "dog", "cat"],
        "some": [["cat"], ["cat", "small"], ["cat"], ["dog"], ("dog", "small"), ["small"]],
        "a": [0.5, 1.5, 2.5, 3.5, 4.5, 5.5],
        "b": [1, 2, 3, 4, 5, 6],
    }
)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"class_mode": "sparse"},
        {"class_mode": "binary", "y_col": "two"},
        {"y_col": "some"},
        {"y_col": "some", "classes": ["cat", "small"]},
        {"classes": ["owl", "dog"]},
        {"class_mode": "raw", "y_col": "a"},
        {"class_mode": "raw", "y_col": ["a", "b"], "weight_col": "b"},
        {"class_mode": "multi_output", "y_col": ["a", "b"]},
        {"class_mode": "input", "subset": "validation"},
        {"class_mode": None, "subset": "training"},
        {"weight_col": "a", "shuffle": False},
    ],
)
def test_generators_of_tables(folder, options, capsys):
    batches, told = [], []
    for module in (image, theirs):
        generator = module.ImageDataGenerator(horizontal_flip=True, validation_split=0.4)
        np.random.seed(2)
        flow = generator.flow_from_dataframe(TABLE, str(folder), target_size=(5, 4), batch_size=2, **options)
        batches.append([next(flow) for _ in range(len(flow) + 1)] + [flow[0]])
        told.append(
            (flow.filenames, getattr(flow, "class_indices", {}), flow.samples, capsys.readouterr().out)
        )
    for ours, other in zip(*batches):
        same(ours, other)
    assert told[0] == told[1]


@pytest.mark.parametrize("shape", [(4, 5, 3), (4, 5, 1), (4, 5, 4)])
@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_arrays_and_images(shape, scale, data_format):
    x = picture(2, shape) * 1.0
    x = x.transpose(2, 0, 1) if data_format == "channels_first" else x
    ours, other = (m.array_to_img(x, data_format=data_format, scale=scale) for m in (image, theirs))
    assert ours.mode == other.mode and ours.size == other.size and ours.tobytes() == other.tobytes()
    back, expected = (m.img_to_array(ours, data_format=data_format, dtype="float64") for m in (image, theirs))
    assert back.dtype == expected.dtype and np.array_equal(back, expected)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"])
@pytest.mark.parametrize("color_mode", ["rgb", "rgba", "grayscale"])
def test_images_of_files(folder, color_mode, interpolation):
    for path in sorted(image.list_pictures(folder)):
        ours, other = (
            m.load_img(path, color_mode=color_mode, target_size=(6, 11), interpolation=interpolation)
            for m in (image, theirs)
        )
        assert ours.mode == other.mode and ours.tobytes() == other.tobytes()
    assert sorted(image.list_pictures(folder)) == sorted(theirs.list_pictures(str(folder)))
