"""What would change in a note, before it is written."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from smallchat.tui.text import plain
from smallchat.tui.widgets.dialog import Dialog

MOST_LINES = 400
"""Lines of a difference that are drawn; a longer one says how many more there are."""

_STYLES = {"+": "$success", "-": "$error", "@": "$quiet"}


class ChangeScreen(ModalScreen[bool]):
    """Closes with True where the change is to be written."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "answer(False)", "Leave it"),
        ("y", "answer(True)", "Write"),
        ("n", "answer(False)", "Leave it"),
        ("left", "app.focus_previous", "Previous"),
        ("right", "app.focus_next", "Next"),
    ]

    def __init__(self, path: str, diff: list[str]) -> None:
        """`diff`: lines as `difflib` writes them, the two with the file's names first."""
        super().__init__()
        self._path = plain(path).replace("\n", "␊")
        self._diff = diff[2:]

    def compose(self) -> ComposeResult:
        with Dialog("Write this?", "Y writes · N leaves it"):
            yield Static(Content(self._path), classes="what")  # whole, where an edge would cut it
            yield Static(self._drawn())
            with Horizontal(classes="ways"):
                yield Button(Content("Write it"), id="yes", compact=True)
                yield Button(Content("Leave it as it is"), id="no", compact=True)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Decided."""
        self.dismiss(event.button.id == "yes")

    def action_answer(self, write: bool) -> None:
        """Decided by key."""
        self.dismiss(write)

    def _drawn(self) -> Content:
        shown = [Content.styled(plain(line), _STYLES.get(line[:1], "")) for line in self._diff[:MOST_LINES]]
        if (more := len(self._diff) - MOST_LINES) > 0:
            shown.append(Content.styled(f"… {more:,} more lines", "$quiet"))
        return Content("\n").join(shown)
