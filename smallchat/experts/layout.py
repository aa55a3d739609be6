"""Where each expert's bytes lie in the file: three ranges an expert, in any GGUF."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
T_co = TypeVar("T_co", covariant=True)


class Wrap(Protocol[T_co]):
    """Makes what the decoder computes with of a layer's number and the bytes of gate, up and down."""

    def __call__(self, layer: int, gate: Bytes, up: Bytes, down: Bytes, /) -> T_co: ...


class Range(NamedTuple):
    """`size` bytes from `offset`."""

    offset: int
    size: int


class ExpertLayout:
    """Ranges of the gate, up and down projections of every expert."""

    def __init__(
        self,
        experts: int,
        parts: Sequence[tuple[tuple[int, int], ...]],
        kinds: Sequence[Hashable] | None = None,
    ) -> None:
        """`parts` has for each layer (offset of expert 0, bytes of one expert) of gate, up and down.

        Layers of equal `kinds` make the same of the same bytes; by default no two do.
        """
        self.layers, self.experts = len(parts), experts
        self.kinds: Sequence[Hashable] = range(len(parts)) if kinds is None else kinds
        self._parts = parts

    def ranges(self, layer: int, expert: int) -> tuple[Range, Range, Range]:
        """Gate, up and down of one expert."""
        gate, up, down = (Range(first + expert * size, size) for first, size in self._parts[layer])
        return gate, up, down

    def expert_bytes(self, layer: int) -> int:
        """Bytes of one expert of that layer."""
        return sum(size for _, size in self._parts[layer])

    @property
    def largest_expert(self) -> int:
        """Bytes of the largest expert of all layers: what a cache slot must hold."""
        return max(self.expert_bytes(layer) for layer in range(self.layers))

    @property
    def largest_parts(self) -> tuple[int, ...]:
        """Bytes of the largest gate, up and down: what a slot has room for."""
        sizes = [[size for _, size in parts] for parts in self._parts]
        return tuple(max(column) for column in zip(*sizes, strict=True))

    @property
    def total_bytes(self) -> int:
        """Bytes of all experts."""
        return self.experts * sum(self.expert_bytes(layer) for layer in range(self.layers))
