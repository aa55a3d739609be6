"""Experts without a budget of their own: the mapped file, paged by the operating system; and those that were
used, where the processor likes another layout, in memory of the ranks' own.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from smallchat.experts.layout import ExpertLayout, Wrap

Bytes = npt.NDArray[np.uint8]
T = TypeVar("T")


MOVING_SECONDS = 0.01
"""So long experts move while nothing else is done, before it is seen whether anything is asked for."""
UNUSED, USED, MOVED = range(3)
"""An expert moves with its second use: memory that is new takes longer than what is done to its bytes."""


@dataclass(frozen=True, slots=True)
class Repacking(Generic[T]):
    """How experts are laid out anew for the processor, in as many bytes. What that means says
    `smallchat.kernels.repack`; here it is only known that it is done to bytes.
    """

    layers: frozenset[int]
    """Those whose experts can be."""
    made: Callable[[int, Sequence[Bytes]], list[Bytes]]
    """Of a layer's gate, up and down of an expert: new arrays of as many bytes."""
    wrap: Wrap[T]
    """Makes of those bytes what is fetched."""


@dataclass(frozen=True, slots=True)
class Room(Generic[T]):
    """Where repacked experts lie."""

    repacking: Repacking[T]
    image: Bytes
    """uint8 [size], memory that all ranks share: an expert has the place that it has in the file."""
    states: Bytes
    """uint8 [layers · experts], shared too: `UNUSED`, `USED` or `MOVED`."""
    let_go: Callable[[int, int], None]
    """These bytes of the mapped file, from and to, are not wanted any more."""


class MappedExperts(Generic[T]):
    """Views of the mapped file; which experts are in memory is asked from the system (`mincore`)."""

    hit_rate: float | None = None
    """Unknown: the system does the reading."""
    read_bytes = 0
    """Nothing is read by us …"""
    wait_seconds = 0.0
    """… nor waited for where we could see it."""

    def __init__(self, data: Bytes, layout: ExpertLayout, wrap: Wrap[T], room: Room[T] | None = None) -> None:
        """`data` is the whole mapped file, uint8 [size]; `wrap` makes of bytes what is fetched."""
        self._wrap, self._room = wrap, room
        self._fetched: dict[tuple[int, int], T] = {}
        self._repacked: dict[tuple[int, int], T] = {}
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

    def fetch(self, layer: int, expert: int, repacked: bool = False) -> T:
        """See `smallchat.model.decoder.Experts`; valid until `close`."""
        key, room = (layer, expert), self._room
        found = self._repacked.get(key)
        if found is not None:
            return found
        self._resident[key] = True
        if room is not None and layer in room.repacking.layers:
            at = layer * self._layout.experts + expert
            if repacked and room.states[at] == UNUSED:
                room.states[at] = USED
                return room.repacking.wrap(layer, *self._made(room, layer, expert))
            if repacked and room.states[at] == USED:
                self._move(room, layer, expert)
            if room.states[at] == MOVED:
                parts = self._parts(room.image, layer, expert)
                found = self._repacked[key] = room.repacking.wrap(layer, *parts)
                self._fetched.pop(key, None)
                return found
        found = self._fetched.get(key)
        if found is None:
            found = self._fetched[key] = self._wrap(layer, *self._parts(self._data, layer, expert))
        return found

    def warm(self) -> bool:
        """Between two passes: move experts that are in memory, a few; False: all of them have moved."""
        room, until = self._room, time.monotonic() + MOVING_SECONDS
        if room is None:
            return False
        for at in np.flatnonzero(self._resident.reshape(-1) & (room.states != MOVED)).tolist():
            layer, expert = divmod(at, self._layout.experts)
            if layer in room.repacking.layers:
                self._move(room, layer, expert)
                if time.monotonic() > until:
                    return True
        return False

    def rest(self) -> None:
        """Nothing is computed for a while: let go of mapped experts, since they may move meanwhile."""
        if self._room is not None:
            for layer, expert in self._fetched:
                self._let_go(self._room, layer, expert)
            self._fetched.clear()

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
                    self._resident[layer, expert] = all(seen) or self._moved(layer, expert)
        self._next_layer = (self._next_layer + count) % self._layout.layers

    def resident_bytes(self) -> int:
        """Bytes of the experts last seen in memory."""
        counts = self._resident.sum(axis=1)
        return int(sum(n * self._layout.expert_bytes(layer) for layer, n in enumerate(counts)))

    def close(self) -> None:
        """Let go of the mapping."""
        self._fetched.clear()
        self._repacked.clear()
        del self._data, self._pages, self._wrap, self._room

    def _move(self, room: Room[T], layer: int, expert: int) -> None:
        """Lay an expert out anew, and let go of where it came from: there is one of it in memory."""
        made = self._made(room, layer, expert)
        for part, into in zip(made, self._parts(room.image, layer, expert), strict=True):
            into[:] = part
        room.states[layer * self._layout.experts + expert] = MOVED

    def _made(self, room: Room[T], layer: int, expert: int) -> list[Bytes]:
        made = room.repacking.made(layer, self._parts(self._data, layer, expert))
        self._let_go(room, layer, expert)
        return made

    def _let_go(self, room: Room[T], layer: int, expert: int) -> None:
        for offset, size in self._layout.ranges(layer, expert):
            room.let_go(offset, offset + size)

    def _moved(self, layer: int, expert: int) -> bool:
        return self._room is not None and self._room.states[layer * self._layout.experts + expert] == MOVED

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
