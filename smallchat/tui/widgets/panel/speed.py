"""How fast the last tokens came, and how far a prompt is read."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.renderables.digits import DIGITS, DIGITS3X3_BOLD

from smallchat.engine.events import PromptProgress
from smallchat.tui.text import speed
from smallchat.tui.widgets.panel.figure import BLANK, Figure, bar

ROWS = 3
_SHAPES = DIGITS3X3_BOLD if isinstance(DIGITS3X3_BOLD, list) else DIGITS3X3_BOLD.splitlines()
_EIGHTHS = " ▁▂▃▄▅▆▇█"


class SpeedFigure(Figure):
    """Tokens a second, large; each of the last tokens as a column; the prompt below."""

    def __init__(self) -> None:
        super().__init__(id="speed")
        self._decode = 0.0
        self._prompt = 0.0
        self._progress: PromptProgress | None = None
        self._tokens: tuple[float, ...] = ()

    def show(
        self, decode: float, prompt: float, progress: PromptProgress | None, tokens: Sequence[float]
    ) -> None:
        """Draw if something changed."""
        values = (decode, prompt, progress, tuple(tokens))
        if values != (self._decode, self._prompt, self._progress, self._tokens):
            self._decode, self._prompt, self._progress, self._tokens = values
            self.refresh()

    def lines(self, width: int) -> list[Content]:
        if self.size.height < ROWS + 2:
            return self._short(width)
        large = big(speed(self._decode)) if self._decode else ["   ", "╶─╴", "   "]
        room = max(0, width - len(large[0]) - 2)
        columns = sparkline(self._tokens[-room:] if room else (), ROWS)
        body = [
            Content.assemble((row, "bold"), "  ", (" " * (room - len(line)) + line, "$expert-warm"))
            for row, line in zip(large, columns, strict=True)
        ]
        return [self.heading("Speed", "tokens a second"), *body, self._prompt_line(width)]

    def _short(self, width: int) -> list[Content]:
        """Two lines, where the terminal is low."""
        told = f"{speed(self._decode)} tok/s" if self._decode else BLANK
        if self._progress is not None:
            return [self.heading("Speed", told), self._prompt_line(width)]
        return [
            self.heading("Speed", told),
            Content.styled(sparkline(self._tokens[-width:], 1)[0], "$expert-warm"),
        ]

    def _prompt_line(self, width: int) -> Content:
        progress = self._progress
        if progress is None:
            told = f"{speed(self._prompt)} tok/s" if self._prompt else BLANK
            return Content.assemble(("prompt ", "$quiet"), told)
        left = progress.seconds_left
        told = f"reading prompt {progress.done:,}/{progress.total:,} "
        if left is not None and left >= 1:
            told += f"{left:.0f} s left "
        room = max(0, width - len(told))
        return Content(told) + bar(progress.done / max(1, progress.total), room)


def big(text: str) -> list[str]:
    """Digits three rows high."""
    rows = ["", "", ""]
    for character in text:
        index = DIGITS.find(character)
        cells = _SHAPES[index * 3 : index * 3 + 3] if index >= 0 else ["", "", character]
        for row, part in enumerate(cells):
            rows[row] += part.ljust(1 if character == "." else 3)
    return rows


def sparkline(values: Sequence[float], rows: int) -> list[str]:
    """Columns from 0, `rows` lines high; a few outliers may be cut, so that the others can be told apart."""
    if not values:
        return [""] * rows
    top = sorted(values)[(len(values) - 1) * 9 // 10]
    heights = [max(1, min(rows * 8, round(value / top * rows * 8))) for value in values]
    return [
        "".join(_EIGHTHS[max(0, min(8, height - (rows - 1 - row) * 8))] for height in heights)
        for row in range(rows)
    ]
