"""The one clock of the screen: it ticks while anything moves, and sleeps when nothing does."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable

from textual.timer import Timer
from textual.widget import Widget

TICK = 0.25
"""Seconds between two drawings: fast enough to read along, and the processor is the model's."""
SLOWEST = 0.4
"""… and at the most, where drawing takes long."""
SHARE = 0.03
"""Of one processor core that drawing should take. The model computes on all cores in step, so what one of
them lacks, it lacks as a whole."""

ECHO = 0.02
"""Seconds in which a key is drawn."""
EARLY = 0.12
"""A tick that is due in so many seconds comes right behind a key instead, before the next: whoever presses
it during a tick waits for all that is drawn."""


class Clock:
    """Calls `tick` a few times a second, after `wake` and until `rest`; never two at once."""

    def __init__(self, widget: Widget, tick: Callable[[], Awaitable[None]]) -> None:
        """`widget`, which is mounted, is whose handler `tick` runs as."""
        self._widget = widget
        self._tick = tick
        self._timer: Timer | None = None
        self._at = 0.0
        """When that is due."""
        self._until = 0.0
        self._spent = time.process_time()
        self._due = False
        self._soon = False
        self._stopped = False
        self.awake = False

    def wake(self) -> None:
        """Something changed: tick, and go on."""
        self._until = time.monotonic() + 2 * TICK
        if not self.awake:
            self.awake = True
            self._beat()

    def typed(self) -> None:
        """A key changed something: tick, but do not keep the key from being drawn."""
        self._until = time.monotonic() + 2 * TICK
        if not self.awake:
            self.awake = True
            self._beat_in(ECHO)
        elif self._timer is not None and ECHO < self._at - time.monotonic() < EARLY:
            self._beat_in(ECHO)

    def now(self) -> None:
        """The user did something: tick without waiting for the next time."""
        self.wake()
        self._soon = True
        if self._timer is not None:
            self._timer.stop()
        self._beat()

    def rest(self) -> None:
        """Nothing moves: sleep, unless something changed just now."""
        if time.monotonic() > self._until:
            self.awake = False

    def stop(self) -> None:
        """Never tick again: what is about to be taken down must not be drawn any more."""
        self._stopped, self.awake, self._until = True, True, math.inf
        if self._timer is not None:
            self._timer.stop()

    def _beat_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._at = time.monotonic() + seconds
        self._timer = self._widget.set_timer(seconds, self._beat)

    def _beat(self) -> None:
        self._timer = None
        # A timer's own task is cancelled when the app ends, and with it whatever the tick is waiting for, as
        # a widget that is being mounted. A message of the widget runs to its end, and its faults are guarded.
        if not self._due and not self._stopped:
            self._due = True
            self._widget.call_later(self._run)

    async def _run(self) -> None:
        self._soon = False
        try:
            await self._tick()
        finally:
            self._due = False
            if self._soon:  # what the user did came too late for this one
                self._beat()
            elif self.awake and not self._stopped:
                self._beat_in(self._pause())

    def _pause(self) -> float:
        """Seconds until the next tick, by what this process spent since the last one, drawing included."""
        spent, self._spent = self._spent, time.process_time()
        return min(SLOWEST, max(TICK, (self._spent - spent) / SHARE))
