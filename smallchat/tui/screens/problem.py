"""A dialog for what the user must decide: what happened, what helps, and the ways to go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from smallchat.engine.client import LoadOptions, Message
from smallchat.engine.events import Failed, TooLong
from smallchat.errors import StorageError
from smallchat.tui.text import count, one_line, plain
from smallchat.tui.widgets.dialog import Dialog

BEGINNING = 48
"""Characters of a message by which it is known again."""


class ProblemScreen(ModalScreen[str]):
    """Closes with the name of the way that was chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("left", "app.focus_previous", "Previous"),
        ("right", "app.focus_next", "Next"),
        ("escape", "decline", "Decline"),
    ]

    def __init__(self, what: str, cure: str, ways: Sequence[tuple[str, str]], harmless: str = "") -> None:
        """`ways`: name and label of each; the first is the one that Enter takes. `harmless`: the one that Esc
        takes; empty: none.
        """
        super().__init__()
        self._what = plain(what)
        self._cure = plain(cure)
        self._ways = ways
        self._harmless = harmless

    def compose(self) -> ComposeResult:
        with Dialog():
            yield Static(Content(self._what), classes="what")
            yield Static(Content(self._cure), classes="cure")
            with Horizontal(classes="ways"):
                for name, label in self._ways:
                    yield Button(Content(label), id=name, compact=True)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """The way is chosen."""
        self.dismiss(event.button.id or "")

    def action_decline(self) -> None:
        """The way that changes nothing, where there is one."""
        if self._harmless:
            self.dismiss(self._harmless)


def model_problem(failed: Failed, load: LoadOptions) -> ProblemScreen:
    """No model runs: load it again, or the one that smallchat ships, or quit."""
    ways = [("retry", "Load again")]
    if not load.demo:
        ways.append(("builtin", "Use the built-in model"))
    return ProblemScreen(failed.what, failed.cure, [*ways, ("quit", "Quit")])


def too_long_problem(too_long: TooLong, left_out: Sequence[Message], more: bool) -> ProblemScreen:
    """The conversation no longer fits: go on without its oldest messages, or not at all. `more`: the model
    could take a larger context.
    """
    what = (
        f"The conversation has {count(too_long.tokens, 'token')} with this message; {too_long.room:,} fit "
        "beside an answer"
    )
    if len(left_out) == 1:
        which, they, them = f"message, “{_beginning(left_out[0])}”", "It stays", "it"
    else:
        which, they, them = f"{len(left_out):,} messages", "They stay", "them"
        which += f", from “{_beginning(left_out[0])}” to “{_beginning(left_out[-1])}”"
    cure = f"To go on, the model would no longer read the first {which}. {they} saved, and on the screen."
    if more:
        cure += f" With a larger --context, this model could read {them} too."
    ways = [("out", f"Leave {them} out"), ("stop", "Do not answer")]
    return ProblemScreen(what, cure, ways, harmless="stop")


def _beginning(message: Message) -> str:
    text = one_line(message.content)
    return text if len(text) <= BEGINNING else text[:BEGINNING].rstrip() + "…"


def storage_problem(error: StorageError) -> ProblemScreen:
    """Conversations cannot be read: chat without saving, or begin a new file, or quit."""
    ways = [
        ("memory", "Go on without saving"),
        ("new", "Start a new file"),
        ("quit", "Quit"),
    ]
    return ProblemScreen(error.what, error.cure, ways)
