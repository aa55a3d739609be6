"""A budget is shared out to the last slot, or refused with the smallest one that works."""

from __future__ import annotations

import re

import pytest

from smallchat.errors import BudgetError, ExitCode
from smallchat.experts.budget import PROGRAM_BYTES, plan
from smallchat.experts.layout import ExpertLayout
from smallchat.settings import parse_size

LAYOUT = ExpertLayout(16, [((0, 1 << 20), (1 << 24, 1 << 20), (1 << 25, 1 << 20))] * 4)  # 64 experts of 3 MiB
WEIGHTS, KV = 100 << 20, 50 << 20


def test_without_a_budget_the_file_is_mapped() -> None:
    assert plan(None, WEIGHTS, KV, LAYOUT).slots is None


def test_where_all_fits_the_file_is_mapped() -> None:
    assert plan(WEIGHTS + KV + PROGRAM_BYTES + LAYOUT.total_bytes, WEIGHTS, KV, LAYOUT).slots is None


def test_what_is_left_becomes_slots() -> None:
    slots = plan(WEIGHTS + KV + PROGRAM_BYTES + 10 * LAYOUT.largest_expert + 5, WEIGHTS, KV, LAYOUT).slots
    assert slots == 10


def test_too_small_a_budget_names_the_smallest_that_works() -> None:
    with pytest.raises(BudgetError) as raised:
        plan(200 << 20, WEIGHTS, KV, LAYOUT)
    assert raised.value.exit_code is ExitCode.MEMORY
    named = re.search(r"--mem (\S+)", raised.value.cure.replace(";", " "))
    assert named is not None
    smallest = parse_size(named[1])
    assert plan(smallest, WEIGHTS, KV, LAYOUT).slots == 4
    with pytest.raises(BudgetError):
        plan(smallest - (1 << 20), WEIGHTS, KV, LAYOUT)
