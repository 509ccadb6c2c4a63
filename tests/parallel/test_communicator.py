"""Sums over ranks: in the order of ranks, over threads here; NCCL's by a fake of its library."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import kcompile
from kcompile.parallel.communicator import SMALL, Alone, Threads, broadcast_object, in_order, share_objects
from kcompile.parallel.nccl import NcclCommunicator
from kcompile.parallel.team import checksum, spread
from kcompile_runtime.errors import ExtraError, InputError, RankError, UnsupportedError

SIZES = [1, 3, SMALL // 4, SMALL // 4 + 1, 20_003]


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_sums_are_made_in_the_order_of_ranks(ranks):
    """Small arrays and large ones, whose last part is shorter: the same bits on all."""
    parts = [np.random.default_rng(r).normal(size=20_003).astype("f") * 10.0**r for r in range(ranks)]

    def work(comm):
        made = [parts[comm.rank][:size].copy() for size in SIZES]
        for array in made:
            comm.allreduce(array)
        return made

    for made in Threads(ranks).run(work):
        for size, array in zip(SIZES, made):
            np.testing.assert_array_equal(array, in_order(np.stack([part[:size] for part in parts])))


def test_objects_and_what_rank_0_sends():
    def work(comm):
        array = np.full((2, 3), comm.rank, np.int64)
        comm.broadcast(array)
        return share_objects(comm, "x" * comm.rank), broadcast_object(comm, [comm.rank]), array.sum()

    assert Threads(3).run(work) == [(["", "x", "xx"], [0], 0)] * 3
    assert share_objects(Alone(), 7) == [7]


def test_a_rank_that_aborts_ends_the_others():
    def work(comm):
        if comm.rank == 1:
            comm.abort("rank 1 failed")
            return None
        comm.allreduce(np.ones(3))

    first, _ = Threads(2, patience=5).run(work)
    assert isinstance(first, RankError)
    assert "rank 1 failed" in str(first)


def test_shards_are_spread_evenly():
    owners = spread([6, 3, 0])
    assert np.bincount(owners).tolist() == [6, 3]
    assert np.bincount(owners[:3]).tolist() == [2, 1]
    assert spread([2, 2]).tolist() == [0, 1, 0, 1]


def test_checksums_tell_arrays_apart():
    x = np.arange(12.0).reshape(3, 4)
    assert checksum(x) == checksum([x.copy()]) != checksum(x + 1)
    assert checksum(np.asfortranarray(x)) == checksum(x)


# ---------------------------------------------------------------- NCCL


class FakeDriver:
    """Memory of a device: by address."""

    def __init__(self):
        self.memory, self.inside = {}, 0

    def __enter__(self):
        self.inside += 1
        return self

    def __exit__(self, *error):
        self.inside -= 1

    def allocate(self, size):
        self.memory[len(self.memory) + 1] = np.zeros(size, np.uint8)
        return len(self.memory)

    def free(self, pointer):
        self.memory[pointer] = None

    def upload(self, pointer, array):
        self.memory[pointer][: array.nbytes] = array.reshape(-1).view(np.uint8)

    def download(self, array, pointer):
        array.reshape(-1).view(np.uint8)[...] = self.memory[pointer][: array.nbytes]


class FakeNccl:
    """`nccl.core`, whose ranks are threads."""

    def __init__(self, comm, driver):
        self.comm, self.driver, self.aborted = comm, driver, False
        fake = self

        class Communicator:
            @staticmethod
            def init(size, rank, name):
                assert (size, rank, name) == (fake.comm.size, fake.comm.rank, bytes([7] * 128))
                return fake

        self.Communicator = Communicator
        self.UniqueId = self

    def get_unique_id(self):
        return bytes([7] * 128)

    def from_bytes(self, name):
        return name

    def _array(self, buffer):
        assert self.driver.inside
        pointer, _ = buffer.__cuda_array_interface__["data"]
        (size,) = buffer.__cuda_array_interface__["shape"]
        return self.driver.memory[pointer][:size]

    def alltoall(self, source, target, stream):
        self._array(target)[...] = self.comm._all_to_all(
            self._array(source).reshape(self.comm.size, -1)
        ).ravel()

    def allgather(self, source, target, stream):
        self._array(target)[...] = self.comm._all_gather(self._array(source)).ravel()

    def abort(self):
        self.aborted = True


def test_nccl_sums_as_mpi_does():
    """The calls of its library, with arrays in the memory of a device, between ranks that are threads."""
    parts = [np.random.default_rng(r).normal(size=20_003).astype("f") for r in range(3)]

    def work(first):
        driver = FakeDriver()
        comm = NcclCommunicator(first, driver, FakeNccl(first, driver))
        made = [parts[comm.rank][:size].copy() for size in SIZES]
        for array in made:
            comm.allreduce(array)
        held = sum(array is not None for array in driver.memory.values())
        return made, held

    for made, held in Threads(3).run(work):
        assert held == 2  # to send from, and to receive into
        for size, array in zip(SIZES, made):
            np.testing.assert_array_equal(array, in_order(np.stack([part[:size] for part in parts])))


# ---------------------------------------------------------------- what is missing or wrong


@pytest.mark.parametrize(("name", "extra"), [("mpi4py", "mpi"), ("nccl", "nccl")])
def test_libraries_that_are_missing_are_named_with_their_extra(monkeypatch, name, extra):
    from kcompile.parallel import communicator, nccl

    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ExtraError, match=rf"kcompile\[{extra}\]"):
        communicator.mpi() if name == "mpi4py" else nccl.library()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"communicator": "gloo"}, "'mpi' or 'nccl'"),
        ({"communicator": object()}, "without rank, size"),
        ({"communicator": Alone(), "batch_norm": "none"}, "'global' or 'local'"),
        ({"communicator": Alone(), "bucket": 0}, "bucket"),
        ({"communicator": Alone(), "shards": "yes"}, "shards"),
    ],
)
def test_wrong_arguments(given, says):
    with pytest.raises((InputError, TypeError), match=says):
        kcompile.distribute(**given)


def test_one_process_is_a_team_too():
    """The stages, their sums, what is agreed: with the numbers of a model that trains alone."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 4)).astype("f")

    def trained():
        layers = kcompile.keras.layers
        model = kcompile.keras.models.Sequential([layers.Dense(3, input_shape=(4,)), layers.Dense(1)])
        model.compile("adam", "mse")
        model.set_weights([np.full(w.shape, 0.1, "f") for w in model.get_weights()])
        history = model.fit(x, x[:, :1], batch_size=8, epochs=2, shuffle=False, verbose=0).history
        return history["loss"], model.get_weights()

    alone = trained()
    with kcompile.distribute(Alone(), bucket=8) as team:
        assert (team.rank, team.size) == (0, 1)
        with pytest.raises(InputError, match="one call"):
            kcompile.distribute(Alone())
        made = trained()
    np.testing.assert_allclose(made[0], alone[0], rtol=1e-6)
    for got, right in zip(made[1], alone[1]):
        np.testing.assert_allclose(got, right, rtol=1e-5)
    assert trained()[0] == alone[0]


def test_a_team_ends_with_its_block():
    """Also where an error passes, which ends all ranks if nobody handles it."""
    before = sys.excepthook
    with pytest.raises(KeyError), kcompile.distribute(Alone()):
        raise KeyError
    with kcompile.distribute(Alone()) as team:
        assert repr(team) == "<rank 0 of 1>"
    assert sys.excepthook is before


def test_what_ranks_cannot_share_is_refused():
    model = kcompile.keras.models.Sequential([kcompile.keras.layers.Dense(1, input_shape=(4,))])
    model.compile("sgd", "mse")
    compiled = kcompile.compile(model, verify=True)
    with kcompile.distribute(Alone()), pytest.raises(UnsupportedError, match="verify"):
        compiled.fit(np.zeros((4, 4)), np.zeros((4, 1)), verbose=0)
