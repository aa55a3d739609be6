"""The most memory that all our processes took together while something ran."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from types import TracebackType

import psutil

SECONDS = 0.2
"""Between two looks at what the processes have for themselves."""


class PeakMemory:
    """Watches this process and its children while it is open (`with`).

    Shared pages by share (PSS), where the system counts that, take long to sum up: 16 ms for 2.5 GB mapped,
    46 for 12.3 GB (Linux). So they are summed only in `look`, between what is timed. Within, a thread reads
    what two processes have for themselves in under 0.1 ms, and what that was above its last value is added:
    what is mapped of the file only ever grows.
    """

    def __init__(self) -> None:
        self.bytes = 0
        """The peak so far; whole after a `look`."""
        self._processes = [psutil.Process()]
        self._private = 0  # the most since the last look
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak memory", daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def look(self) -> None:
        """Sum up now; call it outside of what is timed, at least after everything that takes memory."""
        here = self._processes[0]
        self._processes = [here, *here.children(recursive=True)]
        private, highest, self._private = self._sum(_private), self._private, 0
        self.bytes = max(self.bytes, self._sum(_shared_out) + max(0, highest - private))

    def _watch(self) -> None:
        while not self._over.wait(SECONDS):
            self._private = max(self._private, self._sum(_private))

    def _sum(self, count: Callable[[psutil.Process], int]) -> int:
        total = 0
        for process in self._processes:
            with contextlib.suppress(psutil.Error):  # it ended meanwhile
                total += count(process)
        return total


def _private(process: psutil.Process) -> int:
    memory = process.memory_info()
    return int(memory.rss - getattr(memory, "shared", 0))


def _shared_out(process: psutil.Process) -> int:
    """PSS; where there is none, all that is resident."""
    memory = process.memory_full_info()
    return int(getattr(memory, "pss", memory.rss))
