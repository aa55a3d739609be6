"""The slots that experts lie in: memory that the ranks and the reader share, and the tables beside it.

Imports nothing large: the reader's process uses it too.
"""

from __future__ import annotations

from dataclasses import dataclass

from smallchat.experts.direct import BLOCK
from smallchat.sharing import SharedBytes

FREE, READING, READY, FAILED = range(4)
"""States of a slot. The first rank writes `FREE` and `READING`, the reader the others."""

BYTES, BUSY, PROBLEM, ERRNO, RANKS = range(5)
"""Words of `Slab.control`: bytes read, nanoseconds of reading, why the last read failed (below) and the
system's number for it; and from `RANKS` on, `LINE` words apart, nanoseconds that each rank has waited."""
SHORT, CHANGED, SYSTEM = 1, 2, 3
LINE = 8


@dataclass(frozen=True, slots=True)
class SlabSizes:
    """What the sizes of all parts follow from."""

    experts: int
    """Of all layers."""
    slots: int
    """The most there can be; memory is taken only by those that are filled."""
    parts: tuple[int, ...]
    """Bytes of gate, up and down, of the largest expert each."""
    ranks: int = 1
    """Processes that compute: of each the waiting is counted."""


class Slab:
    """Slots of three parts each. A part has room for the blocks of the file that its bytes lie in."""

    def __init__(self, sizes: SlabSizes, handle: str | None = None) -> None:
        """Make it, or with another process's `handle` find it. Raises `OSError` where there is not enough."""
        self.sizes = sizes
        rooms = [_up(size + BLOCK) for size in sizes.parts]
        self.part_at = [sum(rooms[:index]) for index in range(len(rooms))]
        """Where each part's room begins within a slot."""
        self.slot_bytes = sum(rooms)
        control, where = 8 * (RANKS + LINE * sizes.ranks), 4 * sizes.experts
        self._slots_at = _up(_up(control) + _up(where) + sizes.slots)
        self.memory = SharedBytes(self._slots_at + sizes.slots * self.slot_bytes, handle)
        view = memoryview(self.memory.map)
        self.view = view
        """All of it, uint8."""
        self.control = view[:control].cast("q")
        at = _up(control)
        self.where = view[at : at + where].cast("i")
        """For each expert, layer by layer, 1 + the number of its slot; 0 where it has none."""
        at += _up(where)
        self.states = view[at : at + sizes.slots]
        """For each slot its state."""

    def start(self, slot: int) -> int:
        """Where a slot begins in `view`."""
        return self._slots_at + slot * self.slot_bytes

    def release(self, slot: int) -> None:
        """Give a slot's memory back; it may be filled again."""
        self.memory.release(self.start(slot), self.start(slot) + self.slot_bytes)

    def close(self) -> None:
        """Let go; views that are still held keep the memory."""
        self.memory.close()


def slot_bytes(parts: tuple[int, ...]) -> int:
    """Bytes of a slot for parts of at most these sizes."""
    return sum(_up(size + BLOCK) for size in parts)


def _up(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
