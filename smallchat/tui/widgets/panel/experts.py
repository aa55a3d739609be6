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

from smallchat.engine.events import IN_MEMORY, USED, Telemetry
from smallchat.tui.widgets.panel.figure import BLANK, Figure

DISK, IDLE, COOL, WARM, HOT, NOW = range(6)
"""Levels of one expert: on disk; in memory and never used, used seldom, often, most; used by this token."""

GLYPHS = "·░▒▒▓█"
_HALVES = " ▄▀█"
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

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"expert-map--{name}" for name in _COMPONENTS}

    def __init__(self) -> None:
        super().__init__(id="expert-map")
        self._layers: list[bytes] = []
        self._lines: list[tuple[bytes, bytes]] = []
        self.together = 1
        """Experts that one mark stands for."""
        self._strip = lru_cache(maxsize=1024)(self._draw)

    def show(self, telemetry: Telemetry | None) -> None:
        """Draw the lines that changed."""
        if telemetry is None:
            layers: list[bytes] = []
        else:
            marks, per = levels(telemetry), telemetry.expert_count
            layers = [marks[start : start + per] for start in range(0, len(marks), per)]
        if layers != self._layers:
            self._layers = layers
            self._arrange()

    def notify_style_update(self) -> None:
        """Colours changed: what was drawn is of no use any more."""
        super().notify_style_update()
        self._strip.cache_clear()

    def on_resize(self) -> None:
        """Another size holds another number of marks."""
        self._lines = []
        self._strip.cache_clear()
        self._arrange()

    def _arrange(self) -> None:
        width, height = self.size
        dense = len(self._layers) > height
        rows, self.together = fit(self._layers, width, height * 2 if dense else height)
        lines = (
            [(rows[at], rows[at + 1] if at + 1 < len(rows) else b"") for at in range(0, len(rows), 2)]
            if dense
            else [(row, b"") for row in rows]
        )
        if len(lines) != len(self._lines):
            self._lines = lines
            self.refresh()
            return
        changed = [y for y, line in enumerate(lines) if line != self._lines[y]]
        self._lines = lines
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
        segments: list[Segment] = []
        if lower:
            for top, bottom in zip(upper, lower, strict=True):
                segments.append(self._half(top, bottom, styles))
        else:
            wide = max(1, min(4, width // max(1, len(upper))))
            for mark in upper:
                text = GLYPHS[mark] * max(1, wide - 1)
                segments.append(Segment(text.ljust(wide), base + styles[mark]))
        return Strip(Strip(segments).simplify()).adjust_cell_length(width, base)

    def _half(self, top: int, bottom: int, styles: list[Style]) -> Segment:
        """Two experts in one cell: by colour, or where there is none, which of them this token used."""
        if not self.app.no_color:
            return Segment("▀", Style(color=styles[top].color, bgcolor=styles[bottom].color))
        used = _HALVES[(top == NOW) * 2 + (bottom == NOW)]
        return Segment(used if used != " " else GLYPHS[max(top, bottom)], self.rich_style)


class ExpertLegend(Figure):
    """What the marks mean."""

    def __init__(self, expert_map: ExpertMap) -> None:
        super().__init__(id="expert-legend")
        self._map = expert_map

    def lines(self, width: int) -> list[Content]:
        marks = Content.assemble(
            ("·", "$quiet"),
            " disk  ",
            ("░▒▓", "$expert-hot"),
            " memory  ",
            ("█", "$expert-used"),
            " this token",
        )
        together = self._map.together
        return [marks, Content(f"a mark shows the busiest of {together} experts" if together > 1 else "")]


class ExpertsFigure(Vertical):
    """The map, with its heading and legend."""

    class Heading(Figure):
        """How many there are, and how often one had to be read."""

        def __init__(self) -> None:
            super().__init__(id="expert-heading")
            self.telemetry: Telemetry | None = None

        def lines(self, width: int) -> list[Content]:
            """One line."""
            told = self.telemetry
            if told is None:
                return [self.heading("Experts", BLANK)]
            figure = f"{told.layers} × {told.expert_count}"
            if told.hit_rate is not None:
                figure += f"  hit {told.hit_rate:.0%}"
            return [self.heading("Experts", figure)]

    def __init__(self) -> None:
        super().__init__(id="experts")
        self._heading = self.Heading()
        self._map = ExpertMap()
        self._legend = ExpertLegend(self._map)

    def compose(self) -> ComposeResult:
        yield self._heading
        yield self._map
        yield self._legend

    def show(self, telemetry: Telemetry | None) -> None:
        """Draw what changed."""
        together = self._map.together
        self._map.show(telemetry)
        if telemetry is not self._heading.telemetry:
            self._heading.telemetry = telemetry
            self._heading.refresh()
        if together != self._map.together:
            self._legend.refresh()
