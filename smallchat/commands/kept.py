"""`smallchat ask -c`: a question and its answer as part of the latest conversation."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection
from dataclasses import asdict, replace
from typing import Any

from smallchat import paths
from smallchat.chat.records import Turn
from smallchat.chat.session import Session
from smallchat.chat.store import Store
from smallchat.engine.checkpoints.forget import forget
from smallchat.settings import Sampling, Settings

SAVE_EVERY = 0.5
"""Seconds between two savings of an answer in the making."""


class Kept:
    """The latest conversation, or a new one where there is none, with one more question."""

    def __init__(self, settings: Settings, question: str, given: Collection[str] = ()) -> None:
        """The question is saved at once. Raises `StorageError`.

        The conversation's own settings come before the user's, but for those `given` by name: a system prompt
        is the conversation's from then on, as in the app; the others are of this answer.
        """
        self._store = Store(paths.conversations())
        latest = max(self._store.conversations(), key=lambda one: one.updated, default=None)
        self._session = (
            Session.reopen(self._store, latest) if latest else Session(self._store, settings.system)
        )
        if latest and "system" in given:
            self._session.configure(settings.system or None, "", self._session.sampling)
        own = {name: value for name, value in self._session.sampling.items() if name not in given}
        self.sampling: Sampling = replace(settings.sampling(), **own).seeded()  # type: ignore[arg-type]
        self._session.ask(question)
        self._saved = 0.0
        self._answer: Turn | None = None
        self._tell()

    @property
    def number(self) -> int:
        """Of the conversation; 0: it could not be saved."""
        return self._session.id or 0

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation up to the question, as a model is given it."""
        said: list[dict[str, Any]] = [
            {"role": turn.role, "content": turn.told, "ids": tuple(turn.ids)}
            for turn in self._session.turns
            if turn.content and turn is not self._answer
        ]
        return ([{"role": "system", "content": self._session.system}] if self._session.system else []) + said

    def begin(self, model: str, trimmed: int = 0) -> None:
        """The answer begins; so many of the oldest messages did not fit."""
        self._answer = self._session.begin_answer(model, asdict(self.sampling))
        self._answer.trimmed = trimmed
        if trimmed:
            print(f"The first {trimmed} messages no longer fit the context (--context).", file=sys.stderr)

    def add(self, text: str, token: int = -1) -> None:
        """The next piece of it, and the token that says it; a negative one is none."""
        if self._answer is not None:
            self._answer.content += text
            if token >= 0:
                self._answer.ids.append(token)
            if time.monotonic() - self._saved > SAVE_EVERY:
                self._saved = time.monotonic()
                self._session.save()

    def end(self, finish: str, prompt_tokens: int, tokens: int, seconds: float) -> None:
        """It is complete, or was stopped."""
        if self._answer is not None:
            self._answer.status = "stopped" if finish == "cancelled" else "complete"
            self._answer.finish, self._answer.prompt_tokens = finish, prompt_tokens
            self._answer.tokens = tokens
            self._answer.speed = tokens / seconds if tokens and seconds > 0 else None
            self._session.save()
            self._tell()

    def close(self) -> None:
        """Keep what there is, and close the file."""
        if self._answer is not None and self._answer.status == "streaming":
            self._answer.status, self._answer.finish = "stopped", "cancelled"
            self._session.save()
        self._store.close()
        forget(self._store.purged)

    def _tell(self) -> None:
        if self._session.problem is not None:
            print(f"smallchat: not saved: {self._session.problem}", file=sys.stderr)
