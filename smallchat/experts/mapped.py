"""Experts without a budget of their own: the mapped file, paged by the operating system; or, where that is
asked for, memory of the ranks' own, in which they lie as the processor likes it.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from smallchat.experts.layout import ExpertLayout, Wrap

Bytes = npt.NDArray[np.uint8]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Repacked(Generic[T]):
    """Where repacked experts lie, and how they come there. What interleaving rows means says
    `smallchat.kernels.repack`; here it is only known that it is done to bytes.
    """

    image: Bytes
    """uint8 [size], memory that all ranks share: an expert has the place that it has in the file."""
    layers: frozenset[int]
    """Those whose experts can be repacked."""
    write: Callable[[int, Sequence[Bytes], Sequence[Bytes]], None]
    """From a layer's gate, up and down of an expert into as many bytes."""
    wrap: Wrap[T]
    """Makes of those bytes what is fetched."""
    let_go: Callable[[], None]
    """What was read of the mapped file is not wanted any more."""


class MappedExperts(Generic[T]):
    """Views of the mapped file; which experts are in memory is asked from the system (`mincore`)."""

    hit_rate: float | None = None
    """Unknown: the system does the reading."""
    read_bytes = 0
    """Nothing is read by us …"""
    wait_seconds = 0.0
    """… nor waited for where we could see it."""

    def __init__(
        self, data: Bytes, layout: ExpertLayout, wrap: Wrap[T], repacked: Repacked[T] | None = None
    ) -> None:
        """`data` is the whole mapped file, uint8 [size]; `wrap` makes of bytes what is fetched. With
        `repacked` all ranks together call `repack` for every layer before the first `fetch`.
        """
        self._wrap, self._repacked = wrap, repacked
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
        """One expert over the mapped file, or where it was repacked; valid until `close`."""
        fetched = self._fetched.get((layer, expert))
        if fetched is None:
            repacked = self._repacked if self._moves(layer) else None
            data, wrap = (self._data, self._wrap) if repacked is None else (repacked.image, repacked.wrap)
            fetched = self._fetched[layer, expert] = wrap(layer, *self._parts(data, layer, expert))
            self._resident[layer, expert] = True
        return fetched

    def repack(self, layers: Iterable[int]) -> None:
        """Bring the experts of these layers to where they are repacked, and let go of the mapped file."""
        for layer in filter(self._moves, layers):
            assert self._repacked is not None
            for expert in range(self._layout.experts):
                sources, into = (
                    self._parts(data, layer, expert) for data in (self._data, self._repacked.image)
                )
                self._repacked.write(layer, sources, into)
            self._repacked.let_go()

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
                    self._resident[layer, expert] = self._moves(layer) or all(seen)
        self._next_layer = (self._next_layer + count) % self._layout.layers

    def resident_bytes(self) -> int:
        """Bytes of the experts last seen in memory."""
        counts = self._resident.sum(axis=1)
        return int(sum(n * self._layout.expert_bytes(layer) for layer, n in enumerate(counts)))

    def close(self) -> None:
        """Let go of the mapping."""
        self._fetched.clear()
        del self._data, self._pages, self._wrap, self._repacked

    def _moves(self, layer: int) -> bool:
        return self._repacked is not None and layer in self._repacked.layers

    def _parts(self, data: Bytes, layer: int, expert: int) -> list[Bytes]:
        """Gate, up and down in the file, or in an image of it."""
        return [data[offset : offset + size] for offset, size in self._layout.ranges(layer, expert)]


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
