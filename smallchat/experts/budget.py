"""How a memory budget is shared out: what must be there, and how many experts fit beside it."""

from __future__ import annotations

from dataclasses import dataclass

from smallchat.errors import BudgetError
from smallchat.experts.layout import ExpertLayout

PROGRAM_BYTES = 240 << 20
"""What smallchat's processes take beside the model. Measured on Linux, with the real vocabulary: 115 MB the
decoder after a prompt of 256 tokens, 12 for the template's process, 60 for the screen; the rest is for long
conversations."""

RANK_BYTES = 72 << 20
"""What each rank beside the first takes: 45 MB of its own after a prompt of 1024 tokens, and its part of what
the ranks share."""


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Bytes by use. `slots` is None where all experts fit and the mapped file serves them."""

    weights: int
    kv: int
    slots: int | None


def plan(budget: int | None, weights: int, kv: int, layout: ExpertLayout, ranks: int = 1) -> MemoryPlan:
    """Share out `budget` bytes: dense weights, a full KV cache, the program with its ranks, and the rest for
    experts.

    Raises `BudgetError` that names the smallest budget that works; nothing has been read by then.
    """
    if budget is None:
        return MemoryPlan(weights, kv, None)
    needed = weights + kv + PROGRAM_BYTES + (ranks - 1) * RANK_BYTES
    smallest = needed + layout.layers * layout.largest_expert
    if budget < smallest:
        raise BudgetError(
            f"A memory budget of {_mib(budget)} is too small for this model with this context",
            f"The smallest that works is --mem {_mib(smallest)[:-2]}; a smaller --context needs less",
        )
    room = budget - needed
    if room >= layout.total_bytes:
        return MemoryPlan(weights, kv, None)
    return MemoryPlan(weights, kv, room // layout.largest_expert)


def _mib(size: int) -> str:
    return f"{-(-size // (1 << 20))}MiB"
