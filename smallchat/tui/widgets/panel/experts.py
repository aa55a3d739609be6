"""The map of the experts: one mark each, a row for every layer."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Static

from smallchat.engine.events import IN_MEMORY, USED, Telemetry
from smallchat.tui.widgets.panel.figure import BLANK, Figure

DISK, IDLE, COOL, WARM, HOT, NOW = range(6)
"""Levels of one expert: on disk; in memory and never used, used seldom, often, most; used by this token."""

GLYPHS = "·░▒▒▓█"
_HALVES = " ▄▀█"
_LEGEND = Content.assemble(
    "· disk  ", ("░▒▓", "$expert-hot"), " memory  ", ("█", "$expert-used"), " this token"
)
_COMPONENTS = ("disk", "idle", "cool", "warm", "hot", "used")


def levels(telemetry: Telemetry) -> bytes:
    """One level an expert, layer by layer. The scale of heat is fixed, so that brightness means the same."""
    return bytes(
        NOW if state == USED else (DISK if state != IN_MEMORY else (IDLE if not heat else COOL + heat // 86))
        for state, heat in zip(telemetry.experts, telemetry.heat, strict=True)
    )


def fit(rows: list[bytes], width: int, height: int) -> tuple[list[bytes], int]:
    """At most `height` rows of at most `width` marks, and how many experts one mark stands for.

    A mark for several experts shows the busiest of them.
    """
    if not rows or not rows[0] or width < 1 or height < 1:
        return [], 1
    across = -(-len(rows[0]) // width)
    down = -(-len(rows) // height)
    packed = [
        bytes(max(row[start : start + across]) for start in range(0, len(row), across)) if across > 1 else row
        for row in rows
    ]
    if down > 1:
        packed = [
            bytes(max(column) for column in zip(*packed[start : start + down], strict=True))
            for start in range(0, len(packed), down)
        ]
    return packed, across * down


class ExpertMap(Widget):
    """The marks alone. Draws only the lines that changed; a line drawn before comes from a cache."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"expert-map--{name}" for name in (*_COMPONENTS, "dot")}

    def __init__(self) -> None:
        super().__init__(id="expert-map")
        self._layers: list[bytes] = []
        self._lines: list[tuple[bytes, bytes]] = []
        self._room = 1
        self.together = 1
        """Experts that one mark stands for."""
        self._strip = lru_cache(maxsize=1024)(self._draw)

    def show(self, telemetry: Telemetry | None, room: int) -> None:
        """Draw the lines that changed, in at most `room` lines."""
        if telemetry is None:
            layers: list[bytes] = []
        else:
            marks, per = levels(telemetry), telemetry.expert_count
            layers = [marks[start : start + per] for start in range(0, len(marks), per)]
        if (layers, room) != (self._layers, self._room):
            self._layers, self._room = layers, room
            self._arrange()

    def notify_style_update(self) -> None:
        """Colours changed: what was drawn is of no use any more."""
        super().notify_style_update()
        self._strip.cache_clear()

    def on_resize(self) -> None:
        """Another width holds another number of marks."""
        self._arrange()

    def _arrange(self) -> None:
        width = self.size.width
        dense = len(self._layers) > self._room
        rows, self.together = fit(self._layers, width, self._room * 2 if dense else self._room)
        lines = (
            [(rows[at], rows[at + 1] if at + 1 < len(rows) else b"") for at in range(0, len(rows), 2)]
            if dense
            else [(row, b"") for row in rows]
        )
        changed = [y for y, line in enumerate(lines) if y >= len(self._lines) or line != self._lines[y]]
        resized = len(lines) != len(self._lines)
        self._lines = lines
        if resized:
            self.styles.height = max(1, len(lines))
        if changed:
            self.refresh(*(Region(0, y, width, 1) for y in changed))

    def render_line(self, y: int) -> Strip:
        """One line of the map."""
        width = self.size.width
        if y >= len(self._lines):
            return Strip.blank(width, self.rich_style)
        return self._strip(*self._lines[y], width)

    def _draw(self, upper: bytes, lower: bytes, width: int) -> Strip:
        base = self.rich_style
        styles = [self.get_component_rich_style(f"expert-map--{name}", partial=True) for name in _COMPONENTS]
        dot = self.get_component_rich_style("expert-map--dot", partial=True)
        segments: list[Segment] = []
        if lower:
            for top, bottom in zip(upper, lower, strict=True):
                segments.append(self._half(top, bottom, styles))
        else:
            wide = max(1, min(4, width // max(1, len(upper))))
            for mark in upper:
                text = GLYPHS[mark] * max(1, wide - 1)
                style = styles[mark] if mark != DISK else dot
                segments.append(Segment(text.ljust(wide), base + style))
        return Strip(Strip(segments).simplify()).adjust_cell_length(width, base)

    def _half(self, top: int, bottom: int, styles: list[Style]) -> Segment:
        """Two experts in one cell: by colour, or where there is none, which of them this token used."""
        if not self.app.no_color:
            return Segment("▀", Style(color=styles[top].color, bgcolor=styles[bottom].color))
        used = _HALVES[(top == NOW) * 2 + (bottom == NOW)]
        return Segment(used if used != " " else GLYPHS[max(top, bottom)], self.rich_style)


class ExpertHeading(Figure):
    """How many there are, and how often one had to be read."""

    def __init__(self) -> None:
        super().__init__(id="expert-heading")
        self._told = BLANK

    def show(self, told: str) -> None:
        """Draw if something changed."""
        if told != self._told:
            self._told = told
            self.refresh()

    def lines(self, width: int) -> list[Content]:
        return [self.heading("Experts", self._told)]


class ExpertsFigure(Vertical):
    """The map, with its heading and legend."""

    def __init__(self) -> None:
        super().__init__(id="experts")
        self._heading = ExpertHeading()
        self._map = ExpertMap()

    def compose(self) -> ComposeResult:
        yield self._heading
        yield self._map
        yield Static(_LEGEND, id="expert-legend")

    def show(self, telemetry: Telemetry | None, room: int) -> None:
        """Draw what changed; `room`: lines for all of this."""
        if telemetry is not None and not telemetry.layers:
            telemetry = None  # a server tells nothing of them
        self._map.show(telemetry, max(6, room - 2))
        if telemetry is None:
            self._heading.show(BLANK)
            return
        told = f"{telemetry.layers} × {telemetry.expert_count}"
        if self._map.together > 1:
            told += f", {self._map.together} a mark"
        if telemetry.hit_rate is not None:
            told += f"   hit {telemetry.hit_rate:.0%}"
        self._heading.show(told)
