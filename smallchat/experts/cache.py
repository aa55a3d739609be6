"""A fixed number of slots of memory for experts, each layer with its own share, least recently used out.

A share for each layer, because one list for all layers that holds less than a token's sweep never hits: the
sweep pushes out every expert before it is wanted again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from smallchat.experts.layout import ExpertLayout, Wrap
from smallchat.experts.store import ExpertStore

Bytes = npt.NDArray[np.uint8]
T = TypeVar("T")


class CachedExperts(Generic[T]):
    """Experts within a budget: read when they are missing, kept while there is room."""

    def __init__(self, store: ExpertStore, layout: ExpertLayout, slots: int, wrap: Wrap[T]) -> None:
        """`slots` experts are held at once, at least one a layer; `wrap` makes of bytes what is fetched."""
        if slots < layout.layers:
            raise ValueError(f"{slots} slots for {layout.layers} layers")
        self._store, self._layout = store, layout
        self._slots = np.empty((slots, layout.largest_expert), np.uint8)
        shares = [slots // layout.layers + (layer < slots % layout.layers) for layer in range(layout.layers)]
        starts = np.concatenate([[0], np.cumsum(shares)])
        self._free = [list(range(starts[layer], starts[layer + 1])) for layer in range(layout.layers)]
        self._held: list[OrderedDict[int, int]] = [OrderedDict() for _ in range(layout.layers)]
        self._wrapped = [
            wrap(layer, *self._parts(layer, slot))
            for layer in range(layout.layers)
            for slot in self._free[layer]
        ]
        self._expected: set[int] = set()
        self._hits = self._uses = 0

    @property
    def hit_rate(self) -> float | None:
        """Share of fetches that needed no read, since the start."""
        return self._hits / self._uses if self._uses else None

    @property
    def read_bytes(self) -> int:
        """Bytes read from the file, since the start."""
        return self._store.bytes_read

    @property
    def wait_seconds(self) -> float:
        """Time for which the decoder waited for reads, since the start."""
        return self._store.seconds

    def expect(self, layer: int, experts: Sequence[int]) -> None:
        """Those of `experts` that are here will not make room for the others."""
        self._expected = set(experts)
        for expert in experts:
            if expert in self._held[layer]:
                self._held[layer].move_to_end(expert)

    def fetch(self, layer: int, expert: int) -> T:
        """One expert in its slot; valid until the next call. Raises `EngineError` for a failed read."""
        held = self._held[layer]
        self._uses += 1
        slot = held.get(expert)
        if slot is None:
            slot = self._free[layer].pop() if self._free[layer] else self._evict(layer)
            try:
                self._read(layer, expert, slot)
            except BaseException:
                self._free[layer].append(slot)
                raise
            held[expert] = slot
        else:
            self._hits += 1
            held.move_to_end(expert)
        return self._wrapped[slot]

    def look(self, layers: int) -> None:
        """Nothing to look for: what is held is known."""

    def resident(self) -> npt.NDArray[np.bool_]:
        """bool [layers, experts]: held in a slot."""
        table = np.zeros((self._layout.layers, self._layout.experts), bool)
        for layer, held in enumerate(self._held):
            table[layer, list(held)] = True
        return table

    def resident_bytes(self) -> int:
        """Bytes of the slots that hold an expert."""
        return sum(map(len, self._held)) * self._slots.shape[1]

    def close(self) -> None:
        """Give the memory and the file back."""
        self._store.close()
        del self._slots, self._wrapped

    def _parts(self, layer: int, slot: int) -> list[Bytes]:
        """Gate, up and down in a slot of that layer, one behind the other."""
        sizes = [size for _, size in self._layout.ranges(layer, 0)]
        borders = list(accumulate(sizes, initial=0))
        return [self._slots[slot, start:stop] for start, stop in pairwise(borders)]

    def _read(self, layer: int, expert: int, slot: int) -> None:
        for part, into in zip(self._layout.ranges(layer, expert), self._parts(layer, slot), strict=True):
            self._store.read(part, into)

    def _evict(self, layer: int) -> int:
        held = self._held[layer]
        # What this pass still wants goes last; where all of it is wanted, the oldest goes.
        oldest = next((expert for expert in held if expert not in self._expected), next(iter(held)))
        return held.pop(oldest)
