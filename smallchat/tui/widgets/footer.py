"""The line of keys at the foot of the chat."""

from __future__ import annotations

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.events import Resize
from textual.widgets import Footer
from textual.widgets._footer import FooterKey  # no public name yet

from smallchat.tui import keys


class KeyFooter(Footer):
    """The most important keys that fit whole, each word once; the help has all of them."""

    def __init__(self) -> None:
        super().__init__(show_command_palette=False, compact=True)
        self._width = 0

    def compose(self) -> ComposeResult:
        offered = [one for one in super().compose() if isinstance(one, FooterKey)]
        room = self._width = self.screen.size.width
        room -= 1  # a column at either side, and one behind each key
        shown: dict[str, FooterKey] = {}
        for one in sorted(offered, key=lambda one: keys.importance(one.action)):
            cells = cell_len(f"{one.key_display} {one.description} ")
            if one.description not in shown and cells <= room:
                shown[one.description] = one
                room -= cells
        yield from (one for one in offered if shown.get(one.description) is one)

    async def on_resize(self, _: Resize) -> None:
        """There is other room now."""
        if self._width != self.screen.size.width:
            await self.recompose()
