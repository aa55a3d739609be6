"""What other memory budgets would give."""

from __future__ import annotations

from collections.abc import Sequence

from smallchat.engine.events import Estimate
from smallchat.tui.text import size, speed
from smallchat.tui.widgets.panel.lines import BLANK, Line

COLUMN = 7
"""Cells of one budget in the table."""
_ROW = 23
"""Cells of a line of the curve beside its bar."""
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def lines(estimates: Sequence[Estimate], budget: int | None, width: int, tall: bool) -> list[Line]:
    """Hit rate and speed of as many budgets as fit, the present one marked; nothing without estimates.

    A table of three lines; `tall`: a curve, a line a budget.
    """
    if not estimates:
        return []
    now = None if budget is None else min(estimates, key=lambda one: abs(one.budget - budget))
    if tall and width >= _ROW + 10:
        return _curve(estimates, now, width)
    return _table(_chosen(estimates, now, max(1, (width - 8) // COLUMN)), now)


def _table(estimates: Sequence[Estimate], now: Estimate | None) -> list[Line]:
    def row(name: str, role: str, values: list[str]) -> Line:
        marked = [
            (value.rjust(COLUMN), "strong" if one is now else "quiet")
            for one, value in zip(estimates, values, strict=True)
        ]
        return ((name.ljust(8), role), *marked)

    return [
        row("What if", "name", [_budget(one, now) for one in estimates]),
        row("hit", "", [f"{one.hit_rate:.0%}" for one in estimates]),
        row("tok/s", "", [_speed(one) for one in estimates]),
    ]


def _curve(estimates: Sequence[Estimate], now: Estimate | None, width: int) -> list[Line]:
    room = width - _ROW
    shown: list[Line] = [(("What if", "name"), ("hit  tok/s".rjust(width - 7), "quiet"))]
    for one in estimates:
        eighths = max(0, min(room * 8, round(one.hit_rate * room * 8)))
        bar = "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
        role = "strong" if one is now else "quiet"
        shown.append(
            (
                (_budget(one, now).rjust(8) + "  ", role),
                (bar, "hot" if one is now else "warm"),
                ("─" * (room - len(bar)), "line"),
                (f"{one.hit_rate:.0%}".rjust(6) + _speed(one).rjust(7), role),
            )
        )
    return shown


def _budget(one: Estimate, now: Estimate | None) -> str:
    return ("▶" if one is now else "") + size(one.budget)


def _speed(one: Estimate) -> str:
    return speed(one.tokens_per_second) if one.tokens_per_second else BLANK


def _chosen(estimates: Sequence[Estimate], now: Estimate | None, most: int) -> Sequence[Estimate]:
    """At most so many: spread over all, the present one among them."""
    if len(estimates) <= most:
        return estimates
    last = len(estimates) - 1
    places = {round(last * (at + 1) / most) if most > 1 else last for at in range(most)}
    if now is not None:
        here = estimates.index(now)
        if here not in places:
            places.remove(min(places, key=lambda at: abs(at - here)))
            places.add(here)
    return [estimates[at] for at in sorted(places)]
