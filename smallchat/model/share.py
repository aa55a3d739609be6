"""Which part of the work is whose: the decoder's ranks each compute a share of every layer.

Query heads with the KV heads that they read, experts with their rows, and rows of the head are shared out so
that each rank needs nothing from another one but the sums after attention and after the experts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from smallchat.model.attention import Group
from smallchat.model.config import ModelConfig
from smallchat.model.weights import LayerWeights

NEURONS = 32
"""Neurons of a piece are a multiple of this where the file allows any number."""


class Piece(NamedTuple):
    """Neurons `start` to `stop` of one expert."""

    expert: int
    start: int
    stop: int


class HeadShare(NamedTuple):
    """One rank's heads: from and to. `groups` count within the share."""

    query: tuple[int, int]
    kv: tuple[int, int]
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Share:
    """The share of rank `rank` of `size`."""

    rank: int = 0
    size: int = 1

    def span(self, count: int, unit: int = 1) -> tuple[int, int]:
        """An even part of `count`, cut at multiples of `unit`; empty where there are too few."""
        units = -(-count // unit)
        borders = (units * rank // self.size * unit for rank in (self.rank, self.rank + 1))
        start, stop = (min(border, count) for border in borders)
        return start, stop

    def heads(self, config: ModelConfig) -> HeadShare:
        """Query heads, the KV heads that they read, and who reads which."""
        group = config.heads // config.kv_heads
        start, stop = self.span(config.heads)
        if start == stop:
            return HeadShare((start, start), (0, 0), ())
        first, last = start // group, (stop - 1) // group + 1
        groups = tuple(
            Group(kv - first, max(start, kv * group) - start, min(stop, (kv + 1) * group) - start)
            for kv in range(first, last)
        )
        return HeadShare((start, stop), (first, last), groups)

    def order(self, count: int) -> list[int]:
        """In which order experts are wanted, of which each rank begins with its own: those first that some
        rank begins with."""
        each = -(-count // self.size)
        return [at for step in range(each) for at in range(step, count, each)]

    def experts(self, costs: Sequence[float], width: int, unit: int) -> list[Piece]:
        """What this rank computes of experts that cost so much each (`Kernels.cost`).

        All ranks' pieces together are every neuron (of `width`) of every expert, once; pieces are cut at
        multiples of `unit`. `expert` counts within `costs`. Work is even, not the number of experts.
        """
        if self.size == 1:
            return [Piece(expert, 0, width) for expert in range(len(costs))]
        borders = [sum(costs) * rank / self.size for rank in (self.rank, self.rank + 1)]
        pieces, before = [], 0.0
        for expert, cost in enumerate(costs):
            start, stop = (_cut((border - before) / cost, width, unit) for border in borders)
            if start < stop:
                pieces.append(Piece(expert, start, stop))
            before += cost
        return pieces


def _cut(fraction: float, width: int, unit: int) -> int:
    """So much of `width`, at a multiple of `unit` or at either end."""
    if fraction >= 1 - 1e-9:
        return width
    # The last unit may be a smaller one: a file that is transposed may have any number of neurons.
    return min(width, max(0, round(fraction * width / unit)) * unit)


def neuron_unit(layer: LayerWeights) -> int:
    """Neurons of an expert that are not told apart: a block of the down projection's columns."""
    return NEURONS if layer.down_transposed else layer.down.block
