"""What takes a moment to look up while someone types: the last answer at once, a fresh one soon."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence

from smallchat.tui.completing import Candidate

FRESH_SECONDS = 5.0


class Lookups:
    """Keeps answers by key. Knows no widget."""

    def __init__(
        self, run: Callable[[Coroutine[None, None, None]], object], changed: Callable[[], None]
    ) -> None:
        """`run` starts a coroutine behind the screen; `changed` is called when an answer has come."""
        self._run = run
        self._changed = changed
        self._answers: dict[Hashable, tuple[float, Sequence[Candidate]]] = {}
        self._running: set[Hashable] = set()

    def get(
        self,
        key: Hashable,
        look_up: Callable[[], Awaitable[Sequence[Candidate]]],
        fresh_seconds: float = FRESH_SECONDS,
    ) -> Sequence[Candidate]:
        """What is known for `key`; where that is old, `look_up` is begun."""
        at, known = self._answers.get(key, (0.0, ()))
        if time.monotonic() - at > fresh_seconds and key not in self._running:
            self._running.add(key)
            self._run(self._look_up(key, look_up))
        return known

    async def _look_up(self, key: Hashable, look_up: Callable[[], Awaitable[Sequence[Candidate]]]) -> None:
        try:
            found = await look_up()
        finally:
            self._running.discard(key)
        before = self._answers.get(key)
        self._answers[key] = time.monotonic(), found
        if before is None or before[1] != found:
            self._changed()
