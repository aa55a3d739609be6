"""The live panel: what the engine told last, and nothing else."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import lru_cache
from typing import ClassVar

from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from smallchat.tui.dialogue import Dialogue
from smallchat.tui.widgets.panel import memory, paint
from smallchat.tui.widgets.panel.arrange import Arrangement, Piece, Row, Shown, column, page
from smallchat.tui.widgets.panel.grid import Marks
from smallchat.tui.widgets.panel.lines import ROLES

OWN_MEMORY_SECONDS = 2.0
"""Between two looks at our own memory: each costs milliseconds."""
CALM_SECONDS = 0.5
"""Between two drawings while an answer comes: figures that change faster cannot be read, and what drawing
takes, the decoder lacks."""
LINES_KEPT = 128
"""Drawn lines that are kept, in case they are to be drawn again: each is some fifty objects for the garbage
collector to look at."""


class Panel(Widget, can_focus=False):
    """Memory, speed, context, the map of the experts, the disk and other budgets, drawn as one widget.

    Only lines that changed are drawn, and a line drawn before comes from a cache.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"panel--{role}" for role in (*ROLES, *paint.LEVELS, "dot", "cursor")
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "look(-1, 0)", "Layer above", show=False, id="panel_up"),
        Binding("down", "look(1, 0)", "Layer below", show=False, id="panel_down"),
        Binding("left", "look(0, -1)", "Expert before", show=False, id="panel_left"),
        Binding("right", "look(0, 1)", "Expert behind", show=False, id="panel_right"),
        Binding("escape", "back", "Back to the talk", show=False, id="panel_back"),
    ]

    class Left(Message):
        """Whoever looked at the page of the panel has seen enough."""

    def __init__(self) -> None:
        super().__init__(id="panel")
        self._shown = Shown()
        self._own_at = -OWN_MEMORY_SECONDS
        self._at = -CALM_SECONDS
        self._arrangement = Arrangement(())
        self._strip = lru_cache(maxsize=LINES_KEPT)(self._paint)
        self._full = False

    @property
    def shown(self) -> bool:
        """The styles let it be seen."""
        return self.styles.display != "none"

    @property
    def full(self) -> bool:
        """It has the whole screen: then the arrow keys move over the map."""
        return self._full

    @full.setter
    def full(self, full: bool) -> None:
        self._full = self.can_focus = full
        if not full:
            self._look_at(None)

    def show(self, dialogue: Dialogue) -> None:
        """Draw what changed since the last time. Nothing is done while the panel is hidden."""
        if not self.shown:
            return
        now = time.monotonic()
        if dialogue.answer is not None and now - self._at < CALM_SECONDS:
            return
        self._at = now
        own = self._shown.own
        if dialogue.telemetry is not None and now - self._own_at >= OWN_MEMORY_SECONDS:
            own, self._own_at = memory.own_memory(), now
        self._update(
            replace(
                self._shown,
                telemetry=dialogue.telemetry,
                own=own,
                progress=dialogue.progress,
                tokens=tuple(dialogue.recent),
                no_color=self.app.no_color,
            )
        )

    def on_resize(self) -> None:
        """Other figures fit."""
        self._arrange()

    def notify_style_update(self) -> None:
        """Colours changed: what was drawn is of no use any more."""
        super().notify_style_update()
        self._strip.cache_clear()

    # Drawing

    def _update(self, shown: Shown) -> None:
        if shown != self._shown:
            self._shown = shown
            self._arrange()

    def _arrange(self) -> None:
        width, height = self.content_size
        if not width or not height:
            return
        before = self._arrangement.rows
        arrange = page if self._full else column
        self._arrangement = arrange(self._shown, width, height)
        rows = self._arrangement.rows
        changed = [
            y
            for y in range(max(len(rows), len(before)))
            if y >= len(rows) or y >= len(before) or rows[y] != before[y]
        ]
        if changed:
            self.refresh(*(Region(0, y, width, 1) for y in changed))

    def render_line(self, y: int) -> Strip:
        """One line of the panel."""
        rows = self._arrangement.rows
        if y >= len(rows):
            return Strip.blank(self.content_size.width, self.rich_style)
        return self._joined(rows[y])

    def _joined(self, row: Row) -> Strip:
        strips = [self._strip(piece, width) for piece, width in row]
        return strips[0] if len(strips) == 1 else Strip.join(strips)

    def _paint(self, piece: Piece, width: int) -> Strip:
        if isinstance(piece, Marks):
            return paint.marks(piece, width, self.rich_style, self._style, self._shown.no_color)
        return paint.text(piece, width, self.rich_style, self._style)

    def _style(self, role: str) -> Style:
        return self.get_component_rich_style(f"panel--{role}", partial=True)

    # Looking at one expert

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """The expert below the mouse."""
        offset = event.get_content_offset(self)
        grid = self._arrangement.grid
        if offset is None or grid is None:
            self._look_at(None)
        else:
            self._look_at(grid.at(offset.x - self._arrangement.left, offset.y - self._arrangement.top))

    def on_leave(self) -> None:
        """The mouse is elsewhere."""
        self._look_at(None)

    def action_look(self, layers: int, experts: int) -> None:
        """To the mark beside the one looked at; to the first one where there is none."""
        grid, at = self._arrangement.grid, self._shown.cursor
        if grid is None or not grid.rows:
            return
        if at is None:
            self._look_at((0, 0))
            return
        row = max(0, min(len(grid.rows) - 1, at[0] // grid.down + layers))
        mark = max(0, min(len(grid.rows[0]) - 1, at[1] // grid.across + experts))
        self._look_at((row * grid.down, mark * grid.across))

    def action_back(self) -> None:
        """Tell the screen."""
        self.post_message(self.Left())

    def _look_at(self, expert: tuple[int, int] | None) -> None:
        self._update(replace(self._shown, cursor=expert))
