"""How much memory smallchat uses, and for what."""

from __future__ import annotations

from functools import cache

from textual.content import Content

from smallchat.engine.events import Memory
from smallchat.tui.text import size
from smallchat.tui.widgets.panel.figure import BLANK, Figure

# The glyphs differ so that the bar reads without colour.
_USES = (
    ("weights", "█", "$expert-hot"),
    ("experts", "▓", "$expert-warm"),
    ("KV cache", "▒", "$quiet"),
    ("rest", "░", "$faint"),
)


def own_memory() -> int:
    """Bytes of this process, counted like the worker's: PSS where the system has it, else RSS."""
    info = _process().memory_full_info()
    return int(getattr(info, "pss", info.rss))


@cache
def _process():  # type: ignore[no-untyped-def]  # noqa: ANN202
    import psutil

    return psutil.Process()


class MemoryFigure(Figure):
    """One bar by use, against the budget where there is one. The screen's own process is in "rest"."""

    def __init__(self) -> None:
        super().__init__(id="memory")
        self._memory: Memory | None = None
        self._own = 0

    def show(self, memory: Memory | None, own: int) -> None:
        """Draw if something changed."""
        if (memory, own) != (self._memory, self._own):
            self._memory, self._own = memory, own
            self.refresh()

    def lines(self, width: int) -> list[Content]:
        memory = self._memory
        if memory is None:
            return [self.heading("Memory", BLANK), Content.styled("─" * width, "$line")]
        total = memory.total + self._own
        parts = (memory.weights, memory.experts, memory.kv, memory.rest + self._own)
        figure = size(total) if memory.budget is None else f"{size(total)} of {size(memory.budget)}"
        scale = max(memory.budget or 0, total, sum(parts), 1)
        bars = [
            (glyph * round(part / scale * width), style)
            for part, (_, glyph, style) in zip(parts, _USES, strict=True)
        ]
        used = Content.assemble(*bars).truncate(width)
        column = (width - 3) // 2
        named = [
            Content.assemble((glyph, style), f" {name}", (size(part).rjust(column - len(name) - 2), "$quiet"))
            for part, (name, glyph, style) in zip(parts, _USES, strict=True)
        ]
        return [
            self.heading("Memory", figure),
            used + Content.styled("─" * (width - used.cell_length), "$line"),
            named[0] + "   " + named[1],
            named[2] + "   " + named[3],
        ]
