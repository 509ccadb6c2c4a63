"""Every sample of the five documents is run by a test of this folder."""

from __future__ import annotations

from samples import covered, places


def test_every_sample_that_can_run_is_run():
    runnable = {place for place, why in places().items() if not why}
    assert len(runnable) == 277
    missing = sorted(runnable - set(covered()))
    assert not missing, f"{len(missing)} of {len(runnable)} samples are run by no test: {missing}"


def test_every_place_is_a_sample_and_has_one_test():
    found = covered()
    unknown = sorted(set(found) - set(places()))
    twice = sorted({place for place in found if found.count(place) > 1})
    assert (unknown, twice) == ([], [])
