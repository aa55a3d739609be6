"""A budget is shared out to the last slot, or refused with the smallest one that works."""

from __future__ import annotations

import re

import pytest

from smallchat.errors import BudgetError, ExitCode
from smallchat.experts.budget import PROGRAM_BYTES, RANK_BYTES, MemoryPlan, plan
from smallchat.experts.layout import ExpertLayout
from smallchat.experts.slab import slot_bytes
from smallchat.settings import parse_size

LAYOUT = ExpertLayout(16, [((0, 1 << 20), (1 << 24, 1 << 20), (1 << 25, 1 << 20))] * 4)  # 64 experts of 3 MiB
WEIGHTS, KV = 100 << 20, 50 << 20
SLOT = slot_bytes(LAYOUT.largest_parts)


def share(budget: int | None, **more: int) -> MemoryPlan:
    return plan(budget, WEIGHTS, KV, LAYOUT, **{"least": 4, **more})


def test_without_a_budget_the_file_is_mapped() -> None:
    assert share(None).mapped
    assert share(None).slots(0) == 64


def test_where_all_fits_the_file_is_mapped() -> None:
    everything = WEIGHTS + KV + PROGRAM_BYTES + 64 * SLOT
    assert share(everything).mapped
    assert not share(everything - 1).mapped


def test_what_is_left_becomes_slots_and_less_as_the_cache_fills() -> None:
    shared = share(WEIGHTS + KV + PROGRAM_BYTES + 10 * SLOT + 5)
    assert shared.slots(KV) == 10
    assert shared.slots(0) == 10 + KV // SLOT
    assert shared.slots(KV - SLOT) == 11


def test_ranks_and_what_the_caller_takes_count() -> None:
    shared = share(WEIGHTS + KV + PROGRAM_BYTES + RANK_BYTES + 10 * SLOT + 77, ranks=2, beside=77)
    assert shared.slots(KV) == 10


def test_too_small_a_budget_names_the_smallest_that_works() -> None:
    with pytest.raises(BudgetError) as raised:
        share(200 << 20)
    assert raised.value.exit_code is ExitCode.MEMORY
    named = re.search(r"--mem (\S+)", raised.value.cure.replace(";", " "))
    assert named is not None
    smallest = parse_size(named[1])
    assert share(smallest).slots(KV) == 4
    with pytest.raises(BudgetError):
        share(smallest - (1 << 20))
    with pytest.raises(BudgetError, match=r"; fewer --threads and a smaller --context need less$"):
        share(smallest, ranks=9)
