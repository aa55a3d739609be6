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
    """Ranks in step. Every rank calls the same methods in the same order.

    A buffer that all share is written between two calls of `meet` by each rank in its own columns, and read
    by all after the second.
    """

    share: Share

    def heads(self, n: int) -> Floats:
        """What all heads have mixed: float32 [n, H·D], shared."""

    def rows(self, n: int) -> Floats:
        """Attention's output: float32 [n, d], shared."""

    def logits(self, n: int) -> Floats:
        """float32 [n, V], n ≤ `logits_rows`, shared."""

    def part(self, n: int) -> Floats:
        """This rank's part of the experts' sum: float32 [n, d], not cleared."""

    def parts(self) -> list[Floats]:
        """All ranks' parts of one token, [1, d] each, always at the same places; read them after `meet`."""

    def add(self, x: Floats) -> None:
        """x += the parts of all ranks, in order of rank, once all are there. `x` is [n, d]."""

    def meet(self) -> None:
        """Wait until every rank is here: what each wrote before, all can read after."""

    def check(self) -> None:
        """Give up here where the pass was given up elsewhere."""


class Solo:
    """A team of one."""

    def __init__(self, query_width: int, hidden: int, vocabulary: int) -> None:
        self.share = Share()
        self._widths = (query_width, hidden, hidden)
        # For one token at the same place always; for more as they come.
        self._one = self._many = self._made(1)
        self._logits = np.empty((logits_rows(vocabulary), vocabulary), np.float32)

    def heads(self, n: int) -> Floats:
        """See `Team.heads`."""
        return self._buffers(n)[0]

    def rows(self, n: int) -> Floats:
        """See `Team.rows`."""
        return self._buffers(n)[1]

    def part(self, n: int) -> Floats:
        """See `Team.part`."""
        return self._buffers(n)[2]

    def parts(self) -> list[Floats]:
        """See `Team.parts`."""
        return [self._one[2]]

    def add(self, x: Floats) -> None:
        """See `Team.add`."""
        x += self.part(len(x))

    def logits(self, n: int) -> Floats:
        """See `Team.logits`."""
        return self._logits[:n]

    def meet(self) -> None:
        """See `Team.meet`."""

    def check(self) -> None:
        """See `Team.check`."""

    def _buffers(self, n: int) -> list[Floats]:
        if n == 1:
            return self._one
        if n != len(self._many[0]):
            self._many = self._made(n)
        return self._many

    def _made(self, n: int) -> list[Floats]:
        return [np.empty((n, width), np.float32) for width in self._widths]
