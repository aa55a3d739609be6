"""Widgets that show nothing themselves: what the others lie on.

The classes here stand behind Textual's among the bases of a widget: it takes its styles from the first base.
"""

from __future__ import annotations

from typing import Self, cast

from rich.style import Style
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.css.styles import RulesMap
from textual.geometry import Region, Size
from textual.layout import DockArrangeResult
from textual.reactive import Reactive
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Static


def lines(widget: Widget, content: Content) -> int:
    """How many the widget would take for this text, as wide as it is; 0: it is not laid out yet."""
    width = widget.content_size.width
    return content.get_height(cast(RulesMap, widget.styles), width) if width else 0


class Placed(Widget):
    """A widget that has nothing laid out anew because the layout gave it another size.

    Textual would lay everything out twice for each line that an answer gets; and for each new block, which
    tells the screen behind its first layout what it asked for before it was there.
    """

    virtual_size = Reactive(Size(0, 0), repaint=False)

    def refresh(
        self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False
    ) -> Self:
        """See `Widget.refresh`."""
        layout = layout and self.is_mounted
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)


class Ground(Placed):
    """A container of one colour.

    Textual draws each line of a container by itself, keeps it, and draws all of them anew whenever the
    container gets another size. Those that nest around an answer took most of the time of its growing.
    """

    def render_lines(self, crop: Region) -> list[Strip]:
        """The same line, again and again; see `Widget.render_lines`."""
        if any(kind for kind, _ in self.styles.border):
            return super().render_lines(crop)
        _, background = self.background_colors
        line = Strip.blank(crop.width, Style.from_color(bgcolor=background.rich_color))
        for change in self.get_line_filters():
            line = line.apply_filter(change, background)
        return [line] * crop.height


class Column(Vertical, Ground):
    """Widgets below each other."""


class Heap(Ground):
    """A container of widgets below each other, each as high as it needs.

    Where they stand depends on the width alone. Textual takes it to depend on the height too, and would
    measure all messages anew, twice, whenever one of them grows by a line.
    """

    def arrange(self, size: Size, optimal: bool = False) -> DockArrangeResult:
        """See `Widget.arrange`."""
        return super().arrange(size.with_height(0), optimal)


class Stack(Vertical, Heap):
    """Widgets below each other, each as high as it needs."""


class Row(Horizontal, Ground):
    """Widgets beside each other."""


class Text(Static, Placed):
    """Text of the app's own, as `Static` shows it."""
