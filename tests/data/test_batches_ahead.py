"""Batches that threads and processes make ahead: in order, bounded, and with nothing left behind."""

from __future__ import annotations

import _thread
import itertools
import multiprocessing
import os
import signal
import threading
import time
import traceback

import numpy as np
import pytest

from kcompile.keras.utils import GeneratorEnqueuer, OrderedEnqueuer, Sequence
from kcompile.keras.utils.workers import WorkerError

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="an iterator is copied by fork")
WAYS = [
    (0, False),
    (1, False),
    (3, False),
    pytest.param(1, True, marks=forks),
    pytest.param(3, True, marks=forks),
]


@pytest.fixture(autouse=True)
def nothing_is_left():
    threads = threading.active_count()
    yield
    assert threading.active_count() == threads
    assert not multiprocessing.active_children()


class Numbers(Sequence):
    """Batch i is i + 100 * epoch; a slow one lets those behind it be made first."""

    def __init__(self, length: int = 7, wrong: int | None = None) -> None:
        self.length, self.epoch, self.wrong = length, 0, wrong
        self.made: list[int] = []

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> int:
        self.made.append(index)
        if index == self.wrong:
            raise LookupError(f"no batch {index}")
        if index % 3 == 0:
            time.sleep(0.01)
        return index + 100 * self.epoch

    def on_epoch_end(self) -> None:
        self.epoch += 1


def numbers(stop: int | None = None):
    yield from itertools.count() if stop is None else range(stop)


@pytest.mark.parametrize(("workers", "processes"), WAYS)
def test_a_sequence_gives_its_batches_in_order_epoch_after_epoch(workers, processes):
    enqueuer = OrderedEnqueuer(Numbers(), processes)
    enqueuer.start(workers, 4)
    found = list(itertools.islice(enqueuer.get(), 21))
    enqueuer.stop()
    assert found == [i + 100 * epoch for epoch in range(3) for i in range(7)]


@pytest.mark.parametrize(("workers", "processes"), [w for w in WAYS if w != WAYS[-1]])
def test_an_iterator_gives_its_batches_in_order(workers, processes):
    enqueuer = GeneratorEnqueuer(numbers(), processes)
    enqueuer.start(workers, 4)
    assert list(itertools.islice(enqueuer.get(), 20)) == list(range(20))
    enqueuer.stop()
    assert not enqueuer.is_running()


@pytest.mark.parametrize(("workers", "processes"), [w for w in WAYS if w != WAYS[-1]])
def test_a_finite_iterator_ends(workers, processes):
    enqueuer = GeneratorEnqueuer(numbers(9), processes)
    enqueuer.start(workers, 4)
    assert list(enqueuer.get()) == list(range(9))
    enqueuer.stop()


@forks
def test_processes_with_copies_of_an_iterator_give_in_turn():
    enqueuer = GeneratorEnqueuer(numbers(3), True)
    enqueuer.start(2)
    assert list(enqueuer.get()) == [0, 0, 1, 1, 2, 2]
    enqueuer.stop()


def test_batches_that_are_none_are_left_out():
    enqueuer = GeneratorEnqueuer(iter([1, None, 2, None, None, 3, 4]))
    enqueuer.limit = 3
    enqueuer.start()
    assert list(enqueuer.get()) == [1, 2, 3]
    enqueuer.stop()


def test_no_more_are_made_ahead_than_the_queue_holds():
    data = Numbers(50)
    enqueuer = OrderedEnqueuer(data)
    enqueuer.start(2, 5)
    batches = enqueuer.get()
    next(batches)
    while len(data.made) < 6:
        time.sleep(0.001)
    time.sleep(0.02)
    assert len(data.made) == 6
    enqueuer.stop()


def test_shuffled_batches_are_all_there_in_an_order_that_a_seed_of_python_repeats():
    def order() -> list[int]:
        import random

        random.seed(3)
        enqueuer = OrderedEnqueuer(Numbers(20), shuffle=True)
        enqueuer.start(2)
        found = list(itertools.islice(enqueuer.get(), 20))
        enqueuer.stop()
        return found

    assert sorted(order()) == list(range(20)) != order() == order()


@pytest.mark.parametrize(("workers", "processes"), WAYS)
def test_an_exception_of_a_worker_is_raised_in_its_turn_with_its_traceback(workers, processes):
    enqueuer = OrderedEnqueuer(Numbers(wrong=4), processes)
    enqueuer.start(workers)
    batches = enqueuer.get()
    assert [next(batches) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(LookupError, match="no batch 4") as caught:
        next(batches)
    text = "".join(traceback.format_exception(caught.type, caught.value, caught.tb))
    assert "in __getitem__" in text and not enqueuer.is_running()


class Unpicklable(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


@forks
def test_an_exception_that_cannot_be_sent_is_told_by_its_text():
    def broken():
        yield 1
        raise Unpicklable("this", "that")

    enqueuer = GeneratorEnqueuer(broken(), True)
    enqueuer.start()
    with pytest.raises(WorkerError, match="Unpicklable: this and that"):
        list(enqueuer.get())


@forks
def test_a_process_that_dies_is_noticed():
    def deadly():
        yield 1
        os._exit(3)

    enqueuer = GeneratorEnqueuer(deadly(), True)
    enqueuer.start()
    with pytest.raises(WorkerError, match="exit code 3"):
        list(enqueuer.get())


@forks
def test_a_process_that_never_answers_is_ended():
    def stuck():
        yield 1
        while True:
            time.sleep(60)

    enqueuer = GeneratorEnqueuer(stuck(), True)
    enqueuer.start()
    assert next(enqueuer.get()) == 1
    enqueuer.stop()


@forks
def test_random_numbers_of_processes_differ_and_can_be_repeated():
    class Drawn(Sequence):
        def __len__(self):
            return 6

        def __getitem__(self, index):
            return np.random.rand()

    def drawn() -> list[float]:
        np.random.seed(1)
        enqueuer = OrderedEnqueuer(Drawn(), True)
        enqueuer.start(2)
        found = list(itertools.islice(enqueuer.get(), 12))
        enqueuer.stop()
        return [*found, np.random.rand()]

    first = drawn()
    assert first == drawn() and len(set(first)) == 13
    np.random.seed(1)
    assert first[-1] == np.random.rand()  # nothing was drawn here


@forks
def test_a_seed_is_that_of_the_first_process():
    def draws():
        while True:
            yield np.random.rand()

    enqueuer = GeneratorEnqueuer(draws(), True, random_seed=5)
    enqueuer.start(2)
    found = list(itertools.islice(enqueuer.get(), 4))
    enqueuer.stop()
    expected = [np.random.RandomState(seed).rand(2) for seed in (5, 6)]
    np.testing.assert_array_equal(np.reshape(found, (2, 2)).T, expected)


def test_processes_are_started_as_the_script_says(monkeypatch):
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none=False: "spawn")
    enqueuer = OrderedEnqueuer(list(range(5)), True)  # it is sent there
    enqueuer.start(1)
    assert list(itertools.islice(enqueuer.get(), 5)) == [0, 1, 2, 3, 4]
    enqueuer.stop()
    with pytest.raises(ValueError, match=r"keras\.utils\.Sequence"):
        GeneratorEnqueuer(numbers(), True)


def test_ctrl_c_while_a_batch_is_awaited_ends_the_threads():
    def slow():
        yield 1
        _thread.interrupt_main()
        time.sleep(0.2)
        yield 2

    enqueuer = GeneratorEnqueuer(slow())
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # which shells set aside in the background
    try:
        with pytest.raises(KeyboardInterrupt):
            enqueuer.start()
            list(enqueuer.get())
    finally:
        signal.signal(signal.SIGINT, before)
    enqueuer.stop()


def test_a_sequence_of_nothing_ends_with_an_error():
    class Nothing(Numbers):
        def __getitem__(self, index):
            return None

    for workers in (0, 2):
        enqueuer = OrderedEnqueuer(Nothing())
        enqueuer.start(workers)
        with pytest.raises(ValueError, match="not None"):
            next(enqueuer.get())
        assert not enqueuer.is_running()
