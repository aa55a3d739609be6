"""From lines in roles to strips in colours."""

from __future__ import annotations

from collections.abc import Callable

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from smallchat.tui.widgets.panel.grid import COMING, DISK, NOW, Marks
from smallchat.tui.widgets.panel.lines import Line

GLYPHS = "·░▒▒▓↓█"
"""By level."""
LEVELS = ("disk", "idle", "cool", "warm", "hot", "reading", "used")
_HALVES = " ▄▀█"
_CURSORS = "▲▼"


def text(line: Line, width: int, base: Style, style: Callable[[str], Style]) -> Strip:
    """A line of text; `style` gives that of a role."""
    segments = [Segment(span, base + style(role) if role else base) for span, role in line if span]
    return Strip(segments).adjust_cell_length(width, base)


def marks(row: Marks, width: int, base: Style, style: Callable[[str], Style], no_color: bool) -> Strip:
    """A line of the map."""
    pairs = list(zip(row.upper, row.lower or row.upper, strict=True))
    drawn = {  # a few kinds, of which a line has many
        (top, bottom): _half(top, bottom, base, style, no_color)
        if row.lower
        else Segment(
            (GLYPHS[top] * max(1, row.wide - 1)).ljust(row.wide),
            base + style("dot" if top == DISK else LEVELS[top]),
        )
        for top, bottom in set(pairs)
    }
    segments = [drawn[pair] for pair in pairs]
    if row.cursor is not None and row.cursor[0] < len(segments):
        column, half = row.cursor
        glyph = _CURSORS[half] if row.lower else "◆" * max(1, row.wide - 1)
        segments[column] = Segment(glyph.ljust(row.wide), base + style("cursor"))
    return Strip(Strip(segments).simplify()).adjust_cell_length(width, base)


def _half(top: int, bottom: int, base: Style, style: Callable[[str], Style], no_color: bool) -> Segment:
    """Two experts in one cell: by colour, or where there is none, which of them this token used."""
    if not no_color:
        return Segment("▀", Style(color=style(LEVELS[top]).color, bgcolor=style(LEVELS[bottom]).color))
    used = _HALVES[(top == NOW) * 2 + (bottom == NOW)]
    if used == " ":
        used = GLYPHS[COMING if COMING in (top, bottom) else max(top, bottom)]
    return Segment(used, base)
