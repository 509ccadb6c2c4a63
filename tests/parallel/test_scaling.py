"""The cost model of docs/scaling.md: what its terms are, and that it finds a network again."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2]))  # where `python -m benchmarks` runs
program, paper = (importlib.import_module(f"benchmarks.{name}") for name in ("ranks", "scaling"))
SMALL, Model, Network, fitted = paper.SMALL, paper.Model, paper.Network, paper.fitted
strong, weak = paper.strong, paper.weak

FAST = Network("none", 0.0, 0.0, gamma=0.0, call=0.0)
NET = Network("net", 1e-4, 1e-8, gamma=0.0, call=0.0)
MODEL = Model("model", ((16, 0.01), (32, 0.02), (64, 0.04)), 0.004, (4, 1 << 20))


def test_the_terms_of_a_sum():
    size, ranks = 1 << 20, 4
    assert NET.exchange(size, 1) == 0
    assert NET.exchange(size, ranks) == pytest.approx(2 * 3 * (1e-4 + size / 4 * 1e-8))
    assert NET.exchange(64, ranks) == pytest.approx(2 * 1e-4 + 3 * 64e-8)


def test_computing_is_interpolated():
    assert MODEL.computes(24) == pytest.approx(0.015)
    assert MODEL.computes(128) == pytest.approx(0.08)
    assert Model("one", ((32, 0.02),), 0.0, (4,)).computes(8) == pytest.approx(0.005)


def test_without_a_network_only_the_update_limits():
    assert weak(MODEL, FAST, (2, 64), 32) == [1.0, 1.0]
    assert strong(MODEL, FAST, (2,), 64)[0] == pytest.approx(0.044 / 0.024)
    assert MODEL.step(4, 16, FAST, per_processor=2) == pytest.approx(2 * MODEL.step(4, 16, FAST))


def test_buckets_hide_all_but_the_last():
    whole, parts = (MODEL.step(4, 64, NET, bucket=size) for size in (None, 1 << 18))
    assert parts < whole
    assert parts > MODEL.step(4, 64, FAST)


def test_more_machines_are_less_efficient():
    found = weak(MODEL, NET, (2, 4, 16, 64), 32)
    assert sorted(found, reverse=True) == found
    assert all(0 < share < 1 for share in found)


@pytest.mark.parametrize("ranks", [2, 4])
def test_a_network_is_found_from_its_sums(ranks):
    sizes = [64, SMALL, 4 * SMALL, 1 << 22]
    found = fitted(sizes, [NET.exchange(size, ranks) for size in sizes], ranks)
    assert (found.alpha, found.beta) == pytest.approx((NET.alpha, NET.beta))


def test_tables_go_between_the_marks_of_a_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{program.BEGIN}\nold\n{program.END}\nafter\n")
    program.write(page, "new")
    assert page.read_text() == f"before\n{program.BEGIN}\n\nnew\n\n{program.END}\nafter\n"
