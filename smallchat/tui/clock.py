"""The one clock of the screen: it ticks while anything moves, and sleeps when nothing does."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable

from textual.widget import Widget

TICK = 0.25
"""Seconds between two drawings: fast enough to read along, and the processor is the model's."""


class Clock:
    """Calls `tick` a few times a second, after `wake` and until `rest`; never two at once."""

    def __init__(self, widget: Widget, tick: Callable[[], Awaitable[None]]) -> None:
        """`widget`, which is mounted, is whose handler `tick` runs as."""
        self._widget = widget
        self._tick = tick
        self._timer = widget.set_interval(TICK, self._beat, pause=True)
        self._until = 0.0
        self._due = False
        self.awake = False

    def wake(self) -> None:
        """Something changed: tick now, and go on."""
        self._until = time.monotonic() + 2 * TICK
        if not self.awake:
            self.awake = True
            self._timer.resume()
            self._beat()

    def rest(self) -> None:
        """Nothing moves: sleep, unless something changed just now."""
        if time.monotonic() > self._until:
            self.awake = False
            self._timer.pause()

    def stop(self) -> None:
        """Never tick again: what is about to be taken down must not be drawn any more."""
        self.awake, self._until = True, math.inf
        self._timer.stop()

    def _beat(self) -> None:
        # A timer's own task is cancelled when the app ends, and with it whatever the tick is waiting for, as
        # a widget that is being mounted. A message of the widget runs to its end, and its faults are guarded.
        if not self._due:
            self._due = True
            self._widget.call_later(self._run)

    async def _run(self) -> None:
        try:
            await self._tick()
        finally:
            self._due = False
