"""The saved conversations: opened, found, named, pinned, deleted; what the sidebar's keys do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from smallchat.chat.records import Conversation
from smallchat.chat.search import Found, Search
from smallchat.chat.session import Session
from smallchat.chat.store import Store
from smallchat.errors import SmallchatError, StorageError
from smallchat.files import meant, write_new
from smallchat.settings import Settings, UsageError
from smallchat.tui.screens.branching import Branching
from smallchat.tui.text import one_line
from smallchat.tui.widgets.sidebar.sidebar import SHOWN, Sidebar

PAUSE = 0.05
"""Seconds between two helpings of messages that the search does not know yet."""


class Conversations(Branching):
    """A screen with a store, of whose conversations one is open."""

    sidebar: Sidebar
    search: Search
    _settings: Settings
    _store: Store
    _queued: bool
    _welcomed: tuple[Session, bool] | None

    _listed: tuple[object, ...] | None = None
    """What decides what the sidebar shows, as it was drawn last."""
    _gone: tuple[Conversation, ...] = ()
    """What was deleted and can come back, the latest last."""

    # The sidebar

    def show_sidebar(self) -> None:
        """The clock asks: draw it where something changed."""
        dialogue, session = self.dialogue, self.dialogue.session
        listed = (session.id, session.title, len(session.turns), session.turns[-1:], dialogue.busy)
        if listed != self._listed and self.sidebar.shown:
            self._listed = listed
            self.sidebar.show(self.conversations(SHOWN), session.id, dialogue.busy)

    def action_conversations(self) -> None:
        """To the sidebar, shown if it is not; from there: hide it."""
        if self.sidebar.shown and self.sidebar.has_focus_within:
            self._show_sidebar(False)
            self.prompt.focus()
            return
        self._keeper.save_draft(self.prompt.text)
        self._show_sidebar(True)
        session = self.dialogue.session
        self.sidebar.show(self.conversations(SHOWN), session.id, self.dialogue.busy, anew=True)
        self.sidebar.entries.focus()

    def action_search_said(self) -> None:
        """To the search field."""
        self._show_sidebar(True)
        if not self.sidebar.renaming:
            self.sidebar.field.focus()

    async def command_export(self, name: str) -> None:
        """The open conversation as a file: Markdown, or everything of it as JSON."""
        from smallchat.chat import transfer

        session = self.dialogue.session
        found = [one for one in self.conversations() if one.id == session.id]
        if not name or not found:
            what = "/export needs the name of a file" if found else "There is nothing to export yet"
            raise UsageError(what, "/export talk.md for reading, /export talk.json for everything")
        path = meant(name)
        await asyncio.to_thread(
            write_new, path, transfer.exported(self._store, found, transfer.kind_of(path))
        )
        self.tell(f"Saved as {one_line(str(path.absolute()))}")

    async def command_find(self, words: str) -> None:
        """Search everything ever said."""
        self.action_search_said()
        self.sidebar.field.value = words
        self.sidebar.field.cursor_position = len(words)

    def action_sidebar_move(self, step: int) -> None:
        """Mark another line while the search field has the keyboard."""
        self.sidebar.move(step)

    def action_leave_sidebar(self) -> None:
        """One step back: no other name, nothing looked for any more, to the prompt."""
        if self.sidebar.renaming:
            self.sidebar.end_rename()
        elif self.sidebar.field.value:
            self.sidebar.field.value = ""
        else:
            self._to_prompt()

    def _show_sidebar(self, shown: bool) -> None:
        self.set_class(shown, "-sidebar")
        self.set_class(not shown, "-no-sidebar")
        self._listed = None
        self.call_after_refresh(self.wake)

    def _to_prompt(self) -> None:
        """Where the sidebar lies above the talk, it goes away."""
        if self.has_class("-narrow") or self.has_class("-wide"):
            self._show_sidebar(False)
        self.prompt.focus()

    # Opening

    def action_new(self) -> None:
        """A conversation without messages."""
        self.go_on_with(Session(self._store, self._settings.system))

    def on_sidebar_chosen(self, event: Sidebar.Chosen) -> None:
        """Open it, at the message that was found."""
        self._to_prompt()
        if event.conversation != self.dialogue.session.id:
            found = self._saved(event.conversation)
            if found is None or not self.open(found):
                return
        if event.message is not None:
            self._jump(event.message)

    def open(self, conversation: Conversation) -> bool:
        """Go on with a conversation of before; False where it cannot be read."""
        if conversation.id == self.dialogue.session.id:
            return True
        try:
            self.go_on_with(Session.reopen(self._store, conversation))
        except StorageError as error:
            self.tell(str(error))
            return False
        return True

    def go_on_with(self, session: Session) -> None:
        """Leave the open conversation as it is, and open this one."""
        self._keeper.save_draft(self.prompt.text)
        self.dialogue.leave(session)
        self._queued = False
        self._welcomed = None
        self._write(self._keeper.restore())
        self.restore_attached()
        self.transcript.anchor()
        self.refresh_bindings()

    def conversations(self, limit: int = -1) -> list[Conversation]:
        """The saved ones; empty, and told, where they cannot be read."""
        try:
            return self._store.conversations(limit)
        except StorageError as error:
            self.tell(str(error))
            return []

    def _saved(self, conversation: int | None) -> Conversation | None:
        return next((one for one in self.conversations() if one.id == conversation), None)

    def _jump(self, message: int) -> None:
        """To a message of the open conversation, on whichever branch it is."""
        session = self.dialogue.session
        turn = session.find(message)
        if turn is None:
            return
        if not any(one is turn for one in session.turns):
            if self._busy():
                return
            session.switch(turn)
            self.recount()
        self.transcript.focus_turn(turn)
        self.transcript.focus()

    # Searching

    async def on_sidebar_searched(self, event: Sidebar.Searched) -> None:
        """Look for it, without holding the keyboard up."""
        # Not the coroutine: a letter that follows at once would end it before it began, and never await it.
        search = partial(self._search, event.query)
        self.run_worker(search, group="search", exclusive=True)  # type: ignore[arg-type]

    async def _search(self, query: str) -> None:
        found: Sequence[Found] | None = None
        try:
            if query.strip():
                find = self.search.find
                found = await asyncio.to_thread(find, query) if self.search.threads else find(query)
        except SmallchatError as error:
            self.sidebar.not_found(str(error))
            return
        self.sidebar.show_found(found)

    async def catch_up(self) -> None:
        """Have the search find what an older smallchat wrote, behind everything else."""
        try:
            while self.search.threads:
                if not await asyncio.to_thread(self.search.catch_up):
                    return
                await asyncio.sleep(PAUSE)
        except StorageError as error:
            self.tell(str(error))

    # What is done to the marked conversation

    def action_rename_conversation(self) -> None:
        """Another name."""
        if conversation := self._saved(self.sidebar.highlighted):
            self.sidebar.begin_rename(conversation)

    def on_sidebar_renamed(self, event: Sidebar.Renamed) -> None:
        """Keep it."""
        session = self.dialogue.session
        self._store_change(
            lambda: (
                session.rename(event.title)
                if session.id == event.conversation
                else self._store.rename(event.conversation, event.title)
            )
        )

    def action_pin_conversation(self) -> None:
        """Above the others, or no longer."""
        if conversation := self._saved(self.sidebar.highlighted):
            self._store_change(lambda: self._store.pin(conversation.id, not conversation.pinned))

    def action_delete_conversation(self) -> None:
        """Take it away, for now."""
        conversation = self._saved(self.sidebar.highlighted)
        if conversation is None:
            return
        if conversation.id == self.dialogue.session.id:
            self.action_new()
            self.sidebar.entries.focus()
        if self._store_change(lambda: self._store.delete(conversation.id)):
            self._gone = (*self._gone, conversation)
            undo = self.key_names.told("{undo_delete} brings it back")
            self.sidebar.tell(f"Deleted “{one_line(conversation.title)}” · {undo}")

    def action_undo_delete(self) -> None:
        """Bring back what was deleted last."""
        if self._gone and self._store_change(lambda: self._store.restore(self._gone[-1].id)):
            self.sidebar.mark(self._gone[-1])
            self._gone = self._gone[:-1]
            self.sidebar.tell("")

    def _store_change(self, change: Callable[[], None]) -> bool:
        try:
            change()
        except StorageError as error:
            self.sidebar.tell(str(error))
            return False
        self._listed = self._welcomed = None
        self.sidebar.search_again()
        self.wake()
        return True
