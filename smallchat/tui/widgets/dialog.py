"""What dialogs are made of."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType
from textual.widgets import OptionList


class Choices(OptionList):
    """Lines to choose from. The marked one stays in view, and J and K move the mark as the arrows do."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("j", "cursor_down", "Down"),
        ("k", "cursor_up", "Up"),
    ]

    def on_resize(self) -> None:
        """Textual lets the marked line be cut off."""
        self.scroll_to_highlight()
