"""The conversation on the screen: its turns in memory, saved as they are made.

The turns in memory are what counts. Where saving fails (a full disk), the session goes on, `problem` says
why, and every later `save` tries again with all that is missing.

The turns are a tree: another answer, or another wording of a question, stands beside the first one, and
nothing is overwritten. `turns` is the way through it that is open.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from smallchat.chat.records import Attached, Conversation, Source, Turn, path_through
from smallchat.chat.store import Store
from smallchat.chat.titles import title_of
from smallchat.errors import StorageError

TITLED = 2000
"""Characters of what is sent along in which a name is looked for, where nothing else was said."""


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
        self.beginnings: list[Turn] = []
        """Every wording of the first message."""
        self.problem: StorageError | None = None
        self._unsaved: list[Turn] = []
        """Turns that have no row yet."""
        self._unfinished: list[Turn] = []
        """Answers of which the file may not hold all."""
        self._leaf_is_saved = True
        self._configured = True

    @classmethod
    def reopen(cls, store: Store, conversation: Conversation) -> Session:
        """A conversation as it was left. Raises `StorageError`."""
        session = cls(store, conversation.system)
        session.id, session.title = conversation.id, conversation.title
        session.persona, session.sampling = conversation.persona, conversation.sampling
        session.beginnings, session.turns = store.tree(conversation.id)
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

    def siblings(self, turn: Turn) -> list[Turn]:
        """Everything that was said in this place, `turn` among it, oldest first."""
        return turn.parent.children if turn.parent is not None else self.beginnings

    def find(self, message: int) -> Turn | None:
        """The turn with this id, on whichever branch; None: there is none."""
        waiting = [*self.beginnings]
        while waiting:
            turn = waiting.pop()
            if turn.id == message:
                return turn
            waiting += turn.children
        return None

    def ask(
        self,
        text: str,
        given: str = "",
        sources: Sequence[Source] = (),
        attached: Sequence[Attached] = (),
    ) -> Turn:
        """The user's next message, saved at once; `given`: what the model reads before it, and of what."""
        if not self.title:
            self.title = title_of(text if text.strip() else given[:TITLED])
        turn = Turn("user", text, parent=self.last, given=given)
        turn.sources, turn.attached = list(sources), list(attached)
        return self._add(turn)

    def edit(self, turn: Turn, text: str) -> Turn:
        """Another wording of a message, beside it; what followed it stays with it.

        Of an answer: nothing of how it was drawn holds for the new text, so no seed and no speed is kept.
        """
        changed = Turn(turn.role, text, parent=turn.parent, given=turn.given)
        changed.sources, changed.attached = list(turn.sources), list(turn.attached)
        if turn.role == "assistant":
            changed.model, changed.edited, changed.trimmed = turn.model, True, turn.trimmed
        self._cut(turn)
        return self._add(changed)

    def reply(self, text: str) -> Turn:
        """An answer that no model made, as that nothing was found."""
        answer = self.begin_answer("", {})
        answer.content, answer.status = text, "complete"
        self.save()
        return answer

    def begin_answer(
        self, model: str, sampling: dict[str, float | int | None], beside: Turn | None = None
    ) -> Turn:
        """An empty answer: beside another one, or else to the last message.

        If that is an answer already, the new one stands beside it.
        """
        if beside is None and self.last is not None and self.last.role == "assistant":
            beside = self.last
        if beside is not None:
            self._cut(beside)
        answer = Turn("assistant", status="streaming", parent=self.last, model=model, sampling=sampling)
        self._unfinished.append(answer)
        return self._add(answer)

    def go_on(self) -> Turn | None:
        """The last answer, open again to be continued in place; None: there is none that has ended."""
        last = self.last
        if last is None or last.role != "assistant" or last.status == "streaming":
            return None
        last.status, last.finish, last.problem = "streaming", "", ""
        self._unfinished.append(last)
        self.save()
        return last

    def switch(self, turn: Turn) -> None:
        """Open the branch that goes through this turn."""
        self.turns = path_through(turn)
        self._leaf_is_saved = False
        self.save()

    def rename(self, title: str) -> None:
        """Call it something else. Raises `StorageError`."""
        if self.id is not None:
            self.store.rename(self.id, title)
        self.title = title

    def configure(self, system: str | None, persona: str, sampling: Mapping[str, float | int | None]) -> None:
        """What holds for all further answers; kept with the conversation."""
        self.system, self.persona, self.sampling = system, persona, dict(sampling)
        self._configured = False
        self.save()

    def save(self) -> bool:
        """Write all that is new; False, and `problem`, where that failed."""
        try:
            with self.store.retried():
                self._save()
        except StorageError as error:
            self.problem = error
            return False
        self.problem = None
        return True

    def _cut(self, turn: Turn) -> None:
        """End the open path before this turn."""
        self.turns = path_through(turn)
        del self.turns[self.turns.index(turn) :]

    def _add(self, turn: Turn) -> Turn:
        self.siblings(turn).append(turn)
        if turn.parent is not None:
            turn.parent.onward = turn
        self.turns.append(turn)
        self._unsaved.append(turn)
        self._leaf_is_saved = True  # the new turn's row will be the leaf
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
        for answer in [*self._unfinished]:
            self.store.update(answer)
            if answer.status != "streaming":
                self._unfinished.remove(answer)
        if not self._leaf_is_saved:
            self.store.open_at(self.id, self.turns[-1])
            self._leaf_is_saved = True
