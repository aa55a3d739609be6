"""Text that is wrapped and drawn anew only from where it differs from what stood there before.

Textual wraps all of a paragraph for its height, wraps and draws all of it again, whenever a word is added.
"""

from __future__ import annotations

import re
from itertools import accumulate

from rich.cells import cell_len
from textual.content import Content, _FormattedLine  # no public name yet
from textual.css.styles import RulesMap
from textual.strip import Strip
from textual.style import Style
from textual.visual import RenderOptions

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
        self._starts: list[int] = []
        """Where each line begins in the text."""
        self._strips: list[Strip] = []
        self._strips_style: Style | None = None
        self.since = 0

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
        return aligned and rules.get("text_wrap", "wrap") == "wrap" and "\t" not in self.plain

    def _wrap(self, rules: RulesMap, width: int) -> None:
        overflow = rules.get("text_overflow", "fold")
        key = width, overflow
        if key == self._key:
            return
        before, self.since = self._before, 0
        kept: list[_FormattedLine] = []
        starts: list[int] = []
        start = x = y = 0
        if before is not None and before._key == key:
            self.since = since = self._unchanged(before, width)
            kept, starts = before._lines[:since], before._starts[:since]
            start, x, y = before._starts[since], before._lines[since].x, before._lines[since].y
        rest = self[start:] if start else self
        new = rest._wrap_and_format(width, overflow=overflow)
        paragraphs = [0, *accumulate(len(one) + 1 for one in rest.plain.split("\n"))]
        for line in new:
            starts.append(start + paragraphs[line.y] + line.x)
            if not line.y:
                line.x += x
            line.y += y
        self._key, self._lines, self._starts = key, kept + new, starts
        if before is not None and before._strips_style is None:
            self._before = None  # out of view, it was never drawn: not to be held for ever

    def _unchanged(self, before: Wrapped, width: int) -> int:
        """Lines of `before`, from the first on, that are also lines of this text."""
        same = len(before.plain)
        if not self.plain.startswith(before.plain):
            pairs = enumerate(zip(before.plain, self.plain, strict=False))
            same = next((at for at, (one, other) in pairs if one != other), len(self.plain))
        for span in {*before.spans} ^ {*self.spans}:
            same = min(same, span.start)
        grown, starts = same == len(before.plain), before._starts
        line = max((at for at, start in enumerate(starts) if start <= same), default=0) - 1
        while line > 0 and not self._independent(starts[line], None if grown else same, width):
            line -= 1
        return max(0, line)

    def _independent(self, start: int, same: int | None, width: int) -> bool:
        """Wrapped by itself, the text from `start` on gives the lines that it has in the whole.

        `same`: up to there it is as it was; None: to its end.
        """
        text = self.plain
        if text[start - 1] == "\n":
            return True
        word = _WORD.match(text, start)
        if word is None:  # spaces belong to the word before them
            return False
        if not text[start - 1].isspace():
            # In the midst of a word, which is cut in pieces only where it is longer than a line.
            return cell_len(word[0]) > width
        # Spaces at the very beginning belong to the first word. And a word that is shorter than it was might
        # stand in the line before.
        indented = not text[text.rfind("\n", 0, start) + 1 : start].strip()
        return not indented and (same is None or word.end() < same)
