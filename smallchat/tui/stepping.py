"""Through the tokens of an answer: what else the model considered in each place. Knows no widget."""

from __future__ import annotations

from smallchat.chat.records import Turn
from smallchat.engine.events import Alternative, Event, Failed, Pieces, PromptProgress, Ready, Token, TooLong
from smallchat.errors import EngineError
from smallchat.settings import Sampling
from smallchat.tui.dialogue import Dialogue

CONSIDERED = 8
"""Tokens that are told of each place."""


class Stepping:
    """One answer, whose places are looked at again by the model that is loaded now.

    Nothing of this is kept while answers are made: what stands before a place is in the KV cache, or among
    its checkpoints, and one token more is computed in the time of one token.
    """

    def __init__(self, dialogue: Dialogue, answer: Turn) -> None:
        self.answer = answer
        self.ids: tuple[int, ...] = ()
        self.pieces: tuple[bytes, ...] = ()
        """What each token stands for; some are a part of a character."""
        self._dialogue = dialogue
        self._seen: dict[int, tuple[Alternative, ...]] = {}
        self._request = 0

    async def begin(self) -> None:
        """Take the answer apart. Raises `EngineError`."""
        dialogue = self._dialogue
        asked = dialogue.client.pieces(self.answer.content, self.answer.ids)
        told = _sound(await dialogue.told(asked), dialogue.ready)
        if isinstance(told, Pieces):
            self.ids, self.pieces = told.ids, told.pieces

    async def look(self, place: int) -> tuple[Alternative, ...]:
        """The most likely tokens in this place, best first; behind the last one too. Raises `EngineError`."""
        if place not in self._seen:
            dialogue = self._dialogue
            self._request = dialogue.client.chat(
                dialogue.messages_before(self.answer),
                Sampling(temperature=0.0, seed=0),
                max_tokens=1,
                begun=self.ids[:place],
                alternatives=CONSIDERED,
                owner=dialogue.session.id or 0,
            )
            told = _sound(await dialogue.told(self._request), dialogue.ready)
            self._seen[place] = told.alternatives if isinstance(told, Token) else ()
        return self._seen[place]

    @property
    def reading(self) -> PromptProgress | None:
        """How far the text before a place is read that was not in the KV cache; None: nothing is read."""
        return self._dialogue.reading

    def end(self) -> None:
        """Nobody looks any more."""
        if self._request:
            self._dialogue.client.cancel(self._request)

    def taken(self, place: int, token: int) -> list[int]:
        """The beginning of an answer that goes on with this token instead."""
        return [*self.ids[:place], token]


def _sound(told: Event, ready: Ready | None) -> Event:
    if isinstance(told, Failed):
        raise EngineError(told.what, told.cure)
    if isinstance(told, TooLong):
        more = ready is not None and ready.takes_more
        raise EngineError(
            f"The conversation has {told.tokens:,} tokens, {told.room:,} fit",
            "Load the model with a larger --context" if more else "This model takes no more",
        )
    return told
