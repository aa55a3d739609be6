"""Tables of which nothing is left out, however narrow the screen is.

Textual takes a column for as wide as its longest word, which in Chinese is all of a cell; what is too much it
takes from the first column until nothing is left of it, and it cuts the cells.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.content import Content
from textual.css.styles import RulesMap
from textual.geometry import Size
from textual.layout import ArrangeResult, Layout
from textual.layouts.grid import GridLayout
from textual.widget import Widget
from textual.widgets import Static
from textual.widgets._markdown import MarkdownTable, MarkdownTableContent  # no public names yet

from smallchat.tui.widgets.ground import Placed


class Cell(Content):
    """The text of a cell, which wraps where it must."""

    __slots__ = ("least",)

    def __init__(self, content: Content) -> None:
        super().__init__(content.plain, [*content.spans], strip_control_codes=False)
        self.least = 0
        """Cells of the screen that its column has at least."""

    def get_minimal_width(self, rules: RulesMap) -> int:
        """See `Visual.get_minimal_width`."""
        return self.least


class TableLayout(GridLayout):
    """A grid that shares the width out fairly where there is too little."""

    def arrange(
        self, parent: Widget, children: Sequence[Widget], size: Size, greedy: bool = True
    ) -> ArrangeResult:
        """See `Layout.arrange`."""
        styles = parent.styles
        columns = max(1, styles.grid_size_columns or 1)
        wanted = [0] * columns
        for at, child in enumerate(children):
            needed = child.get_content_width(size, size) + child.styles.gutter.width
            wanted[at % columns] = max(wanted[at % columns], needed)
        frame = 2 if styles.has_rule("keyline") else 0
        room = size.width - frame - (styles.grid_gutter_vertical or 0) * (columns - 1)
        for child, width in zip(children, fair(wanted, room), strict=False):
            if isinstance(child, Static) and isinstance(child.content, Cell):
                child.content.least = width - child.styles.gutter.width
        return super().arrange(parent, list(children), size, greedy)


class TableContent(MarkdownTableContent, Placed):
    """The cells of a table."""

    def __init__(self, headers: list[Content], rows: list[list[Content]]) -> None:
        super().__init__(headers, rows)
        self._sharing = TableLayout()

    @property
    def layout(self) -> Layout:
        """See `Widget.layout`: styles know layouts by name alone."""
        return self._sharing


class AnswerTable(MarkdownTable, Placed):
    """A table."""

    def compose(self) -> ComposeResult:
        self._headers, self._rows = self._get_headers_and_rows()
        yield TableContent(self._headers, self._rows)

    def _get_headers_and_rows(self) -> tuple[list[Content], list[list[Content]]]:
        headers, rows = super()._get_headers_and_rows()
        return [Cell(one) for one in headers], [[Cell(one) for one in row] for row in rows]


def fair(wanted: Sequence[int], room: int) -> list[int]:
    """Widths that come to `room` at the most: what is narrow keeps what it wants, the others get the same."""
    widths, left = [0] * len(wanted), len(wanted)
    for at in sorted(range(len(wanted)), key=wanted.__getitem__):
        widths[at] = min(wanted[at], max(0, room) // left)
        room -= widths[at]
        left -= 1
    return widths
