"""Tokens a second from computing, reading, and what of it is waited for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallchat.experts.estimate import Pace, hidden_share, ladder


def pace(hidden: float = 0.6, read: float = 0.05) -> Pace:
    """25 ms of computing; seconds of reading where nothing is in memory."""
    return Pace(0.025, read, hidden)


def test_with_all_in_memory_only_computing_counts() -> None:
    assert pace().tokens_per_second(1.0) == pytest.approx(40)
    assert not pace().disk_bound(1.0)


def test_a_part_of_the_reading_is_waited_for() -> None:
    assert pace().reading(0.8) == pytest.approx(0.010)
    assert pace().waiting(0.8) == pytest.approx(0.004)
    assert pace().tokens_per_second(0.8) == pytest.approx(1 / 0.029)


def test_reading_hides_behind_no_more_than_all_computing() -> None:
    slow = pace(hidden=1.0, read=0.1)
    assert slow.reading(0.0) == pytest.approx(0.1)
    assert slow.tokens_per_second(0.0) == pytest.approx(10)  # the disk's own pace
    assert slow.disk_bound(0.0)
    assert slow.waiting(0.8) == 0


def test_nothing_hidden_is_one_after_the_other() -> None:
    assert pace(hidden=0.0).tokens_per_second(0.5) == pytest.approx(1 / 0.050)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(1e-4, 1e4))
def test_more_hits_are_never_slower(first: float, second: float, hidden: float, read: float) -> None:
    low, high = sorted((first, second))
    assert pace(hidden, read).tokens_per_second(low) <= pace(hidden, read).tokens_per_second(high)


def test_the_hidden_share_of_a_run() -> None:
    assert hidden_share(0.020, 0.005) == pytest.approx(0.75)
    assert hidden_share(0.020, 0.020) == 0
    assert hidden_share(0.020, 0.025) == 0  # clocks of two processes
    assert hidden_share(0.020, 0.0) == 1
    assert hidden_share(0.0, 0.0) == 0


def test_a_run_is_predicted_by_what_it_calibrated() -> None:
    read, waited, compute, hits = 0.030, 0.012, 0.028, 0.4
    measured = Pace(compute, read / (1 - hits), hidden_share(read, waited))
    assert measured.tokens_per_second(hits) == pytest.approx(1 / (compute + waited))


def test_a_ladder_of_round_sizes() -> None:
    steps = ladder(700 << 20, 2600 << 20)
    assert steps == [700 << 20, 1 << 30, 3 << 29, 2 << 30, 2600 << 20]
