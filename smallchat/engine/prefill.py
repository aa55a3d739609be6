"""Prefill: reading a prompt. What is known of it is reused, the rest passes through the model in chunks.

It tells how far it is, and can be given up between two layers.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from smallchat.engine.events import PromptProgress
from smallchat.engine.past import Past
from smallchat.engine.telemetry import Tally

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

PROGRESS_SECONDS = 0.2
"""How far a prompt is, is told this often within a chunk."""


class CancelledError(Exception):
    """What was asked for is no longer wanted."""


def cancel_wanted(should_stop: Callable[[], bool]) -> Callable[[], None]:
    """For what may take long, as a prompt or a slow disk: raises `CancelledError` where that is wanted."""

    def look() -> None:
        if should_stop():
            raise CancelledError

    return look


class ChunkWatcher:
    """Counts experts, tells how far a chunk is, and gives it up where that is wanted."""

    def __init__(
        self, tally: Tally, check: Callable[[], None], report: Callable[[int], None], start: int, size: int
    ) -> None:
        """A chunk of `size` tokens from position `start` on. `check` raises to give up; `report` hears, every
        `PROGRESS_SECONDS`, how many tokens of the prompt are as good as read.
        """
        self.check = check
        """See `smallchat.model.decoder.Watcher`."""
        self._tally, self._report, self._start = tally, report, start
        self._tokens_a_layer = size / tally.layers
        self._told = time.perf_counter()

    def layer(self, layer: int, experts: Ints) -> None:
        """See `smallchat.model.decoder.Watcher`."""
        self.check()
        self._tally.layer(layer, experts)
        now = time.perf_counter()
        if now - self._told >= PROGRESS_SECONDS:
            self._told = now
            self._report(self._start + int(layer * self._tokens_a_layer))

    def token(self, experts: Ints) -> None:
        """See `smallchat.model.decoder.Watcher`."""
        self._tally.token(experts)


def prefill(
    past: Past,
    prompt: Ints,
    chunk: Callable[[], int],
    tally: Tally,
    owner: int = 0,
    on_prompt: Callable[[PromptProgress], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Floats:
    """Make the past hold exactly `prompt`, int64 [n > 0]; logits float32 [1, vocabulary] of its last
    token. `chunk` says before each pass how many tokens it may have: another budget changes that.

    `owner`, `on_prompt` and `should_stop` are those of `Engine.generate`. Raises `CancelledError`: what was
    read until then stays.
    """
    began, total, check = time.perf_counter(), len(prompt), cancel_wanted(should_stop)
    reused = past.reuse(prompt, owner)

    def report(done: int) -> None:
        seconds = time.perf_counter() - began
        tally.prompt(done - reused, seconds)
        if on_prompt is not None:
            on_prompt(PromptProgress(done, total, reused, seconds))

    report(reused)
    start = reused
    while start < total:
        piece = prompt[start : start + chunk()]
        past.feed(piece, ChunkWatcher(tally, check, report, start, len(piece)))
        start += len(piece)
        report(start)
    assert past.logits is not None
    return past.logits
