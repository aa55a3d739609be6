"""The list above the prompt: what could be meant by what is being typed."""

from __future__ import annotations

from textual import events
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from smallchat.tui.completing import Candidate, Completion
from smallchat.tui.text import one_line

ROWS = 8
"""Candidates in view at the most."""
NAME_CELLS = 44
"""Cells of a candidate's own text at the most, where it has a meaning beside it."""


class Completions(Widget, can_focus=False):
    """Drawn over the transcript, so that nothing moves when it opens."""

    class Picked(Message):
        """A candidate was clicked."""

    def __init__(self) -> None:
        super().__init__(id="completions")
        self.display = False
        self._completion: Completion | None = None
        self._at = 0
        self.moved = False
        """The reader chose a line: Enter takes it."""

    @property
    def shown(self) -> Completion | None:
        """What is offered; None: nothing."""
        return self._completion if self.display else None

    @property
    def highlighted(self) -> Candidate | None:
        """What Tab takes."""
        return self._completion.candidates[self._at] if self.shown and self._completion else None

    def offer(self, completion: Completion | None) -> None:
        """Show these candidates; None: nothing any more."""
        if completion == self._completion and self.display == (completion is not None):
            return
        kept = self.highlighted
        self._completion, self._at, was_moved = completion, 0, self.moved
        self.moved = False
        if completion is not None and was_moved and kept in completion.candidates:
            self._at, self.moved = completion.candidates.index(kept), True
        self.display = completion is not None
        if completion is not None:
            rows = min(ROWS, len(completion.candidates))
            self.styles.height, self.styles.offset = rows, (0, -rows)
            self.refresh()

    def move(self, lines: int) -> None:
        """Highlight another one."""
        if self._completion is not None:
            self._at = (self._at + lines) % len(self._completion.candidates)
            self.moved = True
            self.refresh()

    def on_click(self, event: events.Click) -> None:
        """A click takes the line."""
        if self._completion is not None and self._first + event.y < len(self._completion.candidates):
            self._at = self._first + event.y
            self.post_message(self.Picked())

    @property
    def _first(self) -> int:
        many = len(self._completion.candidates) if self._completion else 0
        return max(0, min(self._at - ROWS // 2, many - ROWS))

    def render(self) -> Content:
        """One line for each candidate in view."""
        if self._completion is None:
            return Content("")
        every = self._completion.candidates
        shown = every[self._first : self._first + ROWS]
        names = [Content(one_line(one.text)) for one in shown]
        meant = any(one.meaning for one in shown)
        width = self.content_size.width
        room = min(max(name.cell_length for name in names), NAME_CELLS if meant else width - 2)
        lines = []
        for row, (one, name) in enumerate(zip(shown, names, strict=True)):
            here = self._first + row == self._at
            name = name.truncate(room, ellipsis=True).pad_right(room - min(room, name.cell_length))
            line = Content.assemble("› " if here else "  ", name, "  ", (one_line(one.meaning), "$quiet"))
            more = f" {self._at + 1}/{len(every)}" if here and len(every) > ROWS else ""
            line = line.truncate(width - len(more), ellipsis=True, pad=True) + Content(more).stylize("$quiet")
            lines.append(line.stylize("bold $primary", 0, room + 2) if here else line)
        return Content("\n").join(lines)
