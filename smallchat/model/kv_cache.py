"""Keys and values of the tokens so far: a ring of the window's size in sliding-window layers, else all.

Stored in one of three types (`KVType`). Keys lie token by token, so that scores are products with a matrix of
rows [t, D]; values lie dimension by dimension [D, t], so that mixing them is such a product too.
"""

from __future__ import annotations

import contextlib
import functools
import mmap
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from smallchat.kernels import Kernels, Matrix
from smallchat.kernels.quants import TensorType, whole_numbers
from smallchat.settings import KVType

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[Any]
"""float32, float16 or int8."""
Places = slice | npt.NDArray[np.int64]
ALL = slice(None)
STEP = 64
"""Room for tokens is an odd multiple of this: with a power of two between dimensions of values they would
compete for the same lines of the processor's cache (8 bit, a context of 4096: 46 µs a product, not 27)."""
TYPES: dict[KVType, np.dtype[Any]] = {
    "f32": np.dtype(np.float32),
    "f16": np.dtype(np.float16),
    "q8": np.dtype(np.int8),
}
"""f32 is exact; f16 rounds to 11 bits, q8 to 8 bits and a scale for each key and each value."""
AXES = (1, 2, 2)
"""Along which tokens lie: keys, values, scales."""
SPREAD = 32
"""Numbers of a head that are turned together: see `spread`."""
WIDEST = 1024
"""The size of heads that 8 bits are for: `spread` may have a table of its square."""
PIECE = 4096
"""Tokens whose 8-bit keys or values become float32 at a time: 2 MB for a head of 128."""


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
    return (-(-tokens // STEP) | 1) * STEP


def token_bytes(kv_heads: int, head_size: int, kind: KVType) -> int:
    """Bytes of one token in one layer."""
    scale = np.float32().nbytes if kind == "q8" else 0
    return 2 * kv_heads * (head_size * TYPES[kind].itemsize + scale)


def spread(heads: Floats, out: Floats | None = None) -> Floats:
    """Queries or keys, float32 [..., D], turned by an orthogonal matrix, into `out` (contiguous) where given.

    That leaves q kᵀ as it is, but a key with a few large numbers, by which 8 bits would round all others,
    becomes one of many alike (QuaRot, arXiv 2404.00456). 32 numbers at a time where those fill a head: a
    table of 128² is out of the processor's cache whenever it is wanted.
    """
    size = heads.shape[-1]
    turn = _turn(size if size % SPREAD else SPREAD)
    parts = (*heads.shape[:-1], -1, len(turn))
    if out is None:
        out = np.empty(heads.shape, np.float32)
    np.matmul(heads.reshape(parts), turn, out=out.reshape(parts))
    return out


@functools.cache
def _turn(size: int) -> Floats:
    numbers = np.random.default_rng(0).standard_normal((size, size))
    return np.linalg.qr(numbers)[0].astype(np.float32)


class Entries(NamedTuple):
    """Keys and values of some tokens as they are stored."""

    keys: Numbers
    """[KV, t, D]; where they are whole numbers, of keys that are `spread`"""
    values: Numbers
    """[KV, D, t]"""
    scales: Floats | None
    """float32 [2, KV, t], of keys and of values, where those are whole numbers."""

    @staticmethod
    def within(memory: Bytes, tokens: int, kv_heads: int, size: int, kind: KVType) -> Entries:
        """Those that lie in `memory`: uint8 [tokens · `token_bytes`]."""
        number = TYPES[kind]
        half = kv_heads * tokens * size * number.itemsize
        keys, values, rest = memory[:half], memory[half : 2 * half], memory[2 * half :]
        return Entries(
            keys.view(number).reshape(kv_heads, tokens, size),
            values.view(number).reshape(kv_heads, size, tokens),
            rest.view(np.float32).reshape(2, kv_heads, tokens) if kind == "q8" else None,
        )

    @staticmethod
    def of(k: Floats, v: Floats, kind: KVType) -> Entries:
        """Round [n, KV, D] each."""
        k, v = k.transpose(1, 0, 2), v.transpose(1, 0, 2)
        if kind != "q8":
            return Entries(k.astype(TYPES[kind]), v.transpose(0, 2, 1).astype(TYPES[kind]), None)
        levels, scales = whole_numbers(np.stack([spread(k), v]))
        return Entries(levels[0], levels[1].transpose(0, 2, 1), scales)

    def write(self, where: Places, other: Entries, there: Places = ALL) -> None:
        """What `other` holds of the tokens `there` becomes what this holds of those `where`."""
        for mine, theirs, axis in zip(self, other, AXES, strict=True):
            if mine is not None and theirs is not None:
                before = (slice(None),) * axis
                mine[(*before, where)] = theirs[(*before, there)]


class Seen(NamedTuple):
    """What some tokens look at."""

    entries: Entries
    rows: int
    """How many of the entries: the first."""
    first: int
    """Position of the first: entry j is at position first + j, except for one token and a full ring, whose
    order does not matter."""

    def scores(self, queries: Floats, head: int, low: int, high: int, kernels: Kernels) -> Floats:
        """q kᵀ of a KV head's entries `low` to `high`: float32 [n, D] → [n, high − low]."""
        keys, _, scales = self.entries
        if scales is None:
            return kernels.matmul(queries, _matrix(keys[head, low:high]))
        queries = spread(queries)
        out = np.empty((len(queries), high - low), np.float32)
        for start, stop in _pieces(low, high):
            levels = np.multiply(keys[head, start:stop], scales[0, head, start:stop, None], dtype=np.float32)
            np.matmul(queries, levels.T, out=out[:, start - low : stop - low])
        return out

    def mixed(self, weights: Floats, head: int, low: int, high: int, kernels: Kernels) -> Floats:
        """p v of a KV head's entries `low` to `high`: float32 [n, high − low] → [n, D]."""
        _, values, scales = self.entries
        if scales is None:
            return kernels.matmul(weights, _matrix(values[head, :, low:high]))
        out = np.zeros((len(weights), values.shape[1]), np.float32)
        for start, stop in _pieces(low, high):
            levels = np.multiply(values[head, :, start:stop], scales[1, head, start:stop], dtype=np.float32)
            out += weights[:, start - low : stop - low] @ levels.T
        return out


def _matrix(numbers: Numbers) -> Matrix:
    kind = TensorType.F32 if numbers.dtype == np.float32 else TensorType.F16
    return Matrix(kind, len(numbers), numbers.shape[1], numbers.view(np.uint8))


def _pieces(low: int, high: int) -> Iterator[tuple[int, int]]:
    for start in range(low, high, PIECE):
        yield start, min(start + PIECE, high)


class LayerCache:
    """One layer: `extend` is called once for each forward pass."""

    def __init__(
        self, memory: Bytes, window: int | None, capacity: int, kv_heads: int, size: int, kind: KVType
    ) -> None:
        """`memory` is uint8 and holds `capacity` tokens, rounded up; `size` is that of a head."""
        self.window, self.capacity, self.kind = window, capacity, kind
        self._heads, self._size = kv_heads, size
        self.entries = self._within(memory, _slots(capacity))

    def extend(self, start: int, k: Floats, v: Floats) -> Seen:
        """Add keys and values [n, KV, D] at positions `start`…; what those tokens may look at."""
        n = len(k)
        end, new = start + n, Entries.of(k, v, self.kind)
        if end <= self.capacity or n == 1:  # not wrapped, or nothing that this one looks at is lost
            self.put(start % self.capacity, new)
            return Seen(self.entries, min(end, self.capacity), max(0, end - self.capacity))
        # The chunk would overwrite what its own first tokens still look at: take a copy in order first.
        first = max(0, start - self.capacity + 1)
        seen = self._within(np.empty((end - first) * self._token_bytes, np.uint8), end - first)
        seen.write(slice(0, start - first), self.entries, np.arange(first, start) % self.capacity)
        seen.write(slice(start - first, None), new)
        last = np.arange(max(start, end - self.capacity), end)
        self.entries.write(last % self.capacity, new, last - start)
        return Seen(seen, end - first, first)

    def put(self, slot: int, new: Entries) -> None:
        """Write tokens at `slot`…, which do not reach past the end."""
        self.entries.write(slice(slot, slot + new.keys.shape[1]), new)

    def save(self, first: int, stop: int, data: Bytes, start: int) -> None:
        """Copy positions `first` to `stop`, which are all held, into `data`: uint8 [tokens · `token_bytes`],
        of which `start` is the first.
        """
        copy = self._within(data, len(data) // self._token_bytes)
        for slots, places in self._spans(first, stop, start):
            copy.write(places, self.entries, slots)

    def restore(self, first: int, stop: int, data: Bytes, start: int) -> None:
        """The inverse of `save`; a ring must be given its positions in order."""
        copy = self._within(data, len(data) // self._token_bytes)
        for slots, places in self._spans(first, stop, start):
            self.entries.write(slots, copy, places)

    def _within(self, memory: Bytes, tokens: int) -> Entries:
        return Entries.within(memory, tokens, self._heads, self._size, self.kind)

    @property
    def _token_bytes(self) -> int:
        return token_bytes(self._heads, self._size, self.kind)

    def _spans(self, first: int, stop: int, start: int) -> Iterator[tuple[slice, slice]]:
        """Slots of positions, and their places behind `start`: several where they go round the ring's end."""
        while first < stop:
            slot = first % self.capacity
            count = min(stop - first, self.capacity - slot)
            yield slice(slot, slot + count), slice(first - start, first - start + count)
            first += count


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
        self._token_bytes = token_bytes(kv_heads, head_size, kind)
        if memory is None:
            memory = _lazy_memory(self.bytes_for(windows, context, kv_heads, head_size, kind))
        self.layers: list[LayerCache] = []
        at = 0
        for window in windows:
            capacity = min(context, window or context)
            size = _slots(capacity) * self._token_bytes
            layer = LayerCache(memory[at : at + size], window, capacity, kv_heads, head_size, kind)
            self.layers.append(layer)
            at += size

    @staticmethod
    def bytes_for(
        windows: Sequence[int | None], context: int, kv_heads: int, head_size: int, kind: KVType
    ) -> int:
        """Bytes of a full cache."""
        tokens = sum(_slots(min(context, window or context)) for window in windows)
        return tokens * token_bytes(kv_heads, head_size, kind)

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
