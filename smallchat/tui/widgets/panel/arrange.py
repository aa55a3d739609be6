"""Which figures stand where: in a column beside the talk, or on a page of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from smallchat.engine.events import PromptProgress, Telemetry, Token
from smallchat.tui.widgets.panel import context, experts, memory, speed, storage, what_if
from smallchat.tui.widgets.panel.grid import Grid, Marks, fit
from smallchat.tui.widgets.panel.lines import Line

SMALLEST_MAP = 6
"""Lines of the map below which other figures give way to it."""
SMALLEST_PAGE = 56
"""Cells below which a page is a column."""
BETWEEN = 3
"""Cells between the two columns of a page."""

Piece = Line | Marks
Row = tuple[tuple[Piece, int], ...]
"""What stands in one line of the panel, side by side, each with its width."""
_EMPTY: Line = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """Everything that the panel shows."""

    telemetry: Telemetry | None = None
    own: int = 0
    """Bytes of the screen's own process."""
    progress: PromptProgress | None = None
    tokens: tuple[Token, ...] = ()
    cursor: tuple[int, int] | None = None
    """Layer and expert that are looked at."""
    no_color: bool = False

    @property
    def mapped(self) -> Telemetry | None:
        """The telemetry where it tells of experts: a server's does not."""
        return self.telemetry if self.telemetry is not None and self.telemetry.experts else None

    @property
    def at(self) -> tuple[int, int] | None:
        """The cursor, where this model has that expert: the one before may have had more."""
        if self.mapped is None or self.cursor is None:
            return None
        layer, expert = self.cursor
        return self.cursor if layer < self.mapped.layers and expert < self.mapped.expert_count else None


@dataclass(frozen=True, slots=True)
class Arrangement:
    """All lines, and where among them the map is."""

    rows: tuple[Row, ...]
    grid: Grid | None = None
    left: int = 0
    top: int = 0


def column(shown: Shown, width: int, height: int) -> Arrangement:
    """All figures below each other. What is short of room gives way: names of uses, gaps, then the disk."""
    mapped = shown.mapped
    wanted = -(-mapped.layers // 2) if mapped is not None else SMALLEST_MAP
    legend = experts.legend(width, dense=True, no_color=shown.no_color)
    around = 1 + len(legend)
    for brief, whole in ((False, True), (True, True), (True, False)):
        before = _figures(shown, width, brief)
        after = _outlook(shown, width, brief, tall=False) if whole else []
        taken = sum(map(len, (*before, *after))) + around
        if taken + (wanted if not brief else min(wanted, SMALLEST_MAP)) <= height:
            break
    gaps = len(before) + len(after)
    room = height - taken
    grid = fit(mapped, width, room - gaps if room - gaps >= wanted else max(1, room)) if mapped else None
    spare = min(gaps + 1, height - taken - (grid.height if grid else 0))
    if grid is not None:
        legend = experts.legend(width, grid.dense, shown.no_color)
    block: list[Piece] = [experts.title(mapped, grid, width), *(grid.lines(shown.at) if grid else [])]
    block += _told(shown, legend, width)
    pieces: list[Piece] = [_EMPTY] if spare > gaps else []
    top = 0
    groups: list[Sequence[Piece]] = [*before, block, *after]
    for figure in groups:
        if spare > 0 and pieces and pieces != [_EMPTY]:
            pieces.append(_EMPTY)
            spare -= 1
        if figure is block:
            top = len(pieces) + 1
        pieces += figure
    return Arrangement(tuple(((piece, width),) for piece in pieces[:height]), grid, 0, top)


def page(shown: Shown, width: int, height: int) -> Arrangement:
    """The figures at the left, the map at the right; a column where it is too narrow for both."""
    if width < SMALLEST_PAGE:
        return column(shown, width, height)
    mapped = shown.mapped
    left_width = max(34, min(56, width // 3))
    right_width = width - left_width - BETWEEN
    right: list[Piece] = [_EMPTY]
    grid = None
    if mapped is not None:
        legend = experts.legend(right_width, dense=True, no_color=shown.no_color)
        grid = fit(mapped, right_width, max(1, height - 3 - len(legend)))
        right += [experts.title(mapped, grid, right_width), *grid.lines(shown.at)]
        right += experts.legend(right_width, grid.dense, shown.no_color)
        right += _told(shown, [(("arrows or the mouse tell of one expert", "faint"),)], right_width)
    for brief, tall in ((False, True), (False, False), (True, False)):
        figures = [*_figures(shown, left_width, brief), *_outlook(shown, left_width, brief, tall)]
        lines = sum(map(len, figures))
        if lines + 1 <= height:
            break
    spare = height - lines - 1
    left: list[Piece] = [_EMPTY]
    for figure in figures:
        if len(left) > 1 and spare > 0:
            left.append(_EMPTY)
            spare -= 1
        left += figure
    rows = tuple(
        ((one, left_width), (_EMPTY, BETWEEN), (other, right_width))
        for one, other in zip_longest(left[:height], right[:height], fillvalue=_EMPTY)
    )
    return Arrangement(rows, grid, left_width + BETWEEN, 2)


def _figures(shown: Shown, width: int, brief: bool) -> list[list[Line]]:
    """What stands before the map, in groups between which there may be a gap."""
    told = shown.telemetry
    return [
        memory.lines(told.memory if told else None, shown.own, width, brief),
        speed.lines(
            told.decode_speed if told else 0.0,
            told.prompt_speed if told else 0.0,
            shown.progress,
            shown.tokens,
            width,
            brief,
        ),
        [
            *context.lines(told.context_used if told else None, told.context if told else 0, width),
            *(experts.neurons(told, width) if told else []),
        ],
    ]


def _outlook(shown: Shown, width: int, brief: bool, tall: bool) -> list[list[Line]]:
    """The disk, and what other budgets would give: groups again, as far as something is known."""
    told = shown.telemetry
    if told is None:
        return []
    groups = (
        storage.lines(told.storage, width, brief),
        what_if.lines(told.what_if, told.memory.budget, width, tall),
    )
    return [group for group in groups if group]


def _told(shown: Shown, legend: Sequence[Line], width: int) -> list[Line]:
    """The legend, or in its last line the expert that is looked at."""
    if shown.mapped is None:
        return []
    if shown.at is None:
        return list(legend)
    return [*legend[:-1], experts.expert(shown.mapped, *shown.at, width)]
