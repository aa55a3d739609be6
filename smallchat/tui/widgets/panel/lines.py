"""What the panel is drawn from: lines of text in roles, which the styles give colours to."""

from __future__ import annotations

from rich.cells import cell_len
from textual.content import Content

Span = tuple[str, str]
"""Text, and its role: "" or one of `ROLES`."""
Line = tuple[Span, ...]

ROLES = ("name", "strong", "quiet", "faint", "line", "alert")
BLANK = "–"
"""Stands where nothing has been measured yet."""


def length(line: Line) -> int:
    """Cells that a line takes."""
    return sum(cell_len(text) for text, _ in line)


def heading(name: str, figure: str, width: int) -> Line:
    """What this is at the left, how much at the right."""
    gap = max(1, width - cell_len(name) - cell_len(figure))
    return (name, "name"), (" " * gap + figure, "")


def bar(share: float, width: int) -> Line:
    """A thin bar that is `share` full."""
    filled = max(0, min(width, round(share * width)))
    return ("━" * filled, "name"), ("─" * (width - filled), "line")


def content(line: Line) -> Content:
    """A line for a widget that is not the panel's."""
    return Content.assemble(*((text, "$primary" if role == "name" else f"${role}") for text, role in line))


def meter(name: str, share: float, figure: str, width: int) -> list[Line]:
    """A name, a bar and a figure: on one line where there is room for a bar, else on two."""
    room = width - cell_len(name) - cell_len(figure) - 4
    if room < 6:
        return [heading(name, figure, width), bar(share, width)]
    return [((name, "name"), ("  ", ""), *bar(share, room), ("  " + figure, ""))]


def fitting(width: int, *forms: str) -> str:
    """The first of these that is not too long; the last one where all are."""
    return next((form for form in forms if cell_len(form) <= width), forms[-1])
