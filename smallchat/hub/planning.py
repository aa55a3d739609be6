"""What a memory budget gives with a model on this machine, before it is even fetched: an estimate."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from smallchat.engine.fitting import context_within
from smallchat.errors import BudgetError
from smallchat.experts import budget
from smallchat.experts.estimate import TYPICALLY_HIDDEN, Pace, ladder
from smallchat.experts.what_if import HitCurve
from smallchat.hub.details import Details
from smallchat.hub.disk import DiskSpeed
from smallchat.hub.machine import HEADROOM, Machine, compute_seconds
from smallchat.model.synthetic import routes

TOKENS = 192
"""Made-up tokens that are counted, after as many that fill the caches."""
NEARLY = 0.9
"""What is recommended reaches this share of the speed that more memory would give."""
MIB = 1 << 20

Limit = Literal["memory", "disk", "compute"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one budget gives."""

    budget: int
    """Bytes."""
    context: int
    """Tokens that fit: without a wish, fewer in a small budget."""
    slots: int
    """Experts that are in memory with half of that context in use; 0: the budget is too small."""
    hit_rate: float
    """Share of a token's experts that need no read."""
    read_bytes: float
    """Of a token."""
    disk_seconds: float | None
    """For which the disk is busy with a token; None: its speed is not known."""
    tokens_per_second: float | None
    """None: not known, or it does not run."""
    limit: Limit
    """What holds it up: the budget, too small or more than is free; the disk; or the processor."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What several budgets give, smallest first."""

    smallest: int
    """The smallest budget that works."""
    whole: int
    """The budget from which on all experts are in memory."""
    outcomes: tuple[Outcome, ...]
    recommended: Outcome | None
    """The smallest that comes near the best that fits into what is free; None: none fits, or nothing is known
    of the disk."""


def make_plan(
    details: Details,
    machine: Machine,
    disk: DiskSpeed | None,
    budgets: list[int] | None = None,
    beside: int = 0,
) -> Plan:
    """Estimate each of `budgets` (bytes; None: a ladder of round ones). Takes up to a second.

    Of each, the caller's other processes take `beside` bytes.
    """
    curve = _curve(details)

    def shares(size: int) -> _Share:
        return _share(size, details, machine.threads, beside)

    smallest = smallest_budget(details, machine.threads, beside)
    whole = _first_with(_all(details), shares)

    def outcomes(sizes: list[int]) -> tuple[Outcome, ...]:
        return tuple(_outcome(size, whole, shares(size), details, machine, disk, curve) for size in sizes)

    steps = outcomes(ladder(smallest, whole))
    return Plan(smallest, whole, outcomes(sorted(budgets)) if budgets else steps, _recommended(steps))


def smallest_budget(details: Details, ranks: int, beside: int = 0) -> int:
    """The smallest budget that works, where the caller's other processes take `beside` bytes of it."""
    return _first_with(1, lambda size: _share(size, details, ranks, beside))


class _Share(NamedTuple):
    """What a budget has room for."""

    context: int
    slots: int


def _outcome(
    size: int,
    whole: int,
    share: _Share,
    details: Details,
    machine: Machine,
    disk: DiskSpeed | None,
    curve: HitCurve,
) -> Outcome:
    if not share.slots:
        return Outcome(size, *share, 0.0, 0.0, None, None, "memory")
    hits = curve.hit_rate(share.slots) or 0.0
    compute = compute_seconds(details, machine)
    all_read = details.used / disk.bytes_per_second if disk is not None else None
    rate: float | None = None
    limit: Limit = "compute"
    if compute is not None and (all_read is not None or hits == 1):
        pace = Pace(compute, all_read or 0.0, TYPICALLY_HIDDEN)
        rate = pace.tokens_per_second(hits)
        limit = "disk" if pace.disk_bound(hits) else "compute"
    if min(size, whole) > machine.available - HEADROOM:
        limit = "memory"
    reading = None if all_read is None else (1 - hits) * all_read
    return Outcome(size, *share, hits, (1 - hits) * details.used, reading, rate, limit)


def _share(size: int, details: Details, ranks: int, beside: int) -> _Share:
    """As the engine shares a budget out."""
    context = details.context
    if not details.wished:
        context = context_within(budget.room(size, details.dense, ranks, beside), context, details.kv_size)
    kv = details.kv_size(context)
    least = budget.least_slots(details.layout.experts, details.experts_used)
    try:
        plan = budget.plan(size, details.dense, kv, details.layout, least=least, ranks=ranks, beside=beside)
    except BudgetError:
        return _Share(context, 0)
    return _Share(context, _all(details) if plan.mapped else plan.slots(kv // 2))


def _first_with(slots: int, shares: Callable[[int], _Share]) -> int:
    """The smallest budget, in whole MiB, that so many experts fit into."""
    sizes = range(0, 1 << 50, MIB)
    return sizes[bisect_left(sizes, slots, key=lambda size: shares(size).slots)]


def _all(details: Details) -> int:
    return details.layout.layers * details.layout.experts


def _curve(details: Details) -> HitCurve:
    layout = details.layout
    trace = routes(layout.layers, layout.experts, details.experts_used, 2 * TOKENS)
    curve = HitCurve(layout.layers, layout.experts)
    curve.take(trace[:TOKENS])
    curve.forget_counts()
    curve.take(trace[TOKENS:])
    return curve


def _recommended(outcomes: tuple[Outcome, ...]) -> Outcome | None:
    fit = [
        (one.tokens_per_second, one) for one in outcomes if one.tokens_per_second and one.limit != "memory"
    ]
    best = max((rate for rate, _ in fit), default=0.0)
    return next((one for rate, one in fit if rate >= NEARLY * best), None)
