"""Memory that the ranks of one decoder share, and what lies where in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from smallchat.model.team import logits_rows
from smallchat.sharing import SharedBytes

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_LINE = 16
"""Words between two ranks' counters: two cache lines, so that writing one disturbs no other."""
_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the sizes of all parts follow from."""

    ranks: int
    chunk: int
    """Tokens of a forward pass."""
    query_width: int
    hidden: int
    vocabulary: int
    kv: int
    """Bytes of all ranks' KV caches: the first rank keeps and brings back what was read."""


@dataclass(frozen=True, slots=True)
class Handles:
    """What else the ranks share: see `smallchat.sharing.SharedBytes.handle`."""

    image: str
    """Weights that every token reads: all of them where a budget holds, else those that are repacked."""
    slab: str | None = None
    """Experts, where a budget holds."""


class SharedMemory:
    """Zeros, in parts; only what is written takes memory. It is gone when the last process lets go of it."""

    def __init__(self, sizes: Sizes, handle: str | None = None) -> None:
        """Make it, or with another process's `handle` find it. Raises `OSError` where there is not enough."""
        self._at = 0
        rows = logits_rows(sizes.vocabulary)
        total = (
            (_LINE * (1 + 3 * sizes.ranks) + sizes.chunk) * 8
            + ((1 + sizes.ranks) * sizes.hidden + sizes.query_width) * sizes.chunk * 4
            + rows * sizes.vocabulary * 4
            + sizes.kv
            + 16 * _PAGE
        )
        self.shared = SharedBytes(total, handle)
        self._map = self.shared.map
        # Words are read and written through memoryviews: twice as fast as NumPy's for single numbers.
        self.control = self._words(_LINE)
        self.steps = self._words(_LINE * sizes.ranks)
        """For each rank, in its own line: how far it is."""
        self.done = self._words(_LINE * sizes.ranks)
        """… the last command that it has finished with."""
        self.asleep = self._words(_LINE * sizes.ranks)
        """… whether it waits for a byte on its pipe."""
        self.ids: Ints = self._array(np.int64, sizes.chunk)
        self.heads: Floats = self._array(np.float32, sizes.chunk, sizes.query_width)
        self.rows: Floats = self._array(np.float32, sizes.chunk, sizes.hidden)
        self.parts: Floats = self._array(np.float32, sizes.ranks, sizes.chunk, sizes.hidden)
        self.logits: Floats = self._array(np.float32, rows, sizes.vocabulary)
        self.kv: npt.NDArray[np.uint8] = self._array(np.uint8, sizes.kv)

    def close(self) -> None:
        """Let go; views that are still held keep the memory."""
        self.shared.close()

    @staticmethod
    def line(rank: int) -> int:
        """Where a rank's word is in `steps`, `done` and `asleep`."""
        return rank * _LINE

    def _words(self, count: int) -> memoryview:
        words: memoryview = self._array(np.int64, count).data
        return words

    def _array(self, kind: type, *shape: int) -> Any:
        count = int(np.prod(shape))
        found: npt.NDArray[Any] = np.frombuffer(self._map, kind, count, self._at).reshape(shape)
        self._at += -(-found.nbytes // _PAGE) * _PAGE
        return found
