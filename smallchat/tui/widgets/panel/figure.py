"""What the parts of the panel have in common: a name, a figure at the right, a body of fixed height."""

from __future__ import annotations

from textual.content import Content
from textual.widget import Widget

BLANK = "–"
"""Stands where nothing has been measured yet."""


class Figure(Widget):
    """A part of the panel, drawn by `lines` whenever its values change."""

    def heading(self, name: str, figure: str) -> Content:
        """The first line: what this is, and how much."""
        gap = max(1, self.content_size.width - Content(name).cell_length - Content(figure).cell_length)
        return Content.assemble((name, "$primary"), " " * gap, figure)

    def lines(self, width: int) -> list[Content]:
        """Every line of this part, `width` cells wide."""
        raise NotImplementedError

    def render(self) -> Content:
        """All lines."""
        return Content("\n").join(self.lines(self.content_size.width))


def bar(share: float, width: int, full: str = "━", empty: str = "─") -> Content:
    """A thin bar that is `share` full."""
    filled = max(0, min(width, round(share * width)))
    return Content.assemble((full * filled, "$primary"), (empty * (width - filled), "$line"))
