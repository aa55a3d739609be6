"""The messages of the conversation: only the newest are mounted, older ones come when scrolled to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.widgets import Static

from smallchat.chat.records import Conversation, Turn
from smallchat.tui import keys
from smallchat.tui.dialogue import Dialogue
from smallchat.tui.widgets.transcript.turn import AnswerTurn, TurnView, UserTurn
from smallchat.tui.widgets.transcript.welcome import Welcome

FIRST = 10
"""Messages mounted when a conversation opens."""
MORE = 12
"""Messages that come when the reader reaches the top."""
MOST = 16
"""Above this many, the oldest are taken down when the reader is at the end."""


class Transcript(VerticalScroll, inherit_bindings=False):
    """Draws the turns of a session; follows the end until the reader scrolls up.

    While it has the focus, one turn is marked: what keys act on.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        *keys.message_bindings(),
        Binding("pageup", "page_up", "Scroll up", show=False),
        Binding("pagedown", "page_down", "Scroll down", show=False),
        Binding("ctrl+end", "screen.follow", "Follow", show=False),
    ]
    FOCUS_ON_CLICK = False  # a click begins a selection; the keyboard stays with the prompt

    def __init__(self, wake: Callable[[], None]) -> None:
        """`wake` has `show` called soon."""
        super().__init__(id="transcript")
        self._wake = wake
        self._views: list[TurnView] = []
        self._start = 0
        """Index of the first mounted turn."""
        self._older = Static("", id="older")
        self._told_start = 0
        self._welcome: Welcome | None = None
        self._place: tuple[TurnView, float] | None = None
        self._wants_older = False
        self._marked: Turn | None = None
        """The turn that is marked while this has the focus."""
        self._reveal: int | None = None
        """The marked turn is about to be brought into view: a long one's beginning (1) or its end (-1)."""
        self._turns_shown: Sequence[Turn] = ()
        self._placing = False
        """Older messages are mounted; the reader is about to be put back to the same place."""
        # An anchored container pushes short content to its bottom; this one is never short.
        self._turns = Vertical(id="turns")

    def compose(self) -> ComposeResult:
        self._older.display = False
        with self._turns:
            yield self._older

    def on_mount(self) -> None:
        """Begin at the end."""
        self.anchor()

    @property
    def at_end(self) -> bool:
        """The reader sees the newest line, or follows it."""
        return not self._anchor_released or self.scroll_y >= self.max_scroll_y

    async def show(self, dialogue: Dialogue) -> None:
        """Make the mounted messages those of the session, and draw what changed in them."""
        self._turns_shown = turns = dialogue.session.turns
        self.can_focus = bool(turns)
        same = 0
        for view, turn in zip(self._views, turns[self._start :], strict=False):
            if view.turn is not turn:
                break
            same += 1
        if same < len(self._views):
            gone, self._views = self._views[same:], self._views[:same]
            await self._turns.remove_children(gone)
        if not self._views:
            self._start = max(0, len(turns) - FIRST)
        new = [_view(turn) for turn in turns[self._start + len(self._views) :]]
        if new:
            await self._take_down_welcome()
            self._views += new
            await self._turns.mount_all(new)
            await self._take_down_oldest()
        for view in self._views:
            await self._show_view(view, dialogue)
        if self._wants_older and not self._placing and self._views:
            self._placing = True
            await self._load_older(dialogue)
        elif new and self._start:
            self.call_after_refresh(self._fill)
        self._tell_older()
        self._show_mark()

    async def welcome(self, demo: bool, recent: Sequence[Conversation]) -> None:
        """What stands here while there are no messages."""
        await self._take_down_welcome()
        self._welcome = Welcome(demo, recent)
        await self._turns.mount(self._welcome)

    @property
    def focused_turn(self) -> Turn | None:
        """The turn that keys act on; None while the keyboard belongs to another widget."""
        return self._marked if self.has_focus else None

    def focus_turn(self, turn: Turn, step: int = 1) -> None:
        """Mark this turn of the session, and bring it into view: for a negative step, a long one's end."""
        self._marked, self._reveal = turn, 1 if step > 0 else -1
        self.release_anchor()
        if not any(view.turn is turn for view in self._views):
            self.load_older()
        self._wake()

    def move_focus(self, step: int) -> bool:
        """Mark the turn `step` further down; a long one is scrolled through first.

        False behind the last turn: there is none to mark.
        """
        view = self._marked_view()
        if view is not None and self._scroll_within(view, step):
            return True
        index = self._index(self._marked) + step
        if index >= len(self._turns_shown):
            return False
        self.focus_turn(self._turns_shown[max(0, index)], step)
        return True

    def on_focus(self) -> None:
        """Begin where this was left if that is in view, and with the last turn at the end."""
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
        region, height = view.virtual_region, self.size.height
        top, bottom = self.scroll_y, self.scroll_y + height
        if region.height <= height:
            return False
        page = max(1, height - 2)
        if step > 0 and region.y <= bottom < region.bottom:
            self.scroll_to(y=min(top + page, region.bottom - height), animate=False)
            return True
        if step < 0 and region.bottom >= top > region.y:
            self.scroll_to(y=max(top - page, region.y), animate=False)
            return True
        return False

    def _show_mark(self) -> None:
        if self._turns_shown and self._index(self._marked) == len(self._turns_shown):
            self._marked = self._turns_shown[-1]
        for one in self._views:
            one.set_class(one.turn is self._marked, "-marked")
        view = self._marked_view()
        if self._reveal is None:
            return
        if view is None:
            self.load_older()
            return
        step, self._reveal = self._reveal, None
        self.call_after_refresh(self._bring_into_view, view, step)

    def _bring_into_view(self, view: TurnView, step: int) -> None:
        region, height = view.virtual_region, self.size.height
        begin, end = region.y, region.bottom - height
        if region.height > height:
            self.scroll_to(y=begin if step > 0 else end, animate=False, immediate=True)
        elif not end <= self.scroll_y <= begin:
            self.scroll_to(y=begin if self.scroll_y > begin else end, animate=False, immediate=True)

    async def _take_down_welcome(self) -> None:
        if self._welcome is not None:
            welcome, self._welcome = self._welcome, None
            await welcome.remove()

    async def _take_down_oldest(self) -> None:
        """A long conversation must not make every later answer slower."""
        if self.at_end and len(self._views) > MOST:
            gone, self._views = self._views[:-FIRST], self._views[-FIRST:]
            self._start += len(gone)
            await self._turns.remove_children(gone)

    async def _show_view(self, view: TurnView, dialogue: Dialogue) -> None:
        if isinstance(view, AnswerTurn):
            if not view.ended:
                await view.show(dialogue.progress)
        elif isinstance(view, UserTurn):
            waits = dialogue.wanted and view.turn is dialogue.session.last
            view.show("waiting for the model · Esc takes it back" if waits else "")

    def _tell_older(self) -> None:
        if self._older.display != bool(self._start):
            self._older.display = bool(self._start)
        if self._start != self._told_start:
            self._told_start = self._start
            self._older.update(Content(f"▲ {self._start:,} earlier"), layout=False)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Remember the place for the next resize, and bring older messages at the top."""
        super().watch_scroll_y(old_value, new_value)
        # Looking for the place makes Textual lay out what is not visible too: only where it will be needed.
        if self._anchor_released and not self._wants_older:
            self._place = self._find_place()
            if new_value < 1 <= old_value:
                self.load_older()

    def load_older(self) -> None:
        """Have the next `show` mount messages from before the first one."""
        if self._start and not self._wants_older:
            self._wants_older = True
            self._wake()

    def _fill(self) -> None:
        """Without anything to scroll, nobody could reach the older messages."""
        if not self.max_scroll_y:
            self.load_older()

    async def _load_older(self, dialogue: Dialogue) -> None:
        first = max(0, self._start - MORE)
        new = [_view(turn) for turn in dialogue.session.turns[first : self._start]]
        self._start = first
        anchor = self._views[0]
        self._views[:0] = new
        with self.app.batch_update():
            await self._turns.mount_all(new, before=anchor)
            for view in new:
                await self._show_view(view, dialogue)

        def keep_place() -> None:
            if self._anchor_released:
                self.scroll_to(y=anchor.virtual_region.y - 1, animate=False, immediate=True)
            self._wants_older = self._placing = False
            self._fill()

        self.call_after_refresh(keep_place)

    def _find_place(self) -> tuple[TurnView, float] | None:
        """The topmost message in view, and how much of it is above."""
        for view in self._views:
            region = view.virtual_region
            if region.height and region.bottom > self.scroll_y:
                return view, (self.scroll_y - region.y) / region.height
        return None

    def on_resize(self, event: Resize) -> None:
        """Lines wrap anew: keep the same words at the top."""
        place = self._place
        if place is None or not self._anchor_released:
            return

        def restore() -> None:
            view, share = place
            if view in self._views:
                region = view.virtual_region
                self.scroll_to(y=region.y + round(share * region.height), animate=False, immediate=True)

        self.call_after_refresh(restore)


def _view(turn: Turn) -> TurnView:
    return UserTurn(turn) if turn.role == "user" else AnswerTurn(turn)
