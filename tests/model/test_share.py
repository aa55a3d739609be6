"""Shares: together all of the work, once."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallchat.model.share import Share

SIZES = st.integers(1, 9)


@given(st.lists(st.integers(1, 600), min_size=1, max_size=64), st.integers(1, 12), st.integers(1, 40), SIZES)
def test_pieces_are_every_neuron_of_every_expert_once(tokens, blocks, unit, size):
    width = blocks * unit
    seen = np.zeros((len(tokens), width), int)
    for rank in range(size):
        for piece in Share(rank, size).experts(tokens, width, unit):
            assert 0 <= piece.start < piece.stop <= width
            assert piece.start % unit == 0
            assert piece.stop % unit == 0
            seen[piece.expert, piece.start : piece.stop] += 1
    assert (seen == 1).all()


@given(st.lists(st.integers(1, 600), min_size=1, max_size=64), st.integers(1, 500), SIZES)
def test_a_width_that_is_no_multiple_of_the_unit_is_covered_too(tokens, width, size):
    """Transposed files may have any number of neurons."""
    seen = np.zeros((len(tokens), width), int)
    for rank in range(size):
        for piece in Share(rank, size).experts(tokens, width, 32):
            assert 0 <= piece.start < piece.stop <= width
            seen[piece.expert, piece.start : piece.stop] += 1
    assert (seen == 1).all()


@given(st.integers(0, 5000), SIZES)
def test_spans_meet_and_are_even(count, size):
    spans = [Share(rank, size).span(count) for rank in range(size)]
    assert [start for start, _ in spans] == [0] + [stop for _, stop in spans[:-1]]
    assert spans[-1][1] == count
    widths = [stop - start for start, stop in spans]
    assert max(widths) - min(widths) <= 1


@given(st.integers(1, 16), st.integers(1, 8), SIZES)
def test_every_query_head_is_someones_and_reads_its_own_kv_head(kv_heads, group, size):
    heads = kv_heads * group
    config = SimpleNamespace(heads=heads, kv_heads=kv_heads)
    readers: list[int | None] = [None] * heads
    for rank in range(size):
        (start, stop), (first, last), groups = Share(rank, size).heads(config)
        assert 0 <= first <= last <= kv_heads
        assert (start == stop) == (not groups)
        for kv, begin, end in groups:
            assert 0 <= kv < last - first
            assert 0 <= begin < end <= stop - start
            for head in range(start + begin, start + end):
                assert readers[head] is None
                readers[head] = first + kv
    assert readers == [head // group for head in range(heads)]


@pytest.mark.parametrize("tokens", [[1] * 4, [1] * 6, [200, 3, 90, 1, 1, 17], [512] * 32])
@pytest.mark.parametrize("size", [2, 3, 4])
def test_work_is_even(tokens, size):
    """Each rank's neurons times what each costs: within a unit of each of the two experts that are cut."""
    width, unit = 768, 32
    cost = [min(2.2 * count, count + 19) for count in tokens]
    shares = [
        sum(cost[p.expert] * (p.stop - p.start) / width for p in Share(rank, size).experts(cost, width, unit))
        for rank in range(size)
    ]
    assert max(shares) - min(shares) <= 2 * max(cost) * unit / width + 1e-9
