"""The lines above the prompt: what is sent along with the message."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from smallchat.tui.attachments import Attachment
from smallchat.tui.keys import KeyNames
from smallchat.tui.text import count, plain

ROWS = 4
"""Attachments in view at the most; the rest are counted."""


class AttachedLines(Widget, can_focus=False):
    """One line for each attachment."""

    class Wanted(Message):
        """The lines were clicked."""

    def __init__(self, keys: KeyNames) -> None:
        super().__init__(id="attached")
        self._keys = keys
        self.display = False
        self._lines: list[Content] = []

    def show(self, attachments: Sequence[Attachment], context: int) -> None:
        """Draw them; `context`: tokens that the model sees."""
        lines = [_line(one, context) for one in attachments[:ROWS]]
        if (more := len(attachments) - ROWS) > 0:
            lines.append(Content.styled(f"… and {more} more", "$quiet"))
        if lines and attachments:
            lines[0] += Content.styled(f"  {self._keys['attachments']} shows, takes out", "$quiet")
        if lines != self._lines:
            self._lines = lines
            self.display = bool(lines)
            self.styles.height = len(lines)
            self.refresh(layout=True)

    def on_click(self, _: events.Click) -> None:
        """A click shows them."""
        self.post_message(self.Wanted())

    def render(self) -> Content:
        """The lines, as far as they fit."""
        width = self.content_size.width
        return Content("\n").join(line.truncate(width, ellipsis=True) for line in self._lines)


def _line(one: Attachment, context: int) -> Content:
    if one.problem:
        return Content.assemble("▤ ", plain(one.label), (f"  {plain(one.problem)}", "$error"))
    if one.tokens is None:
        return Content.assemble("▤ ", plain(one.label), ("  counting …", "$quiet"))
    told = f"  {'' if one.exact else 'about '}{count(one.tokens, 'token')}"
    if one.tokens > context:
        return Content.assemble(
            "▤ ", plain(one.label), (f"{told}, the context holds {context:,}", "$warning")
        )
    return Content.assemble("▤ ", plain(one.label), (told, "$quiet"))
