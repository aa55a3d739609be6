"""The box in which the user types."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import TextArea

from smallchat.tui import keys
from smallchat.tui.attachments import is_long
from smallchat.tui.completing import Completion
from smallchat.tui.faults import Guarded
from smallchat.tui.history import History
from smallchat.tui.text import pasted, plain
from smallchat.tui.widgets.prompt.completions import Completions

PASTE_LIMIT = 200_000
"""Characters; more than any model here reads, and wrapping them would hold the screen up."""


class Prompt(Guarded, TextArea):
    """A text area that sends with Enter and grows with its text."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pageup", "screen.scroll_transcript(-1)", "Scroll up", show=False),
        Binding("pagedown", "screen.scroll_transcript(1)", "Scroll down", show=False),
    ]

    class Submitted(Message):
        """Enter was pressed."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Pasted(Message):
        """A text was pasted that is too long to stand in the prompt."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(
        self,
        complete: Callable[[str, int], Completion | None],
        history: History,
        remapped: Mapping[str, str],
    ) -> None:
        """`complete` says what could be meant at that place of the text; `remapped`: see `keys`."""
        super().__init__(
            id="prompt",
            show_line_numbers=False,
            highlight_cursor_line=False,
            placeholder="Write a message",
            tab_behavior="focus",
        )
        # A blinking cursor wakes the machine twice a second, all day.
        self.cursor_blink = False
        self.completions = Completions()
        """The list, which whoever composes the prompt puts before it."""
        self._complete = complete
        self.said = history
        self._send = keys.prompt_keys("send", remapped)
        self._new_line = keys.prompt_keys("new_line", remapped)
        self._told_here = Content("")
        self._declined = ""
        """Text for which the list was closed."""

    async def _on_key(self, event: events.Key) -> None:
        # Textual calls the text area's own handler after this one, unless it is prevented. These keys are no
        # bindings, because those run too late: after what is typed behind them, where keys come fast.
        if not (self._key_for_list(event.key) or self._key_for_text(event.key)):
            return
        event.stop()
        event.prevent_default()

    def _key_for_text(self, key: str) -> bool:
        if key in self._new_line:
            self.insert("\n")
            self.scroll_cursor_visible()
        elif key in self._send:
            self.post_message(self.Submitted(self.text))  # also without text: attachments alone are a message
        elif key == "enter":
            return True  # remapped: it does nothing, rather than what nobody expects
        else:
            return key in ("up", "down") and self._recall(key)
        return True

    def _recall(self, key: str) -> bool:
        """At the prompt's edge: what was written before; False: the key only moves the cursor."""
        if not self.selection.is_empty:
            return False
        if key == "up" and self.navigator.is_first_wrapped_line(self.cursor_location):
            text = self.said.older(self.text)
        elif key == "down" and self.navigator.is_last_wrapped_line(self.cursor_location):
            text = self.said.newer(self.text)
        else:
            return False
        if text is not None:
            self.text = self._declined = text  # a command that is recalled opens no list: Up goes on
            # Where the same key goes on at once, also in a text of many lines.
            self.move_cursor((0, len(self.document.get_line(0))) if key == "up" else self.document.end)
        return text is not None

    def _key_for_list(self, key: str) -> bool:
        """What a key does to the list of completions; False: the list has no use for it."""
        sends = key in self._send
        if key == "tab" or sends:
            self.offer()  # keys may come faster than the list is drawn
        offered = self.completions.shown
        if offered is None:
            return False
        if key in ("up", "down"):
            self.completions.move(1 if key == "down" else -1)
        elif key == "escape":
            self._declined = self.text
            self.completions.offer(None)
        elif key == "tab" or (sends and (self.completions.moved or offered.eager)):
            whole = self.take()
            if sends and whole:
                self.post_message(self.Submitted(self.text))
        else:
            return False
        return True

    def take(self) -> bool:
        """Write the highlighted candidate into the text; True: that makes a whole command of it."""
        offered, chosen = self.completions.shown, self.completions.highlighted
        if offered is None or chosen is None:
            return False
        text = self.text
        before = text[: offered.start] + chosen.text + chosen.tail
        self.text = before + text[offered.end :]
        lines = before.split("\n")
        self.move_cursor((len(lines) - 1, len(lines[-1])))
        self.offer()
        return offered.eager and not chosen.tail

    def offer(self) -> None:
        """Show what could be meant by what stands before the cursor."""
        text = self.text
        if not self.selection.is_empty or text == self._declined:
            self.completions.offer(None)
            return
        self._declined = ""
        before = self.get_text_range((0, 0), self.cursor_location)
        self.completions.offer(self._complete(text, len(before)))

    def on_resize(self) -> None:
        """The line that is being written stays in view."""
        self.scroll_cursor_visible()

    def on_text_area_changed(self) -> None:
        """Something else could be meant now."""
        self.offer()

    def on_text_area_selection_changed(self) -> None:
        """The cursor is elsewhere."""
        self.offer()

    def load_text(self, text: str) -> None:
        """Take a text from elsewhere (an editor, a file of conversations), made harmless."""
        super().load_text(plain(text))

    def forget(self, text: str) -> None:
        """Drop `text`, which was sent. What was typed behind it in the meantime stays."""
        rest = self.text.removeprefix(text)
        if rest != self.text:
            self.text = rest
            self.move_cursor(self.document.end)

    def give_back(self, text: str) -> None:
        """What was sent and refused, to be corrected. No list opens over what is told about it."""
        self.text = self._declined = text
        self.move_cursor(self.document.end)

    async def _on_paste(self, event: events.Paste) -> None:
        """Insert what was pasted, harmless and at most `PASTE_LIMIT` characters of it; a long one is told."""
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
        if is_long(text):
            self.post_message(self.Pasted(text))
        else:
            await super()._on_paste(events.Paste(text))

    def tell_here(self, told: Content) -> None:
        """The line on the upper border."""
        if told != self._told_here:  # even the same title would have the box drawn anew
            self._told_here = told
            self.border_title = told

    def tell(self, hint: str) -> None:
        """The line on the lower border."""
        hint = hint.replace("[", "\\[")
        if self.border_subtitle != hint:
            self.border_subtitle = hint
