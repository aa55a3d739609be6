"""The chat's note folder: opened and kept behind the screen, its state told, its pinned notes, saved talk."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from smallchat.chat.records import Turn
from smallchat.engine.client import LoadOptions
from smallchat.errors import NotesError, SmallchatError
from smallchat.settings import Settings
from smallchat.tui.faults import tell_fault
from smallchat.tui.screens.reading import Reading
from smallchat.tui.text import count, plain
from smallchat.tui.widgets.prompt.prompt import Prompt

if TYPE_CHECKING:  # opened behind the first frame: SQLite, YAML and the watcher are not imported before
    from smallchat.notes.index import Report
    from smallchat.notes.notebook import Notebook

PINNED_SHARE = 2
"""Pinned notes take at most one part in so many of the context."""


class NoteTaking(Reading):
    """A screen with a dialogue and, where a folder is set, a notebook."""

    prompt: Prompt
    _load: LoadOptions
    notebook: Notebook | None = None
    """None: no folder is set, or it is not open yet."""
    asks_notes = False
    """Every message is a question to the notes."""
    pins: tuple[str, ...] = ()
    """Names of notes and folders that every prompt begins with."""
    _told_report: Report | None = None
    _told_trouble = ""
    _seen_answer: Turn | None = None

    def open_notes(self) -> None:
        """Open the folder that is set, if one is, without holding the screen up."""
        if self._settings.notes is not None:
            self.run_worker(self._open_notes(), group="notes")

    def on_unmount(self) -> None:
        """End the watching."""
        if self.notebook is not None:
            self.notebook.close()

    def book(self) -> Notebook:
        """The open notebook. Raises `NotesError` where there is none."""
        if self.notebook is None:
            if self._settings.notes is not None:
                raise NotesError("The note folder is not open", "Wait a moment, or see that it is there")
            cure = 'Start with smallchat --notes DIR, or write notes = "DIR" into config.toml'
            raise NotesError("No note folder is set", cure)
        return self.notebook

    @property
    def context_size(self) -> int:
        """Tokens that the model sees."""
        return self.dialogue.ready.context if self.dialogue.ready else self._load.context

    @property
    def takes_more(self) -> bool:
        """A larger context could help, as far as is known."""
        return self.dialogue.ready is None or self.dialogue.ready.takes_more

    async def _open_notes(self) -> None:
        loop = asyncio.get_running_loop()

        def changed() -> None:
            with contextlib.suppress(RuntimeError):  # the app is ending
                loop.call_soon_threadsafe(self.wake)

        try:
            self.notebook = await asyncio.to_thread(_opened, self._settings)
            self.notebook.keep(changed)
        except SmallchatError as error:
            self.tell_trouble(str(error))
            return
        except Exception as error:
            tell_fault(self.app, error)
            return
        self.pins = tuple(filter(None, map(str.strip, (self._settings.notes_pinned or "").split(","))))

    # What the clock asks for

    def notes_state(self) -> str:
        """What there is to say of the notes on the prompt's border; empty: nothing."""
        parts = []
        watch = self.notebook.watch if self.notebook else None
        if watch is not None and watch.progress:
            done, of = watch.progress
            parts.append(f"reading notes: {done:,} of {of:,}")
        if self.pins:
            parts.append(f"{count(len(self.pins), 'note')} pinned")
        if self.asks_notes:
            parts.append("asks your notes")
        return " · ".join(parts)

    def show_notes(self) -> None:
        """Tell what is new, read the pinned notes again where they changed, and save what was said."""
        watch = self.notebook.watch if self.notebook else None
        if watch is not None:
            self.tell_trouble(str(watch.problem) if watch.problem else "")
            if watch.report is not self._told_report:
                first, self._told_report = self._told_report is None, watch.report
                if first and watch.report and watch.report.skipped:
                    files = count(len(watch.report.skipped), "file")
                    self.tell(
                        f"{files} of the note folder not searched; smallchat notes index says which and why"
                    )
                if self.pins:
                    self.run_worker(self.read_pins(), group="pins", exclusive=True)
        last = self.dialogue.session.last
        if last is not self._seen_answer and self.dialogue.answer is None:
            self._seen_answer = last
            if self._settings.save_conversations and self.notebook and last and last.status == "complete":
                self.run_worker(self._save_conversation(), group="saving")

    def tell_trouble(self, text: str) -> None:
        """A lasting problem, once; empty: it is over."""
        if text != self._told_trouble:
            self._told_trouble = text
            if text:
                self.notify(plain(text), title="Notes", severity="warning", timeout=12, markup=False)

    # Pinned notes

    async def read_pins(self) -> None:
        """Give the dialogue the text of the pinned notes. What cannot be pinned is told and let go."""
        try:
            text = await asyncio.to_thread(self._pinned_text) if self.pins else ""
            if text and text != self.dialogue.pinned:
                tokens = await self.dialogue.measure(text, alone=True)
                if tokens > self.context_size // PINNED_SHARE:
                    what = f"The pinned notes have {tokens:,} tokens, the context holds {self.context_size:,}"
                    cure = "Pin less, or start smallchat with a larger --context"
                    raise NotesError(what, cure if self.takes_more else "Pin less: this model takes no more")
        except SmallchatError as error:
            self.pins = ()
            self.dialogue.pin("")
            self.notify(plain(str(error)), title="Not pinned", severity="warning", timeout=12, markup=False)
            return
        if text != self.dialogue.pinned:
            self.dialogue.pin(text)
            self.wake()

    def _pinned_text(self) -> str:
        from smallchat.notes import names
        from smallchat.notes.suggest import text_of

        index = self.book().index
        notes = dict.fromkeys(
            note for name in self.pins for note in names.below(index, name) or [names.find(index, name)]
        )
        return "\n\n".join(f"[[{note.title}]]\n{text_of(index, note.path).strip()}" for note in notes)

    async def _save_conversation(self) -> None:
        from smallchat.notes import transcripts

        session, book = self.dialogue.session, self.book()
        said = [
            transcripts.Exchange(turn.parent.content, turn.content, turn.id)
            for turn in session.turns
            if turn.role == "assistant" and turn.parent and turn.content and turn.id is not None
        ]
        if session.id is None or not said:
            return
        begun, front = session.turns[0].created, self._settings.note_front
        try:
            await asyncio.to_thread(
                transcripts.save, book.root, session.title, session.id, begun, said, front
            )
        except NotesError as error:
            self.tell_trouble(str(error))


def _opened(settings: Settings) -> Notebook:
    from smallchat.notes.notebook import Notebook, Templates

    assert settings.notes is not None
    return Notebook(settings.notes, Templates(settings.note_name, settings.daily_name, settings.note_front))
