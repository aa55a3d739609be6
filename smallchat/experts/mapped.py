"""Experts without a budget of their own: the mapped file, paged by the operating system."""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from smallchat.experts.layout import ExpertLayout, Wrap

Bytes = npt.NDArray[np.uint8]
T = TypeVar("T")


class MappedExperts(Generic[T]):
    """Views of the mapped file; which experts are in memory is asked from the system (`mincore`)."""

    hit_rate: float | None = None
    """Unknown: the system does the reading."""
    read_bytes = 0
    """Nothing is read by us …"""
    wait_seconds = 0.0
    """… nor waited for where we could see it."""

    def __init__(self, data: Bytes, layout: ExpertLayout, wrap: Wrap[T]) -> None:
        """`data` is the whole mapped file, uint8 [size]; `wrap` makes of bytes what is fetched."""
        self._wrap = wrap
        self._fetched: dict[tuple[int, int], T] = {}
        self._data, self._layout = data, layout
        self._resident = np.zeros((layout.layers, layout.experts), bool)
        self._next_layer = 0
        self._pages = _PageTable(data)

    @property
    def room(self) -> int:
        """See `smallchat.model.decoder.Experts`."""
        return self._layout.experts

    guesses = False
    """See `smallchat.model.decoder.Experts`."""

    def expect(self, layer: int, experts: Sequence[int]) -> None:
        """Nothing to do: the system pages them in as they are touched."""

    def guess(self, layer: int, experts: Sequence[int]) -> None:
        """Nothing to do."""

    def forget(self) -> None:
        """Nothing to forget."""

    def fetch(self, layer: int, expert: int) -> T:
        """One expert over the mapped file; valid while that is mapped."""
        fetched = self._fetched.get((layer, expert))
        if fetched is None:
            ranges = self._layout.ranges(layer, expert)
            parts = [self._data[offset : offset + size] for offset, size in ranges]
            fetched = self._fetched[layer, expert] = self._wrap(layer, *parts)
            self._resident[layer, expert] = True
        return fetched

    def resident(self) -> npt.NDArray[np.bool_]:
        """bool [layers, experts]: wholly in memory when last looked at, or used since."""
        return self._resident

    def look(self, layers: int) -> None:
        """Ask the system about so many layers, going on where the last look ended.

        Takes about a millisecond a layer (of 32 experts): not for the time between two tokens.
        """
        count = min(layers, self._layout.layers)
        for step in range(count):
            layer = (self._next_layer + step) % self._layout.layers
            for expert in range(self._layout.experts):
                seen = [self._pages.resident(*part) for part in self._layout.ranges(layer, expert)]
                if None not in seen:
                    self._resident[layer, expert] = all(seen)
        self._next_layer = (self._next_layer + count) % self._layout.layers

    def resident_bytes(self) -> int:
        """Bytes of the experts last seen in memory."""
        counts = self._resident.sum(axis=1)
        return int(sum(n * self._layout.expert_bytes(layer) for layer, n in enumerate(counts)))

    def close(self) -> None:
        """Let go of the mapping."""
        self._fetched.clear()
        del self._data, self._pages, self._wrap


class _PageTable:
    """Asks `mincore` which pages of a mapping are in memory; knows nothing where there is no such call."""

    def __init__(self, data: Bytes) -> None:
        self._start = data.ctypes.data
        self._ask = None
        if sys.platform != "win32":
            library = ctypes.CDLL(None, use_errno=True)
            self._ask = library.mincore
            self._ask.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)

    def resident(self, offset: int, size: int) -> bool | None:
        """Whether all of these bytes are in memory; None: not known."""
        if self._ask is None:
            return None
        page = mmap.PAGESIZE
        first = (self._start + offset) // page * page
        pages = -(-(self._start + offset + size - first) // page)
        answer = np.empty(pages, np.uint8)
        if self._ask(first, pages * page, answer.ctypes.data) != 0:
            return None
        return bool((answer & 1).all())
