"""The first line: which conversation, which model."""

from __future__ import annotations

from rich.cells import cell_len
from textual.content import Content
from textual.widget import Widget

from smallchat.engine.events import Ready
from smallchat.tui.dialogue import Dialogue
from smallchat.tui.text import count, one_line

BRIEF = 100
"""Below this width, the model's name has to do."""


class TopLine(Widget):
    """Left the conversation, right the model; both give way where the line is short."""

    def __init__(self) -> None:
        super().__init__(id="topline")
        self._title = ""
        self._model = ""
        self._saves = True

    def show(self, dialogue: Dialogue, saves: bool) -> None:
        """Draw if something changed."""
        title = one_line(dialogue.session.title) or "new conversation"
        if dialogue.ready is not None:
            model = model_text(dialogue.ready, brief=self.size.width < BRIEF)
        else:
            model = "no model" if dialogue.failure is not None else f"{one_line(dialogue.stage)} …"
        if (title, model, saves) != (self._title, self._model, self._saves):
            self._title, self._model, self._saves = title, model, saves
            self.refresh()

    def render(self) -> Content:
        """Both ends, as far as they fit."""
        width = self.content_size.width
        name = Content.assemble(("smallchat", "bold $primary"), "  ")
        warning = Content.assemble(("  not saved", "$error")) if not self._saves else Content("")
        # Where the two are too long, the model's name gives way first, down to half of the line.
        model_room = max(width // 2, width - 26 - cell_len(self._title))
        model = Content(self._model).truncate(max(0, min(model_room, width - 26)), ellipsis=True)
        room = width - name.cell_length - warning.cell_length - model.cell_length - 2
        title = Content(self._title).truncate(max(0, room), ellipsis=True)
        left = name + title + warning
        gap = max(1, width - left.cell_length - model.cell_length)
        return left + Content(" " * gap) + model.stylize("$quiet")


def model_text(ready: Ready, brief: bool) -> str:
    """One line about the model."""
    parts = ["demo" if ready.demo else "", ready.name, ready.quantisation]
    if not brief:
        parts += [ready.kernels, count(ready.threads, "thread") if ready.threads else ""]
    return one_line(" · ".join(part for part in parts if part))
