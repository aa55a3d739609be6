"""One of several things, chosen from a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option


class PickScreen(ModalScreen[int | None]):
    """Closes with the place of the line that was chosen, or with None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,q", "dismiss(None)", "Close"),
        ("j", "move(1)", "Down"),
        ("k", "move(-1)", "Up"),
    ]

    def __init__(self, title: str, lines: Sequence[Content], highlighted: int = 0) -> None:
        super().__init__()
        self._title = title
        self._lines = OptionList(*(Option(line) for line in lines), markup=False)
        self._highlighted = highlighted

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(self._title)
            dialog.border_subtitle = "Enter chooses · Esc closes"
            yield self._lines

    def on_mount(self) -> None:
        """Begin at the line that is most likely meant."""
        self._lines.highlighted = self._highlighted
        self._lines.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Chosen."""
        self.dismiss(event.option_index)

    def action_move(self, lines: int) -> None:
        """As with the arrows."""
        if lines > 0:
            self._lines.action_cursor_down()
        else:
            self._lines.action_cursor_up()
