"""Data sets of Keras from a cache that Keras could have filled. Digests of results: Keras 2.2.4 and 2.3.1."""

from __future__ import annotations

import hashlib
import io
import pickle
import random
import tarfile
import zipfile

import fake_cache
import numpy as np
import pytest

from kcompile import keras, keras3, tf_keras
from kcompile.keras.datasets import (
    boston_housing,
    california_housing,
    cifar10,
    cifar100,
    fashion_mnist,
    imdb,
    mnist,
    published,
    reuters,
    stored,
)
from kcompile_runtime.errors import FetchError, InputError, InputTypeError


@pytest.fixture
def base(tmp_path, monkeypatch):
    """The folder of data sets of a cache, whose files are taken for the published ones."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    fake_cache.trust(monkeypatch)
    return fake_cache.fill(tmp_path)


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """An empty cache, and no network."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))

    def refuse(origin, part):
        raise OSError("no network")

    monkeypatch.setattr("kcompile.keras.utils.data_utils._copy", refuse)
    return tmp_path / "home" / "datasets"


def digest(split) -> str:
    """Of both parts of a data set, as lists."""
    text = repr(
        [
            [list(map(int, row)) if np.ndim(row) or isinstance(row, list) else row for row in part.tolist()]
            for pair in split
            for part in pair
        ]
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def test_images_of_28(base):
    (x, y), (x_test, y_test) = mnist.load_data()
    assert x.dtype == y.dtype == np.uint8 and x.shape == (6, 28, 28) and y_test.shape == (3,)
    fashion = fashion_mnist.load_data()
    for ours, theirs in zip(((x, y), (x_test, y_test)), fashion):
        assert np.array_equal(ours[0], theirs[0]) and np.array_equal(ours[1], theirs[1])
    fashion[0][0][0] = 0  # may be written
    (base / "mine.npz").write_bytes((base / "mnist.npz").read_bytes())
    assert np.array_equal(mnist.load_data("mine.npz")[0][0], x)


def test_images_of_32(base):
    data = fake_cache.fill_cifar(base)
    (x, y), (x_test, y_test) = cifar10.load_data()
    assert x.shape == (20, 32, 32, 3) and x.dtype == y.dtype == np.uint8 and y.shape == (20, 1)
    assert x_test.shape == (4, 32, 32, 3) and y_test.ravel().tolist() == [5, 1, 2, 3]
    assert x[4, 7, 9].tolist() == data.reshape(4, 3, 32, 32)[0, :, 7, 9].tolist()
    assert y[::4, 0].tolist() == [0, 1, 2, 3, 4]
    assert cifar100.load_data()[0][1].ravel().tolist() == [99, 1, 2, 3]
    assert cifar100.load_data(label_mode="coarse")[1][1].ravel().tolist() == [19, 1, 2, 3]
    with pytest.raises(InputError, match="label_mode"):
        cifar100.load_data("rough")


def test_images_with_channels_first(base):
    data = fake_cache.fill_cifar(base)
    keras.backend.set_image_data_format("channels_first")
    try:
        assert np.array_equal(cifar10.load_data()[1][0], data.reshape(4, 3, 32, 32))
    finally:
        keras.backend.set_image_data_format("channels_last")


def test_images_where_keras_3_unpacked_them(base):
    fake_cache.fill_cifar(base)
    (base / "cifar-10-batches-py-target").mkdir()
    (base / "cifar-10-batches-py").rename(base / "cifar-10-batches-py-target" / "cifar-10-batches-py")
    assert cifar10.load_data()[0][0].shape == (20, 32, 32, 3)


def test_images_of_an_archive(base):
    fake_cache.fill_cifar(base)
    with tarfile.open(base / "cifar-10-batches-py.tar.gz", "w:gz") as archive:
        archive.add(base / "cifar-10-batches-py", "cifar-10-batches-py")
    (base / "cifar-10-batches-py" / "data_batch_3").unlink()  # was unpacked in part
    assert cifar10.load_data()[0][0].shape == (20, 32, 32, 3)
    with tarfile.open(base / "cifar-100-python.tar.gz", "w:gz") as archive:
        archive.add(base / "cifar-100-python" / "train", "cifar-100-python/train")
    (base / "cifar-100-python" / "test").unlink()
    with pytest.raises(InputError, match=r"an archive of cifar-100-python. Received: one without test"):
        cifar100.load_data()


@pytest.mark.parametrize(
    "options, expected",
    [
        ({}, "589cc3a650f3f0d0"),
        ({"num_words": 30, "skip_top": 5, "seed": 7}, "18f039b1b5b70e17"),
        ({"maxlen": 20, "oov_char": None, "start_char": None, "index_from": 0}, "72e1b5c559255342"),
    ],
)
def test_reviews(base, options, expected):
    (x, y), (x_test, y_test) = split = imdb.load_data(**options)
    assert x.dtype == x_test.dtype == object and type(x[0]) is list and y.dtype == y_test.dtype == np.int64
    assert digest(split) == expected


@pytest.mark.parametrize(
    "options, expected",
    [
        ({}, "829ba7fca5c0f4a3"),
        ({"num_words": 30, "maxlen": 20, "test_split": 0.5, "start_char": None}, "ade9dabf1f43d015"),
    ],
)
def test_newswires(base, options, expected):
    assert digest(reuters.load_data(**options)) == expected


def test_reviews_that_are_too_long_go_before_the_split_since_tf_keras(base):
    parts = {
        name: k.datasets.imdb.load_data(maxlen=20)
        for name, k in (("2", keras), ("tf", tf_keras), ("3", keras3))
    }
    counts = {name: (len(split[0][0]), len(split[1][0])) for name, split in parts.items()}
    assert counts["tf"] == counts["3"] and sum(counts["tf"]) == sum(counts["2"])
    assert counts["2"] == (34, 0)  # 40 before
    assert parts["tf"][0][0].tolist() == parts["2"][0][0].tolist()[: counts["tf"][0]]


def test_words(base):
    assert imdb.get_word_index() == reuters.get_word_index() == {"the": 1, "giraffe": 1234}
    (base / "imdb_word_index.json").write_text("[1")
    with pytest.raises(InputError, match="Remove it"):
        imdb.get_word_index()


@pytest.mark.parametrize("module, name", [(imdb, "imdb"), (reuters, "reuters")])
def test_older_and_wrong_arguments(base, module, name):
    with pytest.warns(UserWarning, match=f"{name}.load_data.*nb_words is num_words") as told:
        split = module.load_data(nb_words=10)
    assert len(told) == 1 and digest(split) == digest(module.load_data(num_words=10))
    with pytest.raises(InputTypeError, match="'words'"):
        module.load_data(words=3)
    with pytest.raises(InputError, match="maxlen"):
        module.load_data(maxlen=2)


def test_houses(base):
    (x, y), (x_test, y_test) = boston_housing.load_data()
    assert x.shape == (404, 13) and y.shape == (404,) and len(x_test) == len(y_test) == 102
    order = np.arange(506)
    np.random.RandomState(113).shuffle(order)
    with np.load(base / "boston_housing.npz") as held:
        assert np.array_equal(np.concatenate([x, x_test]), held["x"][order])
        assert np.array_equal(np.concatenate([y, y_test]), held["y"][order])
    assert len(boston_housing.load_data(test_split=0)[1][0]) == 0
    assert len(california_housing.load_data("small")[0][0]) == 480
    for call in (boston_housing.load_data, california_housing.load_data):
        with pytest.raises(InputError, match="test_split"):
            call(test_split=1)
    with pytest.raises(InputError, match="version"):
        california_housing.load_data("tiny")


def test_shuffles_leave_numpys_generator_alone(base):
    np.random.seed(5)
    before = np.random.get_state()[1].tolist()
    imdb.load_data(), reuters.load_data(), boston_housing.load_data()
    assert np.random.get_state()[1].tolist() == before


# ---------------------------------------------------------------- what is not there


@pytest.mark.parametrize(
    "load, file",
    [
        (mnist.load_data, "mnist.npz"),
        (imdb.load_data, "imdb.npz"),
        (imdb.get_word_index, "imdb_word_index.json"),
        (reuters.load_data, "reuters.npz"),
        (reuters.get_word_index, "reuters_word_index.json"),
        (boston_housing.load_data, "boston_housing.npz"),
        (california_housing.load_data, "california_housing.npz"),
        (fashion_mnist.load_data, "fashion-mnist/train-images-idx3-ubyte.gz"),
        (cifar10.load_data, "cifar-10-batches-py.tar.gz"),
        (cifar100.load_data, "cifar-100-python.tar.gz"),
    ],
)
def test_without_a_network_it_is_said_what_to_put_where(offline, load, file):
    with pytest.raises(FetchError) as told:
        load()
    name = file.removesuffix(".tar.gz") if file.startswith("cifar") else file.rpartition("/")[2]
    known = published.FILES[name]
    assert known.origin in str(told.value) and f"put it at {offline / file}" in str(told.value)
    assert all(digest in str(told.value) for digest in known.digests[:1])
    assert [p for p in offline.rglob("*") if p.is_file()] == []


def test_a_file_with_any_digest_of_keras_serves(offline, monkeypatch):
    fake_cache.fill(offline.parent)
    for algorithm in ("md5", "sha256"):
        found = hashlib.new(algorithm, (offline / "mnist.npz").read_bytes()).hexdigest()
        known = published.FILES["mnist.npz"]
        digests = tuple(found if len(d) == len(found) else d for d in known.digests)
        monkeypatch.setitem(published.FILES, "mnist.npz", published.Published(known.origin, digests))
        assert len(mnist.load_data()[0][0]) == 6
        monkeypatch.setitem(published.FILES, "mnist.npz", known)
    with pytest.warns(UserWarning, match="another .* digest"), pytest.raises(FetchError, match="put it at"):
        mnist.load_data()


# ---------------------------------------------------------------- what files may hold


class Runs:
    """Calls something when it is unpickled."""

    def __reduce__(self):
        return print, ("unpickled",)


def npz(path, pickled: bytes, shape=(1,)):
    """An npz file with an array x of objects, which is this pickle."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", file.getvalue() + pickled)
    return path


def objects(*items):
    array = np.empty(len(items), object)
    for i, item in enumerate(items):
        array[i] = item
    return array


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_arrays_of_every_protocol(tmp_path, protocol):
    held = objects([1, 2], [3], [np.int64(4), 2.5], np.arange(3, dtype=">i4"), (1, "a", b"b", None, True))
    path = npz(tmp_path / "a.npz", pickle.dumps(held, protocol), (5,))
    found = stored.read_npz(path, ["x"])[0].tolist()
    assert found[:3] == [[1, 2], [3], [4, 2.5]] and found[3].tolist() == [0, 1, 2]
    assert found[4][0] == 1 and found[4][3:] == (None, True)
    (tmp_path / "b").write_bytes(pickle.dumps({b"data": np.eye(3, order="F")[:2], "n": 3}, protocol))
    again = stored.read_pickle(tmp_path / "b")
    assert np.array_equal(again["data"], np.eye(3)[:2]) and again["n"] == 3


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("held", [Runs(), objects(Runs()), [Runs()], objects([1], [Runs()])])
def test_no_code_in_a_file_runs(tmp_path, capsys, held, protocol):
    path = npz(tmp_path / "a.npz", pickle.dumps(held, protocol))
    (tmp_path / "b").write_bytes(pickle.dumps(held, protocol))
    for read in (lambda: stored.read_npz(path, ["x"]), lambda: stored.read_pickle(tmp_path / "b")):
        with pytest.raises(InputError, match=r"builtin\w*\.print\. The file is not to be trusted"):
            read()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "text",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\nload\n(S'a'\ntR.",
        b"cnumpy.core.multiarray\n_reconstruct\n(cbuiltins\nlist\n(I0\ntS'b'\ntR.",
        b"c_codecs\nencode\n(S'a'\nS'rot13'\ntR.",
        b"c_codecs\nencode\n}S'a'\nI1\nsb.",  # BUILD on a function
        b"cnumpy\ndtype\n(S'V8'\ntR.",
        b"cnumpy\nndarray\n.",
        b"cnumpy\nndarray\n)\x81.",
        b"P1\n.",
        b"(lp0\ng0\na.",  # a list in itself
        b"",
        b"\x80\x04garbage",
    ],
)
def test_other_objects_are_refused(tmp_path, text):
    (tmp_path / "b").write_bytes(text)
    with pytest.raises(InputError, match="b: expected"):
        stored.read_pickle(tmp_path / "b")


def test_changed_bytes_are_arrays_or_one_of_our_errors(tmp_path):
    whole = [pickle.dumps({b"data": np.eye(3), b"n": objects([1, 2], [np.int64(3)])}, p) for p in range(5)]
    rng, path = random.Random(0), tmp_path / "a"
    refused = 0
    for i in range(400):
        text = bytearray(whole[i % 5])
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(text))
            text[at : at + rng.randint(0, 2)] = bytes(
                rng.choice(b"R.tbi(}]aslN\x81\x85\x93\x94qhr0c\x00\xff") for _ in "ab"
            )
        path.write_bytes(text)
        try:
            stored.read_pickle(path)
        except InputError:
            refused += 1
    assert 100 < refused < 400


def test_damaged_files(tmp_path, base):
    whole = (base / "imdb.npz").read_bytes()
    (base / "imdb.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"imdb\.npz: expected a whole file.*Remove it"):
        imdb.load_data()
    np.savez(base / "boston_housing.npz", x=np.eye(2))
    with pytest.raises(InputError, match="a whole file"):
        boston_housing.load_data()
    labels = base / "fashion-mnist" / "t10k-labels-idx1-ubyte.gz"
    labels.write_bytes(labels.read_bytes()[:-9])
    with pytest.raises(InputError, match="Remove it"):
        fashion_mnist.load_data()
    fake_cache.fill_cifar(base)
    fake_cache.batch(base / "cifar-10-batches-py" / "data_batch_2", np.zeros((2, 5), "uint8"), labels=[1, 2])
    with pytest.raises(InputError, match="rows of 3072 numbers"):
        cifar10.load_data()
