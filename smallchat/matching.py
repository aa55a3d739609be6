"""Text as the searches of notes and of conversations look at it: no case, no accents, scripts in pieces.

Scripts that put no spaces between words (Chinese, Japanese, Thai, …) are looked up by every two neighbouring
characters: trigrams, which SQLite could make itself, would miss most Chinese words, which are two long.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import pairwise

SNIPPET = 160
"""Characters of the part that is shown of what was found."""

UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3005-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]+"
)


@lru_cache(maxsize=4096)
def _fold_one(character: str) -> str:
    parts = unicodedata.normalize("NFKD", character)
    return next((part.casefold()[0] for part in parts if not unicodedata.combining(part)), character)


def fold(text: str) -> str:
    """`text` in small letters without accents, character for character: its length stays."""
    return text.lower() if text.isascii() else "".join(map(_fold_one, text))


def grams(text: str) -> str:
    """Neighbouring characters of unspaced scripts in twos (and each run's last alone), as words."""
    found: list[str] = []
    for run in UNSPACED.findall(unicodedata.normalize("NFKC", text)):
        codes = [f"{ord(character):05x}" for character in run]
        found += [f"g{a}{b}" for a, b in pairwise(codes)]
        found.append(f"g{codes[-1]}")
    return " ".join(found)


def snippet(body: str, places: list[tuple[int, int, int]]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """The part of `body` that holds most of what was looked for, on one line, and where in it that stands.

    `places`: start, end, and the number of the term that stands there, sorted.
    """
    best, begin = 0, 0
    for place in places[:200]:
        inside = {
            number for start, end, number in places if place[0] <= start and end <= place[0] + SNIPPET - 30
        }
        if len(inside) > best:
            best, begin = len(inside), place[0]
    start = max(0, begin - 30)
    if start:  # begin with a whole word, where words are spaced
        start = body.find(" ", start, begin) + 1 or start
    end = min(len(body), start + SNIPPET)
    cut = "".join(" " if character.isspace() else character for character in body[start:end])
    head, tail = ("…" if start else ""), ("…" if end < len(body) else "")
    marks: list[tuple[int, int]] = []
    for low, high, _ in places:
        low, high = max(low, start), min(high, end)
        if low < high and (not marks or low - start + len(head) >= marks[-1][1]):
            marks.append((low - start + len(head), high - start + len(head)))
    return f"{head}{cut}{tail}", tuple(marks)
