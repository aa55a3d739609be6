"""The messages of the conversation: only a window of them is mounted, others come when scrolled to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.app import ComposeResult
from textual.content import Content
from textual.events import Resize
from textual.geometry import Size

from smallchat.chat.records import Conversation, Turn
from smallchat.chat.session import Session
from smallchat.tui.dialogue import Dialogue
from smallchat.tui.frames import one_frame
from smallchat.tui.keys import KeyNames
from smallchat.tui.widgets.ground import Stack, Text
from smallchat.tui.widgets.transcript.marking import Marking
from smallchat.tui.widgets.transcript.turn import AnswerTurn, TurnView, UserTurn, place_text
from smallchat.tui.widgets.transcript.welcome import Welcome

FIRST = 10
"""Messages mounted when a conversation opens."""
MORE = 12
"""Messages that come when the reader reaches the top."""
MOST = 16
"""Above this many, `tidy` takes the oldest down."""
PAGES = 2
"""… as far as what is left fills the screen so often."""
PATIENCE = 20
"""So often it is waited for mounted messages to be laid out."""


class Transcript(Marking):
    """Draws the turns of a session; follows the end until the reader scrolls up.

    Mounted is a window of them. It begins at the end, grows at either end where the reader comes there, and
    moves to a turn that is to be shown and is far away.
    """

    def __init__(self, wake: Callable[[], None], keys: KeyNames) -> None:
        """`wake` has `show` called soon."""
        super().__init__(wake)
        self._keys = keys
        self._start = 0
        """Index of the first mounted turn."""
        self._open = True
        """The window reaches to the last turn, and grows with the conversation."""
        self._older = Text("", id="older")
        self._later = Text("", id="later")
        self._told_beyond = (0, 0)
        self._welcome: Welcome | None = None
        self._place: tuple[TurnView, float] | None = None
        self._wants_older = False
        self._wants_later = False
        self._rewrapping = False
        """It gets another width; where that leaves the reader is not where the reader went."""
        self._placing = False
        """Older messages are mounted; the reader is about to be put back to the same place."""
        # An anchored container pushes short content to its bottom; this one is never short.
        self._turns = Stack(id="turns")

    def compose(self) -> ComposeResult:
        self._older.display = self._later.display = False
        with self._turns:
            yield self._older
            yield self._later

    def on_mount(self) -> None:
        """Begin at the end."""
        self.anchor()

    @property
    def at_end(self) -> bool:
        """The reader sees the newest line, or follows it."""
        return self._open and (not self._anchor_released or self.scroll_y >= self.max_scroll_y)

    def anchor(self, anchor: bool = True) -> None:
        """To the end, and on with what comes."""
        if anchor:
            self._open, self._reveal = True, None
        super().anchor(anchor)

    @property
    def _end(self) -> int:
        """Index behind the last mounted turn."""
        return self._start + len(self._views)

    async def show(self, dialogue: Dialogue) -> None:
        """Make the mounted messages those of the session, and draw what changed in them."""
        session = dialogue.session  # another one may be opened while views are being mounted
        self._turns_shown = turns = session.turns
        self.can_focus = bool(turns)
        same = 0
        for view, turn in zip(self._views, turns[self._start :], strict=False):
            if view.turn is not turn:
                break
            same += 1
        await self._take_down(self._views[same:])
        new = self._to_mount(turns)
        if new is None:
            await self._take_down(self._views)
            new = self._to_mount(turns) or []
        views = [self._view(turn) for turn in new]
        if views:
            await self._take_down_welcome()
            self._views += views
            await self._turns.mount_all(views, before=self._later)
        for view in self._views:
            await self._show_view(view, dialogue, session)
        if self._wants_older and not self._placing and self._views:
            self._placing = True
            await self._load_older(dialogue, session)
        elif views and (self._start or not self._open):
            self.call_after_refresh(self._when_laid_out, views[-1], self._fill)
        self._tell_beyond()
        self._show_mark()

    def _to_mount(self, turns: Sequence[Turn]) -> Sequence[Turn] | None:
        """The turns to mount behind those that are; None: the window has to move, take them all down."""
        total, wanted = len(turns), self._index(self._marked) if self._reveal is not None else None
        if wanted is not None and wanted >= total:
            wanted = None
        if not self._views:
            middle = total if wanted is None else wanted + FIRST // 2
            self._start = max(0, min(middle, total) - FIRST)
            end = min(total, self._start + FIRST)
        elif wanted is not None and not self._start - MORE <= wanted < self._end + MORE:
            return None
        elif wanted is not None and wanted >= self._end:
            end = min(total, wanted + 2)
        elif wanted is not None and wanted < self._start:
            self._wants_older, end = True, self._end
        elif self._open or self._wants_later:
            if self._open and total - self._end > MORE:
                return None
            end = min(total, self._end + MORE)
        else:
            end = self._end
        if self._wants_later:
            self._wants_later = False
            self.release_anchor()
        self._open = end == total
        return turns[self._end : end]

    async def welcome(self, demo: bool, recent: Sequence[Conversation]) -> None:
        """What stands here while there are no messages."""
        await self._take_down_welcome()
        self._welcome = Welcome(demo, recent, self._keys)
        await self._turns.mount(self._welcome)

    async def _take_down(self, views: list[TurnView]) -> None:
        if views:
            gone = [*views]
            self._views = [view for view in self._views if view not in gone]
            await self._turns.remove_children(gone)

    async def _take_down_welcome(self) -> None:
        if self._welcome is not None:
            welcome, self._welcome = self._welcome, None
            await welcome.remove()

    async def tidy(self) -> None:
        """Take the oldest messages down: a long conversation must not make every later answer slower.

        Everything is laid out anew for it: to be called while nobody waits for the screen.
        """
        if not self.at_end or len(self._views) <= MOST:
            return
        kept = height = 0
        for view in reversed(self._views):
            if kept >= FIRST and height >= PAGES * self.size.height:
                break
            kept, height = kept + 1, height + view.outer_size.height
        if gone := self._views[:-kept]:
            self._start += len(gone)
            async with one_frame(self.app):
                await self._take_down(gone)
                self._tell_beyond()

    async def _show_view(self, view: TurnView, dialogue: Dialogue, session: Session) -> None:
        beside = session.siblings(view.turn)
        view.place = place_text(beside.index(view.turn) + 1, len(beside))
        if isinstance(view, AnswerTurn):
            if view.stale:
                await view.show(dialogue.progress)
        elif isinstance(view, UserTurn):
            waits = dialogue.wanted and view.turn is session.last
            told = self._keys.told("waiting for the model · {stop} takes it back")
            view.show(told if waits else "")

    def _tell_beyond(self) -> None:
        beyond = (self._start, len(self._turns_shown) - self._end)
        if beyond == self._told_beyond:  # telling it again would have everything laid out anew
            return
        self._told_beyond = beyond
        for mark, sign, word, number in (
            (self._older, "▲", "earlier", beyond[0]),
            (self._later, "▼", "later", beyond[1]),
        ):
            if mark.display != bool(number):
                mark.display = bool(number)
            if number:
                mark.update(Content(f"{sign} {number:,} {word}"))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Remember the place for the next resize, and bring older messages at the top."""
        super().watch_scroll_y(old_value, new_value)
        # Looking for the place makes Textual lay out what is not visible too: only where it will be needed.
        if self._anchor_released and not self._wants_older and not self._rewrapping:
            self._place = self._find_place()
            if new_value < 1 <= old_value:
                self.load_older()
        if not self._open and new_value >= self.max_scroll_y and new_value > old_value:
            self._load_later()

    def load_older(self) -> None:
        """Have the next `show` mount messages from before the first one."""
        if self._start and not self._wants_older:
            self._wants_older = True
            self._wake()

    def _load_later(self) -> None:
        """Have the next `show` mount messages from behind the last one."""
        if not self._open and not self._wants_later:
            self._wants_later = True
            self._wake()

    def _when_laid_out(self, view: TurnView, then: Callable[[], None], patience: int = PATIENCE) -> None:
        """Call `then` behind the frame in which a view that was mounted has got its place."""
        if patience and not view.virtual_region.height:
            self.call_after_refresh(self._when_laid_out, view, then, patience - 1)
        else:
            then()

    def _fill(self) -> None:
        """Without anything to scroll, nobody could reach the other messages."""
        if not self.max_scroll_y:
            self.load_older()
            self._load_later()

    async def _load_older(self, dialogue: Dialogue, session: Session) -> None:
        first = max(0, self._start - MORE)
        new = [self._view(turn) for turn in session.turns[first : self._start]]
        self._start = first
        anchor = self._views[0]
        self._views[:0] = new
        with self.app.batch_update():
            await self._turns.mount_all(new, before=anchor)
            for view in new:
                await self._show_view(view, dialogue, session)

        def keep_place() -> None:
            if self._anchor_released:
                self.scroll_to(y=anchor.virtual_region.y - 1, animate=False, immediate=True)
            self._wants_older = self._placing = False
            self._fill()

        self.call_after_refresh(self._when_laid_out, self._views[0], keep_place)

    def _find_place(self) -> tuple[TurnView, float] | None:
        """The topmost message in view, and how much of it is above."""
        for view in self._views:
            region = view.virtual_region
            if region.height and region.bottom > self.scroll_y:
                return view, (self.scroll_y - region.y) / region.height
        return None

    def _size_updated(
        self, size: Size, virtual_size: Size, container_size: Size, layout: bool = True
    ) -> bool:
        """See `Widget._size_updated`."""
        self._rewrapping = size.width != self._size.width
        try:
            return super()._size_updated(size, virtual_size, container_size, layout)
        finally:
            self._rewrapping = False

    def _check_anchor(self) -> None:
        # Wider lines are fewer: the end may then be where the reader is, who did not go there.
        if not self._rewrapping:
            super()._check_anchor()

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

    def _view(self, turn: Turn) -> TurnView:
        return (UserTurn if turn.role == "user" else AnswerTurn)(turn, self._keys)
