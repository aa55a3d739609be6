"""The line of keys at the foot of the chat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget

from smallchat.tui import keys


@dataclass(frozen=True, slots=True)
class Offered:
    """A key that does something now."""

    key: str
    """As Textual calls it."""
    shown: str
    word: str
    action: str

    @property
    def cells(self) -> int:
        """What it takes of the line, without the space behind it."""
        return cell_len(f"{self.shown} {self.word}")


class KeyFooter(Widget, can_focus=False):
    """The most important keys that fit whole, each word once; the help has all of them. A click presses one.

    One widget that draws a line: Textual's own footer is a widget for each key, and whenever another key does
    something, all of them are taken down and put up again, and everything is laid out anew.
    """

    ALLOW_SELECT = False

    def __init__(self) -> None:
        super().__init__(id="footer")
        self._offered: Sequence[Offered] = ()
        """What does something now, in the order of the table of keys."""
        self._below_mouse: Offered | None = None

    def on_mount(self) -> None:
        """Follow what the keys do."""
        self.screen.bindings_updated_signal.subscribe(self, self._offer)

    def _offer(self, screen: Screen[object]) -> None:
        # While the terminal's window is not the one in front, nothing has the focus.
        if screen is not self.screen or not screen.app.app_focus:
            return
        offered = [
            Offered(binding.key, self.app.get_key_display(binding), binding.description, binding.action)
            for _, binding, enabled, _ in screen.active_bindings.values()
            if binding.show and enabled
        ]
        if offered != self._offered:
            self._offered = offered
            self.refresh()

    @property
    def _fitting(self) -> list[Offered]:
        room = self.content_size.width
        chosen: dict[str, Offered] = {}
        for one in sorted(self._offered, key=lambda one: keys.importance(one.action)):
            if one.word not in chosen and one.cells <= room:
                chosen[one.word] = one
                room -= one.cells + 1
        return [one for one in self._offered if chosen.get(one.word) is one]

    def _placed(self) -> Iterator[tuple[int, Offered]]:
        """The keys that fit, and the column at which each begins."""
        column = 0
        for one in self._fitting:
            yield column, one
            column += one.cells + 1

    def render(self) -> Content:
        """One line."""
        drawn = []
        for _, one in self._placed():
            text = Content.assemble((one.shown, "bold $primary"), f" {one.word}")
            drawn.append(text.stylize("underline") if one == self._below_mouse else text)
        return Content(" ").join(drawn)

    def _at(self, event: events.MouseEvent) -> Offered | None:
        """The key that the mouse is on."""
        offset = event.get_content_offset(self)
        if offset is None:
            return None
        return next((one for x, one in self._placed() if x <= offset.x < x + one.cells), None)

    def _look_at(self, key: Offered | None) -> None:
        if key != self._below_mouse:
            self._below_mouse = key
            self.styles.pointer = "default" if key is None else "pointer"
            self.refresh()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Show what a click would press."""
        self._look_at(self._at(event))

    def on_leave(self) -> None:
        """The mouse is elsewhere."""
        self._look_at(None)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Press the key."""
        if (one := self._at(event)) is not None:
            self.app.simulate_key(one.key)
