"""The keys of the chat that only look at it: scroll, copy, help, the panel."""

from __future__ import annotations

from textual.screen import Screen

from smallchat.settings import Settings
from smallchat.tui import keys
from smallchat.tui.dialogue import Dialogue
from smallchat.tui.screens.help import HelpScreen
from smallchat.tui.text import plain
from smallchat.tui.widgets.panel.panel import Panel
from smallchat.tui.widgets.prompt.prompt import Prompt
from smallchat.tui.widgets.transcript.transcript import Transcript

PANEL_FULL = "-panel-full"
PANEL_SIZES = ("", "-panel-narrow", PANEL_FULL)
"""Classes that the screen has while the panel has this size."""


class Reading(Screen[None]):
    """A screen with a dialogue, its transcript, a prompt and a panel."""

    dialogue: Dialogue
    transcript: Transcript
    panel: Panel
    _settings: Settings
    prompt: Prompt
    key_names: keys.KeyNames
    _panel_size = 0

    def wake(self) -> None:
        """Something changed: draw it soon."""
        raise NotImplementedError

    def restore_attached(self) -> None:
        """What was going to be sent along in the conversation that is open now."""
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
        self._show_panel(not self.panel.shown)

    def action_panel_size(self) -> None:
        """The next size of the panel: beside the talk, narrow, the whole screen."""
        if self.panel.shown:
            self._panel_size = (self._panel_size + 1) % len(PANEL_SIZES)
        self._show_panel(True)

    def on_panel_left(self) -> None:
        """From the whole screen back beside the talk."""
        self._panel_size = 0
        self._show_panel(True)

    def _show_panel(self, shown: bool) -> None:
        size = PANEL_SIZES[self._panel_size] if shown else ""
        self.set_class(shown, "-panel")
        self.set_class(not shown, "-no-panel")
        for name in PANEL_SIZES[1:]:
            self.set_class(name == size, name)
        if self.panel.full != (size == PANEL_FULL):
            self.panel.full = not self.panel.full
            (self.panel if self.panel.full else self.prompt).focus()
        self.call_after_refresh(self.wake)

    def uncover(self, _: Screen[None]) -> None:
        """Have the panel end where the prompt begins, in case that it lies over the talk."""
        over = self.has_class("-narrow") and not self.panel.full
        below = self.prompt.region.bottom - self.transcript.region.bottom if over else 0
        if self.panel.styles.margin.bottom != below:
            self.panel.styles.margin = (0, 0, below, 0)

    def action_scroll_transcript(self, pages: int) -> None:
        """A page up or down, without leaving the prompt."""
        if pages < 0:
            self.transcript.scroll_page_up(animate=False)
        else:
            self.transcript.scroll_page_down(animate=False)

    def action_follow(self) -> None:
        """To the end, and on with the answer."""
        self.transcript.anchor()
        self.wake()

    def tell(self, text: str) -> None:
        """One line that goes away by itself."""
        self.notify(plain(text), markup=False)
