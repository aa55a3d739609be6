"""A conversation made to fit the context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from smallchat.engine.engine import Engine

ANSWER_SHARE = 4
"""A prompt leaves at least one part in so many of the context for the answer."""
LEFT_SHARE = 0.75
"""Where messages are left out, what stays takes at most this share of the room: else the next message would
need the same again, and all be read anew."""

Messages = Sequence[Mapping[str, Any]]


class Fitted(NamedTuple):
    """A prompt."""

    ids: list[int]
    left_out: int
    """Messages, the oldest ones, that it lacks."""
    tokens: int
    """How long it would be with all of them."""


def room(context: int) -> int:
    """Tokens that a prompt may have before messages must be left out."""
    return context - max(1, context // ANSWER_SHARE)


def fit(engine: Engine, messages: Messages, resume: bool, begun: Sequence[int] = ()) -> Fitted:
    """The conversation as a prompt, with `begun` behind it; without its oldest messages where it is too long.

    System messages stay; the newest message always stays. Raises `ContextError` where even that is too long.
    """

    def prompt(kept: Messages) -> list[int]:
        return [*engine.template.render(kept, engine.tokenizer, resume), *begun]

    ids = prompt(messages)
    space, tokens = room(engine.context), len(ids)
    if tokens <= space:
        return Fitted(ids, 0, tokens)
    shorter = list(_shortened(messages))
    # The first of them that is short enough: all behind it are shorter.
    low, high = 0, len(shorter)
    while low < high:
        middle = (low + high) // 2
        if len(prompt(shorter[middle])) <= space * LEFT_SHARE:
            high = middle
        else:
            low = middle + 1
    kept = shorter[min(low, len(shorter) - 1)] if shorter else messages
    ids = prompt(kept)
    if len(ids) >= engine.context:
        what = f"This message has {len(ids):,} tokens, the context holds {engine.context:,}"
        raise engine.too_long(what, "start smallchat")
    return Fitted(ids, len(messages) - len(kept), tokens)


def shortest(messages: Messages) -> Messages:
    """What always stays of a conversation."""
    return [one for at, one in enumerate(messages) if one["role"] == "system" or at == len(messages) - 1]


def _shortened(messages: Messages) -> Sequence[Messages]:
    """The conversation without its oldest messages: one exchange fewer each time."""
    kept, found = list(messages), []
    while (oldest := _oldest(kept)) is not None:
        # A question goes together with its answer.
        del kept[oldest]
        while oldest < len(kept) - 1 and kept[oldest]["role"] == "assistant":
            del kept[oldest]
        found.append(list(kept))
    return found


def _oldest(messages: Messages) -> int | None:
    return next((i for i, message in enumerate(messages[:-1]) if message["role"] != "system"), None)
