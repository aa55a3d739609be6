"""One marked message among those on the screen: what keys act on while the transcript has the focus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.geometry import Region

from smallchat.chat.records import Turn
from smallchat.tui import keys
from smallchat.tui.widgets.ground import Ground
from smallchat.tui.widgets.transcript.turn import TurnView


class Marking(VerticalScroll, Ground, inherit_bindings=False):
    """A scrolled column of turns of which one can be marked."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *keys.message_bindings(),
        Binding("pageup", "page_up", "Scroll up", show=False),
        Binding("pagedown", "page_down", "Scroll down", show=False),
    ]
    FOCUS_ON_CLICK = False  # a click begins a selection; the keyboard stays with the prompt

    def __init__(self, wake: Callable[[], None]) -> None:
        """`wake` has everything drawn soon."""
        super().__init__(id="transcript")
        self._wake = wake
        self._turns_shown: Sequence[Turn] = ()
        """The turns of the session."""
        self._views: list[TurnView] = []
        """Those of them that are mounted."""
        self._marked: Turn | None = None
        self._reveal: int | None = None
        """The marked turn is about to be brought into view: a long one's beginning (1) or its end (-1)."""

    @property
    def at_end(self) -> bool:
        """The reader sees the newest line, or follows it."""
        raise NotImplementedError

    @property
    def focused_turn(self) -> Turn | None:
        """The turn that keys act on; None while the keyboard belongs to another widget."""
        return self._marked if self.has_focus else None

    def focus_turn(self, turn: Turn, step: int = 1) -> None:
        """Mark this turn of the session, and bring it into view: for a negative step, a long one's end."""
        self._marked, self._reveal = turn, 1 if step > 0 else -1
        self.can_focus = True
        self.release_anchor()
        self._wake()

    def move_focus(self, step: int) -> bool:
        """Mark the turn `step` further down; a long one is scrolled through first.

        False behind the last turn: there is none to mark.
        """
        view = self._marked_view()
        if view is not None:
            self._bring_into_view()  # keys may come faster than frames
            if self._scroll_within(view, step):
                return True
        index = self._index(self._marked) + step
        if index >= len(self._turns_shown):
            return False
        self.focus_turn(self._turns_shown[max(0, index)], step)
        return True

    def on_focus(self) -> None:
        """Begin where this was left, or led to, if that is in view, and with the last turn at the end."""
        if self._reveal is not None:  # on its way into view
            self._wake()
            return
        seen = [view for view in self._views if view.region.intersection(self.region).height]
        if seen and (self.at_end or self._marked_view() not in seen):
            self._marked = seen[-1].turn
        self._wake()

    def _index(self, turn: Turn | None) -> int:
        """Place of the turn in the session; of one that is gone, behind the last."""
        turns = self._turns_shown
        return next((index for index, one in enumerate(turns) if one is turn), len(turns))

    def _marked_view(self) -> TurnView | None:
        return next((view for view in self._views if view.turn is self._marked), None)

    def _scroll_within(self, view: TurnView, step: int) -> bool:
        """Show more of a message that is longer than the screen; False where there is no more."""
        region, height = _place(view), self.size.height
        top, bottom = self.scroll_y, self.scroll_y + height
        if region.height <= height:
            return False
        page = max(1, height - 2)
        if step > 0 and region.y <= bottom < region.bottom:
            self.scroll_to(y=min(top + page, region.bottom - height), animate=False, immediate=True)
            return True
        if step < 0 and region.bottom >= top > region.y:
            self.scroll_to(y=max(top - page, region.y), animate=False, immediate=True)
            return True
        return False

    def _show_mark(self) -> None:
        if self._turns_shown and self._index(self._marked) == len(self._turns_shown):
            self._marked = self._turns_shown[-1]
        for one in self._views:
            one.set_class(one.turn is self._marked, "-marked")
        if self._reveal is not None and self._marked_view() is not None:
            self.call_after_refresh(self._bring_into_view)

    def _bring_into_view(self) -> None:
        """Scroll to the marked message if it still has to be shown, and has a place yet."""
        step, view = self._reveal, self._marked_view()
        if step is None or view is None:
            return
        region, height = _place(view), self.size.height
        begin, end = region.y, region.bottom - height
        target = self.scroll_y
        if region.height > height:
            target = begin if step > 0 else end
        elif not end <= self.scroll_y <= begin:
            target = begin if self.scroll_y > begin else end
        if not region.height or target > self.max_scroll_y:  # it was mounted just now
            self._wake()
            return
        self._reveal = None
        if target != self.scroll_y:
            self.scroll_to(y=target, animate=False, immediate=True)


def _place(view: TurnView) -> Region:
    """Where it is in all that can be scrolled to: below the empty line at the top (`#turns` in styles)."""
    return view.virtual_region.translate((0, 1))
