"""How the ranks of a decoder come together: each computes a share, and adds the others' to its own."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from smallchat.model.share import Share

Floats = npt.NDArray[np.float32]

LOGITS_BYTES = 1 << 20
"""Logits of several positions are computed so many bytes at a time, one position at least."""


def logits_rows(vocabulary: int) -> int:
    """Positions whose logits are computed at a time."""
    return max(1, LOGITS_BYTES // (4 * vocabulary))


class Team(Protocol):
    """Ranks in step. Every rank calls the same methods in the same order."""

    share: Share

    def part(self, n: int) -> Floats:
        """Where this rank puts its part of the next sum: float32 [n, d], not cleared."""

    def add(self, x: Floats) -> None:
        """x += the parts of all ranks, in order of rank; waits until all are there. `x` is [n, d]."""

    def logits(self, n: int) -> Floats:
        """float32 [n, V], n ≤ `logits_rows`: each rank fills its own columns, then all `meet`."""

    def meet(self) -> None:
        """Wait until every rank is here: what each wrote before, all can read after."""


class Solo:
    """A team of one."""

    def __init__(self, hidden: int, vocabulary: int) -> None:
        self.share = Share()
        self._hidden = hidden
        self._part = np.empty((0, hidden), np.float32)
        self._logits = np.empty((logits_rows(vocabulary), vocabulary), np.float32)

    def part(self, n: int) -> Floats:
        """See `Team.part`."""
        if n > len(self._part):
            self._part = np.empty((n, self._hidden), np.float32)
        return self._part[:n]

    def add(self, x: Floats) -> None:
        """See `Team.add`."""
        x += self._part[: len(x)]

    def logits(self, n: int) -> Floats:
        """See `Team.logits`."""
        return self._logits[:n]

    def meet(self) -> None:
        """See `Team.meet`."""
