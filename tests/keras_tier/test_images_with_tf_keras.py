"""Images under the names of tf.keras, beside tf_keras: centres and brightness are its own."""

from __future__ import annotations

import numpy as np
import pytest

from kcompile import tf_keras

pytest.importorskip("scipy")
pytest.importorskip("PIL")
theirs = pytest.importorskip("tf_keras").preprocessing
ours = tf_keras.preprocessing

pytestmark = pytest.mark.filterwarnings("ignore")
IMAGES = (np.random.RandomState(0).rand(7, 9, 8, 3) * 255).astype("float32")
LABELS = np.arange(7) % 2
LAST = {"row_axis": 0, "col_axis": 1, "channel_axis": 2}


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("random_rotation", (40,)),
        ("random_shift", (0.3, 0.2)),
        ("random_shear", (25,)),
        ("random_zoom", ((0.5, 1.5),)),
    ],
)
@pytest.mark.parametrize("last", [True, False])
def test_random_transforms(name, arguments, last):
    found = []
    for module in (ours.image, theirs.image):
        np.random.seed(3)
        x = IMAGES[0] if last else IMAGES[0].transpose(2, 0, 1)
        found.append(getattr(module, name)(x, *arguments, **(LAST if last else {})))
    assert np.allclose(*found, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("factor, offset", [(1, 0), (2, -90), (0.5, 20)])
def test_brightness(scale, factor, offset):
    x = IMAGES[0] * factor + offset
    found = [m.image.apply_brightness_shift(x, 1.3, scale) for m in (ours, theirs)]
    assert np.allclose(*found, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"rotation_range": 30, "shear_range": 10.0, "zoom_range": 0.3, "cval": 5.0, "fill_mode": "constant"},
        {"brightness_range": (0.5, 1.5), "width_shift_range": 0.3, "height_shift_range": [1, 2]},
        {"featurewise_center": True, "featurewise_std_normalization": True, "horizontal_flip": True},
        {"zca_whitening": True, "rescale": 1 / 255, "zca_epsilon": 1e-2},
    ],
)
def test_generators(options):
    batches = []
    for module in (ours, theirs):
        generator = module.image.ImageDataGenerator(validation_split=0.3, **options)
        generator.fit(IMAGES, augment=True, seed=1)
        flow = generator.flow(IMAGES, LABELS, batch_size=3, seed=2)
        held = generator.flow(IMAGES, LABELS, batch_size=3, seed=2, subset="training")
        batches.append([next(flow) for _ in range(4)] + [held[0]])
    for (x, y), (x_theirs, y_theirs) in zip(*batches):
        assert x.dtype == x_theirs.dtype and np.allclose(x, x_theirs, rtol=1e-3, atol=5e-3)
        assert np.array_equal(y, y_theirs)


def test_tokenizers_with_an_analyzer():
    texts = ["The cat sat", "on the mat"]
    found = []
    for module in (ours, theirs):
        tokenizer = module.text.Tokenizer(num_words=4, analyzer=lambda text: text.split("t"))
        tokenizer.fit_on_texts(texts)
        found.append((tokenizer.texts_to_sequences(texts), tokenizer.word_index))
    assert found[0] == found[1]


@pytest.mark.parametrize("size", [(4, 9), (9, 4), (5, 5)])
def test_cut_images(tmp_path, size):
    ours.image.save_img(tmp_path / "a.png", IMAGES[0])
    found = [
        m.image.load_img(
            tmp_path / "a.png", target_size=size, keep_aspect_ratio=True, interpolation="bilinear"
        )
        for m in (ours, theirs)
    ]
    assert found[0].tobytes() == found[1].tobytes()
