"""RoPE and grouped-query attention, causal, global or within a sliding window (report, section 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from smallchat.kernels import Kernels
from smallchat.model.kv_cache import LayerCache

Floats = npt.NDArray[np.float32]

SCORES = 2 << 20
"""Attention scores held at a time: 8 MB."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """Cosines and sines of some positions, [n, 1, size / 2] each."""

    cos: Floats
    sin: Floats

    @staticmethod
    def at(positions: npt.NDArray[np.int64], size: int, base: float) -> Rotation:
        """Angles position · base^(−2i/size) for pair i, taken in float64 (`rope.freq_base`)."""
        frequencies = base ** (-np.arange(0, size, 2, dtype=np.float64) / size)
        angles = (positions[:, None] * frequencies)[:, None, :]
        return Rotation(np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32))

    def last(self, count: int) -> Rotation:
        """Those of the last so many positions."""
        return Rotation(self.cos[-count:], self.sin[-count:])

    def turn(self, heads: Floats) -> Floats:
        """Rotate [n, heads, D]: pairs (i, i + size/2) of the first `size` dimensions; the rest stays."""
        half = self.cos.shape[-1]
        first, second = heads[..., :half], heads[..., half : 2 * half]
        parts = [first * self.cos - second * self.sin, first * self.sin + second * self.cos]
        return np.concatenate([*parts, heads[..., 2 * half :]], axis=-1)


class Group(NamedTuple):
    """Query heads `start` to `stop` read the KV head `kv`; all three counted within a rank's share."""

    kv: int
    start: int
    stop: int


def attend(
    q: Floats,
    k: Floats,
    v: Floats,
    start: int,
    cache: LayerCache,
    groups: Sequence[Group],
    kernels: Kernels,
    out: Floats,
) -> None:
    """softmax(q kᵀ / √D) v for the last m of n tokens at positions `start`…; keys and values go into `cache`.

    `q` is [m, H, D], `k` and `v` [n, KV, D]; `groups` says which query heads read which KV head. Token i sees
    j where j ≤ i, and i − j < window in a sliding-window layer. The result goes into `out`, [m, H, D].
    """
    m, _, size = q.shape
    n = len(k)
    seen = cache.extend(start, k, v)
    start += n - m
    q = q * np.float32(1 / np.sqrt(size))
    for group in groups:
        width = group.stop - group.start
        step = max(1, min(256, SCORES // (width * seen.rows)))
        for block in range(0, m, step):
            stop = min(block + step, m)
            positions = np.arange(start + block, start + stop)
            # Keys that no token of this block sees are not multiplied.
            low, high = 0, seen.rows
            if n > 1:
                high = start + stop - seen.first
                low = 0 if cache.window is None else max(0, start + block + 1 - cache.window - seen.first)
            queries = q[block:stop, group.start : group.stop].reshape(-1, size)
            scores = seen.scores(queries, group.kv, low, high, kernels).reshape(stop - block, width, -1)
            if n > 1:
                _hide(scores, positions, seen.first + low, cache.window)
            softmax(scores)
            mixed = seen.mixed(scores.reshape(-1, high - low), group.kv, low, high, kernels)
            out[block:stop, group.start : group.stop] = mixed.reshape(stop - block, width, size)


def _hide(scores: Floats, positions: npt.NDArray[np.int64], first: int, window: int | None) -> None:
    """Minus infinity where a token does not look: `scores` is [n, heads, t], its first key at position
    `first`.

    Only the edges are touched: what every token of the block sees stays as it is.
    """
    t = scores.shape[-1]
    newest = int(positions[0]) - first + 1
    if newest < t:
        hidden = np.arange(first + newest, first + t) > positions[:, None]
        np.copyto(scores[:, :, newest:], -np.inf, where=hidden[:, None, :])
    oldest = 0 if window is None else int(positions[-1]) - window + 1 - first
    if oldest > 0 and window is not None:
        hidden = positions[:, None] - np.arange(first, first + oldest) >= window
        np.copyto(scores[:, :, :oldest], -np.inf, where=hidden[:, None, :])


def softmax(scores: Floats) -> None:
    """In place, over the last axis."""
    totals = np.empty((*scores.shape[:-1], 1), np.float32)
    exponentials(scores, totals)
    scores /= totals


def exponentials(scores: Floats, totals: Floats) -> None:
    """`softmax` but for the division: `scores`, [..., t], become exp(score − largest), and `totals`,
    [..., 1], their sums. Takes no memory of its own.
    """
    np.maximum.reduce(scores, axis=-1, keepdims=True, out=totals)
    np.subtract(scores, totals, out=scores)
    np.exp(scores, out=scores)
    np.add.reduce(scores, axis=-1, keepdims=True, out=totals)
