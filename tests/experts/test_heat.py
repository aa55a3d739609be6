"""The heat of experts, and the order in which they leave."""

from __future__ import annotations

import numpy as np
import pytest

from smallchat.experts.heat import FULL, HALF_LIFE, Heat, ways


def test_an_expert_that_every_token_uses_tends_to_full() -> None:
    heat = Heat(2, 4)
    for _ in range(20 * HALF_LIFE):
        heat.token(np.array([[1, 2], [0, 3]]))
    assert heat.table[0] == pytest.approx([0, FULL, FULL, 0], rel=1e-3)
    assert heat.table[1] == pytest.approx([FULL, 0, 0, FULL], rel=1e-3)


def test_a_use_counts_half_after_a_half_life() -> None:
    heat = Heat(1, 3)
    heat.token(np.array([[0]]))
    for _ in range(HALF_LIFE):
        heat.token(np.array([[1]]))
    assert heat.table[0, 0] == pytest.approx(0.5, rel=1e-3)
    assert heat.table[0, 2] == 0


def test_a_chunk_of_a_prompt_counts_each_of_its_tokens() -> None:
    heat = Heat(2, 3)
    heat.layer(1, np.array([[0, 2], [0, 1], [0, 2]]))
    assert heat.table.tolist() == [[0, 0, 0], [3, 1, 2]]


def test_the_layer_that_is_done_is_the_farthest_and_the_next_one_the_nearest() -> None:
    far = ways(4)[..., 0]
    assert far[1].tolist() == [0.5, 0.75, 0, 0.25]
    assert (far < 1).all()
    assert (far.argmax(axis=1) == np.arange(4)).all()
