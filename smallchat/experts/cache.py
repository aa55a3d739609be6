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
    """Experts within a budget: read when they are missing, kept while there is room.

    Every rank of a decoder keeps the same books, because all see the same experts in the same order; only one
    of them reads, into slots that all share.
    """

    def __init__(self, store: ExpertStore | None, layout: ExpertLayout, slots: Bytes, wrap: Wrap[T]) -> None:
        """`slots` is uint8 [slots, `layout.largest_expert`], at least one slot a layer; `wrap` makes of bytes
        what is fetched. Without a `store` nothing is read here: another rank does.
        """
        if len(slots) < layout.layers:
            raise ValueError(f"{len(slots)} slots for {layout.layers} layers")
        self._store, self._layout, self._slots = store, layout, slots
        self._shares: list[int] = [
            len(slots) // layout.layers + (layer < len(slots) % layout.layers)
            for layer in range(layout.layers)
        ]
        self._wrapped = [
            wrap(layer, *self._parts(layer, slot))
            for layer in range(layout.layers)
            for slot in self._slots_of(layer)
        ]
        self._hits = self._uses = 0
        self.forget()

    @property
    def hit_rate(self) -> float | None:
        """Share of uses that needed no read, since the start."""
        return self._hits / self._uses if self._uses else None

    @property
    def room(self) -> int:
        """See `smallchat.model.decoder.Experts`."""
        return min(self._shares)

    @property
    def read_bytes(self) -> int:
        """Bytes read from the file by this rank, since the start."""
        return 0 if self._store is None else self._store.bytes_read

    @property
    def wait_seconds(self) -> float:
        """Time for which the decoder waited for reads, since the start."""
        return 0.0 if self._store is None else self._store.seconds

    def expect(self, layer: int, experts: Sequence[int]) -> list[list[int]]:
        """See `smallchat.model.decoder.Experts`. Raises `EngineError` for a failed read."""
        held, room = self._held[layer], self._shares[layer]
        self._uses += len(experts)
        self._hits += sum(expert in held for expert in experts)
        if len(experts) <= room:
            groups = [list(experts)]
        else:  # those that are here first: they need not be read
            ordered = sorted(experts, key=lambda expert: expert not in held)
            groups = [sorted(ordered[at : at + room]) for at in range(0, len(ordered), room)]
        self.bring(layer, groups[0])
        return groups

    def bring(self, layer: int, group: Sequence[int]) -> None:
        """See `smallchat.model.decoder.Experts`. Raises `EngineError` for a failed read."""
        held = self._held[layer]
        for expert in group:
            if expert in held:
                held.move_to_end(expert)
        for expert in group:
            if expert in held:
                continue
            # What was just moved to the end is not the oldest.
            slot: int = self._free[layer].pop() if self._free[layer] else held.pop(next(iter(held)))
            try:
                self._read(layer, expert, slot)
            except BaseException:
                self._free[layer].append(slot)
                raise
            held[expert] = slot

    def fetch(self, layer: int, expert: int) -> T:
        """See `smallchat.model.decoder.Experts`."""
        return self._wrapped[self._held[layer][expert]]

    def forget(self) -> None:
        """Hold nothing: the ranks' books may differ after a pass that was given up."""
        self._free = [list(self._slots_of(layer)) for layer in range(self._layout.layers)]
        self._held: list[OrderedDict[int, int]] = [OrderedDict() for _ in range(self._layout.layers)]

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
        return sum(map(len, self._held)) * self._layout.largest_expert

    def close(self) -> None:
        """Give the memory and the file back."""
        if self._store is not None:
            self._store.close()
        del self._slots, self._wrapped

    def _slots_of(self, layer: int) -> range:
        start = sum(self._shares[:layer])
        return range(start, start + self._shares[layer])

    def _parts(self, layer: int, slot: int) -> list[Bytes]:
        """Gate, up and down in a slot of that layer, one behind the other."""
        sizes = [size for _, size in self._layout.ranges(layer, 0)]
        borders = list(accumulate(sizes, initial=0))
        return [self._slots[slot, start:stop] for start, stop in pairwise(borders)]

    def _read(self, layer: int, expert: int, slot: int) -> None:
        if self._store is not None:
            for part, into in zip(self._layout.ranges(layer, expert), self._parts(layer, slot), strict=True):
                self._store.read(part, into)
