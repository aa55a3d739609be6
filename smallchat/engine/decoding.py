"""Decoding: the answer to a prompt that was read, token by token."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smallchat.engine.crew import Crew
from smallchat.engine.events import Alternative, FinishReason, Token
from smallchat.engine.past import Past
from smallchat.engine.prefill import cancel_wanted
from smallchat.engine.telemetry import Tally
from smallchat.model.sampling import Sampler
from smallchat.model.tokenizer import Tokenizer

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of an answer; the meanings are those of `Engine.generate`."""

    sampler: Sampler
    max_tokens: int | None
    begun: Sequence[int]
    alternatives: int
    should_stop: Callable[[], bool]

    def finish(self, token_id: int, count: int, full: bool, stop_ids: frozenset[int]) -> FinishReason | None:
        """Why the answer ends with its `count`-th token, if it does; `full`: the context holds no more."""
        if token_id in stop_ids:
            return "stop"
        if count == self.max_tokens:
            return "length"
        if full:
            return "context"
        return "cancelled" if self.should_stop() else None


def decode(
    crew: Crew, past: Past, logits: Floats, tokenizer: Tokenizer, tally: Tally, wanted: Wanted, began: float
) -> Iterator[Token]:
    """Draw from `logits`, float32 [1, vocabulary], behind the past, then feed what was drawn, and so on.

    `began`: when the answer was asked for. Raises `CancelledError` where it is cancelled while experts are
    waited for.
    """
    sampler, stream = wanted.sampler, tokenizer.stream()
    before_it = "".join(map(stream.push, wanted.begun))
    tally.forecast.begin(crew.experts)
    crew.while_waiting = cancel_wanted(wanted.should_stop)
    computed = waited = 0.0
    before = time.perf_counter()
    for index in itertools.count():
        token_id = sampler.choose(logits[0], past.ids)
        full = crew.cache.length >= crew.setup.context
        finish = wanted.finish(token_id, index + 1, full, tokenizer.stop_ids)
        text = "" if finish == "stop" else stream.push(token_id)
        if not index:
            text = before_it + text
        if finish:
            text += stream.finish()
        considered = _considered(wanted, logits[0], tokenizer) if wanted.alternatives else ()
        now = time.perf_counter()
        if index:
            tally.decoded(now - before)
        yield Token(
            *(token_id, text, index, now - before, now - began, finish),
            *(computed, waited),
            alternatives=considered,
        )
        if finish:
            return
        # Only now the next one: what is known is shown first.
        before = time.perf_counter()
        waited = crew.experts.wait_seconds
        passing = time.perf_counter()
        logits = past.feed(np.array([token_id]), tally)
        waited = crew.experts.wait_seconds - waited
        computed = time.perf_counter() - passing - waited


def _considered(wanted: Wanted, logits: Floats, tokenizer: Tokenizer) -> tuple[Alternative, ...]:
    likely = wanted.sampler.likeliest(logits, wanted.alternatives)
    return tuple(Alternative(one, tokenizer.bytes_of(one), share) for one, share in likely)
