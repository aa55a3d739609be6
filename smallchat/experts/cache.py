"""Which experts are in the slab: the first rank's books.

An expert that is missing is asked for when its layer is entered, which is before attention; those that the
next layer may want are asked for a layer ahead. What leaves for them is said in `smallchat.experts.heat`. An
expert that is being read, that the present layer uses, or that is guessed for the next one never leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from smallchat.errors import EngineError
from smallchat.experts.heat import Heat, ways
from smallchat.experts.layout import ExpertLayout, Wrap
from smallchat.experts.prefetch import Prefetcher
from smallchat.experts.shared import SharedExperts
from smallchat.experts.slab import BUSY, BYTES, FAILED, FREE, LINE, RANKS, READING, READY, Slab
from smallchat.sharing import offer

T = TypeVar("T")

GUESSED_AT_ONCE = 8
"""Experts that are being read at the most when a single token's guess is added: a disk that cannot follow is
not helped by more."""
WARMED_AT_ONCE = 12
MISSES_WORTH_GUESSING = 0.002
"""Share of uses that were missing lately, from which the next layer's router is asked early."""
FADE = 0.01
"""Weight of one layer's entry in that share."""


class CachedExperts(SharedExperts[T]):
    """Experts within a budget: read when, or before, they are wanted; kept by heat."""

    def __init__(
        self,
        prefetcher: Prefetcher,
        slab: Slab,
        layout: ExpertLayout,
        wrap: Wrap[T],
        heat: Heat,
        limit: int,
        ranks: int = 1,
    ) -> None:
        """`limit`: slots that may be in use; see `resize`. `heat` is kept by whoever sees the tokens."""
        super().__init__(slab, layout, wrap, 0)
        self._prefetcher, self._heat, self._limit = prefetcher, heat, limit
        shape = layout.layers, layout.experts
        self._ways = ways(layout.layers)
        self._kept = np.full(shape, np.inf, np.float32)  # what may not leave: not there, or being read
        self._scores = np.empty(shape, np.float32)
        self._flat = self._scores.reshape(-1)
        self._loading: dict[int, int] = {}  # expert (layer by layer) by slot
        self._layer = 0  # entered last
        self._experts: list[int] = []  # that it uses
        self._guessed: dict[int, bool] = {}  # experts of the next layer, and whether they are read for it
        self._warm: list[int] = []  # to be read when nothing else is, hottest last
        self._free: list[int] = []
        self._next = self._used = 0
        self._problem: EngineError | None = None  # why a read failed that nobody was told of
        self._uses = self._hits = self._right = self._wrong = 0
        self._missing_lately = 1.0
        self._waits = [RANKS + LINE * rank for rank in range(ranks)]
        self._waited_before = [0] * ranks
        self._wait_ns = 0

    @property
    def hit_rate(self) -> float | None:
        """Share of uses of experts that were in memory when their layer was entered."""
        return self._hits / self._uses if self._uses else None

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Hits, misses, guesses that came true, and those that did not."""
        return self._hits, self._uses - self._hits, self._right, self._wrong

    @property
    def slots(self) -> int:
        """Experts that may be in memory at once."""
        return self._limit

    @property
    def room(self) -> int:
        """See `smallchat.model.decoder.Experts`."""
        return min(self._limit, self._layout.experts)

    @property
    def guesses(self) -> bool:  # type: ignore[override]
        """See `smallchat.model.decoder.Experts`."""
        return self._missing_lately > MISSES_WORTH_GUESSING

    @property
    def read_bytes(self) -> int:
        """Bytes read from the file since the start."""
        return self._slab.control[BYTES]

    @property
    def read_seconds(self) -> float:
        """Time in which something was being read, since the start."""
        return self._slab.control[BUSY] / 1e9

    @property
    def wait_seconds(self) -> float:
        """Time for which computing waited for reads, since the start: in every layer of the slowest rank."""
        self._count_waits()
        return self._wait_ns / 1e9

    @property
    def pids(self) -> list[int]:
        """Numbers of the processes that read."""
        return self._prefetcher.pids

    def expect(self, layer: int, experts: Sequence[int]) -> None:
        """See `smallchat.model.decoder.Experts`. Raises `EngineError` where the reader does not run."""
        self._count_waits()
        if self._loading:
            self._settle()
        where, states, first = self._where, self._states, layer * self._layout.experts
        self._layer, self._experts = layer, experts if isinstance(experts, list) else list(experts)
        guessed = self._judge(first) if self._guessed else 0
        missing = []
        for expert in experts:
            slot = where[first + expert]
            if not slot:
                missing.append(first + expert)
            elif states[slot - 1] == READY:
                self._hits += 1
        self._uses += len(experts)
        lacked = (len(missing) + guessed) / len(experts)
        self._missing_lately += (lacked - self._missing_lately) * FADE
        for at in missing:
            self._bring(at)
        if self._warm and not self._loading:
            self.warm()

    def guess(self, layer: int, experts: Sequence[int]) -> None:
        """See `smallchat.model.decoder.Experts`. Never takes the place of what is needed now."""
        first = layer * self._layout.experts
        at_once = max(GUESSED_AT_ONCE, 2 * self._layout.experts if len(experts) > GUESSED_AT_ONCE else 0)
        spare = self._limit - len(self._experts) - len(self._loading)
        for expert in experts:
            at = first + expert
            missing = not self._where[at]
            if missing:
                if spare <= len(experts) or len(self._loading) >= at_once:
                    continue
                spare -= 1
                self._bring(at)
            self._guessed[at] = missing

    def resize(self, limit: int) -> None:
        """Use so many slots, at least as many as one layer's entry needs; what is too many leaves now.

        Between two passes only.
        """
        self._limit = min(limit, self._slab.sizes.slots)
        self._experts, self._guessed = [], {}
        self._settle()
        while self._used > self._limit:
            slot = self._victim()
            self._slab.release(slot)
            self._free.append(slot)
            self._used -= 1

    def wish(self, experts: Iterable[int]) -> None:
        """Read these (numbered layer by layer), the most wanted first, when there is nothing else to read."""
        self._warm = [at for at in experts if not self._where[at]][::-1]

    def warm(self) -> bool:
        """Go on with what was wished for; False: that is done. Returns at once."""
        self._settle()
        while self._warm and self._used < self._limit and len(self._loading) < WARMED_AT_ONCE:
            at = self._warm.pop()
            if not self._where[at]:
                self._bring(at)
        if self._used >= self._limit:
            self._warm = []
        if self._loading:
            self._prefetcher.check()
        return bool(self._warm or self._loading)

    def forget(self) -> None:
        """See `smallchat.model.decoder.Experts`."""
        self._experts, self._guessed = [], {}

    def look(self, layers: int) -> None:
        """Nothing to look for: what is held is known."""

    def resident(self) -> npt.NDArray[np.bool_]:
        """bool [layers, experts]: in a slot, whole."""
        if self._loading:
            self._settle()
        return np.isfinite(self._kept)

    def reading(self) -> npt.NDArray[np.bool_]:
        """bool [layers, experts]: being read."""
        table = np.zeros(self._kept.size, bool)
        table[list(self._loading.values())] = True
        return table.reshape(self._kept.shape)

    def resident_bytes(self) -> int:
        """Bytes of the slots in use."""
        return self._used * self._slab.slot_bytes

    def look_around(self) -> None:
        """See `SharedExperts.look_around`. Raises `EngineError` where what is needed cannot be read."""
        self.check()
        self.watch()

    def check(self) -> None:
        """Whether what the present layer needs can still come; called now and then while a rank waits.

        Raises `EngineError` where it cannot.
        """
        self._prefetcher.check()
        self._settle()
        first = self._layer * self._layout.experts
        if self._problem is not None and not all(self._where[first + one] for one in self._experts):
            problem, self._problem = self._problem, None
            raise problem

    def close(self) -> None:
        """End the reader; give the memory and the file back."""
        self._prefetcher.close()
        super().close()

    def _bring(self, at: int) -> None:
        """Begin to read an expert that is not there."""
        if self._used < self._limit:
            self._used += 1
            if self._free:
                slot = self._free.pop()
            else:
                slot, self._next = self._next, self._next + 1
        else:
            slot = self._victim()
        self._loading[slot] = at
        self._where[at] = slot + 1
        self._prefetcher.request(slot, self._layout.ranges(*divmod(at, self._layout.experts)))

    def _victim(self) -> int:
        """The slot of the expert that leaves."""
        scores, flat = self._scores, self._flat
        while True:
            np.subtract(self._heat.table, self._ways[self._layer], out=scores)
            np.add(scores, self._kept, out=scores)
            scores[self._layer, self._experts] = np.inf
            if self._guessed:
                flat[list(self._guessed)] = np.inf
            at = int(flat.argmin())
            if flat[at] < np.inf:
                break
            self._wait_for_any()
        slot: int = self._where[at] - 1
        self._where[at] = 0
        self._states[slot] = FREE
        self._kept.reshape(-1)[at] = np.inf
        return slot

    def _wait_for_any(self) -> None:
        """All slots are being read, or are needed: one that is read for nothing must come first."""
        if not self._loading:
            if not self._guessed:
                raise EngineError("The memory budget holds too few experts", "Give a larger --mem")
            self._guessed = {}
            return
        before = len(self._loading)
        while len(self._loading) == before:
            offer()
            self.look_around()

    def _settle(self) -> None:
        """Enter in the books what was read meanwhile, well or not."""
        kept, states = self._kept.reshape(-1), self._states
        for slot, at in list(self._loading.items()):
            state = states[slot]
            if state == READING:
                continue
            if state == FAILED and self._prefetcher.again(slot):
                continue
            del self._loading[slot]
            self._prefetcher.done(slot)
            if state == FAILED:
                self._problem = self._prefetcher.problem()
                self._where[at] = 0
                self._free.append(slot)
                self._used -= 1
            else:
                kept[at] = 0

    def _judge(self, first: int) -> int:
        """The layer that was guessed for is entered: how many of its experts were read ahead."""
        used = {first + expert for expert in self._experts}
        read = [at for at, was_read in self._guessed.items() if was_read]
        right = sum(at in used for at in read)
        self._right += right
        self._wrong += len(read) - right
        self._guessed = {}
        return right

    def _count_waits(self) -> None:
        control, most = self._slab.control, 0
        for rank, word in enumerate(self._waits):
            waited = control[word]
            most = max(most, waited - self._waited_before[rank])
            self._waited_before[rank] = waited
        self._wait_ns += most
