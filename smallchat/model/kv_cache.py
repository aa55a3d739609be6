"""Keys and values of the tokens so far: a ring of the window's size in sliding-window layers, else all.

Stored in one of three types (`KVType`). Keys lie token by token, so that scores are products with a matrix of
rows [t, D]; values of the float types lie dimension by dimension [D, t], so that mixing them is such a
product too. 8-bit values lie token by token, because a block of them shares one scale.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from smallchat.kernels import Matrix
from smallchat.kernels.quants import TensorType, quantise_q8_0, row_bytes
from smallchat.settings import KVType

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
STEP = 32
"""The rows of values that lie dimension by dimension are a multiple of this long."""
STORED: dict[KVType, TensorType] = {"f32": TensorType.F32, "f16": TensorType.F16, "q8": TensorType.Q8_0}
"""f32 is exact; f16 rounds to 11 bits, q8 to 8 bits and a scale for each 32 numbers."""


def _lazy_memory(size: int) -> Bytes:
    """uint8 [size], zeros that take memory only as they are written.

    NumPy asks for huge pages, which would take 2 MB for the first token of every head.
    """
    if not hasattr(mmap, "MAP_ANONYMOUS") or not size:
        return np.zeros(size, np.uint8)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        with contextlib.suppress(OSError):  # a system without huge pages
            memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, np.uint8)


def _slots(tokens: int) -> int:
    return -(-tokens // STEP) * STEP


class Seen(NamedTuple):
    """What some tokens look at, head by head."""

    keys: list[Matrix]
    """Each [t, D]."""
    values: list[Matrix]
    """Each [D, t], or [t, D] where `LayerCache.transposed` is False."""
    first: int
    """Position of the first: entry j is at position first + j, except for one token and a full ring, whose
    order does not matter."""


class LayerCache:
    """One layer: `extend` is called once for each forward pass."""

    def __init__(
        self, memory: Bytes, window: int | None, capacity: int, kv_heads: int, size: int, kind: TensorType
    ) -> None:
        """`memory` is uint8 and holds `capacity` tokens, rounded up to `STEP`; `size` is that of a head."""
        self.window, self.capacity, self.kind = window, capacity, kind
        self.transposed = kind is not TensorType.Q8_0
        self._size, self._row = size, row_bytes(kind, size)
        keys, values = memory.reshape(2, -1)
        slots = _slots(capacity)
        self.keys: Bytes = keys.reshape(kv_heads, slots, self._row)
        if self.transposed:
            self.values: Bytes = values.reshape(kv_heads, size, slots * self._real().itemsize)
        else:
            self.values = values.reshape(kv_heads, slots, self._row)

    def extend(self, start: int, k: Floats, v: Floats) -> Seen:
        """Add keys and values [n, KV, D] at positions `start`…; what those tokens may look at."""
        n = len(k)
        end = start + n
        if end <= self.capacity or n == 1:  # not wrapped, or nothing that this one looks at is lost
            self.put(start % self.capacity, k, v)
            return self.seen(min(end, self.capacity), max(0, end - self.capacity))
        # The chunk would overwrite what its own first tokens still look at: take a copy in order first.
        first = max(0, start - self.capacity + 1)
        old = np.arange(first, start) % self.capacity
        new_keys, new_values = self._encode(k, v)
        keys = np.concatenate([self.keys[:, old], new_keys], axis=1)
        if self.transposed:
            numbers = self._numbers(self.values)
            values = np.concatenate([numbers[:, :, old], self._numbers(new_values)], axis=2).view(np.uint8)
        else:
            values = np.concatenate([self.values[:, old], new_values], axis=1)
        last = np.arange(max(start, end - self.capacity), end)
        self.keys[:, last % self.capacity] = new_keys[:, last - start]
        if self.transposed:
            numbers[:, :, last % self.capacity] = self._numbers(new_values)[:, :, last - start]
        else:
            self.values[:, last % self.capacity] = new_values[:, last - start]
        return self._seen(keys, values, end - first, first)

    def put(self, slot: int, k: Floats, v: Floats) -> None:
        """Write [n, KV, D] each at `slot`…, which does not reach past the end."""
        keys, values = self._encode(k, v)
        self.keys[:, slot : slot + len(k)] = keys
        if self.transposed:
            self._numbers(self.values)[:, :, slot : slot + len(v)] = self._numbers(values)
        else:
            self.values[:, slot : slot + len(v)] = values

    def save(self, first: int, stop: int, data: Bytes, start: int) -> None:
        """Copy positions `first` to `stop`, which are all held, into `data`: see `_copy`."""
        keys, values = self._copy(data)
        for slots, places in self._spans(first, stop, start):
            keys[:, places] = self.keys[:, slots]
            if self.transposed:
                self._numbers(values)[:, :, places] = self._numbers(self.values)[:, :, slots]
            else:
                values[:, places] = self.values[:, slots]

    def restore(self, first: int, stop: int, data: Bytes, start: int) -> None:
        """The inverse of `save`; a ring must be given its positions in order."""
        keys, values = self._copy(data)
        for slots, places in self._spans(first, stop, start):
            self.keys[:, slots] = keys[:, places]
            if self.transposed:
                self._numbers(self.values)[:, :, slots] = self._numbers(values)[:, :, places]
            else:
                self.values[:, slots] = values[:, places]

    def _copy(self, data: Bytes) -> tuple[Bytes, Bytes]:
        """Keys and values in uint8 [any number of tokens · bytes of one], as in `_encode`."""
        keys, values = data.reshape(2, len(self.keys), -1)
        shape = (self._size, -1) if self.transposed else (-1, self._row)
        return keys.reshape(len(keys), -1, self._row), values.reshape(len(values), *shape)

    def _spans(self, first: int, stop: int, start: int) -> Iterator[tuple[slice, slice]]:
        """Slots of positions, and their places behind `start`: several where they go round the ring's end."""
        while first < stop:
            slot = first % self.capacity
            count = min(stop - first, self.capacity - slot)
            yield slice(slot, slot + count), slice(first - start, first - start + count)
            first += count

    def seen(self, count: int, first: int = 0) -> Seen:
        """The first `count` slots; `first` is the position of the oldest."""
        return self._seen(self.keys, self.values, count, first)

    def _encode(self, k: Floats, v: Floats) -> tuple[Bytes, Bytes]:
        """Keys [KV, n, row bytes] and values [KV, D, n · number bytes] (or as keys) as they are stored."""
        k = k.transpose(1, 0, 2)
        if not self.transposed:
            return quantise_q8_0(k), quantise_q8_0(v.transpose(1, 0, 2))
        real = self._real()
        keys = np.ascontiguousarray(k, real).view(np.uint8)
        return keys, np.ascontiguousarray(v.transpose(1, 2, 0), real).view(np.uint8)

    def _seen(self, keys: Bytes, values: Bytes, count: int, first: int) -> Seen:
        size, kind = self._size, self.kind
        rows = [Matrix(kind, count, size, head[:count]) for head in keys]
        if not self.transposed:
            return Seen(rows, [Matrix(kind, count, size, head[:count]) for head in values], first)
        width = count * self._real().itemsize
        return Seen(rows, [Matrix(kind, size, count, head[:, :width]) for head in values], first)

    def _numbers(self, data: Bytes) -> npt.NDArray[np.floating]:
        return data.view(self._real())

    def _real(self) -> np.dtype[np.floating]:
        return np.dtype(np.float32 if self.kind is TensorType.F32 else np.float16)


class KVCache:
    """All layers, and how many tokens they hold."""

    def __init__(
        self,
        windows: Sequence[int | None],
        context: int,
        kv_heads: int,
        head_size: int,
        kind: KVType = "f32",
        memory: Bytes | None = None,
    ) -> None:
        """`windows` has one entry a layer: tokens, or None for global attention. `memory`, uint8 of the size
        that `bytes_for` tells, is where it lies (None: in memory of its own).
        """
        self.context = context
        self.length = 0
        self._highest = 0  # one past the last position ever written since `clear`
        self._token_bytes = self.token_bytes(kv_heads, head_size, kind)
        if memory is None:
            memory = _lazy_memory(self.bytes_for(windows, context, kv_heads, head_size, kind))
        self.layers: list[LayerCache] = []
        at = 0
        for window in windows:
            capacity = min(context, window or context)
            size = _slots(capacity) * self._token_bytes
            layer = LayerCache(memory[at : at + size], window, capacity, kv_heads, head_size, STORED[kind])
            self.layers.append(layer)
            at += size

    @staticmethod
    def token_bytes(kv_heads: int, head_size: int, kind: KVType) -> int:
        """Bytes of one token in one layer."""
        return 2 * kv_heads * row_bytes(STORED[kind], head_size)

    @classmethod
    def bytes_for(
        cls, windows: Sequence[int | None], context: int, kv_heads: int, head_size: int, kind: KVType
    ) -> int:
        """Bytes of a full cache. Raises `ValueError` where a head is no whole number of blocks."""
        tokens = sum(_slots(min(context, window or context)) for window in windows)
        return tokens * cls.token_bytes(kv_heads, head_size, kind)

    @property
    def used(self) -> int:
        """Tokens that are held now, those of each layer."""
        return sum(min(self._highest, layer.capacity) for layer in self.layers)

    def wrote(self, end: int) -> None:
        """Note that positions below `end` may have been written, also by a pass that was then given up."""
        self._highest = max(self._highest, end)

    @property
    def token_size(self) -> int:
        """Bytes of one token in all layers."""
        return len(self.layers) * self._token_bytes

    @property
    def intact_from(self) -> int:
        """First position that every layer still holds."""
        return max(0, *(self._highest - layer.capacity for layer in self.layers))

    def keeps(self, length: int) -> int:
        """How many tokens `rewind` would keep: `length`, or 0 where a ring has gone round and overwritten
        what tokens there would look at.
        """
        length = min(length, self.length)
        for layer in self.layers:
            overwritten = self._highest - layer.capacity  # positions below this are gone
            needed = 0 if layer.window is None else max(0, length - layer.window + 1)
            if overwritten > needed:
                return 0
        return length

    def rewind(self, length: int) -> int:
        """Forget all tokens from `length` on, so that other ones can follow; returns what could be kept."""
        self.length = self.keeps(length)
        if self.length == 0:
            self._highest = 0
        return self.length
