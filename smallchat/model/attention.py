"""RoPE and grouped-query attention, causal, global or within a sliding window (report, section 2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smallchat.model.kv_cache import LayerCache

Floats = npt.NDArray[np.float32]

SCORES = 4 << 20
"""Attention scores held at a time: 16 MB."""


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

    def turn(self, heads: Floats) -> Floats:
        """Rotate [n, heads, D]: pairs (i, i + size/2) of the first `size` dimensions; the rest stays."""
        half = self.cos.shape[-1]
        first, second = heads[..., :half], heads[..., half : 2 * half]
        parts = [first * self.cos - second * self.sin, first * self.sin + second * self.cos]
        return np.concatenate([*parts, heads[..., 2 * half :]], axis=-1)


def attend(q: Floats, k: Floats, v: Floats, start: int, cache: LayerCache) -> Floats:
    """softmax(q kᵀ / √D) v for tokens at positions `start`…; their keys and values go into `cache`.

    `q` is [n, H, D], `k` and `v` [n, KV, D]; query head h reads KV head h // (H / KV). Token i sees j where
    j ≤ i, and i − j < window in a sliding-window layer. Returns [n, H·D].
    """
    n, heads, size = q.shape
    keys, values, first = cache.extend(start, k, v)  # [KV, t, D]
    kv_heads, t = keys.shape[:2]
    group = heads // kv_heads
    q = q * np.float32(1 / np.sqrt(size))
    # [KV, n, group, D]: a head's queries side by side
    q = q.reshape(n, kv_heads, group, size).transpose(1, 0, 2, 3)
    if n == 1:
        first_seen = 0 if cache.window is None or t < cache.window else t - cache.window
        scores = np.matmul(q[:, 0], keys[:, first_seen:].transpose(0, 2, 1))  # [KV, group, t]
        _softmax(scores)
        mixed: Floats = np.matmul(scores, values[:, first_seen:])
        return mixed.reshape(1, heads * size)

    out = np.empty((n, kv_heads, group, size), np.float32)
    step = max(1, SCORES // (group * t))
    for block in range(0, n, step):
        positions = np.arange(start + block, start + min(block + step, n))
        distance = positions[:, None] - np.arange(first, first + t)  # [rows, t]
        hidden = distance < 0
        if cache.window is not None:
            hidden |= distance >= cache.window
        rows = len(positions)
        for head in range(kv_heads):
            queries = q[head, block : block + rows].reshape(rows * group, size)
            scores = (queries @ keys[head].T).reshape(rows, group, t)
            scores[np.broadcast_to(hidden[:, None, :], scores.shape)] = -np.inf
            _softmax(scores)
            mixed = scores.reshape(rows * group, t) @ values[head]
            out[block : block + rows, head] = mixed.reshape(rows, group, size)
    return out.reshape(n, heads * size)


def _softmax(scores: Floats) -> None:
    """In place, over the last axis."""
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
