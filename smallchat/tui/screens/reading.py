"""The keys of the chat that only look at it: scroll, copy, help, the panel."""

from __future__ import annotations

from textual.screen import Screen

from smallchat.settings import Settings
from smallchat.tui import keys
from smallchat.tui.dialogue import Dialogue
from smallchat.tui.screens.help import HelpScreen
from smallchat.tui.text import plain
from smallchat.tui.widgets.panel.panel import Panel
from smallchat.tui.widgets.transcript.transcript import Transcript


class Reading(Screen[None]):
    """A screen with a dialogue, its transcript and a panel."""

    dialogue: Dialogue
    transcript: Transcript
    panel: Panel
    _settings: Settings

    def wake(self) -> None:
        """Something changed: draw it soon."""
        raise NotImplementedError

    def action_copy_answer(self) -> None:
        """Put the last answer into the clipboard."""
        answers = [turn.content for turn in self.dialogue.session.turns if turn.role == "assistant"]
        if answers and answers[-1]:
            self.app.copy_to_clipboard(answers[-1])
        else:
            self.tell("There is no answer to copy yet")

    def action_help(self) -> None:
        """All keys."""
        self.app.push_screen(HelpScreen(keys.remapped(self._settings.keys)))

    def action_panel(self) -> None:
        """Show the panel where it is hidden, hide it where it is shown."""
        shown = self.panel.shown
        self.set_class(not shown, "-panel")
        self.set_class(shown, "-no-panel")
        self.call_after_refresh(self.wake)

    def action_scroll_transcript(self, pages: int) -> None:
        """A page up or down, without leaving the prompt."""
        if pages < 0:
            self.transcript.scroll_page_up(animate=False)
        else:
            self.transcript.scroll_page_down(animate=False)

    def action_follow(self) -> None:
        """To the end, and on with the answer."""
        self.transcript.anchor()

    def tell(self, text: str) -> None:
        """One line that goes away by itself."""
        self.notify(plain(text), markup=False)


def _import_markdown() -> None:
    """Behind the first frame, and before the first answer has to wait for it."""
    import smallchat.tui.widgets.transcript.markdown  # noqa: F401
