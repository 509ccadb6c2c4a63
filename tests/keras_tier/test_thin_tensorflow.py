"""The `tensorflow` of scripts beside TensorFlow: its names, the order of arguments, and values."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kcompile.tensorflow import (
    around,
    augmenting,
    checks,
    drawing,
    examples,
    files,
    functions,
    further,
    images,
    matrices,
    networks,
    of_values,
    places,
    records,
    tables,
    texts,
)

pytestmark = pytest.mark.keras

TABLES = {
    **functions.FUNCTIONS,
    **networks.FUNCTIONS,
    **images.FUNCTIONS,
    **augmenting.FUNCTIONS,
    **matrices.FUNCTIONS,
    **places.FUNCTIONS,
    **of_values.FUNCTIONS,
    **further.FUNCTIONS,
    **drawing.FUNCTIONS,
    **texts.FUNCTIONS,
    **checks.NAMES,
    **files.NAMES,
    **tables.NAMES,
    **records.NAMES,
}
X = np.random.RandomState(0).uniform(0.1, 0.9, (2, 3, 4)).astype("float32")
Y = np.random.RandomState(1).uniform(0.1, 0.9, (2, 3, 4)).astype("float32")
N = np.array([[0, 2, 1], [1, 1, 0]], "int32")
PICTURES = np.random.RandomState(2).uniform(0, 1, (2, 6, 8, 3)).astype("float32")
KERNEL = np.random.RandomState(3).uniform(-1, 1, (3, 3, 3, 2)).astype("float32")
B = X > 0.5


# What stands for several arguments, or is in one of the two alone
UNNAMED = ("args", "kwargs", "options")
ONLY_OURS = {"data.experimental.choose_from_datasets", "data.experimental.sample_from_datasets"}


def named(table, path):
    for part in path.split("."):
        table = getattr(table, part)
    return table


def test_arguments_have_the_order_of_tensorflow():
    tf = pytest.importorskip("tensorflow")
    for path, ours in TABLES.items():
        if not callable(ours):
            continue
        theirs = list(inspect.signature(named(tf, path)).parameters)
        mine = [name for name in inspect.signature(ours).parameters if name not in UNNAMED]
        if theirs == ["args", "kwargs"] or path in ONLY_OURS:
            continue
        assert (path, mine) == (path, theirs[: len(mine)])
    for path in around.NAMES:
        assert path.startswith("random.set_") or named(tf, path) is not NotImplemented, path


DEFINITE = np.random.default_rng(6).normal(size=(2, 4, 4)).astype("float32") / 3
DEFINITE = DEFINITE @ np.swapaxes(DEFINITE, -1, -2) + np.eye(4, dtype="float32")
LABELS = np.array([[1, 0, 2], [3, 3, 0]], "int32")
SCORES = np.random.default_rng(7).normal(size=(7, 2, 5)).astype("float32")
CASES = {
    **{f"math.{name}": (X,) for name in functions._ONES if name not in ("acosh", "logical_not")},
    "math.acosh": (X + 1,),
    "math.logical_not": (B,),
    **{f"math.{name}": (X, Y) for name in functions._TWOS if not name.startswith("logical")},
    **{f"math.{name}": (B, ~B) for name in functions._TWOS if name.startswith("logical")},
    **{f"math.{n}": (X, 1, True) for n in functions._REDUCED if n not in ("reduce_all", "reduce_any")},
    "math.reduce_all": (B, -1),
    "math.reduce_any": (B, -1),
    "math.argmax": (X, -1),
    "math.argmin": (X,),
    "math.atan2": (X, Y),
    "math.add_n": ([X, Y, X],),
    "math.cumsum": (X, 1, True, True),
    "math.cumprod": (X, 2),
    "math.l2_normalize": (X, -1),
    "math.softplus": (X,),
    "math.softsign": (X,),
    "math.count_nonzero": (N,),
    "math.unsorted_segment_sum": (X, np.array([1, 0]), 3),
    "math.zero_fraction": (N,),
    "argsort": (X, -1, "DESCENDING"),
    "boolean_mask": (X[:, 0, 0], np.array([True, False])),
    "broadcast_to": (X[0, 0], (3, 4)),
    "cast": (X * 3, "int32"),
    "clip_by_norm": (X, 0.5),
    "clip_by_value": (X, 0.3, 0.6),
    "concat": ([X, Y], 1),
    "einsum": ("bij,bkj->bik", X, Y),
    "expand_dims": (X, 1),
    "eye": (3, 4),
    "fill": ((2, 3), 1.5),
    "gather": (X, np.array([1, 0, 1])),
    "linspace": (0.0, 1.0, 5),
    "matmul": (X, Y, False, True),
    "norm": (X, "euclidean", -1),
    "one_hot": (N, 4),
    "ones": ((2, 3),),
    "ones_like": (X,),
    "pad": (X, [[0, 0], [1, 2], [0, 1]], "REFLECT"),
    "range": (2, 9, 3),
    "rank": (X,),
    "repeat": (X, 2, 1),
    "reshape": (X, (2, -1)),
    "reverse": (X, [1]),
    "roll": (X, 2, 1),
    "sequence_mask": (np.array([1, 3]), 4),
    "shape": (X,),
    "slice": (X, (0, 1, 1), (2, -1, 2)),
    "sort": (X, -1, "DESCENDING"),
    "split": (X, [1, 3], -1),
    "squeeze": (X[:1], 0),
    "stack": ([X, Y], 1),
    "tensor_scatter_nd_add": (X[0, 0], np.array([[1], [3]]), np.ones(2, "float32")),
    "tensordot": (X, Y, [[2], [2]]),
    "tile": (X, (1, 2, 1)),
    "transpose": (X, (2, 0, 1)),
    "unique": (np.array([3, 1, 3, 2]),),
    "where": (B, X, Y),
    "zeros_like": (N,),
    "linalg.band_part": (X, 1, 0),
    "linalg.cross": (X[..., :3], Y[..., :3]),
    "linalg.diag_part": (X,),
    "linalg.set_diag": (X, X[..., 0]),
    "linalg.matrix_transpose": (X,),
    "linalg.matvec": (X, Y[:, 0]),
    "linalg.trace": (X,),
    **{
        f"linalg.{name}": (DEFINITE,)
        for name in ("cholesky", "det", "inv", "logdet", "slogdet", "pinv", "qr")
    },
    "linalg.cholesky_solve": (np.linalg.cholesky(DEFINITE), DEFINITE[..., :2] + 1),
    "linalg.eigvalsh": (DEFINITE,),
    "linalg.solve": (DEFINITE, DEFINITE[..., :2] + 1, True),
    "linalg.triangular_solve": (DEFINITE, DEFINITE[..., :2] + 1, True, True),
    "linalg.svd": (DEFINITE, False, False),
    "linalg.lstsq": (DEFINITE[..., :2], DEFINITE[..., :1] + 1),
    "linalg.matrix_rank": (DEFINITE,),
    **{f"bitwise.bitwise_{name}": (N, N + 2) for name in ("and", "or", "xor")},
    "bitwise.invert": (N,),
    "bitwise.left_shift": (N, N),
    "bitwise.right_shift": (N * 9, N),
    "math.bessel_i0": (X,),
    "math.nextafter": (X, Y),
    "nn.ctc_loss": (LABELS, SCORES, np.array([3, 2], "int32"), np.array([7, 6], "int32"), True, None, -1),
    "image.extract_patches": (PICTURES, [1, 2, 3, 1], [1, 2, 1, 1], [1, 1, 1, 1], "SAME"),
    "image.hsv_to_rgb": (PICTURES,),
    "image.rgb_to_hsv": (PICTURES,),
    "image.sobel_edges": (PICTURES,),
    "image.ssim": (PICTURES, PICTURES**2, 1.0, 3),
    **{
        f"nn.{n}": (X - 0.5,)
        for n in ["elu", "relu", "relu6", "selu", "softplus", "gelu", "leaky_relu", "silu", "softmax"]
    },
    "nn.avg_pool2d": (PICTURES, 2, 2, "SAME"),
    "nn.max_pool2d": (PICTURES, [1, 2, 2, 1], [1, 2, 2, 1], "VALID"),
    "nn.conv2d": (PICTURES, KERNEL, [1, 2, 2, 1], "SAME"),
    "nn.batch_normalization": (X, X[:1], Y[:1], Y[0, 0], X[0, 0], 1e-3),
    "nn.crelu": (X - 0.5,),
    "nn.depth_to_space": (np.arange(24, dtype="float32").reshape(1, 2, 3, 4), 2),
    "nn.space_to_depth": (PICTURES, 2),
    "nn.embedding_lookup": (X[0], N),
    "nn.l2_loss": (X,),
    "nn.moments": (X, [0, 1]),
    "nn.sigmoid_cross_entropy_with_logits": (X, Y * 9 - 5),
    "nn.softmax_cross_entropy_with_logits": (X, Y),
    "nn.sparse_softmax_cross_entropy_with_logits": (N, X),
    "nn.top_k": (X, 2),
    "image.adjust_brightness": (PICTURES, 0.25),
    "image.adjust_contrast": (PICTURES, 1.5),
    "image.adjust_hue": (PICTURES, 0.3),
    "image.adjust_saturation": (PICTURES, 1.7),
    "image.pad_to_bounding_box": (PICTURES, 1, 2, 8, 11),
    "image.resize_with_crop_or_pad": (PICTURES, 3, 11),
    "image.rot90": (PICTURES, 3),
    "gather_nd": (X, np.array([[[0, 1], [1, 2]]])),
    "scatter_nd": (np.array([[0], [2], [2]]), X[0], (4, 4)),
    "tensor_scatter_nd_max": (X[0, 0], np.array([[1], [3]]), np.array([2.0, -1.0], "float32")),
    "tensor_scatter_nd_min": (X[0, 0], np.array([[1], [3]]), np.array([2.0, -1.0], "float32")),
    "tensor_scatter_nd_sub": (X[0, 0], np.array([[1], [3]]), np.array([2.0, -1.0], "float32")),
    **{
        f"math.unsorted_segment_{name}": (X[0], np.array([2, 0, 2]), 3)
        for name in ("max", "mean", "min", "prod")
    },
    "math.bincount": (N, Y[0, :2, :3], 8, 2),
    "image.central_crop": (PICTURES, 0.5),
    "image.convert_image_dtype": ((PICTURES * 255).astype("uint8"), "float32"),
    "image.crop_to_bounding_box": (PICTURES, 1, 2, 3, 4),
    "image.flip_left_right": (PICTURES,),
    "image.flip_up_down": (PICTURES,),
    "image.grayscale_to_rgb": (PICTURES[..., :1],),
    "image.per_image_standardization": (PICTURES,),
    "image.psnr": (PICTURES, PICTURES**2, 1.0),
    "image.resize": (PICTURES, (4, 5), "bilinear", False, True),
    "image.rgb_to_grayscale": (PICTURES,),
    "image.total_variation": (PICTURES,),
}


def test_values_are_those_of_tensorflow():
    tf = pytest.importorskip("tensorflow")
    for path, given in CASES.items():
        known = [tf.constant(x) if path.startswith("image.") and k == 0 else x for k, x in enumerate(given)]
        mine, real = TABLES[path](*given), named(tf, path)(*known)
        several = isinstance(real, (list, tuple))
        for a, b in zip(mine if several else [mine], real if several else [real]):
            np.testing.assert_allclose(
                np.asarray(a, "float64"), np.asarray(b, "float64"), rtol=2e-5, atol=2e-5, err_msg=path
            )


def test_places_and_counts_in_other_forms():
    tf = pytest.importorskip("tensorflow")
    for given in ((X, [[1, 2], [2, 3]], 1), (X, [[[0], [2]], [[1], [1]]], 1), (X, [1]), (X, [[1], [0]])):
        np.testing.assert_array_equal(places.gather_nd(*given), tf.gather_nd(*given))
    for given in ((N,), (N, None, 5), (N, None, None, 2)):
        np.testing.assert_array_equal(places.bincount(*given), tf.math.bincount(*given))


def test_pictures_of_whole_numbers_are_changed_as_fractions():
    tf = pytest.importorskip("tensorflow")
    whole = (PICTURES * 255).astype("uint8")
    for name, by in (
        ("brightness", 0.3),
        ("brightness", -0.4),
        ("contrast", 1.7),
        ("saturation", 0.5),
        ("hue", 0.2),
    ):
        mine = augmenting.FUNCTIONS[f"image.adjust_{name}"](whole, by)
        real = getattr(tf.image, f"adjust_{name}")(whole, by).numpy()
        assert mine.dtype == real.dtype and np.abs(mine.astype(int) - real).max() <= 1, name


def test_answers_that_are_kept_are_those_of_tensorflow():
    pytest.importorskip("tf_keras")
    pytest.importorskip("tensorflow")
    code = "import answers_of_tensorflow as a, json, tensorflow as tf\nfor name in a.NAMES:\n"
    code += "    known = json.loads((a.HERE / f'{name}.json').read_text())\n"
    code += "    print({k: v for k, v in a.answers(name, tf).items() if v != known[k]})\n"
    place = Path(__file__).parent.parent / "front_end"
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "PYTHONPATH": str(place)}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert found.stdout.split() == ["{}"] * 4


def test_files_of_records_are_those_of_tensorflow(tmp_path):
    tf = pytest.importorskip("tensorflow")
    feature = examples.Feature(int64_list=examples.Int64List([1, -2]))
    ours = examples.Example(examples.Features({"a": feature}))
    for kind in (None, "GZIP", "ZLIB"):
        path = str(tmp_path / f"ours{kind}")
        with examples.TFRecordWriter(path, kind) as writer:
            writer.write(ours.SerializeToString())
        with tf.io.TFRecordWriter(path + "theirs", kind or "") as writer:
            writer.write(ours.SerializeToString())
        held = [x.numpy() for x in tf.data.TFRecordDataset(path, kind or "")]
        assert held == [x.numpy() for x in examples.record_data(path + "theirs", kind)]
        assert list(tf.train.Example.FromString(held[0]).features.feature["a"].int64_list.value) == [1, -2]
