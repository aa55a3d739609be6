"""How much memory smallchat uses, and for what."""

from __future__ import annotations

from functools import cache

from smallchat.engine.events import Memory
from smallchat.tui.text import size
from smallchat.tui.widgets.panel.lines import BLANK, Line, heading

# The glyphs differ so that the bar reads without colour.
_USES = (
    ("weights", "█", "hot"),
    ("experts", "▓", "warm"),
    ("KV cache", "▒", "quiet"),
    ("rest", "░", "faint"),
)
_TWO_COLUMNS = 30
"""Cells from which two uses stand side by side."""


def own_memory() -> int:
    """Bytes of this process, counted like the worker's: PSS where the system has it, else RSS."""
    info = _process().memory_full_info()
    return int(getattr(info, "pss", info.rss))


@cache
def _process():  # type: ignore[no-untyped-def]  # noqa: ANN202
    import psutil

    return psutil.Process()


def lines(memory: Memory | None, own: int, width: int, brief: bool) -> list[Line]:
    """One bar by use, against the budget where there is one, and unless `brief` what each glyph means.

    The screen's own process (`own` bytes) is in "rest".
    """
    if memory is None:
        return [heading("Memory", BLANK, width), (("─" * width, "line"),)]
    total = memory.total + own
    parts = (memory.weights, memory.experts, memory.kv, memory.rest + own)
    figure = size(total) if memory.budget is None else f"{size(total)} of {size(memory.budget)}"
    scale = max(memory.budget or 0, total, sum(parts), 1)
    shown = [heading("Memory", figure, width), _bar(parts, scale, width)]
    if brief:
        return shown
    column = (width - 3) // 2 if width >= _TWO_COLUMNS else width
    named = [_named(*use, part, column) for part, use in zip(parts, _USES, strict=True)]
    if width < _TWO_COLUMNS:
        return shown + named
    between = ("   ", "")
    return [*shown, (*named[0], between, *named[1]), (*named[2], between, *named[3])]


def _bar(parts: tuple[int, ...], scale: int, width: int) -> Line:
    spans: list[tuple[str, str]] = []
    left = width
    for part, (_, glyph, role) in zip(parts, _USES, strict=True):
        cells = min(left, round(part / scale * width))
        left -= cells
        spans.append((glyph * cells, role))
    return *spans, ("─" * left, "line")


def _named(name: str, glyph: str, role: str, part: int, column: int) -> Line:
    return (glyph, role), (f" {name}", ""), (size(part).rjust(column - len(name) - 2), "quiet")
