"""Files that are damaged, dangerous or something else: each is refused for what it is."""

from __future__ import annotations

import io
import json
import pickle
import stat
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import crafted
import h5py
import numpy as np
import pytest
from crafted import config_of, edit_h5, edit_keras, first_dense, refused, weights_inside, write_json

import kcompile
from kcompile.files import model_from_json, reader
from kcompile.files.reader import limits
from kcompile.files.reader.trees import check_trees
from kcompile.keras import layers, models
from kcompile_runtime.errors import KcompileError, ModelError

KERNEL = "model_weights/first/first/kernel:0"


@pytest.fixture
def h5(tmp_path: Path) -> Path:
    crafted.dense().save(tmp_path / "m.h5")
    return tmp_path / "m.h5"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    crafted.dense().save(tmp_path / "m.keras")
    return tmp_path / "m.keras"


# ---------------------------------------------------------------- the wrong type of file


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html></html>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git-LFS pointer"),
        (b"\x1f\x8b\x08\x00rest", "gzip"),
        (pickle.dumps({"a": 1}), "pickle"),
        (b"some text", "a text file"),
        (b"\x7fELF\2\1\1\0", "kcompile_runtime.load"),
        (b"\0asm\1\0\0\0", "a WebAssembly module"),
        (b"\0\1\2\3" * 10, "unknown binary file"),
    ],
)
@pytest.mark.parametrize("name", ["m.h5", "m.keras"])
def test_another_type_is_named(tmp_path: Path, content: bytes, said: str, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, said)


def test_h5_named_keras_and_the_other_way(h5: Path, archive: Path, tmp_path: Path) -> None:
    refused(h5.rename(tmp_path / "a.keras"), "a zip archive (.keras)", "an HDF5 file (.h5)")
    refused(archive.rename(tmp_path / "b.h5"), "an HDF5 file (.h5)", "a zip archive (.keras)")


def test_a_folder(tmp_path: Path) -> None:
    refused(tmp_path, "a folder", "SavedModel")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        kcompile.load(tmp_path / "none.h5")


def test_weights_where_a_model_is_wanted(tmp_path: Path) -> None:
    crafted.dense().save_weights(tmp_path / "w.h5")
    refused(tmp_path / "w.h5", "weights alone", "weights=")
    np.savez(tmp_path / "w.npz", np.zeros(3))
    refused(tmp_path / "w.npz", ".npz", "weights=")


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("kind", ["h5", "archive"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
def test_truncated(kind: str, share: float, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(kind)
    data = path.read_bytes()
    path.write_bytes(data[: max(9, int(len(data) * share))])
    refused(path)


def test_a_flipped_bit_in_an_archive_is_found(archive: Path) -> None:
    """Whatever the byte: zip has checksums."""
    data = archive.read_bytes()
    model = kcompile.load(archive)
    for place in range(0, len(data), 131):
        broken = bytearray(data)
        broken[place] ^= 0x10
        archive.write_bytes(broken)
        try:
            found = kcompile.load(archive)
        except KcompileError:
            continue
        for a, b in zip(found.get_weights(), model.get_weights()):  # a date, a name: not the numbers
            np.testing.assert_array_equal(a, b)


def test_flipped_bits_in_h5_never_escape_as_other_errors(h5: Path) -> None:
    data = h5.read_bytes()
    generator = np.random.default_rng(0)
    for place in generator.integers(0, len(data), 150):
        broken = bytearray(data)
        broken[place] ^= 1 << int(generator.integers(8))
        h5.write_bytes(broken)
        try:
            kcompile.load(h5)
        except KcompileError:
            continue


def test_checksums_of_hdf5_are_used(h5: Path) -> None:
    def change(file: h5py.File) -> None:
        values = file[KERNEL][()]
        del file[KERNEL]
        file.create_dataset(KERNEL, data=values, chunks=values.shape, fletcher32=True)

    edit_h5(h5, change)
    kernel = kcompile.load(h5).get_weights()[0]
    data = h5.read_bytes()
    at = data.rindex(kernel.tobytes())
    h5.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    refused(h5, "damaged")


def test_a_heap_that_hdf5_never_gets_out_of(h5: Path) -> None:
    refused(crafted.endless(h5), "the heap at byte", "an object without size")


def test_groups_in_groups_in_groups(h5: Path) -> None:
    def change(file: h5py.File) -> None:
        file["/".join("g" * 102)] = np.zeros(3)

    refused(edit_h5(h5, change), "groups nested at most 100 deep")


# ---------------------------------------------------------------- HDF5 that leads elsewhere


def _link(target: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[KERNEL]
        file[KERNEL] = target

    return change


def _external_storage(file: h5py.File) -> None:
    del file[KERNEL]
    file.create_dataset(KERNEL, (4, 3), "f4", external=[("/etc/passwd", 0, 48)])


def _virtual(file: h5py.File) -> None:
    del file[KERNEL]
    layout = h5py.VirtualLayout((4, 3), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "data", (4, 3))
    file.create_virtual_dataset(KERNEL, layout)


def _reference(file: h5py.File) -> None:
    del file[KERNEL]
    file.create_dataset(KERNEL, (1,), h5py.ref_dtype)[0] = file["model_weights"].ref


def _reference_attribute(file: h5py.File) -> None:
    file["model_weights"].attrs["r"] = file["model_weights"].ref


def _unknown_filter(file: h5py.File) -> None:
    del file[KERNEL]
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((4, 3))
    plist.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple((4, 3))
    h5py.h5d.create(file["model_weights/first/first"].id, b"kernel:0", h5py.h5t.IEEE_F32LE, space, plist)


def _lzf(file: h5py.File) -> None:
    values = file[KERNEL][()]
    del file[KERNEL]
    file.create_dataset(KERNEL, data=values, compression="lzf")


def _cycle(file: h5py.File) -> None:
    file["model_weights/first/again"] = file["model_weights"]


def _named_type(file: h5py.File) -> None:
    file["t"] = np.dtype("f4")


def _compound(file: h5py.File) -> None:
    del file[KERNEL]
    file[KERNEL] = np.zeros((4, 3), [("a", "f4")])


def _text(file: h5py.File) -> None:
    del file[KERNEL]
    file[KERNEL] = np.full((4, 3), b"abcd")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_link(h5py.ExternalLink("/etc/passwd", "/x")), "link, which is not followed"),
        (_link(h5py.SoftLink("/model_weights/second/second/kernel:0")), "link, which is not followed"),
        (_external_storage, "stored in other files"),
        (_virtual, "a virtual dataset"),
        (_reference, "of another type"),
        (_reference_attribute, "a reference"),
        (_unknown_filter, "with filter 32015"),
        (_lzf, "with filter 32000"),
        (_cycle, "a second way"),
        (_named_type, "a named datatype"),
        (_compound, "of another type"),
        (_text, "of another type"),
    ],
)
def test_hdf5_that_leads_elsewhere(h5: Path, archive: Path, change: Any, said: str) -> None:
    refused(edit_h5(h5, change), said)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (h5py.ExternalLink("/etc/passwd", "/x"), "link, which is not followed"),
        (h5py.SoftLink("/layers"), "link, which is not followed"),
    ],
)
def test_links_inside_an_archive(archive: Path, target: Any, said: str) -> None:
    def change(file: h5py.File) -> None:
        file["layers/more"] = target

    refused(edit_keras(archive, weights_inside(change)), said)


def test_known_filters_are_read(h5: Path) -> None:
    expected = kcompile.load(h5).get_weights()

    def change(file: h5py.File) -> None:
        values = file[KERNEL][()]
        del file[KERNEL]
        file.create_dataset(
            KERNEL, data=values, chunks=(2, 3), compression="gzip", shuffle=True, fletcher32=True
        )

    for a, b in zip(kcompile.load(edit_h5(h5, change)).get_weights(), expected):
        np.testing.assert_array_equal(a, b)


# ---------------------------------------------------------------- weights that do not fit


def _replace(values: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[KERNEL]
        file[KERNEL] = values

    return change


def _huge(file: h5py.File) -> None:
    del file[KERNEL]
    file.create_dataset(KERNEL, (1 << 30, 1 << 20), "f4", chunks=(1, 1024))


def _huge_chunk(file: h5py.File) -> None:
    del file[KERNEL]
    file.create_dataset(KERNEL, (4, 3), "f4", maxshape=(None, None), chunks=(1 << 15, 1 << 14))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_replace(np.zeros((3, 4), "f4")), "(3, 4)"),
        (_replace(np.zeros((4, 3), "i4")), "int32"),
        (_replace(np.zeros((4, 3, 1), "f4")), "(4, 3, 1)"),
        (_huge, "(1073741824, 1048576)"),
        (_huge_chunk, "chunks"),
        (_replace(np.zeros((4, 3), "c8")), "of another type"),
    ],
)
def test_weights_of_another_shape_or_dtype(h5: Path, change: Any, said: str) -> None:
    refused(edit_h5(h5, change), said)


def test_every_layer_that_does_not_fit_is_told(h5: Path) -> None:
    def change(file: h5py.File) -> None:
        for name in ("first", "second"):
            del file[f"model_weights/{name}/{name}/bias:0"]
            file[f"model_weights/{name}/{name}/bias:0"] = np.zeros(7, "f4")

    refused(
        edit_h5(h5, change),
        "Layer 'first' (Dense): expected shapes [(4, 3), (3,)]",
        "[(4, 3), (7,)]",
        "Layer 'second'",
    )


def test_a_missing_weight_and_a_missing_layer(h5: Path) -> None:
    def change(file: h5py.File) -> None:
        file["model_weights/first"].attrs["weight_names"] = [b"first/kernel:0"]

    refused(edit_h5(h5, change), "'first'", "2 arrays", "1")

    def remove(file: h5py.File) -> None:
        file["model_weights"].attrs["layer_names"] = [b"first"]

    refused(edit_h5(h5, remove), "2 layers", "1 layers")


def test_weights_of_an_archive_that_do_not_fit(archive: Path) -> None:
    def change(file: h5py.File) -> None:
        del file["layers/dense/vars/0"]
        file["layers/dense/vars/0"] = np.zeros((4, 9), "f4")
        file["layers/dense_7/vars/0"] = np.zeros((4, 9), "f4")

    refused(edit_keras(archive, weights_inside(change)), "Layer 'first'", "groups 'dense'")


def test_weights_that_no_layer_takes(archive: Path) -> None:
    def change(file: h5py.File) -> None:
        file["layers/other/vars/0"] = np.zeros(3, "f4")

    refused(edit_keras(archive, weights_inside(change)), "layers/other/vars/0")


def test_nothing_is_assigned_when_something_does_not_fit(h5: Path) -> None:
    edit_h5(h5, _replace(np.zeros((3, 4), "f4")))
    model = crafted.dense()
    before = model.get_weights()
    with pytest.raises(ModelError):
        model.load_weights(h5)
    for a, b in zip(model.get_weights(), before):
        np.testing.assert_array_equal(a, b)


def test_nan_weights_load_with_a_warning_by_layer(h5: Path, archive: Path) -> None:
    model = crafted.dense()
    model.get_layer("second").set_weights([np.full((3, 2), np.nan), np.full(2, np.inf)])
    for path in (h5, archive):
        model.save(path)
        with pytest.warns(UserWarning, match="NaN or infinite, in the layers 'second'"):
            found = kcompile.load(path)
        assert np.isnan(found.get_weights()[2]).all()


# ---------------------------------------------------------------- zip


def _rewrite(path: Path, *members: tuple[Any, bytes]) -> Path:
    """The same archive with other members behind."""
    with zipfile.ZipFile(path) as archive:
        kept = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (*kept, *members):
            archive.writestr(name, data)
    return path


def _symlink() -> zipfile.ZipInfo:
    made = zipfile.ZipInfo("assets/link")
    made.external_attr = (stat.S_IFLNK | 0o777) << 16
    return made


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("member", "said"),
    [
        ("config.json", "two called 'config.json'"),
        ("../evil.py", "the member '../evil.py'"),
        ("/etc/evil", "the member '/etc/evil'"),
        ("a\\..\\b", "the member"),
        (_symlink(), "symbolic link"),
        ("more.txt", "'more.txt'"),
        ("assets/vocabulary.txt", "'assets/vocabulary.txt'"),
    ],
)
def test_members_that_nobody_writes(archive: Path, member: Any, said: str) -> None:
    refused(_rewrite(archive, (member, b"{}")), said)


def test_a_missing_member(archive: Path) -> None:
    refused(edit_keras(archive, lambda members: members.pop("config.json")), "without config.json")


def test_encrypted_members(archive: Path) -> None:
    data = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    archive.write_bytes(data)
    refused(archive, "encrypted")


def test_a_bomb_that_says_its_size(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_ARRAYS", 1 << 20)
    monkeypatch.setattr(limits, "MAX_TEXT", 1 << 20)

    def change(members: dict[str, bytes]) -> None:
        members["model.weights.h5"] += bytes(8 << 20)

    refused(edit_keras(archive, change), "at most", "bytes unpacked")


def test_a_bomb_that_lies_about_its_size(archive: Path) -> None:
    """The directory says 10 bytes; the data unpack to 8 MiB."""
    with zipfile.ZipFile(archive) as opened:
        members = {name: opened.read(name) for name in opened.namelist()}
    members["config.json"] = b"[" + b"1," * (4 << 20) + b"1]"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in members.items():
            opened.writestr(name, data)
    data = bytearray(archive.read_bytes())
    at = data.index(b"config.json", data.index(b"PK\x01\x02"))
    data[at - 22 : at - 18] = (10).to_bytes(4, "little")  # the size in the central directory
    archive.write_bytes(data)
    refused(archive, "damaged")


def test_text_in_a_config_beyond_the_cap(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_TEXT", 1000)
    refused(archive, "at most 1000 bytes in")


def test_arrays_that_lie(tmp_path: Path) -> None:
    """An .npy header that declares more than there is must not be believed."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)}
    )
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr("arr_0.npy", stream.getvalue())
    path = write_json(tmp_path / "m.json", config_of(first_dense()))
    refused(path, "another number of bytes", weights=tmp_path / "w.npz")
    np.savez(tmp_path / "o.npz", np.array([{}], object))
    refused(path, "arrays of numbers", "|O", weights=tmp_path / "o.npz")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "{",
        "(" * 90,
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1",
        "1" * 90,
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1" * 90 + "x), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
    ],
)
def test_headers_of_arrays_that_are_none(tmp_path: Path, header: str) -> None:
    """They are not read by Python's parser, which a file could keep busy."""
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr(
            "arr_0.npy", b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header.encode() + bytes(4)
        )
    path = write_json(tmp_path / "m.json", config_of(first_dense()))
    refused(path, "no header of an array", weights=tmp_path / "w.npz")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i8", "?", "|u1"])
def test_arrays_as_numpy_writes_them(tmp_path: Path, dtype: str, order: Any) -> None:
    arrays = [np.arange(6).reshape(shape).astype(dtype, order=order) for shape in ((6,), (2, 3), (1, 2, 3))]
    np.savez(tmp_path / "w.npz", *arrays, np.zeros((), dtype), np.zeros((0, 3), dtype))
    found = reader.read_arrays(tmp_path / "w.npz")
    for a, b in zip(found, [*arrays, np.zeros((), dtype), np.zeros((0, 3), dtype)], strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype and a.shape == b.shape


# ---------------------------------------------------------------- training configurations


@pytest.mark.parametrize("key", ["loss", "metrics", "optimizer_config"])
@pytest.mark.parametrize(
    "gadget",
    [
        {
            "module": "antigravity",
            "class_name": "function",
            "config": "system",
            "registered_name": "function",
        },
        {"module": "antigravity", "class_name": "system", "config": {"command": "true"}},
        {"class_name": "os>system", "config": {"command": "true"}},
        "os.system",
        {"class_name": "Lambda", "config": {"function": ["4wEAAAA=", None, None]}},
    ],
)
def test_gadgets_in_the_training_configuration_are_not_run(tmp_path: Path, key: str, gadget: Any) -> None:
    """They leave a model that predicts and a warning."""
    model = crafted.dense()
    model.compile("sgd", "mse")
    model.save(tmp_path / "m.h5")

    def change(file: h5py.File) -> None:
        given = json.loads(file.attrs["training_config"])
        given[key] = [gadget] if key == "metrics" else gadget
        file.attrs["training_config"] = json.dumps(given)

    edit_h5(tmp_path / "m.h5", change)
    with pytest.warns(UserWarning, match="without its training configuration"):
        found = kcompile.load(tmp_path / "m.h5")
    np.testing.assert_array_equal(found.get_weights()[0], model.get_weights()[0])
    assert found.compile_arguments is None and "antigravity" not in sys.modules


def test_what_the_users_code_raises_is_not_called_damage(tmp_path: Path) -> None:
    class Mine(layers.Layer):
        def build(self, shape: Any) -> None:
            self.add_weight("kernel", (shape[-1], 2))

    class Broken(Mine):
        error: type[Exception] = RuntimeError

        def build(self, shape: Any) -> None:
            raise self.error("a fault of mine")

    x = layers.Input((3,))
    for name in ("m.keras", "m.h5"):
        models.Model(x, Mine()(x)).save(tmp_path / name)
        for error in (RuntimeError, KeyError, OSError, ZeroDivisionError):
            Broken.error = error
            with pytest.raises((error, ModelError), match="a fault of mine") as told:
                kcompile.load(tmp_path / name, custom_objects={"Mine": Broken})
            assert "damaged" not in str(told.value)


def test_texts_are_measured_before_they_are_parsed() -> None:
    many, bound = limits.MAX_NODES, limits.MAX_ESCAPES
    for text, told in (
        ("[" + "[]," * (many + 1) + "[]]", "values"),
        ('{"a": "' + '\\"' * (bound + 1) + '"}', "backslashes"),
        ("[" * 101 + "]" * 101, "100 deep"),
        ("[" * 500_000, "100 deep"),
    ):
        with pytest.raises(ModelError, match=told):
            reader.parse_json(text, "text")
    tricky = {'a\\"[[': ['"{', "\\", '\\\\"]', "," * 50]}
    assert reader.parse_json(json.dumps(tricky), "text") == tricky


@pytest.mark.parametrize("shape", [[2**32, 2**32, -1], [-1, 2**40, 2**40], [2**63, 2]])
def test_sizes_are_counted_beyond_64_bits(shape: list[int]) -> None:
    text = json.dumps(
        {
            "class_name": "Sequential",
            "config": {
                "name": "m",
                "layers": [
                    {
                        "class_name": "Reshape",
                        "config": {"name": "r", "target_shape": shape, "batch_input_shape": [None, 8]},
                    }
                ],
            },
        }
    )
    with pytest.raises(ModelError, match=r"target_shape|integer out of range"):
        model_from_json(text)


@pytest.mark.parametrize("what", ["child", "sibling"])
def test_trees_that_lead_back_to_themselves(tmp_path: Path, what: str) -> None:
    """The HDF5 library crashes on the one, and goes round for ever on the other."""
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        for k in range(2000):  # so many links that their tree has two levels
            file.create_group(f"g{k:05d}")
    data = bytearray(path.read_bytes())
    places = [at for at in range(len(data) - 24) if data[at : at + 5] == b"TREE\0"]
    at = next(
        at
        for at in places
        if data[at + 5] == (1 if what == "child" else 0)
        and (what == "child" or data[at + 16 : at + 24] != b"\xff" * 8)
    )
    place = at + 32 if what == "child" else at + 16
    with path.open("rb") as stream:
        check_trees(stream, "good")
    data[place : place + 8] = at.to_bytes(8, "little")
    path.write_bytes(data)
    with path.open("rb") as stream, pytest.raises(ModelError, match="the file is damaged: the tree"):
        check_trees(stream, "m.h5")
    refused(path, "the tree")
