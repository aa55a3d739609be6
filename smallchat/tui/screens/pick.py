"""One of several things, chosen from a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from smallchat.tui.widgets.dialog import Choices, Dialog


class PickScreen(ModalScreen[int | None]):
    """Closes with the place of the line that was chosen, or with None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,q", "dismiss(None)", "Close"),
    ]

    def __init__(self, title: str, lines: Sequence[Content], highlighted: int = 0) -> None:
        super().__init__()
        self._title = title
        self._lines = Choices(*(Option(line) for line in lines), markup=False)
        self._highlighted = highlighted

    def compose(self) -> ComposeResult:
        with Dialog(self._title, "Enter chooses · Esc closes"):
            yield self._lines

    def on_mount(self) -> None:
        """Begin at the line that is most likely meant."""
        self._lines.highlighted = self._highlighted
        self._lines.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Chosen."""
        self.dismiss(event.option_index)
