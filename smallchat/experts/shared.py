"""Experts in the slab, for every rank: found where the first rank has had them put, waited for if need be."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from smallchat.experts.direct import BLOCK
from smallchat.experts.layout import ExpertLayout, Wrap
from smallchat.experts.slab import LINE, RANKS, READY, Slab
from smallchat.sharing import offer

Bytes = npt.NDArray[np.uint8]
T = TypeVar("T")

SPINS = 500
"""Looks at a slot before the processor is offered to others: the reader may need it."""
PATIENCE = 0.005
"""Seconds of such offers before a waiting rank begins to sleep for short whiles."""
NAP = 0.0002


class SharedExperts(Generic[T]):
    """What a rank beside the first computes with. It decides nothing and reads nothing."""

    guesses = False
    """See `smallchat.model.decoder.Experts`."""

    def __init__(self, slab: Slab, layout: ExpertLayout, wrap: Wrap[T], rank: int) -> None:
        """`wrap` makes of bytes what is fetched."""
        self.watch: Callable[[], None] = lambda: None
        """Called now and then while waiting; may raise to give up."""
        self._slab, self._layout, self._wrap = slab, layout, wrap
        self._where, self._states = slab.where, slab.states
        self._waited = RANKS + LINE * rank
        self._bytes: Bytes = np.frombuffer(slab.memory.map, np.uint8)
        self._signatures = _signatures(layout)
        self._wrapped: dict[tuple[int, int], T] = {}

    @property
    def room(self) -> int:
        """See `smallchat.model.decoder.Experts`."""
        return self._layout.experts

    def expect(self, layer: int, experts: Sequence[int]) -> None:
        """The first rank does."""

    def guess(self, layer: int, experts: Sequence[int]) -> None:
        """The first rank does."""

    def fetch(self, layer: int, expert: int, repacked: bool = False) -> T:
        """See `smallchat.model.decoder.Experts`. What may soon leave is not repacked: where a third of a
        token's experts had to be read, that cost more than it gave (12 tokens a second instead of 19).
        """
        slot = self._where[layer * self._layout.experts + expert] - 1
        if slot < 0 or self._states[slot] != READY:
            slot = self._wait(layer, expert)
        key = slot, self._signatures[layer][expert]
        found = self._wrapped.get(key)
        if found is None:
            found = self._wrapped[key] = self._wrap(layer, *self._parts(layer, expert, slot))
        return found

    def forget(self) -> None:
        """The first rank does."""

    def close(self) -> None:
        """Let go of the memory."""
        self._wrapped.clear()
        del self._bytes, self._wrap
        self._slab.close()

    def look_around(self) -> None:
        """Called now and then while waiting; may raise to give up."""
        self.watch()

    def _wait(self, layer: int, expert: int) -> int:
        """The slot of that expert, once it is filled."""
        at, began, spins = layer * self._layout.experts + expert, time.perf_counter_ns(), 0
        impatient = began + int(PATIENCE * 1e9)
        while True:
            slot = self._where[at] - 1
            if slot >= 0 and self._states[slot] == READY:
                break
            spins += 1
            if spins > SPINS:
                offer()
                if spins % 64 == 0:
                    self.look_around()
                    if time.perf_counter_ns() > impatient:
                        time.sleep(NAP)
        self._slab.control[self._waited] += time.perf_counter_ns() - began
        return slot

    def _parts(self, layer: int, expert: int, slot: int) -> list[Bytes]:
        """Gate, up and down in a slot."""
        start, parts = self._slab.start(slot), []
        for (offset, size), at in zip(self._layout.ranges(layer, expert), self._slab.part_at, strict=True):
            first = start + at + offset % BLOCK
            parts.append(self._bytes[first : first + size])
        return parts


def _signatures(layout: ExpertLayout) -> list[list[int]]:
    """A number for each expert: experts of equal ones lie alike in a slot, and are of the same types."""
    numbers: dict[Hashable, int] = {}
    table = []
    for layer in range(layout.layers):
        row = []
        for expert in range(layout.experts):
            ranges = layout.ranges(layer, expert)
            key = (layout.kinds[layer], *((offset % BLOCK, size) for offset, size in ranges))
            row.append(numbers.setdefault(key, len(numbers)))
        table.append(row)
    return table
