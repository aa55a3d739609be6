"""The map of the experts: one mark each, a row for every layer; packed where there is less room."""

from __future__ import annotations

from dataclasses import dataclass

from smallchat.engine.events import IN_MEMORY, READING, USED, Telemetry

DISK, IDLE, COOL, WARM, HOT, COMING, NOW = range(7)
"""Levels of one expert: on disk; in memory and never used, used seldom, often, most; being read; used by this
token. Where a mark stands for several experts, it shows the greatest."""

WIDEST = 4
"""Cells of one mark, at the most."""
_BY_HEAT = bytes(IDLE if not heat else COOL + heat // 86 for heat in range(256))
_BY_STATE = {READING: COMING, USED: NOW}


@dataclass(frozen=True, slots=True)
class Marks:
    """One line of the map: a level a mark; with `lower`, two rows as halves of a cell."""

    upper: bytes
    lower: bytes
    wide: int
    """Cells of one mark."""
    cursor: tuple[int, int] | None = None
    """Column, and 0 for `upper` or 1 for `lower`."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The map as it fits a place."""

    rows: tuple[bytes, ...]
    across: int
    """Experts of one layer that a mark stands for."""
    down: int
    """Layers that a mark stands for."""
    dense: bool
    """Two rows a line."""
    wide: int

    @property
    def together(self) -> int:
        """Experts that one mark stands for."""
        return self.across * self.down

    @property
    def height(self) -> int:
        """Lines that it takes."""
        return -(-len(self.rows) // 2) if self.dense else len(self.rows)

    def lines(self, cursor: tuple[int, int] | None) -> list[Marks]:
        """All lines; `cursor`: a layer and an expert whose mark is shown as chosen."""
        step = 2 if self.dense else 1
        drawn = [
            Marks(
                self.rows[at],
                self.rows[at + 1] if self.dense and at + 1 < len(self.rows) else b"",
                self.wide,
            )
            for at in range(0, len(self.rows), step)
        ]
        if cursor is not None:
            row, column = cursor[0] // self.down, cursor[1] // self.across
            marks = drawn[row // step]
            drawn[row // step] = Marks(marks.upper, marks.lower, marks.wide, (column, row % step))
        return drawn

    def at(self, x: int, y: int) -> tuple[int, int] | None:
        """First layer and expert of the mark in this cell; in a line of two rows, that of the upper one."""
        row, column = y * (2 if self.dense else 1), x // self.wide
        if 0 <= row < len(self.rows) and 0 <= column < len(self.rows[row]):
            return row * self.down, column * self.across
        return None


def levels(telemetry: Telemetry) -> bytes:
    """One level an expert, layer by layer. The scale of heat is fixed, so that brightness means the same."""
    return bytes(
        heat if state == IN_MEMORY else _BY_STATE.get(state, DISK)
        for state, heat in zip(telemetry.experts, telemetry.heat.translate(_BY_HEAT), strict=True)
    )


def fit(telemetry: Telemetry, width: int, height: int) -> Grid:
    """The map in at most `height` lines of `width` cells: layers share lines before marks are packed."""
    marks, per = levels(telemetry), telemetry.expert_count
    layers = [marks[start : start + per] for start in range(0, len(marks), per)] if per else []
    dense = len(layers) > height
    rows, across, down = pack(layers, width, height * 2 if dense else height)
    wide = 1 if dense or not rows else max(1, min(WIDEST, width // len(rows[0])))
    return Grid(tuple(rows), across, down, dense, wide)


def pack(rows: list[bytes], width: int, height: int) -> tuple[list[bytes], int, int]:
    """At most `height` rows of at most `width` marks, and how many experts and layers one mark stands for."""
    if not rows or not rows[0] or width < 1 or height < 1:
        return [], 1, 1
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
    return packed, across, down
