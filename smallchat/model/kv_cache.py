"""Keys and values of the tokens so far: a ring of the window's size in sliding-window layers, else all.

float32, laid out [KV heads, capacity, head size] so that one head's keys lie side by side.
"""

from __future__ import annotations

import contextlib
import math
import mmap
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
FLOAT_BYTES = 4


def _lazy_memory(count: int) -> Floats:
    """float32 [count], zeros that take memory only as they are written.

    NumPy asks for huge pages, which would take 2 MB for the first token of every head.
    """
    if not hasattr(mmap, "MAP_ANONYMOUS"):
        return np.zeros(count, np.float32)
    memory = mmap.mmap(-1, count * FLOAT_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        with contextlib.suppress(OSError):  # a system without huge pages
            memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, np.float32)


class LayerCache:
    """One layer. `keep` and `gather` are called in turn for each forward pass."""

    def __init__(self, memory: Floats, window: int | None) -> None:
        """`memory` is float32 [2, KV heads, capacity, head size]: keys and values."""
        self.window = window
        self.capacity = int(memory.shape[2])
        self._keys, self._values = memory

    def extend(self, start: int, k: Floats, v: Floats) -> tuple[Floats, Floats, int]:
        """Add keys and values at positions `start`… and give all that those tokens may look at.

        `k` and `v` are [n, KV, D]. Returns keys and values [KV, t, D] and the position of the first: entry j
        is at position first + j, except for one token and a full ring, whose order does not matter.
        """
        n = len(k)
        k, v = k.transpose(1, 0, 2), v.transpose(1, 0, 2)
        end = start + n
        if end <= self.capacity:  # not wrapped: positions are indices
            self._keys[:, start:end], self._values[:, start:end] = k, v
            return self._keys[:, :end], self._values[:, :end], 0
        if n == 1:
            slot = start % self.capacity
            self._keys[:, slot], self._values[:, slot] = k[:, 0], v[:, 0]
            return self._keys, self._values, end - self.capacity
        # The chunk would overwrite what its own first tokens still look at: take a copy in order first.
        first = max(0, start - self.capacity + 1)
        old = np.arange(first, start) % self.capacity
        keys = np.concatenate([self._keys[:, old], k], axis=1)
        values = np.concatenate([self._values[:, old], v], axis=1)
        last = np.arange(max(start, end - self.capacity), end)
        self._keys[:, last % self.capacity] = k[:, last - start]
        self._values[:, last % self.capacity] = v[:, last - start]
        return keys, values, first


class KVCache:
    """All layers, and how many tokens they hold."""

    def __init__(self, windows: Sequence[int | None], context: int, kv_heads: int, head_size: int) -> None:
        """`windows` has one entry a layer: tokens, or None for global attention."""
        self.context = context
        self.length = 0
        self._highest = 0  # one past the last position ever written since `clear`
        self._token_bytes = 2 * kv_heads * head_size * FLOAT_BYTES
        memory = _lazy_memory(self.bytes_for(windows, context, kv_heads, head_size) // FLOAT_BYTES)
        self.layers: list[LayerCache] = []
        at = 0
        for window in windows:
            shape = (2, kv_heads, min(context, window or context), head_size)
            size = math.prod(shape)
            self.layers.append(LayerCache(memory[at : at + size].reshape(shape), window))
            at += size

    @staticmethod
    def bytes_for(windows: Sequence[int | None], context: int, kv_heads: int, head_size: int) -> int:
        """Bytes of a full cache."""
        tokens = sum(min(context, window or context) for window in windows)
        return tokens * 2 * kv_heads * head_size * FLOAT_BYTES

    @property
    def used_bytes(self) -> int:
        """Bytes that hold tokens now."""
        return sum(min(self._highest, layer.capacity) for layer in self.layers) * self._token_bytes

    def wrote(self, end: int) -> None:
        """Note that positions below `end` may have been written, also by a pass that was then given up."""
        self._highest = max(self._highest, end)

    def rewind(self, length: int) -> int:
        """Forget all tokens from `length` on, so that other ones can follow; returns what could be kept.

        A ring that has gone round has overwritten what tokens there would look at: then nothing is kept.
        """
        length = min(length, self.length)
        for layer in self.layers:
            overwritten = self._highest - layer.capacity  # positions below this are gone
            needed = 0 if layer.window is None else max(0, length - layer.window + 1)
            if overwritten > needed and length:
                length = 0
        self.length = length
        if length == 0:
            self._highest = 0
        return length
