"""How a memory budget is shared out: what must be there, and how many experts fit beside it."""

from __future__ import annotations

from dataclasses import dataclass

from smallchat.errors import BudgetError
from smallchat.experts.layout import ExpertLayout
from smallchat.experts.slab import slot_bytes

PROGRAM_BYTES = 160 << 20
"""What the decoder's first process takes beside the model, with the template's, the reader's, and what they
use of the libraries' files. Measured in a memory cgroup on Linux with the real vocabulary, page cache dropped
first: 114 to 147 MB of the processes' own (two ranks), 25 of libraries in use, 36 that the ranks share after
a prompt in chunks of 512; 50 more, of page cache that loading leaves, go when something needs them."""

RANK_BYTES = 72 << 20
"""What each rank beside the first takes: its own, and its part of what the ranks share."""


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Bytes by use."""

    budget: int | None
    """None: no limit."""
    weights: int
    """What every token reads."""
    kv: int
    """A full KV cache."""
    rest: int
    """All processes."""
    slot: int
    """What an expert takes in the slab."""
    experts: int
    """How many there are."""
    mapped: bool
    """All fits: the mapped file serves the experts."""

    def slots(self, kv: int) -> int:
        """Experts that fit while the KV cache takes `kv` bytes."""
        if self.budget is None:
            return self.experts
        room = self.budget - self.weights - self.rest - kv
        return max(0, min(self.experts, room // self.slot))


LEAST_SWEEPS = 3
"""A budget must hold so many times the experts that a token uses in a layer."""


def least_slots(experts: int, used: int) -> int:
    """Experts that a budget must have room for: of a layer's `experts` a token uses `used`."""
    return min(experts, LEAST_SWEEPS * used)


def room(budget: int | None, weights: int, ranks: int, beside: int) -> int | None:
    """Bytes of a budget that are left for the KV cache and experts; None: there is no limit."""
    return None if budget is None else max(0, budget - weights - _rest(ranks, beside))


def plan(
    budget: int | None,
    weights: int,
    kv: int,
    layout: ExpertLayout,
    *,
    least: int,
    ranks: int = 1,
    beside: int = 0,
) -> MemoryPlan:
    """Share out `budget` bytes: dense weights, a full KV cache, the program with its ranks, what the caller
    takes `beside`, and the rest for experts, of which at least `least` must fit.

    Raises `BudgetError` that names the smallest budget that works; nothing has been read by then.
    """
    rest = _rest(ranks, beside)
    slot, experts = slot_bytes(layout.largest_parts), layout.layers * layout.experts
    if budget is None:
        return MemoryPlan(None, weights, kv, rest, slot, experts, mapped=True)
    needed = weights + kv + rest
    smallest = needed + least * slot
    if budget < smallest:
        less = (
            "a smaller --context needs less"
            if ranks == 1
            else "fewer --threads and a smaller --context need less"
        )
        raise BudgetError(
            f"A memory budget of {_mib(budget)} is too small for this model with this context",
            f"The smallest that works is --mem {_mib(smallest)[:-2]}; {less}",
        )
    mapped = budget - needed >= experts * slot
    return MemoryPlan(budget, weights, kv, rest, slot, experts, mapped)


def _rest(ranks: int, beside: int) -> int:
    return PROGRAM_BYTES + (ranks - 1) * RANK_BYTES + beside


def _mib(size: int) -> str:
    return f"{-(-size // (1 << 20))}MiB"
