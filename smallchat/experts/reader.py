"""The reader's own process: `python -m smallchat.experts.reader`, which fills slots that it is told of.

A thread that wants Python's lock starves beside a decoder that spins, so reading has a process of its own. It
imports little (9 MB in all), does what comes on its standard input in the order of coming, several reads at a
time, and ends when that input closes.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from smallchat.experts.direct import ChangedError, DirectFile, ShortReadError
from smallchat.experts.slab import (
    BUSY,
    BYTES,
    CHANGED,
    ERRNO,
    FAILED,
    PROBLEM,
    READY,
    SHORT,
    SYSTEM,
    Slab,
    SlabSizes,
)

REQUEST = struct.Struct("<6q")
"""One part of an expert: slot, how many parts the slot waits for, where in the slab, where in the file, how
many bytes, and how many of them must be there."""

THREADS = 4
"""Reads at a time. Measured with pieces of 650 KB: two threads read 1.2 times as much as one, four 1.7, six
1.6."""

Read = Callable[[memoryview, int, int], None]


class Reader:
    """Reads what it is told, and says in the slab when a slot is filled."""

    def __init__(self, slab: Slab, read: Read, source: int) -> None:
        """`read` is `DirectFile.read`; `source` the descriptor that requests come from."""
        self._slab, self._read, self._source = slab, read, source
        self._lock = threading.Lock()
        self._parts: dict[int, int] = {}  # still to be read, by slot
        self._failed: set[int] = set()
        self._active, self._since = 0, 0

    def serve(self) -> None:
        """Do requests until there will be no more."""
        while request := os.read(self._source, REQUEST.size):
            slot, parts, at, offset, size, needed = REQUEST.unpack(request)
            self._begin()
            problem = number = 0
            try:
                self._read(self._slab.view[at : at + size], offset, needed)
            except ShortReadError:
                problem = SHORT
            except ChangedError:
                problem = CHANGED
            except OSError as error:
                problem, number = SYSTEM, error.errno or 0
            self._end(slot, parts, size, problem, number)

    def _begin(self) -> None:
        with self._lock:
            if not self._active:
                self._since = time.monotonic_ns()
            self._active += 1

    def _end(self, slot: int, parts: int, size: int, problem: int, number: int) -> None:
        control, states = self._slab.control, self._slab.states
        with self._lock:
            self._active -= 1
            if not self._active:
                control[BUSY] += time.monotonic_ns() - self._since
            control[BYTES] += size
            if problem:
                control[PROBLEM], control[ERRNO] = problem, number
                self._failed.add(slot)
            left = self._parts.get(slot, parts) - 1
            if left:
                self._parts[slot] = left
                return
            self._parts.pop(slot, None)
            # Last of all: whoever sees it may use, or give away, the slot.
            states[slot] = FAILED if slot in self._failed else READY
            self._failed.discard(slot)


def main() -> None:
    """Entry of the process; the first argument says what to read, and into what."""
    plan = json.loads(sys.argv[1])
    slab = Slab(SlabSizes(**plan["sizes"]), plan["slab"])
    if plan["fd"] is None:  # descriptors are not handed on here
        plan["fd"] = DirectFile(Path(plan["path"])).fd
    file = DirectFile.adopt(plan["fd"], plan["direct"], plan["identity"])
    reader = Reader(slab, file.read, sys.stdin.fileno())
    threads = [threading.Thread(target=reader.serve) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
