"""A conversation made to fit the context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from smallchat.engine.engine import Engine
from smallchat.errors import ContextError

ANSWER_SHARE = 4
"""A prompt leaves at least one part in so many of the context for the answer."""

Messages = Sequence[Mapping[str, str]]


def fit(engine: Engine, messages: Messages, resume: bool) -> tuple[list[int], int]:
    """Token ids of the conversation, and how many of its oldest messages had to be left out.

    System messages stay; the newest message always stays. Raises `ContextError` where even that is too long.
    """
    room = engine.context - max(1, engine.context // ANSWER_SHARE)
    kept = list(messages)
    while True:
        ids = engine.template.render(kept, engine.tokenizer, resume)
        if len(ids) <= room:
            return ids, len(messages) - len(kept)
        oldest = next((i for i, message in enumerate(kept[:-1]) if message["role"] != "system"), None)
        if oldest is None:
            if len(ids) < engine.context:
                return ids, len(messages) - len(kept)
            what = f"This message has {len(ids)} tokens, the context holds {engine.context}"
            raise ContextError(what, "Shorten it, or start smallchat with a larger --context")
        # A question goes together with its answer.
        del kept[oldest]
        while oldest < len(kept) - 1 and kept[oldest]["role"] == "assistant":
            del kept[oldest]
