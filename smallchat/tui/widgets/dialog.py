"""What dialogs are made of."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import OptionList

FRAME = 6
"""Cells of a dialog's lower edge that its keys have not."""


class Dialog(VerticalScroll, can_focus=False):
    """A frame above the chat: on its upper edge what it is, on the lower one its keys; neither where
    what is inside tells them.
    """

    def __init__(self, title: str = "", keys: str = "", brief: str = "", classes: str = "") -> None:
        """`brief`: the keys where there is no room for more words."""
        super().__init__(classes=f"dialog {classes}")
        self.border_title = Content(title)
        self.border_subtitle = Content(keys)
        self._keys, self._brief = Content(keys), Content(brief or keys)

    def on_resize(self) -> None:
        """Tell the keys in as many words as fit."""
        fits = self._keys.cell_length <= self.outer_size.width - FRAME
        self.border_subtitle = self._keys if fits else self._brief


class Choices(OptionList):
    """Lines to choose from. The marked one stays in view, and J and K move the mark as the arrows do."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("j", "cursor_down", "Down"),
        ("k", "cursor_up", "Up"),
    ]

    def on_resize(self) -> None:
        """Textual lets the marked line be cut off."""
        self.call_after_refresh(self.scroll_to_highlight)
