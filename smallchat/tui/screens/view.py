"""A text alone on the screen, to be read and to select in by keyboard."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import TextArea

from smallchat.tui.text import plain
from smallchat.tui.widgets.dialog import Dialog

KEYS = "Shift+arrows or V select · Y copies · Esc closes"
BRIEF = "V selects · Y copies · Esc closes"


class _Text(TextArea):
    """Keeps the cursor in view."""

    def on_resize(self) -> None:
        """Textual lets its line be cut off."""
        self.scroll_cursor_visible()


class ViewScreen(ModalScreen[None]):
    """Arrows or h j k l move, Shift or V selects, Y copies what is selected, or all of it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(keys, action, priority=True)  # before the text area's own, which know no selecting by V
        for keys, action in (
            ("escape,q", "close"),
            ("y,enter,ctrl+c", "copy"),
            ("v", "select"),
            ("h,left", "move('left')"),
            ("l,right", "move('right')"),
            ("k,up", "move('up')"),
            ("j,down", "move('down')"),
            ("w,ctrl+right", "move('word_right')"),
            ("b,ctrl+left", "move('word_left')"),
            ("0,home", "move('line_start')"),
            ("dollar_sign,end", "move('line_end')"),
            ("g", "end(False)"),
            ("G", "end(True)"),
        )
    ]

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title = title
        self._selecting = False
        self._area = _Text(plain(text), read_only=True, show_line_numbers=False, compact=True)
        self._area.cursor_blink = False

    def compose(self) -> ComposeResult:
        with Dialog(self._title, KEYS, BRIEF, classes="view"):
            yield self._area

    def on_mount(self) -> None:
        """Begin at the top."""
        self._area.focus()

    def action_close(self) -> None:
        """First end the selection, then the view."""
        if self._selecting:
            self._selecting = False
        else:
            self.dismiss()

    def action_select(self) -> None:
        """Begin to select here, or no longer."""
        self._selecting = not self._selecting
        if not self._selecting:
            self._area.move_cursor(self._area.cursor_location)

    def action_move(self, move: str) -> None:
        """As the arrows do; while V selects, the selection grows."""
        getattr(self._area, f"action_cursor_{move}")(self._selecting)

    def action_end(self, last: bool) -> None:
        """To the first line or to the last."""
        self._area.move_cursor(self._area.document.end if last else (0, 0), select=self._selecting)

    def action_copy(self) -> None:
        """Copy, and go back."""
        self.app.copy_to_clipboard(self._area.selected_text or self._area.text)
        self.dismiss()
