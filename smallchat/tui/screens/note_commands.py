"""The slash commands for notes. Each is the method `command_NAME` of `commands.COMMANDS`, run in a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from smallchat.chat.records import Source, Turn
from smallchat.errors import NotesError, SmallchatError
from smallchat.tui import commands
from smallchat.tui.attachments import Attachment, together
from smallchat.tui.editor import open_at
from smallchat.tui.faults import tell_fault
from smallchat.tui.screens.change import ChangeScreen
from smallchat.tui.screens.notes import FOUND, NotesScreen, Place
from smallchat.tui.screens.notetaking import NoteTaking
from smallchat.tui.text import one_line

if TYPE_CHECKING:
    from smallchat.notes.search import Hit
    from smallchat.notes.writing import Change

CANDIDATES = 12
"""Passages that are looked at for a question."""
ANSWER_SHARE = 4
"""One part in so many of the context is left for the answer."""
NOTES_SHARE = 2
"""Passages and question take at most one part in so many of the context."""
SUMMARISE = "Summarise this note in one or two sentences."


class NoteCommands(NoteTaking):
    """What can be done with notes from the prompt."""

    attached: list[Attachment]
    _offer: tuple[Turn, str] | None = None
    """A question whose answer is a summary of the note at this path."""

    @property
    def sendable(self) -> list[Attachment]:
        """What is attached and can be sent."""
        return [one for one in self.attached if not one.problem]

    def drop_attached(self, conversation: int | None, sent: Sequence[Attachment]) -> None:
        """These are sent, with a message that is saved; `conversation`: where they were written."""
        raise NotImplementedError

    def run_command(self, command: commands.Command, argument: str, typed: str) -> None:
        """Carry out a command; where it fails, what was typed comes back into the prompt."""
        self.run_worker(self._run_command(command, argument, typed), group="commands")

    async def _run_command_named(self, name: str) -> None:
        """By key."""
        await self._run_command(commands.named(name), "", "")

    async def _run_command(self, command: commands.Command, argument: str, typed: str) -> None:
        try:
            await getattr(self, f"command_{command.name}")(argument)
        except SmallchatError as error:
            self.tell(str(error))
            if not self.prompt.text:
                self.prompt.give_back(typed)
        except Exception as error:
            tell_fault(self.app, error)

    # Asking

    async def command_notes(self, question: str) -> None:
        """Ask the notes, or change whether every message asks them."""
        if not question:
            self.book()
            self.asks_notes = not self.asks_notes
            self.tell(
                "Every message asks your notes now" if self.asks_notes else "Messages ask the model alone"
            )
            self.wake()
            return
        sent = self.sendable  # before anything is waited for: the prompt is empty already
        from smallchat.notes.question import NOTHING, fitting
        from smallchat.notes.search import search

        index, session = self.book().index, self.dialogue.session
        key = session.id
        hits = fitting(await asyncio.to_thread(search, index, question, CANDIDATES))
        along, places = together(sent)
        hits, given = await self._given(hits, along, question)
        if self.dialogue.busy or self.dialogue.session is not session:
            raise NotesError("Another answer is being made", "Ask again after it")
        self.transcript.anchor()
        if given:
            self.dialogue.send(question, given, [_source(hit) for hit in hits], places)
            self.drop_attached(key, sent)
        else:
            session.ask(question)
            session.reply(NOTHING)
        if sent and not hits:
            self.tell("Nothing in your notes fits: the answer is from what was sent along")
        self.wake()

    async def _given(self, hits: list[Hit], along: str, question: str) -> tuple[list[Hit], str]:
        """As many of the passages as there is room for, and the text of `along` and of them.

        Raises `NotesError` where not even one has room beside `along`.
        """
        from smallchat.notes.question import given

        while len(hits) > 1 and await self._too_long(given(hits), question):
            hits = hits[:-1]
        if not (hits and along):
            return hits, along or given(hits)
        while hits:
            both = f"{along}\n\n{given(hits, along=True)}"
            tokens = await self.dialogue.measure(f"{both}\n\n{question}")
            if tokens <= self.context_size - self.context_size // ANSWER_SHARE:
                return hits, both
            hits = hits[:-1]
        what = f"With one note, this has {tokens:,} tokens; the context holds {self.context_size:,}"
        raise NotesError(what, self.key_names.told("{attachments} takes out what is sent along"))

    async def _too_long(self, given: str, question: str) -> bool:
        tokens = await self.dialogue.measure(f"{given}\n\n{question}")
        return tokens > self.context_size // NOTES_SHARE

    async def command_summarise(self, name: str) -> None:
        """Have the model summarise a note; its answer may then be written into it."""
        from smallchat.notes import names
        from smallchat.notes.suggest import text_of

        index = self.book().index
        note = await asyncio.to_thread(names.find, index, name)
        text = (await asyncio.to_thread(text_of, index, note.path)).strip()
        given = f"Here is a note:\n\n{text}"
        tokens = await self.dialogue.measure(f"{given}\n\n{SUMMARISE}")
        if tokens > self.context_size - self.context_size // ANSWER_SHARE:
            what = f"The note {note.path} has {tokens:,} tokens, the context holds {self.context_size:,}"
            larger, none = "Start smallchat with a larger --context", "This model takes no more: divide it"
            raise NotesError(what, larger if self.takes_more else none)
        if self.dialogue.busy:
            raise NotesError("Another answer is being made", "Ask again after it")
        self.transcript.anchor()
        source = Source(note.path, note.title, "", 1, text.count("\n") + 1)
        self.dialogue.send(SUMMARISE, given, [source])
        question = self.dialogue.session.turns[-1]
        self._offer = (question if question.role == "user" else question.parent or question, note.path)
        self.wake()

    def offer_summary(self) -> None:
        """The clock asks: is there a summary that can be written into its note?"""
        if self._offer is None or self.dialogue.busy:
            return
        (question, path), self._offer = self._offer, None
        answer = self.dialogue.session.last
        if (
            answer is not None
            and answer.parent is question
            and answer.status == "complete"
            and answer.content
        ):
            self.run_worker(self._write_summary(path, answer.content), group="commands")

    async def _write_summary(self, path: str, summary: str) -> None:
        from smallchat.notes import writing

        try:
            await self._change(await asyncio.to_thread(writing.with_summary, self.book().root, path, summary))
        except SmallchatError as error:
            self.tell(str(error))

    # Writing

    async def command_note(self, title: str) -> None:
        """Save the selection or the last answer as a new note."""
        path = await asyncio.to_thread(self.book().add, title, self._material())
        self.tell(f"Saved as {one_line(path)}")

    async def command_append(self, name: str) -> None:
        """Add it to a note."""
        from smallchat.notes import names, writing

        book, text = self.book(), self._material()
        note = await asyncio.to_thread(names.find, book.index, name)
        await self._change(await asyncio.to_thread(writing.appended, book.root, note.path, text))

    async def command_daily(self, text: str) -> None:
        """Add a text, the selection or the last answer to today's note."""
        done = await asyncio.to_thread(self.book().daily, text or self._material())
        if isinstance(done, str):
            self.tell(f"Saved as {one_line(done)}")
        else:
            await self._change(done)

    async def command_tags(self, name: str) -> None:
        """Suggest tags."""
        from smallchat.notes import names, suggest, writing

        book = self.book()
        note = await asyncio.to_thread(names.find, book.index, name)
        tags = await asyncio.to_thread(suggest.tags_for, book.index, note.path)
        if not tags:
            raise NotesError(f"No tag that is in use fits {note.path}", "A tag must be in some note already")
        await self._change(await asyncio.to_thread(writing.with_tags, book.root, note.path, tags))

    async def command_links(self, name: str) -> None:
        """Suggest links."""
        from smallchat.notes import names, suggest, writing

        book = self.book()
        note = await asyncio.to_thread(names.find, book.index, name)
        found = await asyncio.to_thread(suggest.links_for, book.index, note.path)
        if not found:
            raise NotesError(f"{note.path} names no other note that it does not link to", "Nothing to do")
        places = [(one.line, one.words, one.note.title) for one in found]
        await self._change(await asyncio.to_thread(writing.with_links, book.root, note.path, places))

    async def _change(self, change: Change) -> None:
        """Show what would change; write it on yes."""
        if await self.app.push_screen_wait(ChangeScreen(change.path, change.diff())):
            await asyncio.to_thread(self.book().apply, change)
            self.tell(f"Written: {one_line(change.path)}")

    def _material(self) -> str:
        """What is selected on the screen, or the last answer with its sources. Raises `NotesError`."""
        selected = self.get_selected_text()
        if selected and selected.strip():
            self.clear_selection()
            return selected
        answer = next((turn for turn in self.dialogue.session.turns[::-1] if turn.role == "assistant"), None)
        if answer is None or not answer.content.strip():
            raise NotesError("There is no answer to save yet", "Select text, or wait for an answer")
        sources = answer.parent.sources if answer.parent else []
        named = ", ".join(dict.fromkeys(f"[[{source.title}]]" for source in sources))
        return f"{answer.content.strip()}\n\nSources: {named}" if named else answer.content

    # Pinned notes

    async def command_pin(self, name: str) -> None:
        """Begin every prompt with a note, or with the notes of a folder."""
        from smallchat.notes import names

        index = self.book().index
        if not await asyncio.to_thread(names.below, index, name):
            await asyncio.to_thread(names.find, index, name)
        self.pins = (*(pin for pin in self.pins if pin != name), name)
        await self.read_pins()

    async def command_unpin(self, _: str) -> None:
        """Pin nothing any more."""
        self.pins = ()
        await self.read_pins()

    # Looking

    async def command_search(self, words: str) -> None:
        """Search as one types."""
        from smallchat.notes.search import search
        from smallchat.notes.suggest import text_of

        book = self.book()

        def find(typed: str) -> list[Place]:
            return [
                Place(hit.path, hit.trail, hit.first, hit.last, hit.snippet, hit.marks)
                for hit in search(book.index, typed, FOUND, as_typed=True)
            ]

        await self._look(NotesScreen(lambda path: text_of(book.index, path), find, words=words))

    async def command_sources(self, _: str = "") -> None:
        """The passages that the last answer was made from."""
        from smallchat.notes.suggest import text_of

        book = self.book()
        asked = next((turn for turn in self.dialogue.session.turns[::-1] if turn.sources), None)
        if asked is None:
            raise NotesError("No answer of this conversation has sources", "Ask with /notes question")
        places = [Place(one.path, one.trail, one.first, one.last) for one in asked.sources]
        await self._look(NotesScreen(lambda path: text_of(book.index, path), places=places))

    async def command_help(self, _: str) -> None:
        """All keys and commands."""
        self.action_help()

    async def _look(self, screen: NotesScreen) -> None:
        from smallchat.notes.folder import UnreadableError, place

        chosen = await self.app.push_screen_wait(screen)
        if chosen is None:
            return
        path, line = chosen
        try:
            open_at(self.app, place(self.book().root, path), line)
        except UnreadableError as error:
            raise NotesError(f"{path} {error}", "It is not opened") from error

    def action_search_notes(self) -> None:
        """By key."""
        self.run_worker(self._run_command(commands.named("search"), "", ""), group="commands")

    def action_sources(self) -> None:
        """By key."""
        self.run_worker(self._run_command(commands.named("sources"), "", ""), group="commands")


def _source(hit: Hit) -> Source:
    return Source(hit.path, hit.title, hit.headings, hit.first, hit.last)
