"""Saves as things are made: the answer while it streams, and what is typed and not sent."""

from __future__ import annotations

import time
from collections.abc import Sequence

from smallchat.chat.failures import BusyError
from smallchat.chat.records import Attached, Turn
from smallchat.errors import StorageError
from smallchat.tui.dialogue import Dialogue

SAVE_EVERY = 0.5
"""Seconds between two savings: what a crash can cost at the most."""
TRY_AGAIN = 4.0
"""… at the most after one that failed: where another program holds the file, each holds up the screen."""
LASTING = 3
"""Tries in a row that fail before it is told that another program is using the file: it may only be slow."""


class Keeper:
    """Stands between the dialogue and its store."""

    def __init__(self, dialogue: Dialogue) -> None:
        self._dialogue = dialogue
        self._draft = ""
        self._saved = ""
        self._due = 0.0
        self._key = dialogue.session.id
        """The conversation for which `_saved` is kept; None: one that has no message yet."""
        self._draft_problem: StorageError | None = None
        self._failed = 0
        """Tries in a row that failed; `LASTING` means more, too."""
        self.edited: Turn | None = None
        """The message that is being said in other words; what is typed then is kept apart from the draft."""

    @property
    def pending(self) -> bool:
        """Something is not saved yet."""
        return self._draft != self._saved or self._dialogue.unsaved

    @property
    def problem(self) -> StorageError | None:
        """Why something is not saved; None: all is well, or may be in a moment."""
        session = self._dialogue.session
        found = session.problem or self._draft_problem
        passing = session.store.hurried and isinstance(found, BusyError) and self._failed < LASTING
        return None if passing else found

    def restore(self) -> str:
        """What was being typed in the conversation that is open now: another wording, else the draft."""
        session, self.edited = self._dialogue.session, None
        try:
            text = session.store.draft(session.id)
            if begun := session.store.edit(session.id):
                self.edited = next((turn for turn in session.turns if turn.id == begun[0]), None)
                text = begun[1] if self.edited else text
        except StorageError as error:
            text = ""
            self._draft_problem = error
        self._draft = self._saved = text
        self._key = session.id
        return text

    def typed(self, text: str) -> None:
        """The prompt holds this now."""
        self._draft = text

    def edit(self, turn: Turn, draft: str) -> None:
        """From now on, this message is being changed; `draft`: what was typed until then."""
        self.save_draft(draft)
        self.edited = turn
        self._draft = turn.content

    def end_edit(self) -> str:
        """It is no longer being changed; returns the draft."""
        session = self._dialogue.session
        try:
            if session.id is not None:
                session.store.save_edit(session.id, 0, None)
        except StorageError as error:
            self._draft_problem = error
        return self.restore()

    def send(self, text: str, given: str = "", attached: Sequence[Attached] = ()) -> None:
        """Say it: the message is saved first, then the draft is forgotten."""
        self._dialogue.send(text, given, (), attached)
        self._draft = ""
        with self._dialogue.session.store.retried():
            self._save_draft()

    def save_when_due(self) -> None:
        """Save what is new, unless that was done or tried just now."""
        if time.monotonic() < self._due or not (self.pending or self._dialogue.answer is not None):
            return
        self._dialogue.save()
        with self._dialogue.session.store.retried():
            self.save_draft(self._draft)
        self._failed = min(self._failed + 1, LASTING) if self.pending else 0
        self._due = time.monotonic() + min(SAVE_EVERY * 2**self._failed, TRY_AGAIN)

    def save_draft(self, text: str) -> None:
        """Save the draft now: its conversation is about to be left."""
        self._draft = text  # `typed` may not have heard of the last key yet
        if self._draft != self._saved:
            self._save_draft()

    def _save_draft(self) -> None:
        store, key = self._dialogue.session.store, self._dialogue.session.id
        try:
            if key != self._key:  # its first message was saved since
                store.save_draft(self._key, "")
                self._key = key
            if self.edited is not None and self.edited.id is not None and key is not None:
                store.save_edit(key, self.edited.id, self._draft)
            else:
                store.save_draft(key, self._draft)
            self._saved, self._draft_problem = self._draft, None
        except StorageError as error:
            self._draft_problem = error
