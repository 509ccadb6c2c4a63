"""Images as arrays, their transforms, and batches of them. Values: keras-preprocessing 1.1.2."""

from __future__ import annotations

import io
import pickle
import sys
import threading

import numpy as np
import pytest

from kcompile import keras, keras3, tf_keras
from kcompile.keras.preprocessing import image
from kcompile_runtime.errors import ExtraError, InputError, InputTypeError, ModelError

pytest.importorskip("PIL")
pytest.importorskip("scipy")
pandas = pytest.importorskip("pandas")

RAMP = np.arange(60, dtype="float32").reshape(4, 5, 3)
ROWS = {"row_axis": 0, "col_axis": 1, "channel_axis": 2}


# ---------------------------------------------------------------- files and arrays


def test_arrays_become_images_and_files_and_come_back(tmp_path):
    for channels, mode in ((1, "L"), (3, "RGB"), (4, "RGBA")):
        x = np.random.RandomState(0).randint(0, 256, (6, 5, channels)).astype("float32")
        assert image.array_to_img(x, scale=False).mode == mode
        image.save_img(tmp_path / "a.png", x, scale=False)
        color = {1: "grayscale", 3: "rgb", 4: "rgba"}[channels]
        back = image.img_to_array(image.load_img(tmp_path / "a.png", color_mode=color))
        assert back.dtype == np.float32 and np.array_equal(back, x)
        first = image.img_to_array(image.load_img(tmp_path / "a.png", color_mode=color), "channels_first")
        assert np.array_equal(first, x.transpose(2, 0, 1))
        again = image.array_to_img(first, "channels_first", scale=False)
        assert np.array_equal(image.img_to_array(again, dtype="int32"), x)


def test_scaled_arrays_take_the_whole_range():
    x = np.array([[[-1.0], [0.5], [2.0]]])
    assert image.img_to_array(image.array_to_img(x)).ravel().tolist() == [0, 127, 255]
    assert image.img_to_array(image.array_to_img(np.full((1, 1, 1), 3.0))).item() == 0
    wide = image.array_to_img(np.full((1, 1, 1), 70000.0), scale=False)
    assert wide.mode == "I" and image.img_to_array(wide).item() == 70000


def test_sizes_and_modes_of_files(tmp_path):
    image.save_img(tmp_path / "a.jpg", np.ones((6, 9, 3)))
    with open(tmp_path / "a.jpg", "rb") as file:
        assert image.load_img(file, target_size=(4, 3)).size == (3, 4)
    with pytest.warns(UserWarning, match="grayscale=True"):
        assert image.load_img(tmp_path / "a.jpg", grayscale=True).mode == "L"
    edge = np.zeros((4, 8, 1))
    edge[:, 2:6] = 255
    image.save_img(tmp_path / "b.png", edge, scale=False)
    cut = image.load_img(
        tmp_path / "b.png", color_mode="grayscale", target_size=(2, 2), keep_aspect_ratio=True
    )
    assert image.img_to_array(cut).tolist() == [[[255], [255]], [[255], [255]]]
    for options, told in (({"color_mode": "cmyk"}, "color_mode"), ({"interpolation": "no"}, "interpolation")):
        with pytest.raises(InputError, match=told):
            image.load_img(tmp_path / "a.jpg", target_size=(2, 2), **options)
    (tmp_path / "c.png").write_bytes(b"no image")
    with pytest.raises(OSError):
        image.load_img(tmp_path / "c.png")


def test_jpeg_has_no_alpha_channel(tmp_path):
    for path, options in ((tmp_path / "a.jpg", {}), (io.BytesIO(), {"file_format": "jpg"})):
        with pytest.warns(UserWarning, match="alpha"):
            image.save_img(path, np.ones((2, 2, 4)), **options)
        if isinstance(path, io.BytesIO):
            path.seek(0)
        assert image.load_img(path).size == (2, 2)


@pytest.mark.parametrize(
    "call, told",
    [
        (lambda: image.array_to_img(np.ones((2, 2))), "rank 3"),
        (lambda: image.array_to_img(np.ones((2, 2, 5))), "1, 3 or 4 channels"),
        (lambda: image.img_to_array(np.ones(3)), "2 or 3 dimensions"),
        (lambda: image.random_zoom(RAMP, 0.5), "zoom_range"),
        (lambda: image.random_brightness(RAMP, (1,)), "brightness_range"),
        (lambda: image.apply_affine_transform(RAMP, theta=3, fill_mode="zero"), "fill_mode"),
    ],
)
def test_what_is_no_image(call, told):
    with pytest.raises(InputError, match=told):
        call()


def test_wrong_formats_are_refused():
    for call in (image.array_to_img, image.img_to_array):
        with pytest.raises(ModelError, match="data_format"):
            call(RAMP, data_format="last")


# ---------------------------------------------------------------- transforms


def test_affine_transforms():
    turned = image.apply_affine_transform(RAMP, theta=20, tx=1, zx=0.8)
    assert turned.dtype == np.float32
    assert np.allclose(turned[0, :, 0], [38.7955, 36.001, 33.6898, 31.3785, 29.0673], atol=1e-3)
    sheared = image.apply_affine_transform(RAMP, shear=30, zy=1.5, fill_mode="constant", cval=-1)
    assert np.allclose(sheared[1, :, 1], [-1, 39.7058, 32.3529, 25, -1], atol=1e-3)
    assert image.apply_affine_transform(RAMP) is RAMP


def test_shifts_by_whole_pixels():
    moved = image.apply_affine_transform(RAMP, tx=1, ty=-2, fill_mode="constant", cval=9)
    assert np.allclose(moved[:-1, 2:], RAMP[1:, :-2], atol=1e-4) and (moved[-1] == 9).all()
    first = image.apply_affine_transform(
        RAMP.transpose(2, 0, 1), theta=20, row_axis=1, col_axis=2, channel_axis=0
    )
    assert np.allclose(first.transpose(1, 2, 0), image.apply_affine_transform(RAMP, theta=20), atol=1e-4)


def test_random_transforms_take_the_axes_that_they_are_given():
    for name, arguments in (
        ("random_rotation", (40,)),
        ("random_shift", (0.4, 0.4)),
        ("random_shear", (30,)),
        ("random_zoom", ((0.5, 0.7),)),
    ):
        np.random.seed(1)
        last = getattr(image, name)(RAMP, *arguments, **ROWS)
        np.random.seed(1)
        first = getattr(image, name)(RAMP.transpose(2, 0, 1), *arguments)
        assert np.allclose(first.transpose(1, 2, 0), last, atol=1e-4) and not np.allclose(last, RAMP)


def test_colours():
    dark = image.apply_brightness_shift(RAMP * 4, 0.5)
    assert dark[1, :, 0].tolist() == [32, 38, 45, 51, 58]
    assert np.array_equal(image.apply_brightness_shift(np.round(RAMP), 1, scale=False), RAMP)
    beyond = image.apply_brightness_shift(RAMP * 10, 1.0, scale=False)
    assert beyond.max() == 590 and abs(beyond - RAMP * 10).max() < 3
    shifted = image.apply_channel_shift(RAMP, 7.0, 2)
    assert np.array_equal(shifted, np.minimum(RAMP + 7, 59))
    assert np.array_equal(image.flip_axis(RAMP, 1), RAMP[:, ::-1])


def test_centres_are_those_of_the_edition():
    half = image.apply_affine_transform(RAMP[:4, :4], theta=180, center_offset=-0.5)
    assert np.allclose(half, RAMP[3::-1, 3::-1], atol=1e-3)
    turned = tf_keras.preprocessing.image.apply_affine_transform(RAMP[:4, :4], theta=180, **ROWS)
    assert np.allclose(half, turned, atol=1e-3)
    moved = tf_keras.preprocessing.image.apply_affine_transform(RAMP, tx=1, **ROWS)
    assert np.allclose(moved[:, :-1], RAMP[:, 1:], atol=1e-3)
    generator = tf_keras.preprocessing.image.ImageDataGenerator(brightness_range=(1, 1), rotation_range=1)
    assert isinstance(generator, image.ImageDataGenerator) and generator.center_offset == -0.5
    assert np.array_equal(generator.apply_transform(RAMP, {"brightness": 1.0}), RAMP)
    assert not hasattr(keras3.preprocessing.image, "ImageDataGenerator") and keras3.utils.load_img


# ---------------------------------------------------------------- generators


def test_random_parameters_are_those_of_keras():
    generator = image.ImageDataGenerator(
        rotation_range=30,
        width_shift_range=0.2,
        height_shift_range=3,
        shear_range=5.0,
        zoom_range=0.3,
        channel_shift_range=20.0,
        brightness_range=(0.5, 1.5),
        horizontal_flip=True,
        vertical_flip=True,
    )
    assert generator.get_random_transform((10, 20, 3), seed=7) == {
        "theta": pytest.approx(-25.42150263756257),
        "tx": -1,
        "ty": pytest.approx(-0.4927261484728518),
        "shear": pytest.approx(2.234651778309412),
        "zx": pytest.approx(1.2867937071979616),
        "zy": pytest.approx(1.0230975222462602),
        "flip_horizontal": False,
        "flip_vertical": True,
        "channel_shift_intensity": pytest.approx(-9.262440795925153),
        "brightness": pytest.approx(0.99988250082556),
    }


IMAGES = np.random.RandomState(0).rand(10, 6, 5, 3).astype("float32")
LABELS = np.arange(10) % 2


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_statistics(data_format):
    x = IMAGES if data_format == "channels_last" else IMAGES.transpose(0, 3, 1, 2)
    axes = (0, 1, 2) if data_format == "channels_last" else (0, 2, 3)
    options = {"featurewise_center": True, "featurewise_std_normalization": True, "rescale": 3.0}
    generator = image.ImageDataGenerator(data_format=data_format, **options)
    generator.fit(x)
    batch = np.concatenate([generator.flow(x, batch_size=4, shuffle=False)[i] for i in range(3)])
    assert np.allclose(batch.mean(axes), 0, atol=1e-5) and np.allclose(batch.std(axes), 1, atol=1e-4)
    generator = image.ImageDataGenerator(samplewise_center=True, samplewise_std_normalization=True)
    one = generator.standardize(x[0].copy())
    assert abs(one.mean()) < 1e-5 and abs(one.std() - 1) < 1e-4


def test_whitening_makes_features_independent():
    x = np.random.RandomState(0).randn(400, 2, 2, 1) @ np.ones((1, 1)) + 5
    x[:, 1] += x[:, 0]
    with pytest.warns(UserWarning, match="zca_whitening needs featurewise_center"):
        generator = image.ImageDataGenerator(zca_whitening=True, dtype="float64")
    generator.fit(x)
    rows = generator.standardize(x.copy()).reshape(400, 4)
    assert np.allclose(rows.T @ rows / 400, np.eye(4), atol=1e-4)


def test_options_that_need_others():
    with pytest.warns(UserWarning, match="featurewise_std_normalization needs featurewise_center"):
        generator = image.ImageDataGenerator(featurewise_std_normalization=True)
    with pytest.warns(UserWarning, match="no effect before fit"):
        generator.standardize(IMAGES[0].copy())
    with pytest.warns(UserWarning, match="samplewise_center"):
        assert image.ImageDataGenerator(samplewise_std_normalization=True).samplewise_center
    with pytest.warns(UserWarning, match="takes the place of"):
        both = image.ImageDataGenerator(
            zca_whitening=True, featurewise_center=True, featurewise_std_normalization=True
        )
    assert not both.featurewise_std_normalization


def test_standardizing_works_in_place_and_on_integers():
    x = IMAGES[0].copy()
    generator = image.ImageDataGenerator(rescale=0.5)
    assert generator.standardize(x) is x and np.array_equal(x, IMAGES[0] * 0.5)
    assert generator.standardize(np.full((2, 2, 1), 3)).tolist() == [[[1.5], [1.5]], [[1.5], [1.5]]]


@pytest.mark.parametrize(
    "options, told",
    [
        ({"zoom_range": (1, 2, 3)}, "zoom_range"),
        ({"zoom_range": ("a", 2)}, "zoom_range"),
        ({"brightness_range": 3}, "brightness_range"),
        ({"fill_mode": "zero"}, "fill_mode"),
        ({"validation_split": 1.5}, "validation_split"),
        ({"width_shift_range": "a"}, "width_shift_range"),
        ({"height_shift_range": []}, "height_shift_range"),
        ({"rotation_range": None}, "rotation_range"),
    ],
)
def test_ranges_that_are_none(options, told):
    with pytest.raises(InputError, match=told):
        image.ImageDataGenerator(**options)


# ---------------------------------------------------------------- batches of arrays


def test_batches_of_an_epoch_and_after():
    flow = image.ImageDataGenerator().flow(IMAGES, LABELS, 4, shuffle=False, sample_weight=LABELS / 2)
    assert isinstance(flow, keras.utils.Sequence) and len(flow) == 3
    sizes = [len(next(flow)[0]) for _ in range(4)]
    assert sizes == [4, 4, 2, 4]
    flow.reset()
    x, y, weights = next(flow)
    assert np.array_equal(x, IMAGES[:4]) and weights.tolist() == [0, 0.5, 0, 0.5]
    assert y.tolist() == [0, 1, 0, 1]
    assert np.array_equal(flow[2][0], IMAGES[8:])
    with pytest.raises(InputError, match=r"below 3\. Received: 3"):
        flow[3]
    with pytest.raises(InputError, match=r"below 3\. Received: -1"):
        flow[-1]


def test_a_seed_makes_the_same_batches():
    generator = image.ImageDataGenerator(rotation_range=90, horizontal_flip=True)
    one, other = (generator.flow(IMAGES, LABELS, batch_size=4, seed=3) for _ in range(2))
    for _ in range(5):
        a = next(one)
        np.random.random(7)
        b = next(other)
        assert np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1])
    np.random.seed(3)
    order = np.random.permutation(10)
    assert generator.flow(IMAGES, LABELS, batch_size=4, seed=3)[0][1].tolist() == LABELS[order[:4]].tolist()


def test_other_arrays_and_subsets():
    generator = image.ImageDataGenerator(validation_split=0.2)
    flow = generator.flow((IMAGES, [LABELS, LABELS * 2]), batch_size=10, shuffle=False)
    x, a, b = next(flow)
    assert np.array_equal(x, IMAGES) and a.tolist() == LABELS.tolist() and b.tolist() == (LABELS * 2).tolist()
    weights = np.arange(10.0)
    held = {
        subset: next(generator.flow(IMAGES, LABELS, 10, False, weights, subset=subset))
        for subset in ("training", "validation")
    }
    assert np.array_equal(held["validation"][0], IMAGES[:2])
    assert np.array_equal(held["training"][0], IMAGES[2:])
    assert held["training"][2].tolist() == list(range(2, 10)) and held["validation"][2].tolist() == [0, 1]


def test_subsets_of_different_classes():
    generator = image.ImageDataGenerator(validation_split=0.4)
    flow = generator.flow(IMAGES, np.arange(10), subset="validation", ignore_class_split=True, shuffle=False)
    assert flow[0][1].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "arguments, told",
    [
        ({"y": LABELS[:3]}, r"`y` \(labels\) of flow: expected 10 rows\. Received: 3"),
        ({"sample_weight": LABELS[:3]}, "sample_weight"),
        ({"x": (IMAGES, LABELS[:3])}, "arrays in `x`"),
        ({"x": (IMAGES, LABELS, LABELS)}, "x: expected"),
        ({"x": IMAGES[0], "y": None}, "rank 4"),
        ({"subset": "test"}, "subset"),
        ({"y": np.arange(10) < 4, "subset": "training"}, "different classes"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_arrays_that_do_not_fit(arguments, told):
    with pytest.raises(InputError, match=told):
        image.ImageDataGenerator(validation_split=0.4).flow(**{"x": IMAGES, "y": LABELS, **arguments})
    with pytest.raises(InputError, match="validation_split"):
        image.ImageDataGenerator().flow(IMAGES, subset="validation")


def test_odd_channels_are_told():
    with pytest.warns(UserWarning, match="1, 3 or 4 channels"):
        image.ImageDataGenerator().flow(np.ones((2, 3, 3, 2)))


def test_iterators_are_kept_by_pickle():
    flow = image.ImageDataGenerator().flow(IMAGES, LABELS, batch_size=4, seed=1)
    next(flow)
    again = pickle.loads(pickle.dumps(flow))
    assert np.array_equal(again[1][0], flow[1][0]) and len(next(again)[0]) == 4


class Numbers(image.Iterator):
    """An iterator in the way of scripts of Keras: its batches are the numbers of samples."""

    def next(self):
        with self.lock:
            index_array = next(self.index_generator)
        return self._get_batches_of_transformed_samples(index_array)

    def _get_batches_of_transformed_samples(self, index_array):
        return index_array.tolist()


def test_iterators_of_ones_own():
    numbers = Numbers(5, 2, shuffle=False, seed=None)
    assert [next(numbers) for _ in range(4)] == [[0, 1], [2, 3], [4], [0, 1]]
    assert numbers.total_batches_seen == 4 and numbers[1] == [2, 3] and len(numbers) == 3
    np.random.seed(1)
    order = np.random.permutation(5).tolist()
    assert next(Numbers(5, 5, shuffle=True, seed=1)) == order
    assert next(Numbers(0, 3, shuffle=True, seed=1)) == []
    with pytest.raises(NotImplementedError, match="_get_batches_of_transformed_samples"):
        next(image.Iterator(2, 1, False, None))


def test_threads_get_each_batch_once():
    flow = image.ImageDataGenerator().flow(IMAGES, np.arange(10), batch_size=1, shuffle=False)
    found = []

    def work():
        for _ in range(5):
            found.append(int(next(flow)[1][0]))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(list(range(10)) * 2)


def test_batches_are_saved(tmp_path):
    flow = image.ImageDataGenerator().flow(
        IMAGES, batch_size=3, shuffle=False, save_to_dir=str(tmp_path), save_prefix="a", save_format="jpeg"
    )
    next(flow)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert [name.split("_")[:2] for name in names] == [["a", "0"], ["a", "1"], ["a", "2"]]
    assert all(name.endswith(".jpeg") for name in names)


def test_a_model_is_fitted_on_batches_of_images():
    x = np.zeros((16, 6, 6, 1), "float32")
    x[::2, :, 3:] = 255
    y = np.arange(16) % 2
    generator = image.ImageDataGenerator(rescale=1 / 255, height_shift_range=0.2, validation_split=0.25)
    model = keras.Sequential([keras.layers.Flatten(input_shape=(6, 6, 1)), keras.layers.Dense(1, "sigmoid")])
    model.compile(keras.optimizers.SGD(0.5), "binary_crossentropy", ["accuracy"])
    model.fit(generator.flow(x, y, batch_size=4, seed=0, subset="training"), epochs=5, verbose=0)
    assert model.evaluate(generator.flow(x, y, batch_size=4, subset="validation"), verbose=0)[1] == 1


# ---------------------------------------------------------------- batches of files


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images of one colour, of two classes."""
    root = tmp_path_factory.mktemp("images")
    for number, kind in enumerate(("cats", "dogs")):
        (root / kind / "more").mkdir(parents=True)
        for i in range(4):
            where = root / kind / "more" if i == 1 else root / kind
            image.save_img(where / f"{i}.png", np.full((3, 4, 3), 100 * number + i), scale=False)
        (root / kind / "notes.txt").write_text("no image")
    return root


def test_folders_are_classes(folder, capsys):
    flow = image.ImageDataGenerator().flow_from_directory(folder, (5, 6), shuffle=False, batch_size=8)
    assert capsys.readouterr().out == "Found 8 images belonging to 2 classes.\n"
    assert flow.class_indices == {"cats": 0, "dogs": 1} and flow.classes.tolist() == [0] * 4 + [1] * 4
    assert [name.replace("\\", "/") for name in flow.filenames[:4]] == [
        "cats/0.png",
        "cats/2.png",
        "cats/3.png",
        "cats/more/1.png",
    ]
    x, y = next(flow)
    assert x.shape == (8, 5, 6, 3) and x[:, 0, 0, 0].tolist() == [0, 2, 3, 1, 100, 102, 103, 101]
    assert y.tolist() == [[1, 0]] * 4 + [[0, 1]] * 4


def test_images_of_folders_may_be_cut_to_their_shape(tmp_path):
    (tmp_path / "a").mkdir()
    edge = np.zeros((4, 8, 1))
    edge[:, 2:6] = 255
    image.save_img(tmp_path / "a" / "b.png", edge, scale=False)
    for keep, row in ((True, [255, 255]), (False, [127.5, 127.5])):
        flow = image.ImageDataGenerator().flow_from_directory(
            tmp_path, (2, 2), "grayscale", class_mode=None, interpolation="box", keep_aspect_ratio=keep
        )
        assert np.allclose(flow[0][0, 0, :, 0], row, atol=1)


def test_parts_of_folders(folder, capsys):
    generator = image.ImageDataGenerator(validation_split=0.25, data_format="channels_first")
    for subset, count in (("training", 6), ("validation", 2)):
        flow = generator.flow_from_directory(
            folder, (2, 2), "grayscale", ["dogs", "cats"], "sparse", shuffle=False, subset=subset
        )
        x, y = flow[0]
        assert x.shape == (count, 1, 2, 2) and y.tolist() == [0.0] * (count // 2) + [1.0] * (count // 2)
    with pytest.raises(InputError, match="class_mode"):
        generator.flow_from_directory(folder, class_mode="raw")
    with pytest.raises(InputError, match="color_mode"):
        generator.flow_from_directory(folder, color_mode="bgr")


TABLE = pandas.DataFrame(
    {
        "filename": ["cats/0.png", "cats/2.png", "none.png", "dogs/0.png"],
        "class": ["cat", "cat", "cat", "dog"],
        "some": [["cat"], ["cat", "small"], ["cat"], ("dog",)],
        "a": [0.5, 1.5, 2.5, 3.5],
    }
)


def test_tables_name_images(folder, capsys):
    generator = image.ImageDataGenerator()

    def batch(**options):
        with pytest.warns(UserWarning, match="1 names in column 'filename' are of no image"):
            flow = generator.flow_from_dataframe(TABLE, folder, target_size=(2, 2), shuffle=False, **options)
        return flow[0]

    x, y = batch()
    assert x[:, 0, 0, 0].tolist() == [0, 2, 100] and y.tolist() == [[1, 0], [1, 0], [0, 1]]
    assert "Found 3 validated image filenames belonging to 2 classes." in capsys.readouterr().out
    assert batch(y_col="some")[1].tolist() == [[1, 0, 0], [1, 0, 1], [0, 1, 0]]
    assert batch(y_col="some", classes=["dog", "small"])[1].tolist() == [[0, 1], [1, 0]]
    assert batch(class_mode="binary", weight_col="a")[2].tolist() == [0.5, 1.5, 3.5]
    assert batch(class_mode="raw", y_col="a")[1].tolist() == [0.5, 1.5, 3.5]
    assert [a.tolist() for a in batch(class_mode="multi_output", y_col=["a", "class"])[1]] == [
        [0.5, 1.5, 3.5],
        ["cat", "cat", "dog"],
    ]
    assert batch(class_mode=None).shape == (3, 2, 2, 3)


@pytest.mark.parametrize(
    "options, error, told",
    [
        ({"class_mode": "multi_output", "y_col": "a"}, InputTypeError, "a list of columns"),
        ({"x_col": "a"}, InputTypeError, "names of files as text"),
        ({"y_col": "a"}, InputTypeError, "text or lists or tuples"),
        ({"y_col": "some", "class_mode": "sparse"}, InputTypeError, "expected text"),
        ({"class_mode": "binary", "classes": ["cat"]}, InputError, "2 classes"),
        ({"weight_col": "class"}, InputTypeError, "numbers"),
        ({"class_mode": "none"}, InputError, "class_mode"),
        ({"no": 1}, InputTypeError, "'no'"),
    ],
)
def test_tables_that_do_not_fit(folder, options, error, told):
    with pytest.raises(error, match=told):
        image.ImageDataGenerator().flow_from_dataframe(TABLE, folder, **options)


@pytest.mark.filterwarnings("ignore:1 names")
def test_older_options_of_tables(folder):
    generator = image.ImageDataGenerator()
    for option in ("has_ext", "sort", "drop_duplicates"):
        with pytest.warns(DeprecationWarning, match=f"{option} has no effect"):
            generator.flow_from_dataframe(TABLE, folder, **{option: True})
    with pytest.warns(DeprecationWarning, match="'other' is the older name of 'raw'"):
        assert generator.flow_from_dataframe(TABLE, folder, y_col="a", class_mode="other").class_mode == "raw"


# ---------------------------------------------------------------- other spellings, missing libraries


@pytest.mark.parametrize(
    "call",
    [
        lambda: image.array_to_img(RAMP.transpose(2, 0, 1), dim_ordering="th").size,
        lambda: image.img_to_array(image.array_to_img(RAMP), dim_ordering="tf").shape[1::-1],
        lambda: image.ImageDataGenerator(dim_ordering="th").data_format == "channels_first" and (5, 4),
        lambda: image.random_shift(RAMP, 0.1, 0.1, 0, 1, channel_index=2).shape[1::-1],
    ],
)
def test_names_of_keras_1_are_told_once(call):
    with pytest.warns(UserWarning, match="to the Keras 2 API") as told:
        assert call() == (5, 4)
    assert len(told) == 1


def test_other_arguments_are_refused():
    for call in (
        lambda: image.array_to_img(RAMP, order=3),
        lambda: image.random_rotation(RAMP, 3, axis=3),
        lambda: image.ImageDataGenerator(rotation=3),
    ):
        with pytest.raises(InputTypeError, match="the arguments of Keras"):
            call()
    with pytest.raises(InputError, match="dim_ordering"):
        image.array_to_img(RAMP, dim_ordering="theano")


def test_missing_libraries_are_named_with_their_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    monkeypatch.setitem(sys.modules, "scipy.ndimage", None)
    for call in (lambda: image.array_to_img(RAMP), lambda: image.apply_affine_transform(RAMP, theta=3)):
        with pytest.raises(ExtraError, match=r'pip install "kcompile\[image\]"') as told:
            call()
        assert isinstance(told.value, ImportError)
