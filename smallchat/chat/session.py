"""The conversation on the screen: its turns in memory, saved as they are made.

The turns in memory are what counts. Where saving fails (a full disk), the session goes on, `problem` says
why, and every later `save` tries again with all that is missing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from smallchat.chat.records import Conversation, Source, Turn, title_of
from smallchat.chat.store import Store
from smallchat.errors import StorageError


class Session:
    """One conversation along its active path."""

    def __init__(self, store: Store, system: str | None = None) -> None:
        """A conversation that begins with its first message; `system` is its system prompt."""
        self.store = store
        self.system = system
        self.persona = ""
        """Name of the persona that `system` is of; empty: none."""
        self.sampling: Mapping[str, float | int | None] = {}
        """How answers are drawn here, where that is not as in the settings."""
        self.id: int | None = None
        self.title = ""
        self.turns: list[Turn] = []
        self.problem: StorageError | None = None
        self._unsaved: list[Turn] = []
        self._configured = True

    @classmethod
    def reopen(cls, store: Store, conversation: Conversation) -> Session:
        """A conversation as it was left. Raises `StorageError`."""
        session = cls(store, conversation.system)
        session.id, session.title = conversation.id, conversation.title
        session.persona, session.sampling = conversation.persona, conversation.sampling
        session.turns = store.turns(conversation.id)
        return session

    @classmethod
    def first(cls, store: Store, system: str | None = None) -> Session:
        """Where a message was begun and not sent, else a new conversation. Raises nothing."""
        try:
            begun = store.newest_draft()
            for conversation in store.conversations() if begun else ():
                if conversation.id == begun:
                    return cls.reopen(store, conversation)
        except StorageError:
            pass  # whoever lists the conversations next is told of it
        return cls(store, system)

    @property
    def last(self) -> Turn | None:
        """The newest turn."""
        return self.turns[-1] if self.turns else None

    def ask(self, text: str, given: str = "", sources: Sequence[Source] = ()) -> Turn:
        """The user's next message, saved at once; `given` and `sources`: what the model reads before it."""
        if not self.title:
            self.title = title_of(text)
        return self._add(Turn("user", text, parent=self.last, given=given, sources=list(sources)))

    def reply(self, text: str) -> Turn:
        """An answer that no model made, as that nothing was found."""
        answer = self.begin_answer("", {})
        answer.content, answer.status = text, "complete"
        self.save()
        return answer

    def begin_answer(self, model: str, sampling: dict[str, float | int | None]) -> Turn:
        """An empty answer to the last message. If that is an answer already, the new one stands beside it."""
        if self.last is not None and self.last.role == "assistant":
            self.turns.pop()
        return self._add(
            Turn("assistant", status="streaming", parent=self.last, model=model, sampling=sampling)
        )

    def configure(self, system: str | None, persona: str, sampling: Mapping[str, float | int | None]) -> None:
        """What holds for all further answers; kept with the conversation."""
        self.system, self.persona, self.sampling = system, persona, dict(sampling)
        self._configured = False
        self.save()

    def save(self) -> bool:
        """Write all that is new; False, and `problem`, where that failed."""
        try:
            self._save()
        except StorageError as error:
            self.problem = error
            return False
        self.problem = None
        return True

    def _add(self, turn: Turn) -> Turn:
        self.turns.append(turn)
        self._unsaved.append(turn)
        self.save()
        return turn

    def _save(self) -> None:
        if not self.turns:
            return
        if self.id is None:
            self.id = self.store.begin(self.title, self.system, time.time())
        if not self._configured:
            self.store.configure(self.id, self.system, self.persona, self.sampling)
            self._configured = True
        while self._unsaved:
            turn = self._unsaved[0]
            turn.id = self.store.add(self.id, turn)
            self._unsaved.pop(0)
        last = self.turns[-1]
        if last.role == "assistant":
            self.store.update(last)
