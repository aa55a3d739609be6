"""Expert caches for tests: a file of random bytes, and readers that have faults when they are told to."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from smallchat.experts.cache import CachedExperts
from smallchat.experts.direct import DirectFile
from smallchat.experts.heat import Heat
from smallchat.experts.layout import ExpertLayout
from smallchat.experts.prefetch import Filler, Prefetcher
from smallchat.experts.reader import Reader
from smallchat.experts.slab import Slab, SlabSizes

LAYERS, EXPERTS = 3, 8
GATE, UP, DOWN = 700, 700, 9000  # none a whole number of blocks
SECONDS = 20


def layout_and_file(folder: Path) -> tuple[ExpertLayout, Path, np.ndarray]:
    """Three ranges an expert, not side by side, in a file of random bytes."""
    parts, at = [], 64
    for _ in range(LAYERS):
        layer = []
        for size in (GATE, UP, DOWN):
            layer.append((at, size))
            at += size * EXPERTS + 32
        parts.append(tuple(layer))
    data = np.random.default_rng(0).integers(0, 256, at, dtype=np.uint8)
    path = folder / "experts.bin"
    path.write_bytes(data.tobytes())
    return ExpertLayout(EXPERTS, parts), path, data


def parts(layer: int, *parts: np.ndarray) -> tuple[np.ndarray, ...]:
    """What is fetched in these tests: the bytes themselves."""
    return parts


def right(layout: ExpertLayout, data: np.ndarray, layer: int, expert: int) -> list[bytes]:
    """What the file holds of an expert."""
    return [data[offset : offset + size].tobytes() for offset, size in layout.ranges(layer, expert)]


def use(experts: Any, layer: int, *wanted: int) -> list[list[bytes]]:
    """One layer of a pass: what is fetched, in order of `wanted`."""
    experts.expect(layer, list(wanted))
    return [[part.tobytes() for part in experts.fetch(layer, expert)] for expert in wanted]


class Threads:
    """A `Filler` in threads of this process, whose reads go through `read`."""

    pid = None

    def __init__(self, slab: Slab, read: Callable[[memoryview, int, int], None]) -> None:
        source, self._write = os.pipe()
        self._source, self.dead = source, False
        reader = Reader(slab, read, source)
        self._threads = [threading.Thread(target=reader.serve, daemon=True) for _ in range(2)]
        for thread in self._threads:
            thread.start()

    def send(self, requests: bytes) -> None:
        if self.dead:
            raise BrokenPipeError
        os.write(self._write, requests)

    def ended(self) -> bool:
        return self.dead

    def close(self) -> None:
        if self._write < 0:
            return
        os.close(self._write)
        self._write = -1
        for thread in self._threads:
            thread.join(SECONDS)
            assert not thread.is_alive()
        os.close(self._source)


@contextlib.contextmanager
def cache(
    folder: Path,
    slots: int,
    read: Callable[[DirectFile], Callable[[memoryview, int, int], None]] | None = None,
    ranks: int = 1,
) -> Iterator[tuple[CachedExperts[Any], ExpertLayout, np.ndarray]]:
    """A cache of at most `slots` experts over a real reader's process; or `read` makes what reads instead."""
    layout, path, data = layout_and_file(folder)
    slab = Slab(SlabSizes(LAYERS * EXPERTS, LAYERS * EXPERTS, layout.largest_parts, ranks))

    class Threaded(Prefetcher):
        def start(self) -> Filler:
            assert read is not None
            return Threads(slab, read(self._file))

    kind = Prefetcher if read is None else Threaded
    prefetcher = kind(DirectFile(path), path, slab)
    experts: CachedExperts[Any] = CachedExperts(
        prefetcher, slab, layout, parts, Heat(LAYERS, EXPERTS), limit=slots, ranks=ranks
    )
    try:
        yield experts, layout, data
    finally:
        experts.close()


def settled(experts: CachedExperts[Any]) -> None:
    """Wait until nothing is being read."""
    deadline = time.monotonic() + SECONDS
    while experts.reading().any():
        assert time.monotonic() < deadline
        experts.check()
        time.sleep(0)
