"""Ranks that meet: a barrier in shared memory, and the sums across it."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from smallchat.engine.ranks.memory import SharedMemory
from smallchat.model.share import Share
from smallchat.sharing import offer

Floats = npt.NDArray[np.float32]

COMMAND, START, COUNT, EVERY, SPARSE, ABANDONED = range(6)
"""Words of `SharedMemory.control`: number of the command, position of its first token, how many tokens,
whether logits of every position are wanted, whether the head is sparse; and the number of a command that was
given up."""

SPINS = 2000
"""Looks at another rank's word (0.1 ms) before the processor is offered to others."""
PATIENCE = 0.02
"""Seconds of such offers before a waiting rank begins to sleep for short whiles."""
NAP = 0.0002
STEPS_A_COMMAND = 1 << 20

_lock = threading.Lock()


def _order_memory() -> None:
    # Taken and given back twice: nothing written before is seen after what is written next.
    with _lock:
        pass
    with _lock:
        pass


def _nothing() -> None:
    pass


order_memory = _nothing if platform.machine().lower() in {"x86_64", "amd64", "i686"} else _order_memory
"""Between data and the word that announces it; x86 keeps the order of writes by itself."""


class AbandonedError(Exception):
    """The pass that this rank computes was given up."""


class RankTeam:
    """One rank's side of a `smallchat.model.team.Team` of several processes."""

    def __init__(self, memory: SharedMemory, share: Share, watch: Callable[[], None]) -> None:
        """`watch` is called now and then while waiting; it raises, or ends us, where another rank died."""
        self.share = share
        self._memory, self._watch = memory, watch
        self._mine = memory.line(share.rank)
        self._others = [memory.line(rank) for rank in range(share.size) if rank != share.rank]
        self._command = self._step = 0
        # A token's views stand ready.
        self._heads, self._rows = memory.heads[:1], memory.rows[:1]
        self._part, self._parts = memory.parts[share.rank, :1], list(memory.parts[:, :1])

    def begin(self, command: int) -> None:
        """A new pass."""
        self._command, self._step = command, command * STEPS_A_COMMAND

    def heads(self, n: int) -> Floats:
        """See `Team.heads`."""
        return self._heads if n == 1 else self._memory.heads[:n]

    def rows(self, n: int) -> Floats:
        """See `Team.rows`."""
        return self._rows if n == 1 else self._memory.rows[:n]

    def part(self, n: int) -> Floats:
        """See `Team.part`."""
        return self._part if n == 1 else self._memory.parts[self.share.rank, :n]

    def parts(self) -> list[Floats]:
        """See `Team.parts`."""
        return self._parts

    def add(self, x: Floats) -> None:
        """See `Team.add`."""
        self.meet()
        for part in self._parts if len(x) == 1 else self._memory.parts[:, : len(x)]:
            x += part

    def logits(self, n: int) -> Floats:
        """See `Team.logits`."""
        return self._memory.logits[:n]

    def meet(self) -> None:
        """See `Team.meet`. Raises `AbandonedError` where the pass was given up."""
        step = self._step = self._step + 1
        steps = self._memory.steps
        order_memory()
        steps[self._mine] = step
        for other in self._others:
            if steps[other] < step:
                self._wait(other, step)
        order_memory()

    def check(self) -> None:
        """See `Team.check`. Raises `AbandonedError` where the pass was given up."""
        if self._memory.control[ABANDONED] == self._command:
            raise AbandonedError

    def _wait(self, other: int, step: int) -> None:
        steps = self._memory.steps
        for _ in range(SPINS):
            if steps[other] >= step:
                return
        patient_until = time.monotonic() + PATIENCE
        while steps[other] < step:
            for _ in range(64):
                offer()
                if steps[other] >= step:
                    return
            self.check()
            if time.monotonic() > patient_until:
                self._watch()
                time.sleep(NAP)
