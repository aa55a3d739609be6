"""The box in which the user types."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea

from smallchat.tui.text import pasted

SEND, NEW_LINE = "enter", ("ctrl+j", "shift+enter")

PASTE_LIMIT = 200_000
"""Characters; more than any model here reads, and wrapping them would hold the screen up."""


class Prompt(TextArea):
    """A text area that sends with Enter and grows with its text."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pageup", "screen.scroll_transcript(-1)", "Scroll up", show=False),
        Binding("pagedown", "screen.scroll_transcript(1)", "Scroll down", show=False),
        Binding("ctrl+end", "screen.follow", "Follow", show=False),
    ]

    class Submitted(Message):
        """Enter was pressed on something."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self) -> None:
        super().__init__(
            id="prompt",
            show_line_numbers=False,
            highlight_cursor_line=False,
            placeholder="Write a message",
            tab_behavior="focus",
        )
        # A blinking cursor wakes the machine twice a second, all day.
        self.cursor_blink = False

    async def _on_key(self, event: events.Key) -> None:
        # Textual calls the text area's own handler after this one, unless it is prevented. These keys are no
        # bindings, because those run too late: after what is typed behind them, where keys come fast.
        if event.key not in (SEND, *NEW_LINE):
            return
        event.stop()
        event.prevent_default()
        if event.key in NEW_LINE:
            self.insert("\n")
            self.scroll_cursor_visible()
        elif self.text.strip():
            self.post_message(self.Submitted(self.text))

    def forget(self, text: str) -> None:
        """Drop `text`, which was sent. What was typed behind it in the meantime stays."""
        rest = self.text.removeprefix(text)
        if rest != self.text:
            self.text = rest
            self.move_cursor(self.document.end)

    async def _on_paste(self, event: events.Paste) -> None:
        """Insert what was pasted, harmless and at most `PASTE_LIMIT` characters of it."""
        event.stop()
        event.prevent_default()
        text = pasted(event.text)
        if len(text) > PASTE_LIMIT:
            self.notify(
                f"Pasted the first {PASTE_LIMIT:,} of {len(text):,} characters",
                severity="warning",
                markup=False,
            )
            text = text[:PASTE_LIMIT]
        await super()._on_paste(events.Paste(text))

    def tell(self, hint: str) -> None:
        """The line on the lower border."""
        hint = hint.replace("[", "\\[")
        if self.border_subtitle != hint:
            self.border_subtitle = hint
