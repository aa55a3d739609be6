"""Where each expert's bytes lie in the file: three ranges an expert, in any GGUF."""

from __future__ import annotations

from collections.abc import Sequence
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

    def __init__(self, experts: int, parts: Sequence[tuple[tuple[int, int], ...]]) -> None:
        """`parts` has for each layer (offset of expert 0, bytes of one expert) of gate, up and down."""
        self.layers, self.experts = len(parts), experts
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
    def total_bytes(self) -> int:
        """Bytes of all experts."""
        return self.experts * sum(self.expert_bytes(layer) for layer in range(self.layers))
