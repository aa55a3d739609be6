"""How fast the last tokens came, what the slow ones waited for, and how far a prompt is read."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from textual.renderables.digits import DIGITS, DIGITS3X3_BOLD

from smallchat.engine.events import PromptProgress, Token
from smallchat.tui.text import speed
from smallchat.tui.widgets.panel.lines import BLANK, Line, bar, fitting, heading

ROWS = 3
SLOW = 1.5
"""Times the median of the last tokens, from which one is slow."""
SLOW_MARK = "▾"
_SHAPES = DIGITS3X3_BOLD if isinstance(DIGITS3X3_BOLD, list) else DIGITS3X3_BOLD.splitlines()
_EIGHTHS = " ▁▂▃▄▅▆▇█"


def lines(
    decode: float,
    prompt: float,
    progress: PromptProgress | None,
    tokens: Sequence[Token],
    width: int,
    brief: bool,
) -> list[Line]:
    """Tokens a second; each of the last tokens as a column; below, the cause of slow ones, or the prompt.

    `tokens` are the last ones, without the first of an answer. `brief`: three lines in place of five.
    """
    last = [reading(progress, width) if progress is not None else ((cause(tokens, width), "quiet"),)]
    if brief:
        told = f"{speed(decode)} tok/s" if decode else BLANK
        return [heading("Speed", told, width), *sparkline(tokens[-width:], 1, width), *last]
    large = big(speed(decode)) if decode else ["   ", "╶─╴", "   "]
    room = max(0, width - len(large[0]) - 2)
    columns = sparkline(tokens[-room:] if room else (), ROWS, room)
    body: list[Line] = [((row + "  ", "strong"), *column) for row, column in zip(large, columns, strict=True)]
    unit = "tokens a second"
    told = f"prompt {speed(prompt)}"
    told = fitting(width - 6, f"{unit} · {told}", told) if prompt else unit
    return [heading("Speed", told, width), *body, *last]


def big(text: str) -> list[str]:
    """Digits three rows high."""
    rows = ["", "", ""]
    for character in text:
        index = DIGITS.find(character)
        cells = _SHAPES[index * 3 : index * 3 + 3] if index >= 0 else ["", "", character]
        for row, part in enumerate(cells):
            rows[row] += part.ljust(1 if character == "." else 3)
    return rows


def slow(tokens: Sequence[Token]) -> list[bool]:
    """Which of these took far longer than most of them."""
    if len(tokens) < 2:
        return [False] * len(tokens)
    limit = SLOW * median(token.seconds for token in tokens)
    return [token.seconds > limit for token in tokens]


def sparkline(tokens: Sequence[Token], rows: int, width: int) -> list[Line]:
    """Columns from 0, `rows` lines high and at the right of `width`; slow tokens are marked above theirs.

    A few outliers may be cut, so that the others can be told apart.
    """
    if not tokens:
        return [((" " * width, ""),)] * rows
    speeds = [1 / max(token.seconds, 1e-6) for token in tokens]
    top = sorted(speeds)[(len(speeds) - 1) * 9 // 10]
    heights = [max(1, min(rows * 8, round(value / top * rows * 8))) for value in speeds]
    marks = slow(tokens)
    pad = (" " * (width - len(tokens)), "")
    drawn: list[Line] = []
    for row in range(rows):
        text = "".join(_EIGHTHS[max(0, min(8, height - (rows - 1 - row) * 8))] for height in heights)
        drawn.append((pad, *(_marked(text, marks) if row == 0 else ((text, "warm"),))))
    return drawn


def _marked(text: str, marks: Sequence[bool]) -> Line:
    spans: list[tuple[str, str]] = []
    for glyph, marked in zip(text, marks, strict=True):
        glyph, role = (SLOW_MARK, "alert") if marked else (glyph, "warm")
        if spans and spans[-1][1] == role:
            spans[-1] = (spans[-1][0] + glyph, role)
        else:
            spans.append((glyph, role))
    return tuple(spans)


def cause(tokens: Sequence[Token], width: int) -> str:
    """Where the time of the last slow token went, or where none was slow, of the last one.

    Empty where the engine does not tell, as a server.
    """
    if not tokens:
        return ""
    marked = [token for token, mark in zip(tokens, slow(tokens), strict=True) if mark]
    token = marked[-1] if marked else tokens[-1]
    if not token.compute_seconds:
        return ""
    compute, wait = token.compute_seconds * 1e3, token.wait_seconds * 1e3
    whole = token.seconds * 1e3
    parts = [
        f"{name} {value:.0f}"
        for name, value in (
            ("compute", compute),
            ("expert", wait),
            ("other", max(0.0, whole - compute - wait)),
        )
    ]
    mark = f"{SLOW_MARK} " if marked else ""
    took = f"{mark}{whole:.0f} ms: "
    return fitting(
        width,
        took + " · ".join(parts),
        took + " ".join(parts),
        took + " ".join(part for part in parts if not part.startswith("other")),
        f"{mark}{whole:.0f} ms, {wait:.0f} waited",
        f"{mark}{whole:.0f} ms",
    )


def reading(progress: PromptProgress, width: int) -> Line:
    """How far the prompt is read, and how long it still takes."""
    told = f"reading prompt {progress.done:,}/{progress.total:,} "
    left = progress.seconds_left
    if left is not None and left >= 1:
        told += f"{left:.0f} s left "
    told = fitting(width, told, f"{progress.done:,}/{progress.total:,} ")
    return (told, ""), *bar(progress.done / max(1, progress.total), max(0, width - len(told)))
