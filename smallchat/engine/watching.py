"""What watches a prompt while it is read: counts, tells how far it is, and gives up where that is wanted."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from smallchat.engine.telemetry import Tally

PROGRESS_SECONDS = 0.2
"""How far a prompt is, is told this often within a chunk."""


class CancelledError(Exception):
    """The prompt was given up."""


def report_layers(report: Callable[[int], None], start: int, tokens_a_layer: float, layer: int) -> None:
    """Tell `report` how many tokens are as good as read once a chunk from `start` on is in that layer."""
    report(start + int(layer * tokens_a_layer))


class PromptWatcher:
    """Counts experts, tells how far a chunk is, and gives the prompt up where that is wanted."""

    def __init__(self, tally: Tally, should_stop: Callable[[], bool], report: Callable[[int], None]) -> None:
        """`report` hears of layers passed, every `PROGRESS_SECONDS`."""
        self._tally, self._should_stop, self._report = tally, should_stop, report
        self._told = time.perf_counter()

    def layer(self, layer: int, experts: npt.NDArray[np.int64]) -> None:
        """See `smallchat.model.decoder.Watcher`."""
        self.check()
        self._tally.layer(layer, experts)
        now = time.perf_counter()
        if now - self._told >= PROGRESS_SECONDS:
            self._told = now
            self._report(layer)

    def token(self, experts: npt.NDArray[np.int64]) -> None:
        """See `smallchat.model.decoder.Watcher`."""
        self._tally.token(experts)

    def check(self) -> None:
        """See `smallchat.model.decoder.Watcher`. Raises `CancelledError`."""
        if self._should_stop():
            raise CancelledError


def cancel_wanted(should_stop: Callable[[], bool]) -> Callable[[], None]:
    """For what may wait long, as for a slow disk: raises `CancelledError` where that is wanted."""

    def look() -> None:
        if should_stop():
            raise CancelledError

    return look
