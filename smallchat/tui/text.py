"""Text made fit for a terminal: hostile characters made harmless, figures made short."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_BIDI = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_HARMLESS: dict[int, str | None] = {
    # Control characters become their pictures, as ESC "␛": visible, and without effect on a terminal.
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"},
    0x7F: "␡",
    **dict.fromkeys(range(0x80, 0xA0), "\ufffd"),
    # Half of a surrogate pair cannot be written in UTF-8.
    **dict.fromkeys(range(0xD800, 0xE000), "\ufffd"),
    # Marks that turn the direction of writing can make a text read as something that it is not.
    **dict.fromkeys(_BIDI, None),
    0x2028: "\n",
    0x2029: "\n",
}


def plain(text: str) -> str:
    """`text` without anything a terminal would obey; newlines and tabs stay."""
    return text.replace("\r\n", "\n").translate(_HARMLESS)


def pasted(text: str) -> str:
    """Like `plain`, for what a terminal pastes: its line ends are single carriage returns."""
    return plain(text.replace("\r\n", "\n").replace("\r", "\n"))


def one_line(text: str) -> str:
    """`plain` text on one line, each space of whatever kind and number a single one: for titles and lists."""
    return " ".join(plain(text).split())


def count(number: int, noun: str) -> str:
    """1 token, 1,204 tokens."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def size(number: float) -> str:
    """Bytes, written as `--mem` takes them: 128M, 0.93G."""
    mebibytes = number / (1 << 20)
    if 0 < mebibytes < 9.95:
        return f"{mebibytes:.1f}M"
    if mebibytes < 900:
        return f"{mebibytes:.0f}M"
    return f"{mebibytes / 1024:.2f}G"


def speed(tokens_per_second: float) -> str:
    """Tokens a second: one decimal below 100."""
    return f"{tokens_per_second:.1f}" if tokens_per_second < 99.95 else f"{tokens_per_second:.0f}"


def age(seconds: float) -> str:
    """How long ago, in the largest unit that fits."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            return f"{count(int(seconds // length), unit)} ago"
    return "just now"


def outlook(row: Mapping[str, Any]) -> str:
    """How a model would run here, in a few words; `row` as `smallchat models --json` gives it."""
    told = {"memory": "fits in memory", "disk": "experts from disk", "no": "too large here"}[row["fits"]]
    rate = row["tokens_per_second"]
    return told + (f", about {speed(rate)} tokens/s" if rate else "")
