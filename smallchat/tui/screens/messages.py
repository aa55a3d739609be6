"""The keys that act on one message: the focused turn of the transcript."""

from __future__ import annotations

from smallchat.tui.screens.reading import Reading
from smallchat.tui.widgets.prompt.prompt import Prompt


class Messages(Reading):
    """A screen on which the keyboard belongs to the prompt or, with `action_messages`, to the messages."""

    prompt: Prompt

    def action_messages(self) -> None:
        """From the prompt to the messages, and back."""
        if self.focused is self.transcript or not self.dialogue.session.turns:
            self.prompt.focus()
        else:
            self.transcript.focus()

    def action_turn(self, step: int) -> None:
        """The message before or behind the focused one; behind the last one, back to writing."""
        if not self.transcript.move_focus(step):
            self.action_messages()

    def action_turn_at(self, index: int) -> None:
        """The first (0) or the last (-1) message."""
        turns = self.dialogue.session.turns
        if turns:
            self.transcript.focus_turn(turns[index])
