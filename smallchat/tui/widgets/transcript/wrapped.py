"""Text that is wrapped and drawn anew only from where it differs from what stood there before.

Textual wraps all of a paragraph for its height, wraps and draws all of it again, whenever a word is added.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import accumulate, chain
from typing import Any

from rich.cells import cell_len
from textual.content import Content, Span, _FormattedLine  # no public name yet
from textual.css.styles import RulesMap
from textual.strip import Strip
from textual.style import Style
from textual.visual import RenderOptions

TAB = 8
"""Cells from one stop of tabs to the next, as Textual draws them."""
_WORD = re.compile(r"\S+")


class Wrapped(Content):
    """`content`, in the place of `before`: the same lines, and the same strips, as of `content` alone.

    `since` is the first line that may differ from those of `before`.
    """

    __slots__ = ("_before", "_key", "_lines", "_starts", "_strips", "_strips_style", "since")

    def __init__(self, content: Content, before: object = None) -> None:
        super().__init__(content.plain, [*content.spans], strip_control_codes=False)
        self._before = before if isinstance(before, Wrapped) and before._key is not None else None
        self._key: tuple[int, str] | None = None
        """Width and overflow, of what follows:"""
        self._lines: list[_FormattedLine] = []
        self._starts: list[int | None] = []
        """Where each line begins in the text; None: within a paragraph with tabs, which stand as it began."""
        self._strips: list[Strip] = []
        self._strips_style: Style | None = None
        self.since = 0

    def forget(self) -> None:
        """Nothing of this is to stand for what is shown in its place."""
        self._key = None

    def get_optimal_width(self, rules: RulesMap, container_width: int) -> int:
        """See `Visual.get_optimal_width`: with tabs as wide as they are drawn."""
        if "\t" not in self.plain:
            return super().get_optimal_width(rules, container_width)
        return max(map(_width, self.plain.split("\n"))) + 2 * int(rules.get("line_pad", 0))

    def get_height(self, rules: RulesMap, width: int) -> int:
        """See `Visual.get_height`."""
        if not self._simple(rules):
            return super().get_height(rules, width)
        self._wrap(rules, width)
        return len(self._lines)

    def render_strips(
        self, width: int, height: int | None, style: Style, options: RenderOptions
    ) -> list[Strip]:
        """See `Visual.render_strips`."""
        rules = options.rules
        if not width or options.selection is not None or not self._simple(rules):
            self._strips_style = None
            return super().render_strips(width, height, style, options)
        self._wrap(rules, width)
        before, self._before = self._before, None
        kept: list[Strip] = []
        if before is not None and before._key == self._key and before._strips_style == style:
            kept = before._strips[: self.since]
        for line in self._lines[len(kept) :]:
            line.get_style = options.get_style
            kept.append(Strip(*line.to_strip(style)))
        self._strips, self._strips_style = kept, style
        return kept[:height]

    def _simple(self, rules: RulesMap) -> bool:
        """Each line is what is between two places of the text, at the left."""
        aligned = rules.get("text_align", "left") in ("left", "start") and not rules.get("line_pad", 0)
        return aligned and rules.get("text_wrap", "wrap") == "wrap"

    def _wrap(self, rules: RulesMap, width: int) -> None:
        overflow = rules.get("text_overflow", "fold")
        key = width, overflow
        if key == self._key:
            return
        before, self.since = self._before, 0
        kept: list[_FormattedLine] = []
        starts: list[int | None] = []
        start = x = y = 0
        if before is not None and before._key == key:
            since, start = self._unchanged(before, width)
            kept, starts = before._lines[:since], before._starts[:since]
            x, y = before._lines[since].x, before._lines[since].y
            self.since = since
        rest = self[start:] if start else self
        new = rest._wrap_and_format(width, overflow=overflow)
        paragraphs = rest.plain.split("\n")
        begins = [*accumulate((len(one) + 1 for one in paragraphs), initial=start)]
        for line in new:
            known = not line.x or "\t" not in paragraphs[line.y]
            starts.append(begins[line.y] + line.x if known else None)
            if not line.y:
                line.x += x
            line.y += y
        self._key, self._lines, self._starts = key, kept + new, starts
        if before is not None and before._strips_style is None:
            self._before = None  # out of view, it was never drawn: not to be held for ever

    def _unchanged(self, before: Wrapped, width: int) -> tuple[int, int]:
        """Lines of `before`, from the first on, that are also lines of this text; where the next begins."""
        one, other = before.plain, self.plain
        same = len(one) if other.startswith(one) else _common(one, other)
        spans = _common(
            before.spans, self.spans, lambda a, b: _from(a) == _from(b) and min(a.end, b.end) >= same
        )
        for span in chain(before.spans[spans:], self.spans[spans:]):
            same = min(same, span.start)
        grown = same == len(before.plain)
        begins = [
            (at, start) for at, start in enumerate(before._starts) if start is not None and start <= same
        ]
        for at, start in reversed(begins[1:-1]):  # from the line before the one that changed
            if self._independent(start, None if grown else same, width):
                return at, start
        return 0, 0

    def _independent(self, start: int, same: int | None, width: int) -> bool:
        """Wrapped by itself, the text from `start` on gives the lines that it has in the whole.

        `same`: up to there it is as it was; None: to its end.
        """
        text = self.plain
        if text[start - 1] == "\n":
            return True
        begin, end = text.rfind("\n", 0, start) + 1, text.find("\n", start)
        if "\t" in text[begin : end if end >= 0 else None]:
            return False
        word = _WORD.match(text, start)
        if word is None:  # spaces belong to the word before them
            return False
        if not text[start - 1].isspace():
            # In the midst of a word, which is cut in pieces only where it is longer than a line.
            return cell_len(word[0]) > width
        # Spaces at the very beginning belong to the first word. And a word that is shorter than it was might
        # stand in the line before.
        indented = not text[begin:start].strip()
        return not indented and (same is None or word.end() < same)


def _width(line: str) -> int:
    *before, last = line.split("\t")
    width = 0
    for part in before:
        width += cell_len(part)
        width += TAB - width % TAB
    return width + cell_len(last)


def _from(span: Span) -> tuple[int, Style | str]:
    return span.start, span.style


def _common(
    one: Sequence[Any], other: Sequence[Any], alike: Callable[[Any, Any], bool] = lambda a, b: False
) -> int:
    """How many of their first members are the same, or `alike`."""
    pairs = enumerate(zip(one, other, strict=False))
    different = (at for at, (a, b) in pairs if a is not b and a != b and not alike(a, b))
    return next(different, min(len(one), len(other)))
